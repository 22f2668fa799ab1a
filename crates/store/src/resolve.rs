//! From what people write to an image.

use lighter_image::{Digest, ImageId, Reference};

use crate::Store;
use crate::error::{FileError, RecordError};
use crate::lease::Pin;

/// Why a text leads to no image.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No image has this name or id.
    #[error("No such image: {}", with_tag(.0))]
    NotFound(String),
    /// More than one id begins with it.
    #[error("image id `{0}` is ambiguous: {count} images begin with it", count = .1.len())]
    Ambiguous(String, Vec<ImageId>),
    /// The store cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A name with the tag that it stands for, as Docker tells it.
fn with_tag(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |name: Reference| name.with_default_tag().familiar())
}

/// An image that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The image.
    pub image: ImageId,
    /// What led to it.
    pub by: ResolvedBy,
}

/// What led to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedBy {
    /// A name, in the form in which the store has it.
    Name(Reference),
    /// The id, whole or its beginning.
    Id,
}

impl Store {
    /// Finds the image that a text names: `name`, `name:tag`, `name@digest`, an id, or the beginning of an
    /// id. A name goes before an id, as in Docker. The image is kept until this process ends.
    ///
    /// # Errors
    /// [`ResolveError::NotFound`], and [`ResolveError::Ambiguous`] for a beginning that several ids have.
    pub fn resolve(&self, text: &str) -> Result<Resolved, ResolveError> {
        if let Ok(digest) = text.parse::<Digest>().or_else(|_| Digest::from_hex(text)) {
            return self.resolved(text, &ImageId(digest), ResolvedBy::Id);
        }
        if let Ok(reference) = text.parse::<Reference>()
            && let Some(tagged) = self.tagged(&reference)?
        {
            return self.resolved(text, &tagged.image, ResolvedBy::Name(tagged.reference));
        }
        let start = text.strip_prefix("sha256:").unwrap_or(text);
        if start.is_empty() || !start.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ResolveError::NotFound(text.to_owned()));
        }
        let mut matches = self.image_ids()?;
        matches.retain(|id| id.0.hex().starts_with(start));
        match matches[..] {
            [] => Err(ResolveError::NotFound(text.to_owned())),
            [id] => self.resolved(text, &id, ResolvedBy::Id),
            _ => Err(ResolveError::Ambiguous(text.to_owned(), matches)),
        }
    }

    fn resolved(&self, text: &str, id: &ImageId, by: ResolvedBy) -> Result<Resolved, ResolveError> {
        let there = self.look_up(&[Pin::Image(id)], || {
            let path = self.layout().image(id);
            Ok::<bool, FileError>(path.exists())
        })?;
        if there { Ok(Resolved { image: *id, by }) } else { Err(ResolveError::NotFound(text.to_owned())) }
    }
}
