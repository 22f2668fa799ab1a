//! Stores to test with, and things to put into them.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use lighter_image::{DiffId, Digest, ImageId, Reference};
use lighter_store::{Batch, ImageRecord, LayerId, NewLayer, StepLayer, StepRecord, Store};
use tempfile::TempDir;

/// A fixed time, so many seconds after another.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// A store in a directory that goes when the test ends.
pub(crate) fn new_store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    (dir, store)
}

/// The disk's own speed is of no matter here, and there are many stores to make.
pub(crate) fn store_in_memory() -> (TempDir, Store) {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    (dir, store)
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A layer with one file in it. The diff id is made up.
pub(crate) fn layer(store: &Store, content: &str) -> (LayerId, DiffId) {
    let scratch = store.new_layer().unwrap();
    std::fs::write(scratch.fs().join("file"), content).unwrap();
    let diff_id = made_up_diff_id(content);
    let new = NewLayer { diff_id: Some(diff_id), size_bytes: Some(10), ..NewLayer::default() };
    (store.commit_layer(scratch, new).unwrap(), diff_id)
}

/// A layer with one file in it and its true diff id.
pub(crate) fn true_layer(store: &Store, content: &str) -> (LayerId, DiffId) {
    let scratch = store.new_layer().unwrap();
    let file = scratch.fs().join("file");
    std::fs::write(&file, content).unwrap();
    std::fs::File::options().append(true).open(&file).unwrap().set_modified(at(0)).unwrap();
    let packed = lighter_layer::diff_id(&scratch.fs(), &lighter_layer::PackOptions::default()).unwrap();
    let id = store.commit_layer(scratch, NewLayer::default()).unwrap();
    (store.set_diff_id(&id, packed.diff_id, packed.size_bytes).unwrap(), packed.diff_id)
}

pub(crate) fn made_up_diff_id(content: &str) -> DiffId {
    DiffId(Digest::of(format!("diff {content}")))
}

/// The configuration of an image with these layers.
pub(crate) fn config(note: &str, layers: &[DiffId]) -> Vec<u8> {
    let json = serde_json::json!({
        "architecture": "amd64", "os": "linux", "author": note,
        "rootfs": {"type": "layers", "diff_ids": layers},
    });
    serde_json::to_vec(&json).unwrap()
}

/// Puts an image with these layers, under these names, and returns its id.
pub(crate) fn image(store: &Store, note: &str, layers: &[DiffId], names: &[&str]) -> ImageId {
    let mut batch = Batch::new();
    let id = ImageId(batch.blob(config(note, layers)));
    batch.image(ImageRecord::new(id, layers.to_vec(), at(0)));
    for name in names {
        batch.tag(&reference(name), id, at(0));
    }
    store.commit(batch).unwrap();
    id
}

/// A step record with one layer.
pub(crate) fn step(key: &str, layer: &LayerId, diff_id: Option<DiffId>) -> StepRecord {
    StepRecord {
        key: Digest::of(key),
        definition: Digest::of("definition"),
        lineage: None,
        description: format!("RUN {key}"),
        layers: vec![StepLayer { layer: Some(layer.clone()), diff_id }],
        tree: None,
        notes: std::collections::BTreeMap::new(),
        created_at: at(0),
    }
}

/// What `du` counts of a tree, in bytes.
pub(crate) fn du(path: &Path) -> u64 {
    let output = std::process::Command::new("du").args(["-s", "-B1"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// The entries of a directory of the store.
pub(crate) fn entries(store: &Store, name: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(store.root().join(name)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
