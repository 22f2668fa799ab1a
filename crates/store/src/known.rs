//! Layers by diff id: what the store knows of a layer, whether or not its bytes are here.

use lighter_image::{Descriptor, DiffId, Digest, Reference};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::RecordError;
use crate::id::LayerId;
use crate::lease::Pin;
use crate::record;

const KIND: &str = "diff";

/// A layer that some image or step names by its diff id.
///
/// With `layer` it is here, unpacked. Without, it can be had: from a blob of `blobs` that the store has, or
/// from a registry that `sources` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownLayer {
    /// The digest of the layer's uncompressed tar.
    pub diff_id: DiffId,
    /// The unpacked layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerId>,
    /// The size of the uncompressed tar, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The sizes of its regular files together, in bytes, as listings show them; filled in by whoever first counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_bytes: Option<u64>,
    /// The forms in which it was received, or sent: layer blobs that the store may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Descriptor>,
    /// The latest time in the tar, in seconds since 1970: later ones are set to it when the layer is packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp_mtime_seconds: Option<i64>,
    /// The repositories it was received from or sent to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Reference>,
}

impl KnownLayer {
    /// A layer of which nothing but its name is known.
    pub fn new(diff_id: DiffId) -> Self {
        Self {
            diff_id,
            layer: None,
            size_bytes: None,
            content_bytes: None,
            blobs: Vec::new(),
            clamp_mtime_seconds: None,
            sources: Vec::new(),
        }
    }

    /// Adds what `other` knows. An unpacked layer that is there stays.
    fn merge(&mut self, other: &Self) {
        if self.layer.is_none() {
            self.layer.clone_from(&other.layer);
            self.clamp_mtime_seconds = other.clamp_mtime_seconds.or(self.clamp_mtime_seconds);
        }
        self.size_bytes = self.size_bytes.or(other.size_bytes);
        self.content_bytes = self.content_bytes.or(other.content_bytes);
        for blob in &other.blobs {
            if !self.blobs.iter().any(|known| known.digest == blob.digest) {
                self.blobs.push(blob.clone());
            }
        }
        for source in &other.sources {
            if !self.sources.contains(source) {
                self.sources.push(source.clone());
            }
        }
    }
}

impl Store {
    /// What the store knows of a layer; if anything, it is kept until this process ends.
    ///
    /// # Errors
    /// When the record is damaged or cannot be read.
    pub fn known_layer(&self, diff_id: &DiffId) -> Result<Option<KnownLayer>, RecordError> {
        self.look_up(&[Pin::Diff(diff_id)], || self.read_known(diff_id))
    }

    /// Remembers a layer, adding to what is known of it already.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn know_layer(&self, known: &KnownLayer) -> Result<(), RecordError> {
        let _inside = self.enter()?;
        self.lease()?.pin(Pin::Diff(&known.diff_id))?;
        let _lock = self.update()?;
        self.merge_known(known).map(drop)
    }

    /// Forgets that a blob is a form of a layer: it was had, and unpacked to something else.
    ///
    /// # Errors
    /// When the record is damaged, or cannot be read or written.
    pub fn forget_blob(&self, diff_id: &DiffId, blob: &Digest) -> Result<(), RecordError> {
        let _inside = self.enter()?;
        let _lock = self.update()?;
        if let Some(mut known) = self.read_known(diff_id)?
            && known.blobs.iter().any(|known| known.digest == *blob)
        {
            known.blobs.retain(|known| known.digest != *blob);
            self.write_known(&known)?;
        }
        Ok(())
    }

    pub(crate) fn read_known(&self, diff_id: &DiffId) -> Result<Option<KnownLayer>, RecordError> {
        record::read(KIND, &self.layout().diff(diff_id))
    }

    pub(crate) fn write_known(&self, known: &KnownLayer) -> Result<(), RecordError> {
        self.write_record(KIND, &self.layout().diff(&known.diff_id), known)
    }

    /// Adds to what is known; the caller holds the update lock. A damaged record is made anew.
    pub(crate) fn merge_known(&self, known: &KnownLayer) -> Result<KnownLayer, RecordError> {
        let before = match self.read_known(&known.diff_id) {
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "replacing a damaged record");
                None
            }
            result => result?,
        };
        let mut merged = before.clone().unwrap_or_else(|| KnownLayer::new(known.diff_id));
        if let Some(layer) = &merged.layer
            && !self.stands(layer, known.layer.is_some())?
        {
            merged.layer = None;
        }
        merged.merge(known);
        if before.as_ref() != Some(&merged) {
            self.write_known(&merged)?;
        }
        Ok(merged)
    }

    /// Whether a layer goes on standing for its diff id. One that another boot wrote and nobody verified does not,
    /// where there is a new one for its place.
    fn stands(&self, layer: &LayerId, has_other: bool) -> Result<bool, RecordError> {
        let there = self.has_layer_dirs(layer);
        if !there || !has_other {
            return Ok(there);
        }
        match self.layer_meta(layer) {
            Err(error) if error.is_damage() => Ok(false),
            meta => Ok(meta?.is_some_and(|meta| self.is_of_this_boot(&meta))),
        }
    }
}
