//! `rm`: a container and what was made for it alone.

use std::thread;
use std::time::{Duration, Instant};

use lighter_store::{RecordError, Store, VolumeError};

use super::client::{self, ClientError};
use super::events;
use super::settings::MountSource;
use super::state::{Container, FindError, Status, find, shim_is_alive};

/// How long the shim of a container that has ended may take to go.
const PATIENCE_WITH_SHIM: Duration = Duration::from_secs(30);

/// Why a container was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It runs.
    #[error(
        "cannot remove container \"{name}\": container is {status}: stop the container before removing or force remove"
    )]
    Running {
        /// Its name.
        name: String,
        /// What it does.
        status: &'static str,
    },
    /// It could not be killed first.
    #[error(transparent)]
    Kill(#[from] ClientError),
    /// Its files could not be removed.
    #[error(transparent)]
    Files(#[from] RemoveFilesError),
}

/// Why a container's files were not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveFilesError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A volume of its own could not be removed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

/// Removes a container; with `force` it is killed first where it runs, with `volumes` its anonymous volumes go too.
///
/// # Errors
/// [`RemoveError`], where there is none, or it runs.
pub fn remove(store: &Store, text: &str, force: bool, volumes: bool) -> Result<(), RemoveError> {
    let container = match find(store, text) {
        Err(FindError::Record(error)) if force && error.is_damage() => {
            return remove_damaged(store, text, error);
        }
        found => found?,
    };
    let mut container = container;
    let began = Instant::now();
    loop {
        if container.state.is_running() || container.state.status == Status::Restarting {
            if !force {
                return Err(running(&container));
            }
            client::kill_for_good(store, &container)?;
        }
        let id = &container.record.id;
        if store.remove_container_if(id, || !shim_is_alive(store, id)).map_err(RemoveFilesError::from)? {
            break;
        }
        // its shim is about to go, or has come since we looked
        match find(store, id.as_str()) {
            Err(error) if error.is_missing() => break,
            _ if began.elapsed() > PATIENCE_WITH_SHIM => return Err(running(&container)),
            found => container = found?,
        }
        thread::sleep(Duration::from_millis(1));
    }
    gone(store, &container, volumes || container.state.settings.host.auto_remove)?;
    if let Err(error) = store.empty_trash() {
        tracing::warn!(%error, "what was thrown away stays until the next collection");
    }
    Ok(())
}

fn running(container: &Container) -> RemoveError {
    RemoveError::Running { name: container.record.name.clone(), status: container.state.status.name() }
}

/// Removes what is left of a container of which nothing is known but its id.
fn remove_damaged(store: &Store, text: &str, damage: RecordError) -> Result<(), RemoveError> {
    let id = store.find_container(text).map_err(FindError::from)?;
    if shim_is_alive(store, &id) {
        return Err(FindError::Record(damage).into());
    }
    store.remove_container(&id).map_err(RemoveFilesError::from)?;
    store.empty_trash().map_err(|error| RemoveFilesError::Record(error.into()))?;
    Ok(())
}

/// Removes a container that does not run, with its volumes left where they are; `false` where somebody is about to
/// start it.
pub(super) fn remove_idle(store: &Store, container: &Container) -> Result<bool, RemoveFilesError> {
    let id = &container.record.id;
    let removed = store.remove_idle_container(id, || !shim_is_alive(store, id))?;
    if removed {
        events::note(store, container, "destroy", &[]);
    }
    Ok(removed)
}

/// Removes the files of a container that does not run.
pub(super) fn remove_files(
    store: &Store,
    container: &Container,
    volumes: bool,
) -> Result<(), RemoveFilesError> {
    store.remove_container(&container.record.id)?;
    gone(store, container, volumes)
}

/// Tells that a container is no more, and removes the volumes that were made for it alone, if that is wanted.
fn gone(store: &Store, container: &Container, volumes: bool) -> Result<(), RemoveFilesError> {
    events::note(store, container, "destroy", &[]);
    for mount in &container.state.settings.host.mounts {
        if let MountSource::Volume { name, anonymous: true, .. } = &mount.source
            && volumes
        {
            match store.remove_volume(name) {
                Ok(_) | Err(VolumeError::InUse { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
