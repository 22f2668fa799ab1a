//! Manifests and indexes, of OCI and of Docker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, media_type};

/// One image: its configuration and its layers, bottom first.
///
/// # Source
/// OCI image-spec, `manifest.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image's configuration.
    pub config: Descriptor,
    /// The image's layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, for example one for each platform.
///
/// # Source
/// OCI image-spec, `image-index.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests, in order of preference.
    pub manifests: Vec<Descriptor>,
    /// Free notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An index of these, without notes.
    pub fn of(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            manifests,
            annotations: BTreeMap::new(),
        }
    }
}

/// A document that a reference can lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
}

/// Why bytes are not a manifest that lighter can read.
#[derive(Debug, thiserror::Error)]
pub enum ParseManifestError {
    /// It is not JSON, or lacks a field.
    #[error("the manifest is not valid")]
    Json(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error("media type `{0}` is not a manifest that can be used")]
    MediaType(String),
    /// It contradicts itself.
    #[error("the manifest says `{inside}`, but was served as `{outside}`")]
    Contradiction {
        /// What the document says of itself.
        inside: String,
        /// What it was served as.
        outside: String,
    },
    /// It is a manifest of schema 1, which has no digests of layers.
    #[error("manifests of schema version {0} are not supported")]
    Schema(u32),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

/// Reads a manifest or an index; `outside` is the media type that it was served or described as.
///
/// # Errors
/// [`ParseManifestError`], where the document is damaged, of another kind, or contradicts `outside`.
pub fn parse_document(bytes: &[u8], outside: Option<&str>) -> Result<Document, ParseManifestError> {
    let shape: Shape = serde_json::from_slice(bytes)?;
    if shape.schema_version != 2 {
        return Err(ParseManifestError::Schema(shape.schema_version));
    }
    let known = |kind: &&str| media_type::is_index(kind) || media_type::is_manifest(kind);
    let outside = outside.filter(known);
    if let (Some(inside), Some(outside)) = (&shape.media_type, outside)
        && inside != outside
    {
        let (inside, outside) = (inside.clone(), outside.to_owned());
        return Err(ParseManifestError::Contradiction { inside, outside });
    }
    let is_index = match shape.media_type.as_deref().or(outside) {
        Some(kind) if media_type::is_index(kind) => true,
        Some(kind) if media_type::is_manifest(kind) => false,
        Some(other) => return Err(ParseManifestError::MediaType(other.to_owned())),
        None => shape.manifests.is_some(),
    };
    Ok(if is_index {
        Document::Index(serde_json::from_slice(bytes)?)
    } else {
        Document::Manifest(serde_json::from_slice(bytes)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_may_not_be_two_things() {
        let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{}"}}"#, media_type::OCI_MANIFEST);
        let error = parse_document(manifest.as_bytes(), Some(media_type::OCI_INDEX));
        assert!(matches!(error, Err(ParseManifestError::Contradiction { .. })));
    }

    #[test]
    fn the_shape_decides_where_no_type_is_named() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(parse_document(index, None), Ok(Document::Index(_))));
    }

    #[test]
    fn schema_one_is_refused() {
        let old = br#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(matches!(parse_document(old, None), Err(ParseManifestError::Schema(1))));
    }
}
