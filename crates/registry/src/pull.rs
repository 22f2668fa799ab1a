//! The pull side: from a name to verified bytes.

mod blob;
mod choose;
mod manifest;
mod resolve;

#[cfg(feature = "fuzzing")]
pub(crate) use blob::read_content_range;
pub use blob::{BlobReader, FetchError};
pub use choose::choose;
pub use manifest::{RawManifest, ResolveError};
pub use resolve::{Resolved, check_layers};
