//! Images that the store holds: listing, looking into, naming, removing.

mod filter;
mod history;
mod inspect;
mod list;
mod remove;
mod size;
mod stored;

pub use filter::{Filter, ParseFilterError, parse_time};
pub use history::{HistoryRow, history};
pub(crate) use inspect::NEVER;
pub use inspect::{ImageInspect, InspectError, inspect};
pub use list::{ImageSummary, ListError, list};
pub use remove::{RemoveImageError, Removed, UsedBy, remove};
pub use size::SizeError;
pub(crate) use size::content_bytes;
pub use stored::{LookError, StoredImage, look_up};

use std::time::SystemTime;

use lighter_image::{ParseReferenceError, Reference};
use lighter_store::{Store, TagError};

use crate::container::events::note_image;

/// Why an image got no further name.
#[derive(Debug, thiserror::Error)]
pub enum TagImageError {
    /// The new name is none.
    #[error(transparent)]
    Name(#[from] ParseReferenceError),
    /// The new name has a digest, which only a registry gives.
    #[error("refusing to create a tag with a digest reference: `{0}`")]
    Digest(String),
    /// There is no such image.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The name could not be stored.
    #[error(transparent)]
    Store(#[from] TagError),
}

/// Gives an image a further name.
///
/// # Errors
/// [`TagImageError`], where there is no such image, or the name is none.
pub fn tag(store: &Store, image: &str, name: &str, now: SystemTime) -> Result<Reference, TagImageError> {
    let reference: Reference = name.parse()?;
    if reference.digest().is_some() {
        return Err(TagImageError::Digest(name.to_owned()));
    }
    let reference = reference.with_default_tag();
    let stored = look_up(store, image)?;
    store.tag(&reference, &stored.record.id, now)?;
    note_image(store, "tag", &stored.record.id.to_string(), &reference.familiar());
    Ok(reference)
}
