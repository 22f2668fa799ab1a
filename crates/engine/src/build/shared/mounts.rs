//! Cache mounts between machines: `mounts=true`.
//!
//! A mount is kept whole, under its id, as a record whose one layer is the packed folder. Unlike the records of steps
//! it is replaced by the next build that brings one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use lighter_build::CancelToken;
use lighter_dockerfile::plan::{MountKind, Op, Plan};
use lighter_image::{Descriptor, Digest, Hasher, Manifest, go_json, media_type};
use lighter_layer::compress::{Decoder, Encoder, Format};
use lighter_layer::{ApplyOptions, PackOptions, apply, pack};
use lighter_store::{Expected, Sharing, Store};
use serde::{Deserialize, Serialize};

use super::SharedError;

/// What kind of artifact the manifest of a mount is.
pub(super) const ARTIFACT: &str = "application/vnd.lighter.mount.v1";
/// The media type of its configuration.
const CONFIG: &str = "application/vnd.lighter.mount.v1+json";
/// The annotation that says which mount a manifest is of.
pub(super) const ID: &str = "dev.lighter.mount";

/// What is said of a mount.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    id: String,
}

/// A mount, ready to be written.
pub(super) struct Ready {
    pub(super) config: Vec<u8>,
    pub(super) layer: Descriptor,
    pub(super) manifest: Vec<u8>,
    pub(super) entry: Descriptor,
}

/// The name of a mount's record: a tag.
pub(super) fn name_of(id: &str) -> String {
    format!("mount-{}", Digest::of(id).hex())
}

/// The ids of all cache mounts of a plan.
pub(super) fn ids(plan: &Plan) -> BTreeSet<&str> {
    let mut ids = BTreeSet::new();
    for step in &plan.steps {
        let Op::Run(run) = &step.op else { continue };
        for mount in &run.mounts {
            if let MountKind::Cache { id, .. } = &mount.kind {
                ids.insert(id.as_str());
            }
        }
    }
    ids
}

/// Packs a mount into a blob of the store; `None` where nothing was ever in it.
pub(super) fn ready(store: &Store, id: &str, cancel: &CancelToken) -> Result<Option<Ready>, SharedError> {
    if !store.has_cache_mount(id) {
        return Ok(None);
    }
    // alone: nobody may write while it is packed
    let held = store.cache_mount(id, Sharing::Locked, &|| cancel.is_cancelled())?;
    if held.is_fresh() {
        return Ok(None);
    }
    let fail = |source| SharedError::Mount { id: id.to_owned(), source };
    let mut blob = store.blob_writer()?;
    let mut encoder = Encoder::new(&mut blob, Format::Zstd, None, 2).map_err(fail)?;
    pack(&held.path(), &mut encoder, &PackOptions::default())
        .map_err(|error| fail(io::Error::other(error)))?;
    encoder.finish().map_err(fail)?;
    drop(held);
    let (digest, size) = blob.finish(Expected::default())?;
    let layer = Descriptor::new(media_type::OCI_LAYER_ZSTD, digest, size);
    let config = serde_json::to_vec(&Config { id: id.to_owned() })?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: Some(ARTIFACT.to_owned()),
        config: Descriptor::of(CONFIG, &config),
        layers: vec![layer.clone()],
        subject: None,
        annotations: BTreeMap::from([(ID.to_owned(), id.to_owned())]),
    };
    let manifest = go_json::to_vec(&manifest)?;
    let mut entry = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    entry.artifact_type = Some(ARTIFACT.to_owned());
    entry.annotations.insert(ID.to_owned(), id.to_owned());
    Ok(Some(Ready { config, layer, manifest, entry }))
}

/// The one layer of a mount's manifest, if it is the mount that is looked for.
pub(super) fn layer_of(manifest: &Manifest, id: &str) -> Result<Descriptor, SharedError> {
    match &manifest.layers[..] {
        [layer] if manifest.annotations.get(ID).is_some_and(|found| found == id) => Ok(layer.clone()),
        _ => Err(SharedError::Damaged(format!("the record of cache mount `{id}` is of something else"))),
    }
}

/// Unpacks a mount into its folder.
pub(super) fn unpack(
    id: &str,
    layer: &Descriptor,
    stream: impl Read + Send,
    into: &Path,
) -> Result<(), SharedError> {
    let fail = |source| SharedError::Mount { id: id.to_owned(), source };
    let mut stream = Hashed { stream, hasher: Hasher::new() };
    let unpacked = Decoder::new(&mut stream)
        .and_then(|tar| apply(tar, into, &ApplyOptions::default()).map_err(io::Error::other))
        .and_then(|_| io::copy(&mut stream, &mut io::sink()));
    let found = stream.hasher.finish();
    match unpacked {
        Ok(_) if found != layer.digest => {
            Err(SharedError::Damaged(format!("blob {} of cache mount `{id}` has other bytes", layer.digest)))
        }
        unpacked => unpacked.map(drop).map_err(fail),
    }
}

/// A stream whose digest is taken on the way.
struct Hashed<R> {
    stream: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}
