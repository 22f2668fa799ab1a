//! The durable end of a piece of work: blobs, images and tags, synced together.
//!
//! Nothing is synced while work goes on. At its end everything is written, then everything is synced; then
//! blobs and images get their names, and the directories are synced; and only then do the tags. A crash in
//! between leaves what was there before.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lighter_image::{DiffId, Digest, ImageId, Reference};

use crate::Store;
use crate::blob::PutBlobError;
use crate::disk;
use crate::error::{At as _, FileError, RecordError, if_there};
use crate::image::ImageRecord;
use crate::lease::Pin;
use crate::staged::Staged;
use crate::tag::{TagError, Tagged, stored_form};

/// How often a batch is tried whose images others remove meanwhile.
const ATTEMPTS: usize = 16;

/// What is to become durable together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    blobs: Vec<Vec<u8>>,
    images: Vec<ImageRecord>,
    tags: Vec<Tagged>,
}

/// What a commit changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The names that belonged to another image before, and to which.
    pub replaced: Vec<(Reference, ImageId)>,
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// An image names a blob that the store does not have.
    #[error("image {image} needs blob {blob}, which is not in the store")]
    MissingBlob {
        /// The image.
        image: ImageId,
        /// The blob.
        blob: Digest,
    },
    /// An image names a layer that the store knows nothing of.
    #[error("image {image} needs layer {layer}, which the store does not know")]
    MissingLayer {
        /// The image.
        image: ImageId,
        /// The layer.
        layer: DiffId,
    },
    /// A name is for an image that neither the batch nor the store has.
    #[error("No such image: {0}")]
    NoImage(ImageId),
    /// A blob could not be written.
    #[error(transparent)]
    Blob(#[from] PutBlobError),
    /// A record is damaged, or cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a small blob, and returns its digest.
    pub fn blob(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.blobs.push(bytes);
        digest
    }

    /// Adds an image. The blobs that it needs, its layers' too, become durable with it.
    pub fn image(&mut self, image: ImageRecord) -> &mut Self {
        self.images.push(image);
        self
    }

    /// Adds a name for an image.
    pub fn tag(&mut self, reference: &Reference, image: ImageId, at: SystemTime) -> &mut Self {
        self.tags.push(Tagged { reference: stored_form(reference), image, tagged_at: at });
        self
    }
}

/// A blob on its way from `pending/` to where durable ones are.
struct Moving {
    file: File,
    from: PathBuf,
    to: PathBuf,
}

impl Store {
    /// Makes a batch durable. What is there already costs no sync.
    ///
    /// # Errors
    /// When an image needs something that the store does not have, or something cannot be written. Nothing
    /// that was there before is lost then.
    pub fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        for _ in 0..ATTEMPTS {
            match self.commit_once(batch.clone()) {
                // another process has removed the same image between our look and our naming it
                Err(CommitError::NoImage(image)) if batch.images.iter().any(|own| own.id == image) => {}
                result => return result,
            }
        }
        self.commit_once(batch)
    }

    fn commit_once(&self, batch: Batch) -> Result<Committed, CommitError> {
        let Batch { blobs, images, tags } = batch;
        let mut needed = BTreeSet::new();
        for bytes in blobs {
            needed.insert(self.put_blob_bytes(&bytes)?);
        }
        let _inside = self.enter()?;
        let images = self.changed_images(images, &mut needed)?;
        let tags = self.changed_tags(tags, &images)?;
        // all is written: one wait for the disk does for all contents, one for their names, one for the tags
        let moving = self.moving(&needed)?;
        let known = self.known_records(images.iter().flat_map(|(image, _)| &image.layers))?;
        moving.iter().try_for_each(|blob| disk::sync_file(&blob.file, &blob.from))?;
        known.iter().try_for_each(|(file, path)| disk::sync_file(file, path))?;
        images.iter().try_for_each(|(_, staged)| staged.sync())?;
        tags.iter().try_for_each(|(_, staged)| staged.sync())?;
        let mut directories = BTreeSet::new();
        for path in known.iter().map(|(_, path)| path.as_path()) {
            directories.extend(path.ancestors().skip(1).take(2).map(Path::to_owned));
        }
        for blob in &moving {
            // another process may have moved the same blob meanwhile
            if_there(self.replace(&blob.from, &blob.to))?;
            directories.extend(blob.to.ancestors().skip(1).take(2).map(Path::to_owned));
        }
        if !images.is_empty() {
            self.publish_images(images)?;
            directories.insert(self.layout().top("images"));
        }
        directories.iter().try_for_each(|directory| disk::sync_dir(directory))?;
        self.publish_tags(tags)
    }

    /// The images that are new or change, written but without their names, and the blobs that they need.
    fn changed_images(
        &self,
        images: Vec<ImageRecord>,
        needed: &mut BTreeSet<Digest>,
    ) -> Result<Vec<(ImageRecord, Staged)>, CommitError> {
        let mut changed = Vec::new();
        for image in images {
            self.lease()?.pin(Pin::Image(&image.id))?;
            let blobs = self.needs(&image)?;
            if let Some(merged) = self.merged_image(&image)? {
                needed.extend(blobs);
                let staged = self.stage_image(&merged)?;
                changed.push((merged, staged));
            }
        }
        Ok(changed)
    }

    /// The names that are new or move, written but without effect.
    fn changed_tags(
        &self,
        tags: Vec<Tagged>,
        images: &[(ImageRecord, Staged)],
    ) -> Result<Vec<(Tagged, Staged)>, CommitError> {
        let mut changed = Vec::new();
        for tagged in tags {
            let coming = images.iter().any(|(image, _)| image.id == tagged.image);
            if !coming && self.read_image(&tagged.image)?.is_none() {
                return Err(CommitError::NoImage(tagged.image));
            }
            let before = self.readable_tag(&tagged.reference)?;
            if before.is_none_or(|before| before.image != tagged.image) {
                let staged = self.stage_tag(&tagged)?;
                changed.push((tagged, staged));
            }
        }
        Ok(changed)
    }

    /// The blobs of an image that the store has, after a look whether all is there that must be.
    fn needs(&self, image: &ImageRecord) -> Result<Vec<Digest>, CommitError> {
        let config = [image.id.0];
        let named = config.into_iter().chain(image.manifests.iter().map(|manifest| manifest.digest));
        let mut blobs = Vec::new();
        for blob in named {
            if !self.has_blob(&blob)? {
                return Err(CommitError::MissingBlob { image: image.id, blob });
            }
            blobs.push(blob);
        }
        for layer in &image.layers {
            let missing = CommitError::MissingLayer { image: image.id, layer: *layer };
            let known = self.known_layer(layer)?.ok_or(missing)?;
            for blob in &known.blobs {
                if self.has_blob(&blob.digest)? {
                    blobs.push(blob.digest);
                }
            }
        }
        Ok(blobs)
    }

    /// Those of the blobs that are pending.
    fn moving(&self, blobs: &BTreeSet<Digest>) -> Result<Vec<Moving>, FileError> {
        let mut moving = Vec::new();
        for digest in blobs {
            let from = self.pending_blob(digest);
            if let Some(file) = if_there(File::open(&from).at("opening", &from))? {
                moving.push(Moving { file, from, to: self.layout().blob(digest) });
            }
        }
        Ok(moving)
    }

    /// The records of layers, which are not synced when they are written. Syncing one that is durable
    /// already costs nothing.
    fn known_records<'a>(
        &self,
        layers: impl Iterator<Item = &'a DiffId>,
    ) -> Result<Vec<(File, PathBuf)>, FileError> {
        let mut records = Vec::new();
        for layer in layers {
            let path = self.layout().diff(layer);
            if let Some(file) = if_there(File::open(&path).at("opening", &path))? {
                records.push((file, path));
            }
        }
        Ok(records)
    }

    fn publish_images(&self, images: Vec<(ImageRecord, Staged)>) -> Result<(), CommitError> {
        let _lock = self.update()?;
        for (image, staged) in images {
            // looked at again: another process may have changed it before we held the lock
            match self.merged_image(&image)? {
                Some(merged) if merged == image => staged.publish()?,
                Some(merged) => {
                    let staged = self.stage_image(&merged)?;
                    staged.sync()?;
                    staged.publish()?;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn publish_tags(&self, tags: Vec<(Tagged, Staged)>) -> Result<Committed, CommitError> {
        let mut committed = Committed::default();
        let changed = !tags.is_empty();
        for (tagged, staged) in tags {
            let before = self.publish_tag(&tagged, staged).map_err(|error| match error {
                TagError::NoImage(image) => CommitError::NoImage(image),
                TagError::Record(error) => error.into(),
                TagError::File(error) => error.into(),
            })?;
            committed.replaced.extend(before.map(|before| (tagged.reference, before)));
        }
        if changed {
            disk::sync_dir(&self.layout().top("tags"))?;
        }
        Ok(committed)
    }
}
