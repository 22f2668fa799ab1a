//! Resolution: from a name to one image, metadata only.

use lighter_image::{Descriptor, Document, Index, Manifest, Platform, Reference, media_type, parse_document};
use serde::Deserialize;

use super::choose::{available, choose};
use super::{RawManifest, ResolveError};
use crate::client::Client;
use crate::config::Limits;

/// How deep indexes may be in indexes.
const DEEPEST: usize = 4;

/// One image that a name leads to: its documents, and none of its layers.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What was asked for, with the tag that was meant.
    pub reference: Reference,
    /// What the name itself leads to: the index, or the manifest where there is none.
    pub descriptor: Descriptor,
    /// The index that the manifest was chosen from.
    pub index: Option<RawManifest>,
    /// The image's manifest.
    pub manifest: RawManifest,
    /// The manifest, parsed.
    pub parsed: Manifest,
    /// The image's configuration: JSON whose digest is the image's id.
    pub config: Vec<u8>,
}

impl Client {
    /// Finds the image that a name means on a platform, and fetches its documents.
    ///
    /// A name that leads to a manifest and not to an index leads to that image, whatever it is for.
    ///
    /// # Errors
    /// [`ResolveError`]: nothing there, nothing for the platform, or not what it should be.
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Resolved, ResolveError> {
        let reference = reference.clone().with_default_tag();
        let top = self.manifest(&reference)?;
        let descriptor = top.descriptor.clone();
        let (index, manifest, parsed) = self.one_image(&reference, platform, top)?;
        let limits = &self.config().limits;
        check_layers(&reference, &parsed, limits)?;
        let config = self.blob(&reference, &parsed.config, limits.config_bytes).map_err(|source| {
            ResolveError::Config { reference: reference.familiar(), source: Box::new(source) }
        })?;
        check_config(&reference, &parsed, &config)?;
        Ok(Resolved { reference, descriptor, index, manifest, parsed, config })
    }

    /// Goes from an index to the manifest of one image.
    fn one_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        top: RawManifest,
    ) -> Result<(Option<RawManifest>, RawManifest, Manifest), ResolveError> {
        let mut outer = None;
        let mut current = top;
        for _ in 0..DEEPEST {
            let index = match parse(reference, &current)? {
                Document::Manifest(manifest) => return Ok((outer, current, *manifest)),
                Document::Index(index) => index,
            };
            self.check_index(reference, &index)?;
            let chosen = choose(&index, platform).ok_or_else(|| ResolveError::NoPlatform {
                reference: reference.familiar(),
                wanted: Box::new(platform.clone()),
                available: available(&index),
            })?;
            let inner = self.described_manifest(reference, chosen)?;
            outer.get_or_insert(current);
            current = inner;
        }
        Err(ResolveError::Contradiction {
            reference: reference.familiar(),
            reason: format!("indexes are nested more than {DEEPEST} deep"),
        })
    }

    fn check_index(&self, reference: &Reference, index: &Index) -> Result<(), ResolveError> {
        let (count, limit) = (index.manifests.len(), self.config().limits.manifests);
        if count > limit {
            let reference = reference.familiar();
            return Err(ResolveError::TooMany { reference, what: "manifests", count, limit });
        }
        Ok(())
    }
}

fn parse(reference: &Reference, raw: &RawManifest) -> Result<Document, ResolveError> {
    parse_document(&raw.bytes, Some(&raw.descriptor.media_type))
        .map_err(|source| ResolveError::Parse { reference: reference.familiar(), source })
}

/// Looks at what a manifest says before anything of it is fetched: no foreign layers, none of an unknown kind,
/// not too many, none too large.
///
/// # Errors
/// [`ResolveError`] for the first layer that will not do.
pub fn check_layers(reference: &Reference, manifest: &Manifest, limits: &Limits) -> Result<(), ResolveError> {
    let name = || reference.familiar();
    let config_type = &manifest.config.media_type;
    if !matches!(config_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
        let (part, media_type) = ("configuration", config_type.clone());
        return Err(ResolveError::MediaType { reference: name(), part, media_type });
    }
    let (count, limit) = (manifest.layers.len(), limits.layers);
    if count > limit {
        return Err(ResolveError::TooMany { reference: name(), what: "layers", count, limit });
    }
    for layer in &manifest.layers {
        let kind = layer.media_type.as_str();
        let foreign = kind == media_type::DOCKER_FOREIGN_LAYER || kind.contains("nondistributable");
        if foreign {
            return Err(ResolveError::ForeignLayer { reference: name(), digest: layer.digest });
        }
        if media_type::layer_compression(kind).is_none() {
            let media_type = layer.media_type.clone();
            return Err(ResolveError::MediaType { reference: name(), part: "layers", media_type });
        }
        if layer.size > limits.layer_bytes {
            let reason = format!("layer {} is said to have {} bytes", layer.digest, layer.size);
            return Err(ResolveError::Contradiction { reference: name(), reason });
        }
    }
    Ok(())
}

/// A configuration has as many diff ids as the manifest has layers.
fn check_config(reference: &Reference, manifest: &Manifest, config: &[u8]) -> Result<(), ResolveError> {
    #[derive(Deserialize)]
    struct Shape {
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        #[serde(default)]
        diff_ids: Option<Vec<String>>,
    }
    let contradiction = |reason| ResolveError::Contradiction { reference: reference.familiar(), reason };
    let shape: Shape = serde_json::from_slice(config)
        .map_err(|error| contradiction(format!("its configuration is not valid: {error}")))?;
    let (layers, ids) = (manifest.layers.len(), shape.rootfs.diff_ids.unwrap_or_default().len());
    if layers != ids {
        return Err(contradiction(format!(
            "its manifest has {layers} layers, its configuration has {ids} diff ids"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(layers: &[&str]) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            config: Descriptor::of(media_type::OCI_CONFIG, b"{}"),
            layers: layers.iter().map(|kind| Descriptor::of(*kind, b"layer")).collect(),
            subject: None,
            annotations: [].into(),
        }
    }

    fn check(layers: &[&str], expected: &str) {
        let reference: Reference = "x".parse().expect("a name");
        let limits = Limits { layers: 3, ..Limits::default() };
        let outcome = check_layers(&reference, &manifest(layers), &limits);
        let shown = outcome.err().map_or_else(String::new, |error| error.to_string());
        assert!(shown.contains(expected) && shown.is_empty() == expected.is_empty(), "{layers:?}: {shown}");
    }

    #[test]
    fn only_layers_that_can_be_had_pass() {
        use media_type::{
            DOCKER_FOREIGN_LAYER, DOCKER_LAYER_GZIP, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD,
        };
        check(&[], "");
        check(&[OCI_LAYER, OCI_LAYER_ZSTD, DOCKER_LAYER_GZIP], "");
        check(&[DOCKER_FOREIGN_LAYER], "foreign layer");
        check(&["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"], "foreign layer");
        check(&["application/x-squashfs"], "`application/x-squashfs` of its layers is not supported");
        check(&[OCI_LAYER_GZIP; 4], "4 layers");
    }

    #[test]
    fn configurations_and_manifests_agree() {
        let reference: Reference = "x".parse().expect("a name");
        let manifest = manifest(&[media_type::OCI_LAYER]);
        let good = br#"{"rootfs":{"type":"layers","diff_ids":["sha256:00"]}}"#;
        assert!(check_config(&reference, &manifest, good).is_ok());
        let bad: [&[u8]; 3] = [b"{}", b"{\"rootfs\":7}", b"{\"rootfs\":{\"diff_ids\":[]}}"];
        for config in bad {
            assert!(check_config(&reference, &manifest, config).is_err());
        }
    }
}
