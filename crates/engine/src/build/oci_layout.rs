//! An OCI layout in a folder as an image: `--build-context name=oci-layout://PATH`.

use std::fs::File;
use std::path::{Path, PathBuf};

use lighter_build::ImageInput;
use lighter_image::{
    Descriptor, Digest, Document, ImageConfig, ImageId, Manifest, ParseManifestError, Platform, media_type,
    parse_document,
};
use lighter_store::{Expected, KnownLayer, PutBlobError, RecordError, Store};

use crate::archive::layout::REF_NAME;

/// How deep indexes may be in indexes.
const DEEPEST: usize = 4;

/// Why a layout is no image.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayoutError {
    #[error("reading `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}`", path.display())]
    Manifest {
        path: PathBuf,
        #[source]
        source: ParseManifestError,
    },
    #[error("`{}` cannot be understood", path.display())]
    Config {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("blob {expected} of the layout has the digest {actual}")]
    Digest { expected: Digest, actual: Digest },
    #[error("the layout has no image `{0}`")]
    NotFound(String),
    #[error("`{0}` is no digest")]
    NoDigest(String),
    #[error("the layout has no image for {0}")]
    Platform(Platform),
    #[error("the image has {layers} layers, and its configuration names {diff_ids}")]
    Layers { layers: usize, diff_ids: usize },
    #[error(transparent)]
    Blob(#[from] PutBlobError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Opens the image of a layout, which is `PATH`, `PATH:TAG` or `PATH@DIGEST`. Its layers are taken into the store as they
/// are, and unpacked when a step needs them.
pub(super) fn open(
    store: &Store,
    layout: &str,
    platform: &Platform,
) -> Result<(ImageInput, ImageConfig, Option<Digest>), LayoutError> {
    let (folder, tag, digest) = split(layout)?;
    let top = match digest {
        Some(digest) => digest,
        None => named(&folder, tag.as_deref(), platform)?,
    };
    let manifest = one_image(&folder, top, platform)?;
    let bytes = blob(&folder, manifest.config.digest)?;
    let config: ImageConfig = serde_json::from_slice(&bytes).map_err(|source| LayoutError::Config {
        path: blob_path(&folder, &manifest.config.digest),
        source,
    })?;
    let diff_ids = config.rootfs.diff_ids.clone();
    if diff_ids.len() != manifest.layers.len() {
        return Err(LayoutError::Layers { layers: manifest.layers.len(), diff_ids: diff_ids.len() });
    }
    for (diff_id, layer) in diff_ids.iter().zip(&manifest.layers) {
        if store.known_layer(diff_id)?.is_some_and(|known| known.layer.is_some()) {
            continue;
        }
        let path = blob_path(&folder, &layer.digest);
        let file = File::open(&path).map_err(|source| LayoutError::Read { path, source })?;
        store.put_blob(file, Expected::by(layer))?;
        store.know_layer(&KnownLayer { blobs: vec![layer.clone()], ..KnownLayer::new(*diff_id) })?;
    }
    let input = ImageInput { id: ImageId(Digest::of(&bytes)), layers: diff_ids, shown: layout.to_owned() };
    Ok((input, config, Some(top)))
}

/// The parts of `PATH[:TAG][@DIGEST]`.
fn split(layout: &str) -> Result<(PathBuf, Option<String>, Option<Digest>), LayoutError> {
    let (rest, digest) = match layout.rsplit_once('@') {
        Some((rest, digest)) if !digest.contains('/') && !Path::new(layout).exists() => {
            (rest, Some(digest.parse().map_err(|_| LayoutError::NoDigest(digest.to_owned()))?))
        }
        _ => (layout, None),
    };
    Ok(match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') && !Path::new(rest).exists() => {
            (PathBuf::from(path), Some(tag.to_owned()), digest)
        }
        _ => (PathBuf::from(rest), None, digest),
    })
}

/// The document of a layout under a name; `latest` and the only one need none.
fn named(folder: &Path, tag: Option<&str>, platform: &Platform) -> Result<Digest, LayoutError> {
    let path = folder.join("index.json");
    let bytes = std::fs::read(&path).map_err(|source| LayoutError::Read { path: path.clone(), source })?;
    let index = match parse_document(&bytes, Some(media_type::OCI_INDEX))
        .map_err(|source| LayoutError::Manifest { path, source })?
    {
        Document::Index(index) => index,
        Document::Manifest(_) => return Err(LayoutError::NotFound("index.json is no index".to_owned())),
    };
    let wanted = tag.unwrap_or("latest");
    let name_of = |descriptor: &&Descriptor| descriptor.annotations.get(REF_NAME).cloned();
    let by_name = index.manifests.iter().find(|descriptor| {
        name_of(descriptor).is_some_and(|name| name == wanted || name.ends_with(&format!(":{wanted}")))
    });
    let fits =
        |descriptor: &&Descriptor| descriptor.platform.as_ref().is_none_or(|have| have.satisfies(platform));
    let only = || if tag.is_none() { index.manifests.iter().find(fits) } else { None };
    by_name
        .or_else(only)
        .map(|descriptor| descriptor.digest)
        .ok_or_else(|| LayoutError::NotFound(wanted.to_owned()))
}

/// Goes from an index to the manifest of one image.
fn one_image(folder: &Path, top: Digest, platform: &Platform) -> Result<Manifest, LayoutError> {
    let mut digest = top;
    for _ in 0..DEEPEST {
        let bytes = blob(folder, digest)?;
        let document = parse_document(&bytes, None)
            .map_err(|source| LayoutError::Manifest { path: blob_path(folder, &digest), source })?;
        match document {
            Document::Manifest(manifest) => return Ok(*manifest),
            Document::Index(index) => {
                let chosen = lighter_registry::choose(&index, platform);
                digest = chosen.ok_or_else(|| LayoutError::Platform(platform.clone()))?.digest;
            }
        }
    }
    Err(LayoutError::NotFound(top.to_string()))
}

fn blob(folder: &Path, digest: Digest) -> Result<Vec<u8>, LayoutError> {
    let path = blob_path(folder, &digest);
    let bytes = std::fs::read(&path).map_err(|source| LayoutError::Read { path, source })?;
    let actual = Digest::of(&bytes);
    if actual != digest {
        return Err(LayoutError::Digest { expected: digest, actual });
    }
    Ok(bytes)
}

fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_layouts() {
        let digest = Digest::of("x");
        let check = |text: &str, path: &str, tag: Option<&str>, named: Option<Digest>| {
            assert_eq!(split(text).unwrap(), (PathBuf::from(path), tag.map(str::to_owned), named), "{text}");
        };
        check("/a/b", "/a/b", None, None);
        check("/a/b:v1", "/a/b", Some("v1"), None);
        check(&format!("/a/b@{digest}"), "/a/b", None, Some(digest));
        check("/a:x/b", "/a:x/b", None, None);
        check("/a@x/b:v1", "/a@x/b", Some("v1"), None);
        assert!(matches!(split("/a/b@sha256:zz"), Err(LayoutError::NoDigest(text)) if text == "sha256:zz"));
    }
}
