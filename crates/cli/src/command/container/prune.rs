//! `container prune`.

use crate::args::container::life::Prune;
use crate::failure::Failure;
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::Store;
use lighter_engine::container::{self, ContainerFilter};

const QUESTION: &str =
    "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";

impl Verb for Prune {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let filters = filters(&self.filter)?;
        if !self.force && !session.confirms(QUESTION)? {
            return Ok(0);
        }
        let (text, freed) = stopped(&session.open_store()?, &filters)?;
        session.print(&format!("{text}Total reclaimed space: {}\n", units::size(freed))).map(|()| 0)
    }
}

/// The filters of a removal: by time and label.
///
/// # Errors
/// Any other filter.
pub(crate) fn filters(texts: &[String]) -> Result<Vec<ContainerFilter>, Failure> {
    let now = Timestamp::now();
    let one = |text: &String| {
        let filter = ContainerFilter::parse(text, now).map_err(|error| Failure::because(&error))?;
        match filter {
            ContainerFilter::Until(_) | ContainerFilter::Label(..) | ContainerFilter::NoLabel(..) => {
                Ok(filter)
            }
            _ => Err(Failure::new(format!("Error: invalid filter '{text}'"))),
        }
    };
    texts.iter().map(one).collect()
}

/// Removes the containers that do not run and that the filters pick; what is told of it, and how many bytes that has
/// freed.
///
/// # Errors
/// When one cannot be removed.
pub(crate) fn stopped(store: &Store, filters: &[ContainerFilter]) -> Result<(String, u64), Failure> {
    let pruned = container::prune_containers(store, filters).map_err(|error| Failure::because(&error))?;
    if pruned.removed.is_empty() {
        return Ok((String::new(), pruned.freed_bytes));
    }
    let ids: String = pruned.removed.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
    Ok((format!("Deleted Containers:\n{ids}\n"), pruned.freed_bytes))
}
