//! Several processes on one store: this test binary starts itself again for each of them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lighter_image::Digest;
use lighter_store::{Sharing, Store};
use support::{at, entries, image, layer, reference, step, store_in_memory, true_layer};

const ROLE: &str = "LIGHTER_TEST_ROLE";
const ROOT: &str = "LIGHTER_TEST_ROOT";

/// Not a test of its own: what the other processes do.
#[test]
fn other_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = Store::open(Path::new(&std::env::var(ROOT).unwrap())).unwrap();
    match role.split_once(' ').unwrap_or((&role, "")) {
        ("hold", _) => hold(&store),
        ("work", number) => work(&store, number),
        ("collect", _) => (0..30).for_each(|_| drop(store.collect_garbage().unwrap())),
        ("flight", _) => flight(&store),
        ("mount", _) => (0..50).for_each(|_| bump(&store)),
        other => panic!("no such role: {other:?}"),
    }
}

fn start(store: &Store, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_process", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ROOT, store.root())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn succeed(children: Vec<Child>) {
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Has an unfinished layer, a finished one, and a blob, and waits to be killed.
fn hold(store: &Store) {
    let scratch = store.new_layer().unwrap();
    std::fs::write(scratch.fs().join("unfinished"), "x".repeat(100_000)).unwrap();
    let (id, _) = layer(store, "held");
    let blob = store.put_blob_bytes(b"held").unwrap();
    writeln!(std::io::stdout().lock(), "\nheld {id} {}", blob.hex()).unwrap();
    std::thread::park();
    drop(scratch);
}

#[test]
fn what_a_process_holds_stays_until_it_dies() {
    let (_dir, store) = store_in_memory();
    let mut child = start(&store, "hold");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("held ")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let (id, blob) = (words[1].parse().unwrap(), Digest::from_hex(words[2]).unwrap());
    let freed = store.collect_garbage().unwrap();
    assert!(freed.layers.is_empty() && freed.blobs.is_empty());
    assert_eq!(entries(&store, "scratch").len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let freed = store.collect_garbage().unwrap();
    assert_eq!((freed.layers, freed.blobs), (vec![id], vec![blob]));
    assert!(freed.bytes > 100_000);
    assert!(entries(&store, "scratch").is_empty());
}

#[test]
fn the_next_process_clears_up_after_a_killed_one() {
    let (_dir, store) = store_in_memory();
    let mut child = start(&store, "hold");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("held ")));
    child.kill().unwrap();
    child.wait().unwrap();
    // taking a lease is enough
    store.new_layer().unwrap();
    assert_eq!(entries(&store, "leases").len(), 1);
    assert_eq!(entries(&store, "scratch").len(), 1);
    assert!(store.empty_trash().unwrap() > 100_000);
}

/// Builds images as a build does, and looks whether all of them are there while others collect.
fn work(store: &Store, number: &str) {
    for round in 0..25 {
        let name = format!("worker-{number}:{round}");
        let (base, base_diff) = true_layer(store, "base");
        let (top, top_diff) = true_layer(store, &name);
        let record = step(&name, &top, Some(top_diff));
        store.put_step(&record, &[]).unwrap();
        let id = image(store, &name, &[base_diff, top_diff], &[&name, &format!("worker-{number}")]);
        assert_eq!(store.resolve(&name).unwrap().image, id);
        assert!(store.layer_path(&base).join("file").exists());
        assert_eq!(std::fs::read_to_string(store.layer_path(&top).join("file")).unwrap(), name);
        assert!(store.step(&record.key).unwrap().is_some());
        assert!(store.read_blob(&id.0, 10_000).is_ok());
        if round > 0 {
            let before = reference(&format!("worker-{number}:{}", round - 1));
            let old = store.untag(&before).unwrap().unwrap();
            store.remove_image(&old).unwrap();
        }
    }
}

#[test]
fn many_workers_and_collectors_lose_nothing() {
    let (_dir, store) = store_in_memory();
    let workers: Vec<Child> = (0..4).map(|number| start(&store, &format!("work {number}"))).collect();
    let collectors: Vec<Child> = (0..2).map(|_| start(&store, "collect")).collect();
    succeed(workers);
    succeed(collectors);
    let names: Vec<String> = store.tags().unwrap().iter().map(|tag| tag.reference.familiar()).collect();
    let expected: Vec<String> =
        (0..4).flat_map(|n| [format!("worker-{n}:24"), format!("worker-{n}:latest")]).collect();
    assert_eq!(names, expected);
    assert_eq!(store.images().unwrap().len(), 4);
    let report = store.check(true).unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    assert_eq!(report.unverifiable_layers, 0);
    assert_eq!(entries(&store, "leases").len(), 1);
}

/// Does a piece of work unless another process did it: once in all.
fn flight(store: &Store) {
    let key = Digest::of("work");
    let _flight = store.single_flight(&key, &|| false).unwrap();
    let done = store.root().with_file_name("done");
    let before = std::fs::read_to_string(&done).unwrap_or_default();
    if !before.contains("done") {
        std::fs::write(&done, before + "done").unwrap();
    }
}

#[test]
fn one_flies_and_the_others_wait() {
    let (_dir, store) = store_in_memory();
    let held = store.single_flight(&Digest::of("work"), &|| false).unwrap();
    let children: Vec<Child> = (0..8).map(|_| start(&store, "flight")).collect();
    assert!(store.single_flight(&Digest::of("work"), &|| true).is_err());
    drop(held);
    succeed(children);
    assert_eq!(std::fs::read_to_string(store.root().with_file_name("done")).unwrap(), "done");
    assert!(entries(&store, "flights").is_empty());
}

/// Adds one to a number in a locked cache mount.
fn bump(store: &Store) {
    let mut mount = store.cache_mount("counter", Sharing::Locked, &|| false).unwrap();
    let file = mount.path().join("number");
    if mount.is_fresh() {
        std::fs::write(&file, "0").unwrap();
        mount.filled().unwrap();
    }
    let number: u32 = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    std::fs::write(&file, (number + 1).to_string()).unwrap();
}

#[test]
fn a_locked_mount_has_one_user_at_a_time() {
    let (_dir, store) = store_in_memory();
    succeed((0..4).map(|_| start(&store, "mount")).collect());
    let mount = store.cache_mount("counter", Sharing::Locked, &|| false).unwrap();
    assert_eq!(std::fs::read_to_string(mount.path().join("number")).unwrap(), "200");
}

#[test]
fn two_processes_can_make_the_store() {
    let (_dir, store) = store_in_memory();
    succeed((0..6).map(|number| start(&store, &format!("work {number}"))).collect());
    assert!(store.tag(&reference("x"), &store.images().unwrap()[0].id, at(0)).is_ok());
}
