//! A cache in a registry: records under tags of their own, or an image that carries the keys of its layers.

use std::path::Path;
use std::sync::OnceLock;

use lighter_build::SharedStep;
use lighter_image::{
    Descriptor, Digest, Document, Hasher, ImageConfig, Manifest, Platform, Reference, parse_document,
};
use lighter_registry::{Client, ignore_events};
use lighter_store::Store;

use super::inline::{self, Entry};
use super::{ARTIFACT, SharedError, know, mounts, record_of};

/// The largest record that is read.
const RECORD_LIMIT_BYTES: u64 = 1 << 20;

/// A repository that steps are looked up in.
pub(super) struct Repository {
    reference: Reference,
    inline: OnceLock<Option<Vec<(Entry, Descriptor)>>>,
}

/// The tag of a step's record.
pub(super) fn tag_of(key: &Digest) -> String {
    format!("step-{}", key.hex())
}

impl Repository {
    pub(super) fn new(name: &str) -> Result<Self, SharedError> {
        let reference: Reference =
            name.parse().map_err(|error| SharedError::Location(format!("--cache-from {name}: {error}")))?;
        Ok(Self { reference: reference.with_default_tag(), inline: OnceLock::new() })
    }

    /// Looks whether there is a cache at all: whether the name leads to one.
    pub(super) fn open(&self, client: &Client) -> Result<bool, SharedError> {
        Ok(self.inline(client)?.is_some())
    }

    /// Fills a cache mount with what is kept of it here.
    pub(super) fn fill_mount(&self, client: &Client, id: &str, into: &Path) -> Result<bool, SharedError> {
        let tagged = self.reference.with_tag(&mounts::name_of(id));
        let tagged = tagged.map_err(|error| SharedError::Location(error.to_string()))?;
        let raw = match client.manifest(&tagged) {
            Ok(raw) => raw,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(Box::new(error).into()),
        };
        let Document::Manifest(manifest) = parse_document(&raw.bytes, Some(&raw.descriptor.media_type))?
        else {
            return Ok(false);
        };
        let layer = mounts::layer_of(&manifest, id)?;
        let stream =
            client.fetch_blob(&self.reference, &layer, Hasher::new(), &ignore_events).map_err(Box::new)?;
        mounts::unpack(id, &layer, stream, into)?;
        Ok(true)
    }

    /// Finds a step; its layer stays where it is until somebody needs it.
    pub(super) fn find(
        &self,
        store: &Store,
        client: &Client,
        key: &Digest,
    ) -> Result<Option<SharedStep>, SharedError> {
        let inline = self.inline(client)?.unwrap_or_default();
        if let Some((entry, layer)) = inline.iter().find(|(entry, _)| entry.key == *key) {
            know(store, entry.diff_id, layer.clone(), Some(self.reference.clone()))?;
            return Ok(Some(entry.step()));
        }
        let tagged = self.reference.with_tag(&tag_of(key));
        let tagged = tagged.map_err(|error| SharedError::Location(error.to_string()))?;
        let raw = match client.manifest(&tagged) {
            Ok(raw) => raw,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Box::new(error).into()),
        };
        let Document::Manifest(manifest) = parse_document(&raw.bytes, Some(&raw.descriptor.media_type))?
        else {
            return Ok(None);
        };
        let config = client.blob(&tagged, &manifest.config, RECORD_LIMIT_BYTES).map_err(Box::new)?;
        let (record, layer) = record_of(&manifest, &config, key)?;
        know(store, record.diff_id, layer, Some(self.reference.clone()))?;
        Ok(Some(record.step()))
    }

    /// What the image under the name carries; `None` where there is nothing under it. Asked once.
    fn inline(&self, client: &Client) -> Result<Option<&[(Entry, Descriptor)]>, SharedError> {
        if let Some(inline) = self.inline.get() {
            return Ok(inline.as_deref());
        }
        let found = self.inline_entries(client)?;
        Ok(self.inline.get_or_init(|| found).as_deref())
    }

    /// What the image under the name carries: nothing where it is no image.
    fn inline_entries(&self, client: &Client) -> Result<Option<Vec<(Entry, Descriptor)>>, SharedError> {
        let raw = match client.manifest(&self.reference) {
            Ok(raw) => raw,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Box::new(error).into()),
        };
        let is_records = |manifest: &Descriptor| {
            matches!(manifest.artifact_type.as_deref(), Some(ARTIFACT | mounts::ARTIFACT))
        };
        if let Document::Index(index) = parse_document(&raw.bytes, Some(&raw.descriptor.media_type))?
            && index.manifests.iter().all(is_records)
        {
            return Ok(Some(Vec::new()));
        }
        let resolved = client.resolve(&self.reference, &Platform::host()).map_err(Box::new)?;
        let config: ImageConfig = serde_json::from_slice(&resolved.config)?;
        Ok(Some(with_layers(inline::entries(&config), &config, &resolved.parsed)))
    }
}

/// Entries with the blobs of their layers.
fn with_layers(entries: Vec<Entry>, config: &ImageConfig, manifest: &Manifest) -> Vec<(Entry, Descriptor)> {
    let layer = |entry: &Entry| {
        let place = config.rootfs.diff_ids.iter().position(|diff_id| *diff_id == entry.diff_id)?;
        manifest.layers.get(place).cloned()
    };
    entries.into_iter().filter_map(|entry| layer(&entry).map(|layer| (entry, layer))).collect()
}
