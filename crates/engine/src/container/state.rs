//! How a container is: what it does now, and how it ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lighter_sandbox::cgroup::Cgroup;
use lighter_sandbox::network::{Binding, Endpoint};
use lighter_store::{ContainerId, ContainerRecord, LayerError, LayerId, RecordError, Store, WaitError};
use serde::{Deserialize, Serialize};

use super::events;
use super::remove::{self, RemoveFilesError};
use super::settings::Settings;
use super::shim::copies;

/// What the engine keeps of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What it is to be.
    pub settings: Settings,
    /// What it does.
    pub status: Status,
    /// The number of its first process, while it runs.
    pub pid: i32,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    pub finished_at: Option<Timestamp>,
    /// The exit code of its last run.
    pub exit_code: i32,
    /// Why it could not be started.
    pub error: String,
    /// Whether it ran out of memory.
    pub oom_killed: bool,
    /// How often its restart policy started it.
    pub restart_count: u32,
    /// Whether somebody stopped it, so that its restart policy does not count.
    pub stopped_by_hand: bool,
    /// Its place in the network, while it runs.
    pub network: Option<NetworkState>,
    /// Its control group, where it has one.
    pub cgroup: Option<Cgroup>,
    /// Its health, where it is checked.
    pub health: Option<Health>,
}

impl State {
    /// A container that was never started.
    pub const fn created(settings: Settings) -> Self {
        Self {
            settings,
            status: Status::Created,
            pid: 0,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            restart_count: 0,
            stopped_by_hand: false,
            network: None,
            cgroup: None,
            health: None,
        }
    }

    /// Whether its processes are there.
    pub const fn is_running(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// What is not checked any more is not called healthy.
    pub(super) fn no_longer_healthy(&mut self) {
        if let Some(health) = &mut self.health {
            "unhealthy".clone_into(&mut health.status);
        }
    }
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was never started.
    Created,
    /// It runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It ended, and will be started again.
    Restarting,
    /// It ended.
    Exited,
    /// It could not be removed.
    Dead,
}

impl Status {
    /// Docker's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// A container's place in the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkState {
    /// Its places on networks, by their names.
    pub endpoints: BTreeMap<String, EndpointState>,
    /// What is published of it.
    pub bindings: Vec<Binding>,
    /// Where what a reboot clears is kept: its names among them.
    #[serde(default)]
    pub runtime: PathBuf,
}

/// A container's place on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointState {
    /// The network's id.
    pub network_id: String,
    /// Its link and addresses.
    pub endpoint: Endpoint,
    /// What others on the network may call it.
    pub aliases: Vec<String>,
    /// Whether this is its way to everywhere else.
    pub leads_out: bool,
    /// Whether it is so in IPv6.
    #[serde(default)]
    pub leads_out6: bool,
    /// Whether the network is cut off from everything else.
    #[serde(default)]
    pub internal: bool,
    /// Of several networks the one with the highest leads out.
    #[serde(default)]
    pub gateway_priority: i64,
}

/// A container's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last few checks, the oldest first.
    pub log: Vec<HealthProbe>,
}

/// One check of a container's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthProbe {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit code; -1 where it took too long.
    pub exit_code: i32,
    /// The start of what it wrote.
    pub output: String,
}

/// A container: what the store and the engine know of it.
#[derive(Debug, Clone)]
pub struct Container {
    /// What the store knows.
    pub record: ContainerRecord,
    /// How it is.
    pub state: State,
}

/// Why a container could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is none, or more than one.
    #[error(transparent)]
    Find(#[from] lighter_store::FindContainerError),
    /// Its record is damaged or cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A layer below its own was not durable when the machine stopped, and is not whole.
    #[error(
        "layer {layer} of container {container} was not on the disk when the machine stopped: \
         remove the container, and make it again from its image"
    )]
    Torn {
        /// The container.
        container: String,
        /// The layer.
        layer: LayerId,
    },
    /// What it changed is in a copy of its files, not in its own layer yet.
    #[error(
        "container {0} works on a copy of its files, as overlay file systems cannot be mounted here: what it changed is \
         known when it has stopped (start and stop it, if it was killed)"
    )]
    OnCopy(String),
    /// Its layers cannot be looked at.
    #[error(transparent)]
    Layer(#[from] Box<LayerError>),
    /// The right to change it could not be had.
    #[error(transparent)]
    Lock(#[from] WaitError),
    /// It ended unseen and was to be removed then, which cannot be done.
    #[error(transparent)]
    Remove(#[from] RemoveFilesError),
}

impl FindError {
    /// Whether there is simply no such container.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Find(lighter_store::FindContainerError::NotFound(_)))
    }
}

/// Finds a container by name, id, or the start of its id, and says how it truly is.
///
/// # Errors
/// [`FindError`], where there is none, or it is damaged.
pub fn find(store: &Store, text: &str) -> Result<Container, FindError> {
    let id = store.find_container(text)?;
    let missing = || lighter_store::FindContainerError::NotFound(text.to_owned());
    Ok(load(store, &id)?.ok_or_else(missing)?)
}

/// As [`find`], for those who use its files: what it stands on must have survived the last stop of the machine.
///
/// # Errors
/// [`FindError`], where there is none, or it is damaged.
pub(super) fn find_whole(store: &Store, text: &str) -> Result<Container, FindError> {
    let container = find(store, text)?;
    if let Some(layer) = store.first_unusable(&container.record.layers).map_err(Box::new)? {
        return Err(FindError::Torn { container: container.record.name, layer: layer.clone() });
    }
    Ok(container)
}

/// As [`find_whole`], for those who read or write what it changed.
///
/// # Errors
/// [`FindError`], also where that is not known yet.
pub(super) fn find_gathered(store: &Store, text: &str) -> Result<Container, FindError> {
    let container = find_whole(store, text)?;
    check_gathered(store, &container)?;
    Ok(container)
}

/// Whether a container's own layer holds all that it changed.
///
/// # Errors
/// [`FindError::OnCopy`], where it does not yet.
pub(super) fn check_gathered(store: &Store, container: &Container) -> Result<(), FindError> {
    if copies::are_in_use(&store.container_paths(&container.record.id).dir) {
        return Err(FindError::OnCopy(container.record.name.clone()));
    }
    Ok(())
}

/// All containers as they truly are, the youngest first.
///
/// # Errors
/// [`FindError`], where the store cannot be read.
pub fn all(store: &Store) -> Result<Vec<Container>, FindError> {
    let mut containers = Vec::new();
    for record in store.containers()? {
        containers.extend(load(store, &record.id)?);
    }
    containers.sort_by_key(|container| std::cmp::Reverse(container.record.created_at));
    Ok(containers)
}

/// Who is told of a container that cannot be looked at.
pub type Damaged<'a> = &'a mut dyn FnMut(&ContainerId, &FindError);

/// As [`all`], without those that are damaged: those are told of, by their id.
///
/// # Errors
/// [`FindError`], where the store cannot be read.
pub(super) fn sound(store: &Store, tell: Damaged<'_>) -> Result<Vec<Container>, FindError> {
    let mut containers = Vec::new();
    for id in store.container_ids().map_err(RecordError::from)? {
        match load(store, &id) {
            Ok(container) => containers.extend(container),
            Err(error @ FindError::Record(RecordError::Damaged { .. })) => tell(&id, &error),
            Err(error) => return Err(error),
        }
    }
    containers.sort_by_key(|container| std::cmp::Reverse(container.record.created_at));
    Ok(containers)
}

/// A process of a running container of this store, for an ordinary user: only from within its user namespace can that
/// container be reached. To be asked before one is entered.
pub fn neighbour(root: &Path) -> Option<i32> {
    let store = Store::open(root).ok()?;
    let running = |record: ContainerRecord| {
        let state = store.container_state::<State>(&record.id).ok().flatten()?;
        let lives = state.is_running() && Path::new(&format!("/proc/{}", state.pid)).exists();
        lives.then_some(state.pid)
    };
    store.containers().ok()?.into_iter().find_map(running)
}

/// Reads a container; where its shim died without a word, that is written down first.
pub(super) fn load(store: &Store, id: &ContainerId) -> Result<Option<Container>, FindError> {
    let Some(record) = store.container(id)? else { return Ok(None) };
    let Some(mut state) = store.container_state::<State>(id)? else { return Ok(None) };
    if matches!(state.status, Status::Created | Status::Exited | Status::Dead) || shim_is_alive(store, id) {
        return Ok(Some(Container { record, state }));
    }
    // the state may be older than the shim's last word
    let Some(now) = store.container_state::<State>(id)? else { return Ok(None) };
    state = now;
    if state.is_running() || state.status == Status::Restarting {
        if let Some(network) = &state.network {
            super::shim::forget_names(store, network);
        }
        state = change(store, id, |state| {
            if state.is_running() || state.status == Status::Restarting {
                ended_unseen(state);
            }
        })?;
        let container = Container { record, state };
        events::note(store, &container, "die", &[("exitCode", container.state.exit_code.to_string())]);
        if container.state.settings.host.auto_remove {
            // its shim would have done it
            remove::remove_files(store, &container, true)?;
            return Ok(None);
        }
        return Ok(Some(container));
    }
    Ok(Some(Container { record, state }))
}

/// What is known of a container whose shim was killed: its processes went with it.
fn ended_unseen(state: &mut State) {
    state.status = Status::Exited;
    state.pid = 0;
    state.exit_code = 137;
    state.network = None;
    state.no_longer_healthy();
    if let Some(cgroup) = state.cgroup.take()
        && let Err(error) = cgroup.remove()
    {
        tracing::debug!(%error, "a control group stays");
    }
    // nobody saw when; this is when it is known
    if state.finished_at.is_none_or(|finished| state.started_at.is_some_and(|started| started > finished)) {
        state.finished_at = Some(Timestamp::now());
    }
}

/// Changes a container's state under its lock.
///
/// # Errors
/// [`FindError`], where it cannot be read or written.
pub(super) fn change(
    store: &Store,
    id: &ContainerId,
    change: impl FnOnce(&mut State),
) -> Result<State, FindError> {
    let _lock = store.lock_container(id, &|| false)?;
    let missing = || lighter_store::FindContainerError::NotFound(id.to_string());
    let mut state = store.container_state::<State>(id)?.ok_or_else(missing)?;
    change(&mut state);
    store.write_container_state(id, &state)?;
    Ok(state)
}

/// What a shim holds a lock on as long as it lives: the folder of the container's own layer, which is there anyway.
pub(super) fn held_by_shim(store: &Store, id: &ContainerId) -> PathBuf {
    store.container_paths(id).upper
}

pub(super) fn shim_is_alive(store: &Store, id: &ContainerId) -> bool {
    let Ok(file) = File::open(held_by_shim(store, id)) else { return false };
    // a lock that can be had is nobody's; ours ends with `file`
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}
