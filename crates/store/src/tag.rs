//! Tags: names that people give to images.

use std::time::SystemTime;

use lighter_image::{ImageId, Reference};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::disk;
use crate::error::{FileError, RecordError};
use crate::lease::Pin;
use crate::record;
use crate::staged::Staged;

const KIND: &str = "tag";

/// A name and the image that it names.
///
/// The reference has a tag or a digest, never both and never neither: `name@digest` is a name like
/// `name:tag`, and listings tell them apart by [`Reference::digest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagged {
    /// The name.
    pub reference: Reference,
    /// The image it names.
    pub image: ImageId,
    /// When it was given.
    #[serde(with = "record::time")]
    pub tagged_at: SystemTime,
}

/// Why an image did not get a name.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// There is no such image.
    #[error("No such image: {0}")]
    NoImage(ImageId),
    /// The record is damaged, or cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Store {
    /// Gives an image a name, durably, and returns the image that had it before.
    ///
    /// A reference without tag and digest gets the tag `latest`; of one with both the digest counts.
    ///
    /// # Errors
    /// [`TagError::NoImage`] where there is no such image.
    pub fn tag(
        &self,
        reference: &Reference,
        image: &ImageId,
        at: SystemTime,
    ) -> Result<Option<ImageId>, TagError> {
        let tagged = Tagged { reference: stored_form(reference), image: *image, tagged_at: at };
        let _inside = self.enter()?;
        self.lease()?.pin(Pin::Image(image))?;
        let before = self.readable_tag(&tagged.reference)?;
        let there = self.read_image(image)?.is_some();
        if there && before.is_some_and(|before| before.image == *image) {
            return Ok(Some(*image));
        }
        let staged = self.stage_tag(&tagged)?;
        staged.sync()?;
        let before = self.publish_tag(&tagged, staged)?;
        disk::sync_dir(&self.layout().top("tags"))?;
        Ok(before)
    }

    /// Gives a name to an image that is there, and returns the image that had it.
    pub(crate) fn publish_tag(&self, tagged: &Tagged, staged: Staged) -> Result<Option<ImageId>, TagError> {
        let _lock = self.update()?;
        if self.read_image(&tagged.image)?.is_none() {
            return Err(TagError::NoImage(tagged.image));
        }
        let before = self.readable_tag(&tagged.reference)?;
        staged.publish()?;
        Ok(before.map(|before| before.image))
    }

    /// Takes a name away, and returns the image that had it.
    ///
    /// # Errors
    /// When the record cannot be read or removed.
    pub fn untag(&self, reference: &Reference) -> Result<Option<ImageId>, RecordError> {
        let reference = stored_form(reference);
        let _inside = self.enter()?;
        let _lock = self.update()?;
        let before = self.readable_tag(&reference)?;
        disk::remove_file(&self.layout().tag(&reference))?;
        Ok(before.map(|before| before.image))
    }

    /// The image with this name.
    ///
    /// # Errors
    /// When the record is damaged or cannot be read.
    pub fn tagged(&self, reference: &Reference) -> Result<Option<Tagged>, RecordError> {
        self.read_tag(&stored_form(reference))
    }

    /// All names, sorted. Damaged records are left out, and reported by `check`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn tags(&self) -> Result<Vec<Tagged>, RecordError> {
        let mut tags = self.all_tags()?;
        // one that a killed removal left behind is no name any more
        tags.retain(|tag| self.layout().image(&tag.image).exists());
        tags.sort_unstable_by(|a, b| a.reference.cmp(&b.reference));
        Ok(tags)
    }

    /// All names, with those whose image is gone.
    pub(crate) fn all_tags(&self) -> Result<Vec<Tagged>, RecordError> {
        let top = self.layout().top("tags");
        let mut tags = Vec::new();
        for name in disk::names(&top)? {
            match record::read::<Tagged>(KIND, &top.join(name)) {
                Ok(tagged) => tags.extend(tagged),
                Err(error) if error.is_damage() => tracing::warn!(%error, "leaving out a tag"),
                Err(error) => return Err(error),
            }
        }
        Ok(tags)
    }

    /// The names of one image, sorted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn tags_of(&self, image: &ImageId) -> Result<Vec<Tagged>, RecordError> {
        let mut tags = self.tags()?;
        tags.retain(|tagged| tagged.image == *image);
        Ok(tags)
    }

    pub(crate) fn read_tag(&self, reference: &Reference) -> Result<Option<Tagged>, RecordError> {
        let path = self.layout().tag(reference);
        match record::read::<Tagged>(KIND, &path)? {
            Some(tagged) if tagged.reference != *reference => {
                Err(RecordError::Damaged { path, reason: "belongs to another name".to_owned() })
            }
            tagged => Ok(tagged),
        }
    }

    /// The tag, where a damaged one counts as none: it is about to be replaced.
    pub(crate) fn readable_tag(&self, reference: &Reference) -> Result<Option<Tagged>, RecordError> {
        match self.read_tag(reference) {
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "replacing a damaged record");
                Ok(None)
            }
            result => result,
        }
    }

    /// Writes the record without giving it its name.
    pub(crate) fn stage_tag(&self, tagged: &Tagged) -> Result<Staged, RecordError> {
        self.stage(KIND, &self.layout().tag(&tagged.reference), tagged)
    }
}

/// The form in which a reference is a key: with a tag or a digest.
pub(crate) fn stored_form(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest),
        None => reference.clone().with_default_tag(),
    }
}
