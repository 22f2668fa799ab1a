//! `container prune`: all containers that are down go.

use lighter_store::{ContainerId, Store};

use super::ground::{GroundError, sweep_grounds};
use super::list::{ContainerFilter, ContainerFilterError, list, sizes};
use super::remove::{RemoveFilesError, remove_idle};
use super::state::{FindError, Status};

/// Why containers were not removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneContainersError {
    /// They cannot be listed.
    #[error(transparent)]
    List(#[from] ContainerFilterError),
    /// What they stood on cannot be removed.
    #[error(transparent)]
    Ground(#[from] GroundError),
    /// The files of one cannot be removed.
    #[error(transparent)]
    Remove(#[from] RemoveFilesError),
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedContainers {
    /// Which.
    pub removed: Vec<ContainerId>,
    /// What they occupied.
    pub freed_bytes: u64,
}

/// Removes all containers that do not run and fit.
///
/// # Errors
/// [`PruneContainersError`].
pub fn prune_containers(
    store: &Store,
    filters: &[ContainerFilter],
) -> Result<PrunedContainers, PruneContainersError> {
    let mut pruned = PrunedContainers::default();
    let mut tell = |container: &ContainerId, error: &FindError| {
        tracing::warn!(container = container.short(), %error, "what is damaged stays: `rm -f` removes it");
    };
    for container in list(store, true, filters, &mut tell)? {
        if !matches!(container.state.status, Status::Created | Status::Exited | Status::Dead) {
            continue;
        }
        let (own, _) = sizes(store, &container).map_err(ContainerFilterError::from)?;
        if !remove_idle(store, &container)? {
            continue;
        }
        pruned.freed_bytes += own;
        pruned.removed.push(container.record.id);
    }
    sweep_grounds(store)?;
    Ok(pruned)
}
