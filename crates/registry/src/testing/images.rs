//! Images for tests: small, whole, and right in all their digests.

use lighter_image::{Descriptor, Digest, Platform, media_type};
use serde_json::json;

use super::Registry;

/// An image that was put into a registry.
#[derive(Debug, Clone)]
pub struct TestImage {
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers.
    pub layers: Vec<Descriptor>,
}

impl Registry {
    /// Puts an image under a tag, whose layers are these bytes, as they are.
    pub fn put_image(&self, repository: &str, tag: &str, layers: &[&[u8]]) -> TestImage {
        self.put_image_for(repository, tag, layers, &Platform::host())
    }

    /// The same for another platform.
    pub fn put_image_for(
        &self,
        repository: &str,
        tag: &str,
        layers: &[&[u8]],
        platform: &Platform,
    ) -> TestImage {
        let diff_ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
        let config = json!({
            "architecture": platform.architecture,
            "os": platform.os,
            "variant": platform.variant,
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        self.put_blob(repository, &config);
        for layer in layers {
            self.put_blob(repository, layer);
        }
        let image = TestImage {
            manifest: Descriptor::of(media_type::OCI_MANIFEST, b""),
            config: Descriptor::of(media_type::OCI_CONFIG, &config),
            layers: layers.iter().map(|bytes| Descriptor::of(media_type::OCI_LAYER, bytes)).collect(),
        };
        let bytes = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": image.config,
            "layers": image.layers,
        });
        let bytes = bytes.to_string().into_bytes();
        self.put_manifest(repository, tag, media_type::OCI_MANIFEST, &bytes);
        let mut manifest = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        manifest.platform = Some(platform.clone());
        TestImage { manifest, ..image }
    }

    /// Puts an index of these manifests under a tag.
    pub fn put_index(&self, repository: &str, tag: &str, manifests: &[Descriptor]) -> Descriptor {
        let bytes = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": manifests,
        });
        let bytes = bytes.to_string().into_bytes();
        self.put_manifest(repository, tag, media_type::OCI_INDEX, &bytes);
        Descriptor::of(media_type::OCI_INDEX, &bytes)
    }
}
