//! `rm`: a container and what was made for it alone.

use lighter_store::{RecordError, Store, VolumeError};

use super::client::{self, ClientError};
use super::events;
use super::settings::MountSource;
use super::state::{Container, FindError, find, shim_is_alive};

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

impl From<RemoveFilesError> for FindError {
    fn from(error: RemoveFilesError) -> Self {
        match error {
            RemoveFilesError::Record(error) | RemoveFilesError::Volume(VolumeError::Record(error)) => {
                Self::Record(error)
            }
            RemoveFilesError::Volume(error) => {
                tracing::warn!(%error, "an anonymous volume stays");
                Self::Find(lighter_store::FindContainerError::NotFound(error.to_string()))
            }
        }
    }
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
    if container.state.is_running() || container.state.status == super::Status::Restarting {
        if !force {
            let name = container.record.name;
            return Err(RemoveError::Running { name, status: container.state.status.name() });
        }
        client::kill_for_good(store, &container)?;
    }
    remove_files(store, &container, volumes || container.state.settings.host.auto_remove)?;
    if let Err(error) = store.empty_trash() {
        tracing::warn!(%error, "what was thrown away stays until the next collection");
    }
    Ok(())
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
