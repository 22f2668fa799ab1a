//! A process is killed at each of its write points, and the store is looked at afterwards.
//!
//! Runs with `--features failpoints`. The work of one process covers every kind of write that the store has.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use lighter_image::{Descriptor, DiffId, ImageId};
use lighter_store::failpoint::{Death, arm, points_passed};
use lighter_store::{
    Batch, ContainerId, ContainerRecord, Expected, ImageRecord, KnownLayer, LayerId, PruneSteps, Sharing,
    Store, Volume,
};
use support::{at, config, reference, step, store_in_memory, true_layer};

const ROOT: &str = "LIGHTER_TEST_ROOT";
const POINT: &str = "LIGHTER_TEST_POINT";

fn put_image(store: &Store, note: &str, layers: &[DiffId], names: &[&str]) -> ImageId {
    let mut batch = Batch::new();
    let id = ImageId(batch.blob(config(note, layers)));
    let manifest = format!("manifest of {note}").into_bytes();
    let descriptor = Descriptor::of(lighter_image::media_type::OCI_MANIFEST, &manifest);
    batch.blob(manifest);
    batch.image(ImageRecord { manifests: vec![descriptor], ..ImageRecord::new(id, layers.to_vec(), at(0)) });
    for name in names {
        batch.tag(&reference(name), id, at(0));
    }
    store.commit(batch).unwrap();
    id
}

fn container(store: &Store, name: &str, layers: Vec<LayerId>) -> ContainerId {
    let id = ContainerId::random();
    let record = ContainerRecord {
        mounted: Vec::new(),
        id: id.clone(),
        name: name.to_owned(),
        image: None,
        layers,
        volumes: vec!["data".to_owned()],
        created_at: at(0),
    };
    store.create_container(&record, &"created").unwrap();
    id
}

/// What is there before the process that dies begins.
fn prepare(store: &Store) {
    let (layer, diff_id) = true_layer(store, "before");
    let before = put_image(store, "before", &[diff_id], &["before", "moves", "goes"]);
    store.put_step(&step("before", &layer, Some(diff_id)), &[]).unwrap();
    store.create_volume(&Volume::new("data".to_owned(), at(0))).unwrap();
    std::fs::write(store.volume_path("data").unwrap().join("file"), "kept").unwrap();
    container(store, "box", vec![layer]);
    assert_eq!(store.resolve("before").unwrap().image, before);
    let (_, old_diff) = true_layer(store, "old");
    put_image(store, "old", &[old_diff], &["old"]);
    store.sync_layers().unwrap();
}

/// The work of the process that dies: a build, a pull, a run, `rmi`, prune.
fn work(store: &Store) {
    let (layer, built) = true_layer(store, "built");
    store.put_step(&step("built", &layer, Some(built)), &[]).unwrap();
    let bytes = b"a received layer, compressed".as_slice();
    let expected = Expected { digest: None, size_bytes: Some(bytes.len() as u64) };
    let (blob, size) = store.put_blob(bytes, expected).unwrap();
    let received = support::made_up_diff_id("received");
    let blobs = vec![Descriptor::new(lighter_image::media_type::OCI_LAYER_GZIP, blob, size)];
    store.know_layer(&KnownLayer { blobs, ..KnownLayer::new(received) }).unwrap();
    let new = put_image(store, "new", &[received, built], &["new", "moves"]);
    store.tag(&reference("again"), &new, at(1)).unwrap();
    store.untag(&reference("goes")).unwrap();
    let id = match store.find_container("runs") {
        Ok(id) => id,
        Err(_) => container(store, "runs", vec![layer]),
    };
    store.write_container_state(&id, &"running").unwrap();
    store.create_volume(&Volume::new("fresh".to_owned(), at(0))).unwrap();
    let mut mount = store.cache_mount("cache", Sharing::Locked, &|| false).unwrap();
    mount.filled().unwrap();
    let history = store.new_build(at(0)).unwrap();
    store.write_build(&history.id, &"built").unwrap();
    drop(store.single_flight(&blob, &|| false).unwrap());
    store.remove_container(&id).unwrap();
    if let Ok(old) = store.resolve("old") {
        store.remove_image(&old.image).unwrap();
    }
    store.prune_steps(&PruneSteps { all: true, mounts: true, ..PruneSteps::default() }).unwrap();
}

/// Not a test of its own: the process that dies.
#[test]
fn dying_process() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let store = Store::open(Path::new(&root)).unwrap();
    let point = std::env::var(POINT).unwrap();
    let (death, number) = point.split_once(' ').unwrap();
    let death = if death == "power" { Death::PowerLoss } else { Death::Kill };
    arm(number.parse().unwrap(), death);
    work(&store);
    drop(store);
    arm(u64::MAX, Death::Kill);
}

/// Runs the work in another process; `false` where it died.
fn run(root: &Path, death: &str, number: u64) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dying_process", "--test-threads=1"])
        .env(ROOT, root)
        .env(POINT, format!("{death} {number}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    assert!(status.success() || killed, "the work failed at {death} {number}: {status}");
    status.success()
}

/// How many write points the work has. Counted once: the count is the process's, so that the tests, which run side by
/// side, must not work on a store while one of them counts.
static POINTS: LazyLock<u64> = LazyLock::new(|| {
    let (_dir, store) = store_in_memory();
    prepare(&store);
    arm(u64::MAX, Death::Kill);
    work(&store);
    points_passed()
});

/// Kills at each point, and gives what is left, as the next process sees it, to a look.
fn at_each_point(death: &str, boot: Option<&str>) {
    let points = *POINTS;
    assert!(points > 100, "only {points} write points");
    for number in 1..=points {
        let (_dir, store) = store_in_memory();
        prepare(&store);
        let root = store.root().to_owned();
        drop(store);
        run(&root, death, number);
        let store = match boot {
            Some(boot) => Store::open_in_boot(&root, boot).unwrap(),
            None => Store::open(&root).unwrap(),
        };
        look(&store, number);
        store.check(true).unwrap();
        let report = store.check(true).unwrap();
        assert!(report.problems.is_empty(), "{number}: {:?}", report.problems);
        for tag in store.tags().unwrap() {
            assert!(store.image(&tag.image).unwrap().is_some(), "{number}: {}", tag.reference.familiar());
        }
        look(&store, number);
        drop(store);
        if boot.is_none() {
            assert!(run(&root, "none", u64::MAX), "{number}: the repeated work");
            let store = Store::open(&root).unwrap();
            look(&store, number);
            assert!(store.resolve("new").is_ok() && store.resolve("old").is_err(), "{number}");
            store.collect_garbage().unwrap();
            assert_eq!(store.layers().unwrap().len(), 2, "{number}");
        }
    }
}

/// What must be true whenever the process died.
fn look(store: &Store, number: u64) {
    let before = store.resolve("before").unwrap_or_else(|error| panic!("{number}: {error}")).image;
    for image in store.images().unwrap() {
        store.read_blob(&image.id.0, 10_000).unwrap_or_else(|error| panic!("{number}: {error}"));
        for manifest in &image.manifests {
            store.read_blob(&manifest.digest, 10_000).unwrap_or_else(|error| panic!("{number}: {error}"));
        }
        assert!(image.layers.iter().all(|layer| store.known_layer(layer).unwrap().is_some()), "{number}");
    }
    let image = store.image(&before).unwrap().unwrap();
    let layer = store.layer_by_diff_id(&image.layers[0]).unwrap().expect("the layer of `before`");
    assert_eq!(std::fs::read_to_string(store.layer_path(&layer).join("file")).unwrap(), "before");
    if let Some(built) = store.step(&lighter_image::Digest::of("built")).unwrap() {
        let path = store.layer_path(built.layers[0].layer.as_ref().unwrap());
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "built", "{number}");
    }
    let id = store.find_container("box").unwrap_or_else(|error| panic!("{number}: {error}"));
    assert_eq!(store.container_state::<String>(&id).unwrap().unwrap(), "created");
    let kept = store.volume_path("data").unwrap().join("file");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "kept");
}

#[test]
fn a_kill_at_any_point_loses_nothing() {
    at_each_point("kill", None);
}

#[test]
fn a_loss_of_power_at_any_point_loses_nothing_that_was_durable() {
    at_each_point("power", Some("after"));
}
