//! After a reboot: the containers that were up and want to be up are started, as Docker's daemon does when it begins.

use std::path::Path;

use lighter_store::Store;

use super::client::{self, ClientError};
use super::settings::RestartPolicy;
use super::state::{self, Container, FindError, Status};

/// What became of a container that was to be started again.
#[derive(Debug)]
pub struct StartedAgain {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub result: Result<(), ClientError>,
}

/// Starts the containers that are down although their policy says that they are up: all with `always`, and those with
/// `unless-stopped` that nobody stopped. The oldest comes first.
///
/// # Errors
/// [`FindError`], where the store cannot be read.
pub fn start_again(store: &Store, runtime: &Path) -> Result<Vec<StartedAgain>, FindError> {
    let mut containers = state::all(store)?;
    containers.reverse();
    let start = |container: Container| {
        let started = client::start(store, runtime, container.record.id.as_str(), None);
        StartedAgain { name: container.record.name, result: started.map(drop) }
    };
    Ok(containers.into_iter().filter(wants_to_be_up).map(start).collect())
}

fn wants_to_be_up(container: &Container) -> bool {
    let state = &container.state;
    state.status == Status::Exited
        && match state.settings.host.restart {
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !state.stopped_by_hand,
            RestartPolicy::No | RestartPolicy::OnFailure(_) => false,
        }
}
