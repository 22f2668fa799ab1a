//! Images: one record for each.

use std::collections::BTreeMap;
use std::time::SystemTime;

use lighter_image::{Descriptor, DiffId, ImageId, Reference};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::disk;
use crate::error::RecordError;
use crate::lease::Pin;
use crate::record;
use crate::staged::Staged;

const KIND: &str = "image";

/// An image that the store has.
///
/// Its configuration is the blob that its id names. Its layers are known to the store
/// ([`Store::known_layer`]), whether or not their bytes are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The digest of the configuration.
    pub id: ImageId,
    /// The layers, bottom first.
    pub layers: Vec<DiffId>,
    /// The manifests and indexes that it was received or made with, which the store has as blobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Descriptor>,
    /// What is noted in the manifests that are made for it, by level and key, as `manifest:org.example.key`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When it came into the store.
    #[serde(with = "record::time")]
    pub stored_at: SystemTime,
}

impl ImageRecord {
    /// An image that was made here, of which nothing else is known.
    pub fn new(id: ImageId, layers: Vec<DiffId>, stored_at: SystemTime) -> Self {
        Self { id, layers, manifests: Vec::new(), annotations: BTreeMap::new(), stored_at }
    }
}

/// What went away with an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedImage {
    /// The image.
    pub image: ImageRecord,
    /// The names it had.
    pub references: Vec<Reference>,
}

impl Store {
    /// An image by its id; if it is there, it is kept until this process ends.
    ///
    /// # Errors
    /// When the record is damaged or cannot be read.
    pub fn image(&self, id: &ImageId) -> Result<Option<ImageRecord>, RecordError> {
        self.look_up(&[Pin::Image(id)], || self.read_image(id))
    }

    /// All images, in no particular order. Damaged records are left out, and reported by `check`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn images(&self) -> Result<Vec<ImageRecord>, RecordError> {
        let mut images = Vec::new();
        for id in self.image_ids()? {
            match self.read_image(&id) {
                Ok(image) => images.extend(image),
                Err(error) if error.is_damage() => tracing::warn!(%error, "leaving out an image"),
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }

    /// Removes an image and all its names. Its layers and blobs go with the next collection, unless
    /// something else needs them.
    ///
    /// # Errors
    /// When a record cannot be read or removed.
    pub fn remove_image(&self, id: &ImageId) -> Result<Option<RemovedImage>, RecordError> {
        let _inside = self.enter()?;
        let _lock = self.update()?;
        let references = self.tags_of(id)?.into_iter().map(|tagged| tagged.reference).collect();
        self.throw_image_away(id, references)
    }

    /// Removes an image and its names, if these are all that it has. One that has got another name meanwhile
    /// loses these alone.
    ///
    /// # Errors
    /// When a record cannot be read or removed.
    pub fn remove_image_with(
        &self,
        id: &ImageId,
        names: &[Reference],
    ) -> Result<Option<RemovedImage>, RecordError> {
        let _inside = self.enter()?;
        let _lock = self.update()?;
        let references: Vec<_> = self.tags_of(id)?.into_iter().map(|tagged| tagged.reference).collect();
        if references.iter().all(|reference| names.contains(reference)) {
            return self.throw_image_away(id, references);
        }
        for reference in references.iter().filter(|reference| names.contains(reference)) {
            self.throw_away(&self.layout().tag(reference))?;
        }
        Ok(None)
    }

    fn throw_image_away(
        &self,
        id: &ImageId,
        references: Vec<Reference>,
    ) -> Result<Option<RemovedImage>, RecordError> {
        let Some(image) = self.read_image(id)? else { return Ok(None) };
        // the image first: names without an image are nobody's, an image without names would be listed
        self.throw_away(&self.layout().image(id))?;
        for reference in &references {
            self.throw_away(&self.layout().tag(reference))?;
        }
        Ok(Some(RemovedImage { image, references }))
    }

    pub(crate) fn image_ids(&self) -> Result<Vec<ImageId>, RecordError> {
        let names = disk::names(&self.layout().top("images"))?;
        Ok(names.iter().filter_map(|name| lighter_image::Digest::from_hex(name).ok()).map(ImageId).collect())
    }

    pub(crate) fn read_image(&self, id: &ImageId) -> Result<Option<ImageRecord>, RecordError> {
        let path = self.layout().image(id);
        match record::read::<ImageRecord>(KIND, &path)? {
            Some(image) if image.id != *id => {
                Err(RecordError::Damaged { path, reason: "belongs to another image".to_owned() })
            }
            image => Ok(image),
        }
    }

    /// What an image becomes when this record is added to what is there; `None` where nothing changes.
    pub(crate) fn merged_image(&self, new: &ImageRecord) -> Result<Option<ImageRecord>, RecordError> {
        let before = match self.read_image(&new.id) {
            Err(error) if error.is_damage() => None,
            result => result?,
        };
        let Some(before) = before else { return Ok(Some(new.clone())) };
        let mut merged = before.clone();
        for manifest in &new.manifests {
            if !merged.manifests.iter().any(|known| known.digest == manifest.digest) {
                merged.manifests.push(manifest.clone());
            }
        }
        // one that was received says nothing of what was noted here
        if new.manifests.is_empty() {
            merged.annotations.clone_from(&new.annotations);
        }
        Ok((merged != before).then_some(merged))
    }

    /// Writes the record without giving it its name.
    pub(crate) fn stage_image(&self, image: &ImageRecord) -> Result<Staged, RecordError> {
        self.stage(KIND, &self.layout().image(&image.id), image)
    }
}
