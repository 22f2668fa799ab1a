//! The store on disk: blobs, layers, images, tags, step records, containers, leases, collection.
//!
//! Plain files, no data base: what is named by its content is written beside and renamed into place, what
//! changes is one small record per thing, replaced by rename, and what only one process may do is guarded
//! by `flock`. There is no daemon; any number of processes use one store at once. `docs/store-format.md`
//! describes every file.
//!
//! # Invariants
//! - A name appears only when what it names is whole: everything is built in `scratch/` and renamed.
//! - A record never names what is neither durable nor marked with the boot it was made in.
//! - Whatever a living process relies on is pinned by its lease; the collector honours pins.
//! - Opening costs one read of one small file, whatever the store holds.

mod batch;
mod blob;
mod check;
mod collect;
mod container;
mod disk;
mod error;
pub mod failpoint;
mod flight;
mod history;
mod id;
mod image;
mod known;
mod layer;
mod layout;
mod lease;
mod lock;
mod mark;
mod mount;
mod open;
mod partial;
mod prune;
mod record;
mod resolve;
mod staged;
mod step;
mod tag;
mod trash;
mod usage;
mod verify;
mod volume;

pub use batch::{Batch, CommitError, Committed};
pub use blob::{BlobWriter, Expected, PutBlobError, ReadBlobError};
pub use check::{Problem, Remedy, Report};
pub use collect::{CollectError, Freed};
pub use container::{ContainerLock, ContainerPaths, ContainerRecord, FindContainerError, NameContainerError};
pub use disk::{WHOLE_BYTES, read_whole};
pub use error::{FileError, ReadWholeError, RecordError};
pub use flight::Flight;
pub use history::{BuildDir, FindBuildError};
pub use id::{BuildId, ContainerId, LayerId, ParseIdError};
pub use image::{ImageRecord, RemovedImage};
pub use known::KnownLayer;
pub use layer::{Clamped, LayerError, LayerMeta, NewLayer, Scratch};
pub use lock::WaitError;
pub use mount::{CacheMount, CacheMountEntry, MountError, Sharing};
pub use open::{OpenError, Store};
pub use partial::PartialBlob;
pub use prune::PruneSteps;
pub use resolve::{ResolveError, Resolved, ResolvedBy};
pub use step::{StepInput, StepLayer, StepRecord, StepUse};
pub use tag::{TagError, Tagged};
pub use usage::{ContainerUsage, ImageUsage, StepUsage, Usage, VolumeUsage};
pub use verify::{Verdict, VerifyError};
pub use volume::{Volume, VolumeError};
