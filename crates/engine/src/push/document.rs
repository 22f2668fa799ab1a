//! The manifest of an image that has none yet, as Docker writes it.

use std::collections::BTreeMap;

use lighter_image::media_type::{self, Compression, layer_compression};
use lighter_image::{Descriptor, Digest, Manifest, go_json};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

/// A part of Docker's manifest, with its fields in Docker's order.
#[derive(Serialize)]
struct Part {
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    size: u64,
    digest: Digest,
}

/// Docker's manifest, schema 2.
///
/// # Source
/// Docker image manifest v2, schema 2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerManifest {
    schema_version: u32,
    media_type: &'static str,
    config: Part,
    layers: Vec<Part>,
}

/// Writes a manifest: Docker's, or an OCI one where that is asked for, or a layer or an annotation
/// needs it. Its media type, and its bytes.
///
/// # Errors
/// Where it cannot be written as JSON.
pub(super) fn manifest(
    config: &Descriptor,
    layers: &[Descriptor],
    oci: bool,
    annotations: BTreeMap<String, String>,
) -> Result<(String, Vec<u8>), serde_json::Error> {
    let compression = |layer: &Descriptor| layer_compression(&layer.media_type).unwrap_or(Compression::None);
    let needs_oci = layers.iter().any(|layer| compression(layer) == Compression::Zstd);
    if oci || needs_oci || !annotations.is_empty() {
        return oci_manifest(config, layers, compression, annotations);
    }
    let part = |media_type, described: &Descriptor| Part {
        media_type,
        size: described.size,
        digest: described.digest,
    };
    let layer = |layer: &Descriptor| match compression(layer) {
        Compression::Gzip => part(media_type::DOCKER_LAYER_GZIP, layer),
        Compression::None => part(media_type::DOCKER_LAYER, layer),
        Compression::Zstd => part(media_type::DOCKER_LAYER_ZSTD, layer),
    };
    let manifest = DockerManifest {
        schema_version: 2,
        media_type: media_type::DOCKER_MANIFEST,
        config: part(media_type::DOCKER_CONFIG, config),
        layers: layers.iter().map(layer).collect(),
    };
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"   "));
    manifest.serialize(&mut writer)?;
    Ok((media_type::DOCKER_MANIFEST.to_owned(), bytes))
}

fn oci_manifest(
    config: &Descriptor,
    layers: &[Descriptor],
    compression: impl Fn(&Descriptor) -> Compression,
    annotations: BTreeMap<String, String>,
) -> Result<(String, Vec<u8>), serde_json::Error> {
    let layer = |layer: &Descriptor| {
        let kind = match compression(layer) {
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::None => media_type::OCI_LAYER,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        Descriptor::new(kind, layer.digest, layer.size)
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::new(media_type::OCI_CONFIG, config.digest, config.size),
        layers: layers.iter().map(layer).collect(),
        subject: None,
        annotations,
    };
    Ok((media_type::OCI_MANIFEST.to_owned(), go_json::to_vec(&manifest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(layers: &[&str], oci: bool, kind: &str, expected: &[&str]) {
        let layers: Vec<_> = layers.iter().map(|kind| Descriptor::of(*kind, b"layer")).collect();
        let (found, bytes) =
            manifest(&Descriptor::of(media_type::DOCKER_CONFIG, b"{}"), &layers, oci, BTreeMap::new())
                .unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(found, kind, "{text}");
        let parsed: Manifest = serde_json::from_str(&text).unwrap();
        let kinds: Vec<_> = parsed.layers.iter().map(|layer| layer.media_type.as_str()).collect();
        assert_eq!(kinds, expected);
    }

    #[test]
    fn layers_are_called_what_the_manifest_calls_them() {
        use media_type::{
            DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD,
            OCI_MANIFEST,
        };
        check(&[OCI_LAYER_GZIP, OCI_LAYER], false, DOCKER_MANIFEST, &[DOCKER_LAYER_GZIP, DOCKER_LAYER]);
        check(&[DOCKER_LAYER_GZIP], true, OCI_MANIFEST, &[OCI_LAYER_GZIP]);
        check(&[DOCKER_LAYER_GZIP, OCI_LAYER_ZSTD], false, OCI_MANIFEST, &[OCI_LAYER_GZIP, OCI_LAYER_ZSTD]);
        check(&[], false, DOCKER_MANIFEST, &[]);
    }

    #[test]
    fn notes_need_an_oci_manifest() {
        let config = Descriptor::of(media_type::DOCKER_CONFIG, b"{}");
        let notes = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let (kind, bytes) = manifest(&config, &[], false, notes.clone()).unwrap();
        assert_eq!(kind, media_type::OCI_MANIFEST);
        assert_eq!(serde_json::from_slice::<Manifest>(&bytes).unwrap().annotations, notes);
    }

    #[test]
    fn dockers_manifest_looks_like_dockers() {
        let config = Descriptor::of(media_type::DOCKER_CONFIG, b"{}");
        let (_, bytes) = manifest(&config, &[], false, BTreeMap::new()).unwrap();
        let start = "{\n   \"schemaVersion\": 2,\n   \"mediaType\": \
                     \"application/vnd.docker.distribution.manifest.v2+json\",\n   \"config\": {\n      \"mediaType\"";
        assert!(String::from_utf8(bytes).unwrap().starts_with(start));
    }
}
