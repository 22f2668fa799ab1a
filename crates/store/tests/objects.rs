//! Containers, volumes, cache mounts and the history of builds.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use lighter_store::{
    ContainerId, ContainerRecord, FindContainerError, MountError, NameContainerError, NewLayer, PruneSteps,
    Remedy, Sharing, Store, Volume, VolumeError, WaitError,
};
use support::{at, entries, layer, new_store};

fn container(store: &Store, name: &str) -> ContainerRecord {
    let record = ContainerRecord {
        mounted: Vec::new(),
        id: ContainerId::random(),
        name: name.to_owned(),
        image: None,
        layers: Vec::new(),
        volumes: Vec::new(),
        created_at: at(0),
    };
    store.create_container(&record, &"created").unwrap();
    record
}

#[test]
fn containers_are_found_by_name_and_id() {
    let (_dir, store) = new_store();
    let one = container(&store, "one");
    let two = container(&store, "two");
    for text in ["one", "/one", one.id.as_str(), one.id.short()] {
        assert_eq!(store.find_container(text).unwrap(), one.id, "{text}");
    }
    assert!(matches!(store.find_container(""), Err(FindContainerError::NotFound(_))));
    assert!(matches!(store.find_container("three"), Err(FindContainerError::NotFound(_))));
    assert!(matches!(store.find_container("../names"), Err(FindContainerError::NotFound(_))));
    store.rename_container(&one.id, "three").unwrap();
    assert_eq!(store.find_container("three").unwrap(), one.id);
    assert!(store.find_container("one").is_err());
    let taken = store.rename_container(&one.id, "two");
    assert!(matches!(taken, Err(NameContainerError::NameTaken { holder, .. }) if holder == two.id));
    assert!(store.remove_container(&two.id).unwrap());
    assert!(!store.remove_container(&two.id).unwrap());
    store.rename_container(&one.id, "two").unwrap();
    assert_eq!(entries(&store, "names"), ["two"]);
    // as a crash leaves it that breaks off a renaming
    std::fs::copy(store.root().join("names/two"), store.root().join("names/four")).unwrap();
    store.rename_container(&one.id, "four").unwrap();
    assert_eq!(entries(&store, "names"), ["four"]);
}

#[test]
fn a_name_is_had_once() {
    let (_dir, store) = new_store();
    let made: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let id = ContainerId::random();
                    let record = ContainerRecord {
                        mounted: Vec::new(),
                        id,
                        name: "same".to_owned(),
                        image: None,
                        layers: Vec::new(),
                        volumes: Vec::new(),
                        created_at: at(0),
                    };
                    store.create_container(&record, &0).is_ok()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    assert_eq!(store.containers().unwrap().len(), 1);
}

#[test]
fn bad_names_are_refused() {
    let (_dir, store) = new_store();
    for name in ["", "a", "../x", "a/b", "-a", ".a", "a b", &"a".repeat(300)] {
        let record = ContainerRecord {
            mounted: Vec::new(),
            id: ContainerId::random(),
            name: name.to_owned(),
            image: None,
            layers: Vec::new(),
            volumes: Vec::new(),
            created_at: at(0),
        };
        let made = store.create_container(&record, &0);
        assert!(matches!(made, Err(NameContainerError::InvalidName(_))), "{name}");
        let made = store.create_volume(&Volume::new(name.to_owned(), at(0)));
        assert!(matches!(made, Err(VolumeError::InvalidName(_))), "{name}");
    }
}

#[test]
fn state_is_replaced_whole_and_not_revived() {
    let (_dir, store) = new_store();
    let one = container(&store, "one");
    store.write_container_state(&one.id, &BTreeMap::from([("exit", 3)])).unwrap();
    let state: BTreeMap<String, i32> = store.container_state(&one.id).unwrap().unwrap();
    assert_eq!(state["exit"], 3);
    let lock = store.lock_container(&one.id, &|| true).unwrap();
    assert!(matches!(store.lock_container(&one.id, &|| true), Err(WaitError::Cancelled)));
    drop(lock);
    store.lock_container(&one.id, &|| true).unwrap();
    store.remove_container(&one.id).unwrap();
    assert!(store.write_container_state(&one.id, &0).is_err());
    assert!(!store.container_paths(&one.id).dir.exists());
}

#[test]
fn a_container_that_somebody_is_about_to_start_is_not_idle() {
    let (_dir, store) = new_store();
    let one = container(&store, "one");
    let root = store.root().to_owned();
    let other = Store::open(&root).unwrap();
    assert!(!other.remove_idle_container(&one.id, || true).unwrap(), "its maker is alive");
    drop(store);
    assert!(!other.remove_idle_container(&one.id, || false).unwrap(), "it is in use");
    let starter = Store::open(&root).unwrap();
    assert!(starter.hold_container(&one.id).unwrap());
    assert!(!other.remove_idle_container(&one.id, || true).unwrap(), "it is about to be started");
    drop(starter);
    assert!(other.remove_idle_container(&one.id, || true).unwrap());
    assert!(!other.hold_container(&one.id).unwrap());
    assert!(other.find_container("one").is_err());
}

#[test]
fn a_container_keeps_its_layers() {
    let (dir, store) = new_store();
    let (id, _) = layer(&store, "x");
    let record = ContainerRecord {
        mounted: Vec::new(),
        id: ContainerId::random(),
        name: "keeper".to_owned(),
        image: None,
        layers: vec![id.clone()],
        volumes: vec!["data".to_owned()],
        created_at: at(0),
    };
    store.create_container(&record, &0).unwrap();
    drop(store);
    let store = Store::open(&dir.path().join("store")).unwrap();
    assert!(store.collect_garbage().unwrap().layers.is_empty());
    store.remove_container(&record.id).unwrap();
    assert_eq!(store.collect_garbage().unwrap().layers, [id]);
}

#[test]
fn volumes_stay_until_nobody_uses_them() {
    let (_dir, store) = new_store();
    assert!(store.create_volume(&Volume::new("data".to_owned(), at(0))).unwrap());
    let path = store.volume_path("data").unwrap();
    std::fs::write(path.join("file"), "kept").unwrap();
    assert!(!store.create_volume(&Volume::new("data".to_owned(), at(1))).unwrap());
    assert_eq!(store.volume("data").unwrap().unwrap().created_at, at(0));
    let mut record = container(&store, "first");
    store.remove_container(&record.id).unwrap();
    record.volumes = vec!["data".to_owned()];
    store.create_container(&record, &0).unwrap();
    assert!(matches!(store.remove_volume("data"), Err(VolumeError::InUse { .. })));
    store.collect_garbage().unwrap();
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "kept");
    store.remove_container(&record.id).unwrap();
    assert!(store.remove_volume("data").unwrap());
    assert!(!store.remove_volume("data").unwrap());
}

#[test]
fn cache_mounts_share_lock_or_part() {
    let (_dir, store) = new_store();
    let take = |sharing| store.cache_mount("id", sharing, &|| true);
    let mut first = take(Sharing::Shared).unwrap();
    assert!(first.is_fresh());
    // nobody comes in before it is filled
    assert!(matches!(take(Sharing::Shared), Err(MountError::Wait(WaitError::Cancelled))));
    std::fs::write(first.path().join("seed"), "x").unwrap();
    first.filled().unwrap();
    let second = take(Sharing::Shared).unwrap();
    assert!(!second.is_fresh());
    assert_eq!(second.path(), first.path());
    assert!(take(Sharing::Locked).is_err());
    let private = take(Sharing::Private).unwrap();
    assert!(private.is_fresh());
    assert_ne!(private.path(), first.path());
    assert!(!store.remove_cache_mount("id").unwrap());
    let listed = &store.cache_mounts().unwrap()[0];
    assert_eq!((listed.id.as_str(), listed.slots, listed.in_use), ("id", 2, true));
    drop((first, second, private));
    let locked = take(Sharing::Locked).unwrap();
    assert!(!locked.is_fresh() && locked.path().join("seed").exists());
    assert!(take(Sharing::Locked).is_err());
    drop(locked);
    assert!(store.remove_cache_mount("id").unwrap());
    assert!(take(Sharing::Locked).unwrap().is_fresh());
}

#[test]
fn builds_are_kept_latest_first_with_their_layers() {
    let (dir, store) = new_store();
    let early = store.new_build(at(0)).unwrap();
    let late = store.new_build(at(1)).unwrap();
    assert_eq!(store.builds().unwrap(), [late.id.clone(), early.id.clone()]);
    store.write_build(&early.id, &"record").unwrap();
    assert_eq!(store.build::<String>(&early.id).unwrap().as_deref(), Some("record"));
    assert_eq!(store.build::<String>(&late.id).unwrap(), None);
    assert_eq!(store.find_build(&early.id.as_str()[11..]).unwrap(), early.id);
    let failed = store.commit_layer(store.new_layer().unwrap(), NewLayer::default()).unwrap();
    store.keep_for_build(&early.id, std::slice::from_ref(&failed)).unwrap();
    drop(store);
    let store = Store::open(&dir.path().join("store")).unwrap();
    assert!(store.collect_garbage().unwrap().layers.is_empty());
    assert!(store.remove_build(&early.id).unwrap());
    assert_eq!(store.collect_garbage().unwrap().layers, [failed]);
}

#[test]
fn a_torn_container_goes_unless_it_has_files() {
    let (dir, store) = new_store();
    let (empty, full) = (container(&store, "empty"), container(&store, "full"));
    for one in [&empty, &full] {
        std::fs::write(store.container_paths(&one.id).dir.join("container"), "").unwrap();
    }
    std::fs::write(store.container_paths(&full.id).upper.join("file"), "x").unwrap();
    // a process that holds neither
    drop(store);
    let store = Store::open(&dir.path().join("store")).unwrap();
    let found = store.check(false).unwrap();
    assert_eq!(found.problems.len(), 2, "{found:?}");
    let found = store.check(true).unwrap();
    let remedies: Vec<Remedy> = found.problems.iter().map(|problem| problem.remedy).collect();
    assert!(remedies.contains(&Remedy::Removed) && remedies.contains(&Remedy::Kept), "{found:?}");
    assert!(!store.container_paths(&empty.id).dir.exists());
    assert!(store.container_paths(&full.id).upper.join("file").exists());
}

#[test]
fn a_container_without_a_record_goes_unless_it_is_in_use() {
    for file in ["container", "state"] {
        for is_directory in [false, true] {
            let (dir, store) = new_store();
            let lost = container(&store, "lost");
            let paths = store.container_paths(&lost.id);
            std::fs::write(paths.upper.join("file"), "x").unwrap();
            let path = paths.dir.join(file);
            std::fs::remove_file(&path).unwrap();
            if is_directory {
                std::fs::create_dir(&path).unwrap();
            }
            // the one that made it is alive, and holds it
            let other = Store::open(&dir.path().join("store")).unwrap();
            let found = other.check(true).unwrap();
            assert_eq!(found.problems.len(), 1, "{found:?}");
            assert_eq!(found.problems[0].remedy, Remedy::Kept);
            assert!(paths.upper.join("file").exists());
            drop(store);
            let found = other.check(true).unwrap();
            assert!(found.problems.iter().all(|problem| problem.remedy == Remedy::Removed), "{found:?}");
            assert!(!paths.dir.exists());
            assert!(other.check(true).unwrap().problems.is_empty());
        }
    }
}

#[test]
fn the_history_does_not_grow_for_ever() {
    let (_dir, store) = new_store();
    let builds: Vec<_> = (0..60).map(|at_second| store.new_build(at(at_second)).unwrap().id).collect();
    store.prune_steps(&PruneSteps::default()).unwrap();
    assert_eq!(store.builds().unwrap().len(), 60);
    store.prune_steps(&PruneSteps { all: true, ..PruneSteps::default() }).unwrap();
    let left = store.builds().unwrap();
    assert_eq!(left.len(), 50);
    assert!(left.contains(&builds[59]) && !left.contains(&builds[9]));
}
