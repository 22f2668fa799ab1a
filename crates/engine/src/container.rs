//! Containers: made, started, watched, and taken away again, without a daemon.
//!
//! A container is a folder of the store: its record, its state, its log, and what it wrote. While it runs, a shim owns it
//! (`shim`); every other process learns what it needs from the state, which it can trust as long as the shim holds its
//! lock, and talks to the shim over a socket (`client`, `message`). Volumes and networks are here, too: they are nothing
//! without containers.

mod after_boot;
mod change;
mod client;
mod commit;
mod copy;
mod create;
pub(crate) mod events;
mod exec;
mod exec_ids;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ground;
mod inspect;
mod limits;
mod links;
mod list;
mod log_settings;
mod message;
mod mounts;
mod names;
mod network;
mod prune;
mod remove;
mod security;
mod settings;
mod shim;
mod signal;
mod state;
mod stats;
mod streams;
mod top;
mod volume;

pub use after_boot::{StartedAgain, start_again};
pub use change::{ChangeError, rename, update};
pub use client::{
    Attachment, ClientError, Feeder, attach, kill, pause, resize, restart, signal, start, start_by, stop,
    wait,
};
pub use commit::{CommitContainerError, CommitRequest, commit};
pub use copy::{CopyError, CopyFlags, copy_from_archive, copy_in, copy_out, copy_to_archive};
pub use create::{CreateError, CreateRequest, create};
pub use events::{Event, EventReader, ReadEventsError};
pub use exec::{Exec, ExecError, ExecHandle, ExecRequest, exec};
pub use files::{ReadFilesError, diff, export};
pub use ground::{GroundError, sweep_grounds};
pub use inspect::{inspect, network_mode, written_time};
pub use lighter_layer::{Change, ChangeKind};
pub use lighter_sandbox::cgroup::Flow;
pub use lighter_sandbox::network::{Binding, Publication, Subnet, Transport};
pub use lighter_sandbox::{Device, LONGEST_PROFILE_BYTES, Resource, Rlimit, is_namespaced_sysctl};
pub use lighter_store::{ContainerId, Volume};
pub use limits::LimitsError;
pub use links::{LinkError, remove_link};
pub use list::{ContainerFilter, ContainerFilterError, Ports, image_name, list, matcher, sizes};
pub use log_settings::{LogSettings, LogSettingsError};
pub use message::{Frame, Reply, Request};
pub use names::NameError;
pub use network::{
    AddressPool, NetworkError, NetworkRecord, NetworkRequest, NetworkRequestError, addresses_of,
    connect_network, create_network, disconnect_network, look_up as find_network, members, networks,
    remove_network,
};
pub use prune::{PruneContainersError, PrunedContainers, prune_containers};
pub use remove::{RemoveError, RemoveFilesError, remove};
pub use security::SecurityOptionError;
pub use settings::{
    ContainerMount, HostAddress, HostSettings, MountSource, NetworkChoice, NetworkWish,
    ParseRestartPolicyError, PathRate, ResourceLimits, RestartPolicy, Settings, Sharing,
};
pub use shim::{LogLine, LogReader, SpecError, Streams, WaitingShim, log_path, run_hidden_verb};
pub use state::{
    Container, Damaged, EndpointState, FindError, Health, HealthProbe, NetworkState, State, Status, all,
    find, neighbour,
};
pub use stats::{Measure, MeasureError, measure};
pub use top::{Processes, TopError, top};
pub use volume::{
    PrunedVolumes, UseVolumeError, VolumeInfo, create_volume, find_volume, prune_volumes, remove_volume,
    volumes,
};
