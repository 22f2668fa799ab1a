//! How long the store's operations take: `cargo run --release -p lighter-store --example speed [DIR]`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement by hand")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use lighter_image::{DiffId, Digest, ImageId};
use lighter_store::{Batch, ImageRecord, NewLayer, StepLayer, StepRecord, Store};

/// A look-up of 50 keys, without or with the work, for `cargo run -p xtask -- bench`.
fn counted(busy: bool) {
    let root = std::env::temp_dir().join(format!("kernel-{}", std::process::id()));
    let store = Store::open(&root).unwrap();
    let keys: Vec<Digest> = (0..50).map(|number| put(&store, number, SystemTime::UNIX_EPOCH)).collect();
    if busy {
        assert!(keys.iter().all(|key| store.step(key).unwrap().is_some()));
    }
    drop(store);
    std::fs::remove_dir_all(&root).unwrap();
}

/// A step with a layer of its own; its key.
fn put(store: &Store, number: u32, now: SystemTime) -> Digest {
    let scratch = store.new_layer().unwrap();
    let layer = store.commit_layer(scratch, NewLayer::default()).unwrap();
    let diff_id = DiffId(Digest::of(format!("diff {number}")));
    store.set_diff_id(&layer, diff_id, 1).unwrap();
    let key = Digest::of(number.to_string());
    let step = StepRecord {
        key,
        definition: Digest::of(format!("definition {number}")),
        lineage: Some(Digest::of(format!("lineage {number}"))),
        description: "RUN true".to_owned(),
        layers: vec![StepLayer { layer: Some(layer), diff_id: Some(diff_id) }],
        tree: None,
        notes: BTreeMap::new(),
        created_at: now,
    };
    store.put_step(&step, &[]).unwrap();
    key
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--count") {
        return counted(args.last().is_some_and(|arg| arg == "1"));
    }
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = parent.join(format!("lighter-speed-{}", std::process::id()));
    let store = Store::open(&root).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut keys = Vec::new();
    let started = Instant::now();
    for number in 0..2000 {
        keys.push(put(&store, number, now));
    }
    tell("new step (layer, diff id, record)", started.elapsed() / 2000);
    let layers: Vec<DiffId> = (0..10).map(|n| DiffId(Digest::of(format!("diff {n}")))).collect();
    for round in 0..20 {
        let started = Instant::now();
        commit(&store, round, &layers, now);
        tell("commit of a new image, 10 layers", started.elapsed());
    }
    drop(store);
    for _ in 0..5 {
        let started = Instant::now();
        let store = Store::open(&root).unwrap();
        tell("open", started.elapsed());
        let looking = Instant::now();
        for key in &keys[..50] {
            assert!(store.step(key).unwrap().is_some());
        }
        tell("50 steps found", looking.elapsed());
        let committing = Instant::now();
        commit(&store, 0, &layers, now);
        tell("commit of nothing new", committing.elapsed());
        drop(store);
        tell("open to drop", started.elapsed());
    }
    let store = Store::open(&root).unwrap();
    let started = Instant::now();
    store.collect_garbage().unwrap();
    tell("collection, 2000 layers, nothing to do", started.elapsed());
    let started = Instant::now();
    store.usage().unwrap();
    tell("usage, first", started.elapsed());
    let started = Instant::now();
    store.usage().unwrap();
    tell("usage, again", started.elapsed());
    std::fs::remove_dir_all(&root).unwrap();
}

fn commit(store: &Store, round: u32, layers: &[DiffId], now: SystemTime) {
    let mut batch = Batch::new();
    let id = ImageId(batch.blob(format!("config {round}").into_bytes()));
    batch.image(ImageRecord::new(id, layers.to_vec(), now));
    batch.tag(&format!("speed:{round}").parse().unwrap(), id, now);
    store.commit(batch).unwrap();
}

fn tell(what: &str, time: Duration) {
    println!("{:>9.3} ms  {what}", time.as_secs_f64() * 1000.0);
}
