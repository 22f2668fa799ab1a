//! What is needed, and by whom: the first half of a collection, and the ground of all sizes.

use std::collections::HashSet;

use lighter_image::{DiffId, Digest};

use crate::Store;
use crate::container::ContainerRecord;
use crate::error::{FileError, RecordError};
use crate::id::LayerId;
use crate::image::ImageRecord;
use crate::lease::Pins;
use crate::step::{StepLayer, StepRecord};

/// A set of layers and blobs that something needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needed {
    pub(crate) layers: HashSet<LayerId>,
    pub(crate) diffs: HashSet<DiffId>,
    pub(crate) blobs: HashSet<Digest>,
}

impl Needed {
    pub(crate) fn add(&mut self, other: &Self) {
        self.layers.extend(other.layers.iter().cloned());
        self.diffs.extend(&other.diffs);
        self.blobs.extend(&other.blobs);
    }

    /// Adds what an image names; [`Store::close_over`] adds what follows from that.
    pub(crate) fn add_image(&mut self, image: &ImageRecord) {
        self.blobs.insert(image.id.0);
        self.blobs.extend(image.manifests.iter().map(|manifest| manifest.digest));
        self.diffs.extend(&image.layers);
    }

    pub(crate) fn add_step_layers(&mut self, layers: &[StepLayer]) {
        self.layers.extend(layers.iter().filter_map(|layer| layer.layer.clone()));
        self.diffs.extend(layers.iter().filter_map(|layer| layer.diff_id));
    }

    /// Whether some of the layers of a step are in the set.
    pub(crate) fn has_some_of(&self, step: &StepRecord) -> bool {
        step.layers.iter().any(|layer| {
            layer.layer.as_ref().is_some_and(|id| self.layers.contains(id))
                || layer.diff_id.is_some_and(|diff_id| self.diffs.contains(&diff_id))
        })
    }

    pub(crate) fn add_pins(&mut self, pins: &Pins) {
        self.layers.extend(pins.layers.iter().cloned());
        self.diffs.extend(&pins.diffs);
        self.blobs.extend(&pins.blobs);
    }
}

impl Store {
    /// What images need. A damaged record stops it: whatever that image needs must not be taken for garbage.
    pub(crate) fn needed_by_images(&self) -> Result<Needed, RecordError> {
        let mut needed = Needed::default();
        for id in self.image_ids()? {
            if let Some(image) = self.read_image(&id)? {
                needed.add_image(&image);
            }
        }
        self.close_over(&mut needed)?;
        Ok(needed)
    }

    /// What containers need, and what builds keep for a look at their failure.
    pub(crate) fn needed_by_containers(&self) -> Result<Needed, RecordError> {
        let mut needed = Needed::default();
        for id in self.container_ids()? {
            match self.container(&id) {
                Ok(container) => {
                    needed.layers.extend(container.iter().flat_map(ContainerRecord::all_layers).cloned());
                }
                // it cannot be started any more, and nothing can tell what it stood on
                Err(error) if error.is_damage() => tracing::warn!(%error, "a container needs nothing"),
                Err(error) => return Err(error),
            }
        }
        for id in self.builds()? {
            match self.kept_by_build(&id) {
                Err(error) if error.is_damage() => tracing::warn!(%error, "a build keeps nothing"),
                kept => needed.layers.extend(kept?),
            }
        }
        self.close_over(&mut needed)?;
        Ok(needed)
    }

    /// Adds to a set what its members need in turn: a diff id its layer and blobs, a layer its diff id and the layer
    /// that it stands on.
    pub(crate) fn close_over(&self, needed: &mut Needed) -> Result<(), FileError> {
        self.add_what_layers_need(needed)?;
        for diff_id in &needed.diffs {
            match self.read_known(diff_id) {
                Ok(Some(known)) => {
                    needed.layers.extend(known.layer);
                    needed.blobs.extend(known.blobs.iter().map(|blob| blob.digest));
                }
                Ok(None) => {}
                Err(RecordError::File(error)) => return Err(error),
                // its layers are found by `check`, which makes the record anew
                Err(error) => tracing::warn!(%error, "the record of a diff id is lost"),
            }
        }
        self.add_what_layers_need(needed)
    }

    fn add_what_layers_need(&self, needed: &mut Needed) -> Result<(), FileError> {
        let mut waiting: Vec<LayerId> = needed.layers.iter().cloned().collect();
        while let Some(layer) = waiting.pop() {
            let meta = match self.layer_meta(&layer) {
                Ok(Some(meta)) => meta,
                Ok(None) => continue,
                Err(RecordError::File(error)) => return Err(error),
                // it is dropped as soon as somebody wants it
                Err(error) => {
                    tracing::warn!(%error, "a layer has lost its record");
                    continue;
                }
            };
            needed.diffs.extend(meta.diff_id);
            if let Some(base) = meta.base
                && needed.layers.insert(base.clone())
            {
                waiting.push(base);
            }
        }
        Ok(())
    }
}
