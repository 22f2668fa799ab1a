//! `rename` and `update`: what may change of a container that is there.

use lighter_store::Store;

use super::client::{self, ClientError};
use super::events;
use super::limits::LimitsError;
use super::message::Request;
use super::names::NameError;
use super::settings::{ResourceLimits, RestartPolicy};
use super::state::{self, FindError, find};

/// Why a container was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It has that name already.
    #[error("Renaming a container with the same name as its current name")]
    SameName,
    /// There is no name.
    #[error("Neither old nor new names may be empty")]
    NoName,
    /// The name is taken, or none.
    #[error("Error when allocating new name: {0}")]
    Name(#[from] NameError),
    /// The limits make no sense with those that it has.
    #[error("Cannot update container {id}: {source}")]
    Limits {
        /// The container.
        id: String,
        /// Why.
        source: LimitsError,
    },
    /// The limits make no sense.
    #[error(transparent)]
    NoLimits(LimitsError),
    /// It removes itself when it ends, and cannot be started again by itself.
    #[error("restart policy cannot be updated because AutoRemove is enabled for the container")]
    AutoRemove,
    /// The running container does not take it.
    #[error(transparent)]
    Talk(#[from] ClientError),
}

/// Gives a container another name.
///
/// # Errors
/// [`ChangeError`], where there is none, or the name is taken.
pub fn rename(store: &Store, text: &str, name: &str) -> Result<(), ChangeError> {
    let container = find(store, text)?;
    let name = name.trim_start_matches('/');
    if container.record.name == name {
        return Err(ChangeError::SameName);
    }
    if name.is_empty() {
        return Err(ChangeError::NoName);
    }
    store.rename_container(&container.record.id, name).map_err(NameError::from)?;
    let mut renamed = container;
    let before = std::mem::replace(&mut renamed.record.name, name.to_owned());
    events::note(store, &renamed, "rename", &[("oldName", format!("/{before}"))]);
    Ok(())
}

/// Changes what a container may use, and how it is started again; what is not given stays.
///
/// # Errors
/// [`ChangeError`], where there is none, or the running container does not take it.
pub fn update(
    store: &Store,
    text: &str,
    limits: &ResourceLimits,
    restart: Option<RestartPolicy>,
) -> Result<(), ChangeError> {
    let container = find(store, text)?;
    if container.state.settings.host.auto_remove && restart.is_some_and(|policy| policy != RestartPolicy::No)
    {
        return Err(ChangeError::AutoRemove);
    }
    check_limits(&container.state.settings.host.limits, limits).map_err(|source| match source {
        LimitsError::MemoryAboveSwap => ChangeError::Limits { id: container.record.id.to_string(), source },
        other => ChangeError::NoLimits(other),
    })?;
    let state = state::change(store, &container.record.id, |state| {
        let host = &mut state.settings.host;
        host.limits.take_over(limits);
        host.restart = restart.unwrap_or(host.restart);
    })?;
    if state.is_running() {
        client::ask(store, &container, Request::Update)?;
    }
    events::note(store, &container, "update", &[]);
    Ok(())
}

/// Whether new limits make sense where a container has old ones.
fn check_limits(old: &ResourceLimits, new: &ResourceLimits) -> Result<(), LimitsError> {
    let twice = old.memory_bytes.and_then(|bytes| i64::try_from(bytes.saturating_mul(2)).ok());
    let swap = old.memory_swap_bytes.or(twice).unwrap_or_default();
    let memory = new.memory_bytes.and_then(|bytes| i64::try_from(bytes).ok());
    if memory.is_some_and(|memory| memory >= 6 << 20 && memory > swap) && new.memory_swap_bytes.is_none() {
        return Err(LimitsError::MemoryAboveSwap);
    }
    let mut both = old.clone();
    both.take_over(new);
    if new.nano_cpus.is_some() && (old.cpu_quota.is_some() || old.cpu_period.is_some()) {
        return Err(LimitsError::TwoWays("Quota"));
    }
    both.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_than_both_had_together() {
        let limits = |memory: u64, swap: Option<i64>| ResourceLimits {
            memory_bytes: Some(memory << 20),
            memory_swap_bytes: swap,
            ..ResourceLimits::default()
        };
        let none = ResourceLimits::default();
        assert_eq!(check_limits(&none, &limits(64, None)), Err(LimitsError::MemoryAboveSwap));
        assert_eq!(check_limits(&none, &limits(64, Some(-1))), Ok(()));
        assert_eq!(check_limits(&limits(64, None), &limits(100, None)), Ok(()));
        assert_eq!(check_limits(&limits(64, None), &limits(200, None)), Err(LimitsError::MemoryAboveSwap));
        assert_eq!(check_limits(&none, &limits(1, None)), Err(LimitsError::LittleMemory));
    }
}
