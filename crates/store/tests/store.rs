//! What a store keeps, finds again and lets go, seen from one process.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use lighter_image::{Descriptor, DiffId, Digest};
use lighter_store::{
    Batch, CommitError, Expected, ImageRecord, KnownLayer, LayerId, NewLayer, OpenError, PutBlobError,
    ReadBlobError, ResolveError, ResolvedBy, StepInput, Store,
};
use support::{at, config, du, entries, image, layer, new_store, reference, step};

#[test]
fn reading_a_store_that_is_not_there_makes_nothing() {
    let (dir, store) = new_store();
    assert!(store.images().unwrap().is_empty());
    assert!(store.tags().unwrap().is_empty());
    assert!(store.containers().unwrap().is_empty());
    assert!(!store.has_blob(&Digest::of("x")).unwrap());
    assert!(matches!(store.resolve("busybox"), Err(ResolveError::NotFound(_))));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_store_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Store::open(dir.path()).unwrap().put_blob_bytes(b"x").unwrap();
    assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn newer_and_foreign_directories_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("version"), "lighter-store 2\n").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenError::Newer { found: 2, .. })));
    std::fs::write(dir.path().join("version"), [0; 16]).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenError::NoVersion(_))));
    std::fs::rename(dir.path().join("version"), dir.path().join("letter.txt")).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenError::NotAStore(_))));
    assert!(matches!(Store::open(&dir.path().join("letter.txt")), Err(OpenError::File(_))));
}

#[test]
fn blobs_are_what_was_promised_or_not_there() {
    let (_dir, store) = new_store();
    let digest = Digest::of("hello");
    let put = |expected| store.put_blob(&b"hello"[..], expected);
    let wrong = Expected { digest: Some(Digest::of("other")), size_bytes: None };
    assert!(matches!(put(wrong), Err(PutBlobError::Digest { .. })));
    for size in [4, 6] {
        let wrong = Expected { digest: Some(digest), size_bytes: Some(size) };
        assert!(matches!(put(wrong), Err(PutBlobError::Size { .. })), "{size}");
    }
    assert!(!store.has_blob(&digest).unwrap());
    let right = Expected { digest: Some(digest), size_bytes: Some(5) };
    assert_eq!(put(right).unwrap(), (digest, 5));
    assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
    assert!(matches!(store.read_blob(&digest, 4), Err(ReadBlobError::TooLarge { .. })));
    // nothing is left in scratch
    let scratch = entries(&store, "scratch");
    assert!(scratch.iter().all(|lease| entries(&store, &format!("scratch/{lease}")).is_empty()));
}

#[test]
fn a_damaged_blob_is_an_error_and_can_be_stored_again() {
    let (_dir, store) = new_store();
    let digest = store.put_blob_bytes(b"hello").unwrap();
    std::fs::write(store.blob_path(&digest).unwrap().unwrap(), "jello").unwrap();
    assert!(matches!(store.read_blob(&digest, 100), Err(ReadBlobError::Damaged(_))));
    assert!(matches!(store.read_blob(&digest, 100), Err(ReadBlobError::Missing(_))));
    store.put_blob_bytes(b"hello").unwrap();
    let mut copied = Vec::new();
    store.copy_blob(&digest, &mut copied).unwrap().unwrap();
    assert_eq!(copied, b"hello");
    std::fs::write(store.blob_path(&digest).unwrap().unwrap(), "jello").unwrap();
    let damaged = store.copy_blob(&digest, &mut copied).unwrap();
    assert!(matches!(damaged, Err(ReadBlobError::Damaged(_))) && !store.has_blob(&digest).unwrap());
    store.put_blob_bytes(b"hello").unwrap();
    std::fs::write(store.blob_path(&digest).unwrap().unwrap(), "").unwrap();
    store.put_blob(&b"hello"[..], Expected::default()).unwrap();
    assert_eq!(store.read_blob(&digest, 100).unwrap(), b"hello");
}

#[test]
fn layers_are_found_by_diff_id() {
    let (_dir, store) = new_store();
    let (id, diff_id) = layer(&store, "a");
    assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), Some(id.clone()));
    assert_eq!(std::fs::read_to_string(store.layer_path(&id).join("file")).unwrap(), "a");
    assert!(!store.layer_path(&id).with_file_name("work").exists());
    // a second layer with the same content: the first stands for both
    let scratch = store.new_layer().unwrap();
    std::fs::create_dir(scratch.work().unwrap().join("work")).unwrap();
    let second = store.commit_layer(scratch, NewLayer::default()).unwrap();
    assert_eq!(store.set_diff_id(&second, diff_id, 10).unwrap(), id);
    store.drop_layer(&id).unwrap();
    assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), None);
    assert_eq!(store.set_diff_id(&second, diff_id, 10).unwrap(), second);
    assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), Some(second));
}

#[test]
fn an_abandoned_layer_leaves_nothing() {
    let (_dir, store) = new_store();
    drop(store.new_layer().unwrap());
    assert_eq!(entries(&store, "trash").len(), 1);
    assert!(store.empty_trash().unwrap() > 0);
    assert!(entries(&store, "trash").is_empty());
    assert!(store.layers().unwrap().is_empty());
}

#[test]
fn an_image_needs_its_parts() {
    let (_dir, store) = new_store();
    let diff_id = support::made_up_diff_id("unknown");
    let record = |batch: &mut Batch, layers: &[_]| {
        let id = lighter_image::ImageId(batch.blob(config("x", layers)));
        batch.image(ImageRecord::new(id, layers.to_vec(), at(0)));
        id
    };
    let mut batch = Batch::new();
    record(&mut batch, &[diff_id]);
    assert!(matches!(store.commit(batch), Err(CommitError::MissingLayer { .. })));
    let mut batch = Batch::new();
    batch.image(ImageRecord::new(lighter_image::ImageId(Digest::of("no such blob")), Vec::new(), at(0)));
    assert!(matches!(store.commit(batch), Err(CommitError::MissingBlob { .. })));
    // known by where it came from is enough: the bytes can follow
    let source = reference("registry.example/base");
    store.know_layer(&KnownLayer { sources: vec![source], ..KnownLayer::new(diff_id) }).unwrap();
    let mut batch = Batch::new();
    let id = record(&mut batch, &[diff_id]);
    store.commit(batch).unwrap();
    assert_eq!(store.image(&id).unwrap().unwrap().layers, [diff_id]);
    assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), None);
}

#[test]
fn names_go_before_ids() {
    let (_dir, store) = new_store();
    let id = image(&store, "a", &[], &["busybox", "me/app:1"]);
    let by_digest = reference(&format!("busybox@{}", Digest::of("manifest")));
    store.tag(&by_digest, &id, at(1)).unwrap();
    let check = |text: &str, by: ResolvedBy| {
        let resolved = store.resolve(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((resolved.image, resolved.by), (id, by), "{text}");
    };
    check("busybox", ResolvedBy::Name(reference("busybox:latest")));
    check("docker.io/library/busybox:latest", ResolvedBy::Name(reference("busybox:latest")));
    check("me/app:1", ResolvedBy::Name(reference("me/app:1")));
    check(&by_digest.familiar(), ResolvedBy::Name(by_digest.clone()));
    check(&id.0.hex(), ResolvedBy::Id);
    check(&id.0.to_string(), ResolvedBy::Id);
    check(&id.0.short(), ResolvedBy::Id);
    check(&id.0.to_string()[..10], ResolvedBy::Id);
    for text in ["", "me/app", "me/app:2", "sha256:", "zzz", "busybox:1"] {
        assert!(matches!(store.resolve(text), Err(ResolveError::NotFound(_))), "{text}");
    }
    // a name that looks like the beginning of an id
    let other = image(&store, "b", &[], &[&id.0.short()]);
    assert_eq!(store.resolve(&id.0.short()).unwrap().image, other);
    let texts: Vec<String> = (0..40).map(|n| image(&store, &n.to_string(), &[], &[]).0.hex()).collect();
    let first = &texts[0][..1];
    if texts.iter().filter(|text| text.starts_with(first)).count() > 1 {
        assert!(matches!(store.resolve(first), Err(ResolveError::Ambiguous(..))));
    }
}

#[test]
fn a_name_moves_and_its_image_stays() {
    let (_dir, store) = new_store();
    let first = image(&store, "1", &[], &["x"]);
    let second = image(&store, "2", &[], &[]);
    assert_eq!(store.tag(&reference("x"), &second, at(1)).unwrap(), Some(first));
    assert!(store.tags_of(&first).unwrap().is_empty());
    assert!(store.image(&first).unwrap().is_some());
    assert_eq!(store.untag(&reference("x")).unwrap(), Some(second));
    assert_eq!(store.untag(&reference("x")).unwrap(), None);
    store.tag(&reference("y"), &second, at(1)).unwrap();
    let removed = store.remove_image(&second).unwrap().unwrap();
    assert_eq!(removed.references, [reference("y:latest")]);
    assert!(store.tags().unwrap().is_empty());
    assert!(store.tag(&reference("z"), &second, at(2)).is_err());
}

#[test]
fn an_image_with_a_name_that_nobody_meant_stays() {
    let (_dir, store) = new_store();
    let id = image(&store, "1", &[], &["x", "y"]);
    let meant = [reference("x:latest")];
    assert_eq!(store.remove_image_with(&id, &meant).unwrap(), None);
    let left: Vec<_> = store.tags().unwrap().into_iter().map(|tagged| tagged.reference).collect();
    assert_eq!(left, [reference("y:latest")]);
    assert!(store.image(&id).unwrap().is_some());
    let removed = store.remove_image_with(&id, &left).unwrap().unwrap();
    assert_eq!(removed.references, left);
    assert!(store.image(&id).unwrap().is_none());
}

#[test]
fn steps_come_back_with_what_was_learned_since() {
    let (_dir, store) = new_store();
    let scratch = store.new_layer().unwrap();
    let id = store.commit_layer(scratch, NewLayer::default()).unwrap();
    let record = step("key", &id, None);
    let inputs = vec![StepInput { name: "arg A".into(), digest: Digest::of("1"), value: Some("1".into()) }];
    store.put_step(&record, &inputs).unwrap();
    assert_eq!(store.step(&record.key).unwrap(), Some(record.clone()));
    assert_eq!(store.step_inputs(&record.key).unwrap(), inputs);
    let diff_id = support::made_up_diff_id("x");
    store.set_diff_id(&id, diff_id, 5).unwrap();
    assert_eq!(store.step(&record.key).unwrap().unwrap().layers[0].diff_id, Some(diff_id));
    // the latest record of a definition comes first
    let later = step("later", &id, None);
    store.put_step(&later, &[]).unwrap();
    let keys: Vec<Digest> =
        store.steps_like(&record.definition).unwrap().into_iter().map(|step| step.key).collect();
    assert_eq!(keys, [later.key, record.key]);
    // among very many, only the latest are looked at
    for number in 0..100 {
        store.put_step(&step(&number.to_string(), &id, None), &[]).unwrap();
    }
    assert_eq!(store.latest_steps_like(&record.definition, 100).unwrap().len(), 100);
    assert!(store.latest_steps_like(&record.definition, 1).unwrap()[0].key != record.key);
    // a step whose layer is lost is no step
    store.drop_layer(&id).unwrap();
    assert_eq!(store.step(&record.key).unwrap(), None);
    assert!(store.steps().unwrap().iter().all(|step| step.record.key != record.key));
}

#[test]
fn a_step_outlives_its_bytes_where_they_can_be_had_again() {
    let (_dir, store) = new_store();
    let (id, diff_id) = layer(&store, "a");
    let record = step("key", &id, Some(diff_id));
    store.put_step(&record, &[]).unwrap();
    let blob = store.put_blob_bytes(b"the layer, compressed").unwrap();
    let blobs = vec![Descriptor::new(lighter_image::media_type::OCI_LAYER_GZIP, blob, 21)];
    store.know_layer(&KnownLayer { blobs, ..KnownLayer::new(diff_id) }).unwrap();
    store.drop_layer(&id).unwrap();
    let found = store.step(&record.key).unwrap().unwrap();
    assert_eq!((found.layers[0].layer.clone(), found.layers[0].diff_id), (None, Some(diff_id)));
}

#[test]
fn a_blob_that_is_no_form_of_a_layer_is_forgotten() {
    let (_dir, store) = new_store();
    let diff_id = support::made_up_diff_id("a");
    let blob = |name: &str| Descriptor::new(lighter_image::media_type::OCI_LAYER_GZIP, Digest::of(name), 21);
    store
        .know_layer(&KnownLayer { blobs: vec![blob("false"), blob("true")], ..KnownLayer::new(diff_id) })
        .unwrap();
    store.forget_blob(&diff_id, &Digest::of("false")).unwrap();
    store.forget_blob(&support::made_up_diff_id("b"), &Digest::of("false")).unwrap();
    assert_eq!(store.known_layer(&diff_id).unwrap().unwrap().blobs, [blob("true")]);
}

#[test]
fn a_damaged_step_record_is_a_miss() {
    let (_dir, store) = new_store();
    let (id, diff_id) = layer(&store, "a");
    let record = step("key", &id, Some(diff_id));
    store.put_step(&record, &[]).unwrap();
    let hex = record.key.hex();
    let path = store.root().join("steps").join(&hex[..2]).join(&hex);
    for bad in [&b""[..], b"\0\0\0\0", b"lighter-step 1 00\n{}\n"] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(store.step(&record.key).unwrap(), None);
        assert!(!path.exists());
    }
}

#[test]
fn layers_of_another_boot_are_not_trusted_unverified() {
    let (_dir, store) = new_store();
    let scratch = store.new_layer().unwrap();
    let id = store.commit_layer(scratch, NewLayer::default()).unwrap();
    let record = step("key", &id, None);
    store.put_step(&record, &[]).unwrap();
    let blob = store.put_blob_bytes(b"pending").unwrap();
    let (durable, _) = layer(&store, "durable");
    store.sync_layers().unwrap();
    let unsynced = store.commit_layer(store.new_layer().unwrap(), NewLayer::default()).unwrap();
    let after = Store::open_in_boot(store.root(), "another").unwrap();
    assert!(after.is_usable(&durable).unwrap());
    assert!(after.is_usable(&id).unwrap());
    assert!(after.step(&record.key).unwrap().is_some());
    assert!(!after.is_usable(&unsynced).unwrap());
    assert!(!after.layer_path(&unsynced).exists());
    assert!(!after.has_blob(&blob).unwrap());
}

#[test]
fn a_layer_made_again_stands_for_one_that_is_not_trusted() {
    let (_dir, store) = new_store();
    let (torn, diff_id) = support::true_layer(&store, "content");
    std::fs::write(store.layer_path(&torn).join("file"), "").unwrap();
    let after = Store::open_in_boot(store.root(), "another").unwrap();
    let (again, same) = support::true_layer(&after, "content");
    assert_eq!(same, diff_id);
    assert_eq!(after.layer_by_diff_id(&diff_id).unwrap(), Some(again));
    assert!(!after.is_usable(&torn).unwrap());
}

#[test]
fn a_repair_finds_another_layer_with_the_same_content() {
    let (_dir, store) = new_store();
    let (first, diff_id) = support::true_layer(&store, "content");
    let scratch = store.new_layer().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([store.layer_path(&first).join("."), scratch.fs()])
        .status();
    assert!(copied.unwrap().success());
    let second = store.commit_layer(scratch, NewLayer::default()).unwrap();
    assert_eq!(store.set_diff_id(&second, diff_id, 10).unwrap(), first);
    let image = image(&store, "kept", &[diff_id], &["kept"]);
    std::fs::write(store.layer_path(&first).join("file"), "").unwrap();
    store.check(true).unwrap();
    assert!(store.image(&image).unwrap().is_some());
    assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), Some(second));
    assert!(store.check(false).unwrap().problems.is_empty());
}

#[test]
fn collection_takes_what_nothing_needs_and_tells_the_bytes() {
    let (dir, store) = new_store();
    let (kept, kept_diff) = layer(&store, "kept");
    let (lost, lost_diff) = layer(&store, &"lost ".repeat(10_000));
    let (cached, cached_diff) = layer(&store, "cached");
    let kept_image = image(&store, "kept", &[kept_diff], &["kept"]);
    let lost_image = image(&store, "lost", &[kept_diff, lost_diff], &["lost"]);
    store.put_step(&step("cached", &cached, Some(cached_diff)), &[]).unwrap();
    store.remove_image(&lost_image).unwrap();
    // this process still relies on it
    assert!(store.collect_garbage().unwrap().layers.is_empty());
    drop(store);
    let store = Store::open(&dir.path().join("store")).unwrap();
    let before = du(store.root());
    let freed = store.collect_garbage().unwrap();
    assert_eq!((freed.layers.as_slice(), freed.diffs.as_slice()), (&[lost][..], &[lost_diff][..]));
    assert_eq!(freed.blobs, [lost_image.0]);
    assert_eq!(before - du(store.root()), freed.bytes);
    assert_eq!(store.layer_by_diff_id(&kept_diff).unwrap(), Some(kept));
    assert!(store.read_blob(&kept_image.0, 10_000).is_ok());
    assert_eq!(store.layer_by_diff_id(&cached_diff).unwrap(), Some(cached));
}

#[test]
fn pruning_keeps_the_latest_within_a_limit() {
    let (dir, store) = new_store();
    let (shared, shared_diff) = layer(&store, "shared");
    image(&store, "i", &[shared_diff], &["i"]);
    store.put_step(&step("shared", &shared, Some(shared_diff)), &[]).unwrap();
    for n in 0..4 {
        let (id, diff_id) = layer(&store, &format!("{n}").repeat(100_000));
        store.put_step(&step(&n.to_string(), &id, Some(diff_id)), &[]).unwrap();
        set_last_used(&store, &Digest::of(n.to_string()), n);
    }
    drop(store);
    let store = Store::open(&dir.path().join("store")).unwrap();
    let all = || lighter_store::PruneSteps { all: true, ..lighter_store::PruneSteps::default() };
    let nothing = store.prune_steps(&lighter_store::PruneSteps { until: Some(at(0)), ..all() }).unwrap();
    assert!(nothing.steps.is_empty());
    let freed = store.prune_steps(&lighter_store::PruneSteps { keep_bytes: Some(250_000), ..all() }).unwrap();
    // the shared one costs the cache nothing, but it is the youngest: two of the big ones had to go
    assert_eq!(freed.steps, [Digest::of("0"), Digest::of("1")]);
    let freed = store.prune_steps(&lighter_store::PruneSteps::default()).unwrap();
    assert_eq!(freed.steps.len(), 2);
    assert_eq!(store.steps().unwrap().len(), 1);
    let before = du(store.root());
    let freed = store.prune_steps(&all()).unwrap();
    assert_eq!(freed.steps, [Digest::of("shared")]);
    assert!(freed.layers.is_empty());
    assert_eq!(before - du(store.root()), freed.bytes);
}

fn set_last_used(store: &Store, key: &Digest, seconds: u64) {
    let hex = key.hex();
    let path = store.root().join("steps").join(&hex[..2]).join(&hex);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(at(seconds)).unwrap();
}

#[test]
fn usage_is_what_the_disk_says() {
    let (_dir, store) = new_store();
    let (_, base) = layer(&store, &"base ".repeat(20_000));
    let (_, top) = layer(&store, &"top ".repeat(20_000));
    let (cached, cached_diff) = layer(&store, &"cached ".repeat(20_000));
    store.put_step(&step("cached", &cached, Some(cached_diff)), &[]).unwrap();
    let one = image(&store, "1", &[base], &["one"]);
    let two = image(&store, "2", &[base, top], &["two"]);
    store.usage().unwrap(); // sizes are kept in files, which count as well
    let usage = store.usage().unwrap();
    let actual = du(store.root());
    assert!(usage.total_bytes.abs_diff(actual) * 100 <= actual, "{} and {actual}", usage.total_bytes);
    assert_eq!(usage.images_bytes + usage.cache_bytes + usage.other_bytes, usage.total_bytes);
    let of = |id| usage.images.iter().find(|image| image.id == id).unwrap();
    assert!(of(one).shared_bytes >= 100_000 && of(one).unique_bytes < 10_000);
    assert!(of(two).unique_bytes >= 80_000);
    assert_eq!(of(one).shared_bytes, of(two).shared_bytes);
    assert!(usage.steps[0].size_bytes >= 140_000 && !usage.steps[0].shared);
}

#[test]
fn deep_and_locked_trees_can_be_thrown_away() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, store) = new_store();
    let scratch = store.new_layer().unwrap();
    let mut path = scratch.fs();
    for _ in 0..300 {
        path.push("deep");
    }
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("file"), "x").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o0)).unwrap();
    drop(scratch);
    assert!(store.empty_trash().unwrap() > 300 * 4096);
    assert!(entries(&store, "trash").is_empty());
}

#[test]
fn a_check_of_a_whole_store_finds_nothing() {
    let (_dir, store) = new_store();
    damage_me(&store);
    let report = store.check(false).unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    assert_eq!((report.blobs, report.layers), (3, 2));
}

/// A store with one of each: an image with two layers, one of them received as a blob too, and a step.
fn damage_me(store: &Store) {
    let (one, one_diff) = support::true_layer(store, "one");
    let (_, two_diff) = support::true_layer(store, &"two".repeat(100));
    let blob = store.put_blob_bytes(b"two, as it was received").unwrap();
    let blobs = vec![Descriptor::new(lighter_image::media_type::OCI_LAYER_GZIP, blob, 23)];
    store.know_layer(&KnownLayer { blobs, ..KnownLayer::new(two_diff) }).unwrap();
    store.put_step(&step("key", &one, Some(one_diff)), &[]).unwrap();
    let mut batch = Batch::new();
    let id = lighter_image::ImageId(batch.blob(config("x", &[one_diff, two_diff])));
    let manifest = Descriptor::of(lighter_image::media_type::OCI_MANIFEST, b"manifest");
    batch.blob(b"manifest".to_vec());
    let layers = vec![one_diff, two_diff];
    batch.image(ImageRecord { manifests: vec![manifest], ..ImageRecord::new(id, layers, at(0)) });
    batch.tag(&reference("x"), id, at(0));
    store.commit(batch).unwrap();
}

/// Every file of a store, in each of four ways: found, repaired or removed, and never read as something else.
#[test]
fn whatever_is_damaged_is_found_and_never_believed() {
    let (_dir, store) = support::store_in_memory();
    damage_me(&store);
    let root = store.root().to_owned();
    drop(store);
    let files = std::process::Command::new("find").arg(&root).args(["-type", "f"]).output().unwrap();
    let files = String::from_utf8(files.stdout).unwrap();
    let pristine = root.with_file_name("pristine");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    copy(&root, &pristine);
    for file in files.lines() {
        for how in ["truncate", "zero", "remove", "random", "directory", "huge"] {
            let is_lock = file.ends_with("lock") || file.contains("/leases/");
            // what is hashed in pieces may be as large as it likes, and takes its time
            let is_content = file.contains("/fs/") || file.contains("/blobs/") || file.contains("/pending/");
            if (how == "directory" && is_lock) || (how == "huge" && is_content) {
                continue;
            }
            std::fs::remove_dir_all(&root).unwrap();
            copy(&pristine, &root);
            let bytes = std::fs::read(file).unwrap();
            match how {
                "truncate" => std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap(),
                "zero" => std::fs::write(file, vec![0; bytes.len()]).unwrap(),
                "remove" => std::fs::remove_file(file).unwrap(),
                "directory" => {
                    std::fs::remove_file(file).unwrap();
                    std::fs::create_dir(file).unwrap();
                    std::fs::write(std::path::Path::new(file).join("inside"), "x").unwrap();
                }
                "huge" => {
                    let opened = std::fs::File::options().append(true).open(file).unwrap();
                    opened.set_len(16 << 30).unwrap();
                }
                _ => std::fs::write(file, bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>()).unwrap(),
            }
            let what = format!("{how} {file}");
            let Ok(store) = Store::open(&root) else {
                assert!(file.ends_with("/version"), "{what}");
                continue;
            };
            believe_nothing_wrong(&store, &what);
            store.check(true).unwrap();
            assert!(store.check(false).unwrap().problems.is_empty(), "{what}");
            believe_nothing_wrong(&store, &what);
            damage_me(&store);
            assert!(store.check(true).unwrap().problems.is_empty(), "{what}");
            assert!(store.resolve("x").is_ok(), "{what}");
        }
    }
}

#[test]
fn a_directory_in_place_of_a_blob_is_no_blob() {
    let (_dir, store) = support::store_in_memory();
    damage_me(&store);
    let id = store.resolve("x").unwrap().image.0;
    let path = store.blob_path(&id).unwrap().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("inside"), "x").unwrap();
    assert!(!store.has_blob(&id).unwrap());
    // the same content again is all that it needs
    assert_eq!(store.put_blob_bytes(&bytes).unwrap(), id);
    damage_me(&store);
    assert_eq!(store.read_blob(&id, 10_000).unwrap(), bytes);
}

#[test]
fn a_store_that_others_may_write_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, store) = new_store();
    assert_eq!(store.open_to().unwrap(), None);
    store.put_blob_bytes(b"x").unwrap();
    for (mode, expected) in [
        (0o700, None),
        (0o755, None),
        (0o775, Some("its group")),
        (0o777, Some("everybody")),
        (0o702, Some("everybody")),
    ] {
        std::fs::set_permissions(store.root(), std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(store.open_to().unwrap().as_deref(), expected, "{mode:o}");
    }
    std::fs::set_permissions(store.root(), std::fs::Permissions::from_mode(0o700)).unwrap();
    if std::os::unix::fs::chown(store.root(), Some(12345), None).is_ok() {
        assert_eq!(store.open_to().unwrap().as_deref(), Some("user 12345"));
    }
}

#[test]
fn an_open_folder_that_is_empty_becomes_a_store_and_is_closed() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put_blob_bytes(b"x").unwrap();
    assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(Store::open(dir.path()).is_ok());
}

/// What the store gives is right, or it gives an error.
fn believe_nothing_wrong(store: &Store, what: &str) {
    let Ok(resolved) = store.resolve("x") else { return };
    let Ok(Some(image)) = store.image(&resolved.image) else { return };
    assert_eq!(image.layers.len(), 2, "{what}");
    if let Ok(bytes) = store.read_blob(&image.id.0, 10_000) {
        assert_eq!(bytes, config("x", &image.layers), "{what}");
    }
    for diff_id in &image.layers {
        if let Ok(Some(id)) = store.layer_by_diff_id(diff_id)
            && store.verify_layer(&id).is_ok_and(|verdict| verdict == lighter_store::Verdict::Intact)
        {
            let content = std::fs::read_to_string(store.layer_path(&id).join("file")).unwrap();
            assert!(content == "one" || content == "two".repeat(100), "{what}");
        }
    }
}

#[test]
fn a_received_layer_is_compared_with_its_blob() {
    let (_dir, store) = new_store();
    // a tar that `pack` would not make: its header says other things than the directory can
    let mut tar = Vec::new();
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("file"), "received").unwrap();
    let made = std::process::Command::new("tar")
        .args(["--format=gnu", "--owner=root:0", "--group=root:0", "-b", "40", "-c", "file"])
        .current_dir(work.path())
        .output()
        .unwrap();
    tar.extend(made.stdout);
    let scratch = store.new_layer().unwrap();
    let options = lighter_layer::ApplyOptions::default();
    let applied = lighter_layer::apply(tar.as_slice(), &scratch.fs(), &options).unwrap();
    let blob = store.put_blob_bytes(&tar).unwrap();
    let new = NewLayer {
        diff_id: Some(applied.diff_id),
        size_bytes: Some(applied.size_bytes),
        blobs: vec![Descriptor::new(lighter_image::media_type::OCI_LAYER, blob, tar.len() as u64)],
        ..NewLayer::default()
    };
    let id = store.commit_layer(scratch, new).unwrap();
    let packed =
        lighter_layer::diff_id(&store.layer_path(&id), &lighter_layer::PackOptions::default()).unwrap();
    assert_ne!(packed.diff_id, applied.diff_id);
    assert_eq!(store.verify_layer(&id).unwrap(), lighter_store::Verdict::Intact);
    assert_eq!(store.layer_meta(&id).unwrap().unwrap().packed, Some(packed.diff_id.0));
    std::fs::write(store.layer_path(&id).join("file"), "recieved").unwrap();
    assert_eq!(store.verify_layer(&id).unwrap(), lighter_store::Verdict::Damaged);
    // it is dropped, and can be unpacked again
    assert_eq!(store.check(true).unwrap().problems.len(), 1);
    assert!(store.layer_by_diff_id(&applied.diff_id).unwrap().is_none());
    assert!(store.has_blob(&blob).unwrap());
}

#[test]
fn a_store_that_cannot_be_written_can_be_read_and_says_why_not() {
    let (_dir, store) = new_store();
    let id = image(&store, "x", &[], &["x"]);
    let root = store.root().to_owned();
    drop(store);
    // as root permissions hold nobody back: a file in place of a directory does
    for name in ["leases", "scratch", "pending"] {
        std::fs::remove_dir_all(root.join(name)).unwrap();
        std::fs::write(root.join(name), "").unwrap();
    }
    let store = Store::open(&root).unwrap();
    assert_eq!(store.images().unwrap()[0].id, id);
    assert_eq!(store.tags().unwrap().len(), 1);
    let error = store.put_blob_bytes(b"new").unwrap_err();
    assert!(error.to_string().contains("leases"), "{error}");
}

/// A layer that holds only `top`, over one that holds only `base`.
fn stacked(store: &Store) -> (LayerId, LayerId, DiffId) {
    let write = |scratch: &lighter_store::Scratch, name: &str| {
        let file = scratch.fs().join(name);
        std::fs::write(&file, name).unwrap();
        std::fs::File::options().append(true).open(&file).unwrap().set_modified(at(0)).unwrap();
    };
    let scratch = store.new_layer().unwrap();
    write(&scratch, "base");
    std::fs::write(scratch.inventory(), "what is in it").unwrap();
    let base = store.commit_layer(scratch, NewLayer::default()).unwrap();
    let scratch = store.new_layer().unwrap();
    write(&scratch, "top");
    let new = NewLayer { base: Some(base.clone()), ..NewLayer::default() };
    let top = store.commit_layer(scratch, new).unwrap();
    let options = lighter_layer::PackOptions::default();
    let packed = lighter_layer::stack_diff_id(&store.layer_dirs(&top).unwrap(), &options).unwrap();
    assert_eq!(packed.members, 2);
    store.set_diff_id(&top, packed.diff_id, packed.size_bytes).unwrap();
    (base, top, packed.diff_id)
}

#[test]
fn a_layer_on_another_keeps_it_and_is_nothing_without_it() {
    let (_dir, store) = new_store();
    let (base, top, diff_id) = stacked(&store);
    assert_eq!(store.layer_dirs(&top).unwrap(), [store.layer_path(&base), store.layer_path(&top)]);
    assert_eq!(std::fs::read(store.layer_inventory(&base)).unwrap(), b"what is in it");
    assert_eq!(store.verify_layer(&top).unwrap(), lighter_store::Verdict::Intact);
    image(&store, "x", &[diff_id], &["x"]);
    // a process that pins nothing
    let root = store.root().to_owned();
    drop(store);
    let store = Store::open(&root).unwrap();
    store.collect_garbage().unwrap();
    assert!(store.check(false).unwrap().problems.is_empty());
    assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), Some(top.clone()));
    assert!(store.layer_path(&base).is_dir());

    std::fs::write(store.layer_path(&base).join("base"), "esab").unwrap();
    assert_eq!(store.verify_layer(&top).unwrap(), lighter_store::Verdict::Damaged);
    store.drop_layer(&base).unwrap();
    assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), None);
    assert!(!store.layer_path(&top).exists());
}

#[test]
fn a_check_drops_what_lies_on_a_damaged_layer() {
    let (_dir, store) = new_store();
    let (base, top, _) = stacked(&store);
    let packed =
        lighter_layer::diff_id(&store.layer_path(&base), &lighter_layer::PackOptions::default()).unwrap();
    store.set_diff_id(&base, packed.diff_id, packed.size_bytes).unwrap();
    assert!(store.check(true).unwrap().problems.is_empty());
    // what the upper directory hides makes the lower layer no less damaged
    std::fs::write(store.layer_path(&base).join("top"), "hidden").unwrap();
    store.check(true).unwrap();
    assert!(!store.layer_path(&base).exists() && !store.layer_path(&top).exists());
    assert!(store.check(true).unwrap().problems.is_empty());
}
