//! The operations of a plan: what is done when a step is not in the cache.

mod agent;
pub(crate) mod copy;
pub(crate) mod mounts;
mod output;
pub(crate) mod over;
pub(crate) mod run;
pub(crate) mod select;
mod shell;
pub(crate) mod user;

use lighter_dockerfile::plan::StepId;
use lighter_image::ImagePath;
use lighter_layer::{View, ViewError};

pub(crate) use output::Tail;

use crate::snapshot::Snapshot;
use crate::{HttpFile, StepError};

/// The most that is read of an image's passwd or group file.
const ACCOUNTS_LIMIT_BYTES: u64 = 16 << 20;

/// What a step stands on, and takes files from.
pub(crate) struct Below<'a> {
    /// The root that it changes.
    pub(crate) parent: &'a Snapshot,
    /// The other trees, by the steps that made them.
    pub(crate) others: &'a [(StepId, Snapshot)],
}

impl Below<'_> {
    /// What a step made that this one takes files from.
    pub(crate) fn snapshot(&self, id: StepId) -> &Snapshot {
        let found = self.others.iter().find(|(other, _)| *other == id);
        found.map(|(_, snapshot)| snapshot).expect("the inputs of a step are all the steps that it names")
    }
}

/// What stands behind a source that is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// A file.
    Http(HttpFile),
    /// A commit: it is checked out when it is needed.
    Git(String),
}

/// The accounts of an image.
fn accounts(view: &View) -> Result<user::Accounts, StepError> {
    let read = |path: &str| match view.read_file(&ImagePath::new(path), ACCOUNTS_LIMIT_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(ViewError::Missing { .. } | ViewError::WrongKind { .. }) => Ok(None),
        Err(error) => Err(StepError::from(error)),
    };
    Ok(user::Accounts { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
}
