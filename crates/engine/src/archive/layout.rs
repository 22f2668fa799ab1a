//! The documents of an image archive: Docker's own, and those of an OCI layout, side by side.

use std::collections::BTreeMap;

use lighter_image::{Descriptor, Digest, ImageId, Reference};
use serde::{Deserialize, Serialize};

/// One image of Docker's `manifest.json`.
///
/// # Source
/// Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    /// The member that is the configuration.
    pub(super) config: String,
    /// The image's names.
    pub(super) repo_tags: Option<Vec<String>>,
    /// The members that are the layers, bottom first.
    pub(super) layers: Option<Vec<String>>,
    /// The layers' descriptors, by diff id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) layer_sources: BTreeMap<String, Descriptor>,
}

/// The content of `oci-layout`, as `docker save` writes it.
pub(super) const SPACED_LAYOUT: &[u8] = br#"{"imageLayoutVersion": "1.0.0"}"#;
/// The same, as BuildKit does.
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The annotation with an image's whole name.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation with an image's tag, or its whole name.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The member that holds a blob.
pub(crate) fn blob_member(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The entries of an archive's index for one manifest: one for each name, or a nameless one.
pub(crate) fn index_entries(manifest: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![manifest.clone()];
    }
    names
        .iter()
        .map(|name| {
            let mut entry = manifest.clone();
            entry.annotations.insert(IMAGE_NAME.to_owned(), name.to_string());
            if let Some(tag) = name.tag() {
                entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
            }
            entry
        })
        .collect()
}

/// The names that an entry of an index gives its image.
pub(super) fn names_of(entry: &Descriptor) -> Vec<Reference> {
    let whole = entry.annotations.get(IMAGE_NAME);
    let short = entry.annotations.get(REF_NAME).filter(|name| name.contains(['/', ':']));
    whole
        .or(short)
        .and_then(|name| name.parse::<Reference>().ok())
        // a digest other than its own is not the archive's to promise
        .filter(|name| name.digest().is_none_or(|digest| digest == entry.digest))
        .map(Reference::with_default_tag)
        .into_iter()
        .collect()
}

/// What is loaded of an archive: an image, where its parts are, and its names.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The member that is the configuration.
    pub(super) config: String,
    /// The digest that the configuration must have, where the archive names one.
    pub(super) config_digest: Option<ImageId>,
    /// The members that are the layers, bottom first, with the digest that each must have where one is named.
    pub(super) layers: Vec<(String, Option<Digest>)>,
    /// The image's names.
    pub(super) names: Vec<Reference>,
}
