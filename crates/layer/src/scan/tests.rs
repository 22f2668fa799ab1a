use super::*;
use crate::tree_digest::tree_digest;
use crate::trees::layer;
use crate::view::View;

/// Later than anything that the test makes.
const LATER: Timestamp = Timestamp::at_second(1 << 40);

fn options<'a>(index: &'a Path, filter: Option<Filter<'a>>) -> ScanOptions<'a> {
    ScanOptions { filter, index: Some(index), now: LATER, threads: 2 }
}

fn paths(listing: &Listing) -> Vec<String> {
    let mut paths = Vec::new();
    listing.for_each(|path, _| paths.push(String::from_utf8_lossy(path).into_owned()));
    paths
}

#[test]
fn a_listing_is_the_tree_without_what_is_skipped() {
    let dir = layer(&["a=1", "b/c/d=2", "b/x=3", "skip/never/x=1", "d/none=1", "d-e=1", "l>b"]);
    let index = dir.path().with_extension("index");
    let all = scan(dir.path(), &options(&index, None)).unwrap();
    assert_eq!(
        paths(&all),
        ["a", "b", "b/c", "b/c/d", "b/x", "d", "d/none", "d-e", "l", "skip", "skip/never", "skip/never/x"]
    );
    let asked = Mutex::new(Vec::new());
    let filter = |path: &[u8], is_folder: bool| {
        asked.lock().unwrap().push(path.to_vec());
        match path {
            b"skip" => Verdict::Skip,
            b"a" | b"b/c/d" | b"l" => Verdict::Keep,
            _ if is_folder => Verdict::Descend,
            _ => Verdict::Skip,
        }
    };
    let some = scan(dir.path(), &options(&index, Some(&filter))).unwrap();
    assert_eq!(paths(&some), ["a", "b", "b/c", "b/c/d", "l"]);
    assert!(!asked.lock().unwrap().iter().any(|path| path.starts_with(b"skip/")));
    let names: Vec<_> = some.children(&ImagePath::new("/b")).iter().map(|(name, _)| name.to_vec()).collect();
    assert_eq!(names, [b"c"]);
    assert_eq!(some.resolve(&ImagePath::new("/l/c/../../x")), None);
    assert_eq!(some.resolve(&ImagePath::new("/l/c/d")), Some(ImagePath::new("/b/c/d")));
    assert_eq!(some.resolve(&ImagePath::new("/skip")), None);
    assert!(some.entry(&ImagePath::new("/b/c")).unwrap().is_folder());
}

#[test]
fn digests_are_those_of_a_view() {
    let dir = layer(&["t/a=1", "t/b/c=2", "t/l>a", "t/e/", "t/b/no=1", "t/n/no=2"]);
    let index = dir.path().with_extension("index");
    let view = View::open_directory(dir.path()).unwrap();
    let filter = |path: &[u8], is_folder: bool| match (path.ends_with(b"no"), is_folder) {
        (true, _) => Verdict::Skip,
        (_, true) => Verdict::Descend,
        _ => Verdict::Keep,
    };
    for filter in [None, Some(&filter as Filter<'_>)] {
        for path in ["/t", "/t/a", "/t/l", "/", "/t/b"] {
            let options_ = DigestOptions { owner: false, xattrs: false, filter, ..DigestOptions::default() };
            let listing = scan(dir.path(), &options(&index, None)).unwrap();
            let path = ImagePath::new(path);
            let of_view = tree_digest(&view, &path, &options_).unwrap();
            assert!(of_view.is_some());
            assert_eq!(listing.digest(&path, &options_).unwrap(), of_view, "{path}");
        }
    }
}

#[test]
fn the_index_spares_reading_until_a_file_changes() {
    let dir = layer(&["a=1", "b/c=2", "b/d=3"]);
    let index = tempfile::tempdir().unwrap();
    // the first index of all makes its folder
    let index = index.path().join("contexts/index");
    let run = |now| {
        let listing = scan(dir.path(), &ScanOptions { now, ..options(&index, None) }).unwrap();
        let digest = listing.digest(&ImagePath::root(), &DigestOptions::default()).unwrap().unwrap();
        listing.save().unwrap();
        (digest, listing.files_read())
    };
    let (first, read) = run(Timestamp::at_second(0));
    assert_eq!((read, run(Timestamp::at_second(0)).1), (3, 3), "files as young as the scan are not trusted");
    assert_eq!(run(LATER), (first, 3));
    assert_eq!(run(LATER), (first, 0));
    // Same length, same time: only the time of the change gives it away, by the kernel's clock.
    crate::plain::await_tick(dir.path()).unwrap();
    let file = std::fs::File::options().write(true).open(dir.path().join("b/c")).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    io::Write::write_all(&mut &file, b"9").unwrap();
    file.set_modified(time).unwrap();
    let (second, read) = run(LATER);
    assert_eq!((second != first, read), (true, 1));
    assert_eq!(run(LATER), (second, 0));
    let mut bytes = std::fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&index, &bytes).unwrap();
    assert_eq!(run(LATER), (second, 3), "a damaged index is no index");
}

#[test]
fn a_second_look_reads_what_was_touched() {
    let dir = layer(&["a=1", "b/c=2", "b/h&a"]);
    let index = dir.path().with_extension("index");
    let first = scan(dir.path(), &options(&index, None)).unwrap();
    let digest = |listing: &Listing| {
        let digest = listing.digest(&ImagePath::root(), &DigestOptions::default()).unwrap().unwrap();
        (digest, listing.files_read())
    };
    let before = digest(&first);
    assert_eq!(before.1, 3);
    let same = first.again(dir.path(), None).unwrap();
    assert_eq!(digest(&same), (before.0, 0));
    let is_still = |filter: Option<Filter<'_>>| first.is_still(dir.path(), filter).unwrap();
    let only_a = |path: &[u8], _: bool| if path == b"a" { Verdict::Keep } else { Verdict::Skip };
    assert!(is_still(None) && is_still(Some(&only_a)));
    // what was changed and changed back is no longer what it was
    let file = std::fs::File::options().write(true).open(dir.path().join("b/c")).unwrap();
    io::Write::write_all(&mut &file, b"2").unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let touched = first.again(dir.path(), None).unwrap();
    assert_eq!(digest(&touched), (before.0, 1));
    assert!(!is_still(None) && is_still(Some(&only_a)));
    let not_b = |path: &[u8], _: bool| if path.starts_with(b"b") { Verdict::Skip } else { Verdict::Keep };
    assert!(is_still(Some(&not_b)));
    std::fs::write(dir.path().join("new"), "").unwrap();
    assert!(!is_still(Some(&not_b)) && is_still(Some(&only_a)));
    std::fs::remove_file(dir.path().join("new")).unwrap();
    assert!(is_still(Some(&not_b)));
    std::fs::remove_file(dir.path().join("a")).unwrap();
    assert!(!is_still(Some(&not_b)) && !is_still(Some(&only_a)));
    std::fs::write(dir.path().join("new"), "").unwrap();
    assert_ne!(digest(&first.again(dir.path(), None).unwrap()).0, before.0);
}

#[test]
fn a_second_look_reads_what_is_too_young_to_be_told_by_its_times() {
    let dir = layer(&["a=1", "b/c=2"]);
    let index = dir.path().with_extension("index");
    let young = ScanOptions { now: Timestamp::at_second(0), ..options(&index, None) };
    let digest = |listing: &Listing| {
        let digest = listing.digest(&ImagePath::root(), &DigestOptions::default()).unwrap().unwrap();
        (digest, listing.files_read())
    };
    let first = scan(dir.path(), &young).unwrap();
    let before = digest(&first);
    assert!(first.is_still(dir.path(), None).unwrap());
    assert_eq!(digest(&first.again(dir.path(), None).unwrap()), (before.0, 0));
    // as if the file had been written within one tick of the clock, and read in between
    let other = scan(dir.path(), &young).unwrap();
    let at = other.find(&ImagePath::new("/b/c")).unwrap();
    other.nodes[at].digest.set(ContentDigest::of(b"3")).unwrap();
    assert_ne!(digest(&other).0, before.0);
    assert!(!other.is_still(dir.path(), None).unwrap());
    assert_eq!(digest(&other.again(dir.path(), None).unwrap()), (before.0, 1));
}

#[test]
fn a_second_look_is_at_what_has_taken_the_place_of_the_context() {
    let (dir, other) = (layer(&["a=1"]), layer(&["a=2"]));
    let index = dir.path().with_extension("index");
    let current = dir.path().with_extension("current");
    std::os::unix::fs::symlink(dir.path(), &current).unwrap();
    let first = scan(&current, &options(&index, None)).unwrap();
    let digest = |listing: &Listing| listing.digest(&ImagePath::root(), &DigestOptions::default()).unwrap();
    let before = digest(&first);
    assert!(first.is_still(&current, None).unwrap());
    std::fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(other.path(), &current).unwrap();
    assert!(!first.is_still(&current, None).unwrap());
    let second = first.again(&current, None).unwrap();
    assert_ne!(digest(&second), before);
    assert_eq!(second.files_read(), 1);
    std::fs::remove_file(&current).unwrap();
}

#[test]
fn a_change_of_one_file_of_many_is_seen_by_whichever_thread_looks() {
    let tree: Vec<String> = (0..4200).map(|at| format!("d{}/s/f{at}=", at % 3)).collect();
    let dir = layer(&tree.iter().map(String::as_str).collect::<Vec<_>>());
    let index = dir.path().with_extension("index");
    for threads in [1, 2, 5] {
        let listing = scan(dir.path(), &ScanOptions { threads, ..options(&index, None) }).unwrap();
        assert!(listing.is_still(dir.path(), None).unwrap());
        for file in ["d0/s/f0", "d1/s/f1", "d2/s/f2"] {
            let listing = scan(dir.path(), &ScanOptions { threads, ..options(&index, None) }).unwrap();
            std::fs::write(dir.path().join(file), format!("{threads} {file}")).unwrap();
            assert!(!listing.is_still(dir.path(), None).unwrap(), "{threads} {file}");
        }
    }
}

#[test]
fn a_sketch_says_what_differs_and_reads_little() {
    let files: Vec<String> = (0..40).map(|number| format!("d/f{number:02}={number:0>80}")).collect();
    let tree: Vec<&str> = files.iter().map(String::as_str).chain(["l>d"]).collect();
    let sketch = |tree: &[&str], mode: bool| {
        let dir = layer(tree);
        let listing = scan(dir.path(), &options(&dir.path().with_extension("index"), None)).unwrap();
        let options = DigestOptions { mode, ..DigestOptions::default() };
        let sketch = listing.sketch(&ImagePath::root(), &options, |_| true).unwrap();
        assert!(listing.files_read() <= 8);
        sketch
    };
    let first = sketch(&tree, true).unwrap();
    assert_eq!(first.samples.len(), 8);
    assert_eq!(sketch(&tree, true), Some(first.clone()));
    let changed = |at: usize, entry: &str| {
        let mut tree: Vec<String> = tree.iter().map(|entry| (*entry).to_owned()).collect();
        entry.clone_into(&mut tree[at]);
        tree
    };
    let sketch_of = |tree: Vec<String>, mode| {
        sketch(&tree.iter().map(String::as_str).collect::<Vec<_>>(), mode).map(|sketch| sketch.digest)
    };
    for (at, entry) in [(3, "d/f03=longer"), (40, "l>e"), (3, "d/g=1")] {
        assert_ne!(sketch_of(changed(at, entry), true), Some(first.digest), "{entry}");
    }
    let mode = changed(3, &format!("d/f03@600={:0>80}", 3));
    assert_ne!(sketch_of(mode.clone(), true), Some(first.digest));
    assert_eq!(sketch_of(mode, false), sketch(&tree, false).map(|sketch| sketch.digest));
    assert_eq!(sketch(&["a=1", "b&a"], true), None, "names that share a file");
    assert_eq!(sketch(&["p|"], true), None);
}

#[test]
fn what_a_file_was_thought_to_hold_is_not_believed_while_it_is_young() {
    let dir = layer(&["a=1"]);
    let index = dir.path().with_extension("index");
    let file = std::fs::File::open(dir.path().join("a")).unwrap();
    for (now, expected) in [(Timestamp::at_second(0), None), (LATER, Some(ContentDigest::of(b"2")))] {
        let listing = scan(dir.path(), &ScanOptions { now, ..options(&index, None) }).unwrap();
        listing.nodes[0].digest.set(ContentDigest::of(b"2")).unwrap();
        assert_eq!(listing.digest_of(0), expected);
        assert!(!listing.learn(0, &file, ContentDigest::of(b"1")).unwrap());
        assert!(listing.learn(0, &file, ContentDigest::of(b"2")).unwrap());
    }
}
