//! From a plan to an image: keys, schedule, steps, records, explanations.
//!
//! [`build()`] takes a plan and all that it is made from, and gives the layers and the configuration of the image. What
//! must come from elsewhere comes through [`Fetch`]; what is to be told goes to one [`event::Sink`]. It never reads a
//! clock that matters, the environment, or the network.

mod ahead;
mod build;
mod cancel;
mod cutoff;
mod digests;
mod error;
pub mod event;
pub mod explain;
pub mod fetch;
mod inputs;
mod kept;
pub mod key;
mod keyed;
mod op;
pub mod plain;
mod record;
mod schedule;
mod shared;
mod site;
mod snapshot;
mod solve;
mod trees;
mod why;

pub use build::{Built, BuiltLayer, BuiltStep, build};
pub use cancel::{CancelToken, Guard};
pub use error::{BuildError, StepError, StepFailure, StoreError};
pub use event::{Event, EventKind, Finish, Reporter, Sink, Stream, Vertex, Warning, Work};
pub use explain::{CONTENT_PREFIX, Change, Explanation, Part, PartKind, Reason, What};
pub use fetch::{Fetch, FetchError, FetchedTree, HttpFile};
pub use inputs::{
    Attach, CacheRules, ContextFiles, ImageInput, Inputs, Limits, OnError, RunSettings, Secret, Show,
};
pub use kept::{KeptMount, KeptRoot, KeptSource};
pub use lighter_sandbox::Window;
pub use op::mounts::Mounted;
pub use op::user::{Accounts, UserError};
pub use record::compare_keys;
pub use shared::{SharedCache, SharedRecord, SharedStep};
