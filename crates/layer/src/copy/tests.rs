use std::path::Path;

use super::*;
use crate::trees::{NOW, layer, list};

struct Case<'a> {
    source: &'a [&'a str],
    below: &'a [&'a str],
    from: &'a str,
    to: &'a str,
    options: CopyOptions<'a>,
}

impl Case<'_> {
    fn run(&self) -> Result<Vec<String>, WriteError> {
        let (source, below) = (layer(self.source), layer(self.below));
        let upper = tempfile::tempdir().unwrap();
        let from = View::open_directory(source.path()).unwrap();
        let writer = LayerWriter::open(upper.path(), View::open(&[below.path()]).unwrap(), NOW)?;
        let destination = Destination { path: ImagePath::new(self.to), is_folder: self.to.ends_with('/') };
        copy(&from, &ImagePath::new(self.from), &writer, &destination, &self.options)?;
        writer.finish()?;
        Ok(list(&View::open(&[below.path(), upper.path()]).unwrap()))
    }
}

fn check(source: &[&str], below: &[&str], (from, to): (&str, &str), expected: &[&str]) {
    let case = Case { source, below, from, to, options: CopyOptions::default() };
    assert_eq!(case.run().unwrap(), expected, "{from} -> {to}");
}

#[test]
fn files_and_directories_go_where_docker_puts_them() {
    let tree: &[&str] = &["f=1", "d/a=1", "d/s/b=2", "l>d", "lf>f"];
    check(tree, &[], ("/f", "/x"), &["x=1"]);
    check(tree, &[], ("/f", "/x/"), &["x/", "x/f=1"]);
    check(tree, &["x/"], ("/f", "/x"), &["x/", "x/f=1"]);
    check(tree, &[], ("/f", "/n/m/x"), &["n/", "n/m/", "n/m/x=1"]);
    check(tree, &[], ("/d", "/x"), &["x/", "x/a=1", "x/s/", "x/s/b=2"]);
    check(
        tree,
        &["x/old=1", "x/s/c=3"],
        ("/d", "/x/"),
        &["x/", "x/a=1", "x/old=1", "x/s/", "x/s/b=2", "x/s/c=3"],
    );
    check(tree, &["x=old"], ("/f", "/x"), &["x=1"]);
    check(tree, &["real/", "x>real"], ("/f", "/x/"), &["real/", "real/f=1", "x>real"]);
    check(tree, &["x>/no/where"], ("/f", "/x/"), &["no/", "no/where/", "no/where/f=1", "x>/no/where"]);
    check(tree, &["x/f>/elsewhere"], ("/f", "/x/"), &["x/", "x/f=1"]);
    check(tree, &[], ("/l", "/x"), &["x/", "x/a=1", "x/s/", "x/s/b=2"]);
    check(tree, &[], ("/lf", "/x/"), &["x/", "x/lf=1"]);
    check(
        tree,
        &[],
        ("/", "/x"),
        &["x/", "x/d/", "x/d/a=1", "x/d/s/", "x/d/s/b=2", "x/f=1", "x/l>d", "x/lf>f"],
    );
    check(&["p|", "m@4711=1", "d@2750/"], &[], ("/", "/"), &["d/ @2750", "m=1 @4711", "p named pipe @0"]);
}

#[test]
fn kinds_that_do_not_go_together_are_refused() {
    let tree: &[&str] = &["f=1", "d/a=1"];
    for (below, from, to, wanted) in [
        (&["x=old"][..], "/d", "/x", "cannot copy to non-directory: /x"),
        (&["x=old"], "/f", "/x/y", "cannot copy to non-directory: /x"),
        (&["x=old"], "/f", "/x/", "cannot copy to non-directory: /x"),
        (&["x/a/"], "/d", "/x", "cannot replace directory /x/a with a file"),
        (&["x/f/"], "/f", "/x", "cannot replace directory /x/f with a file"),
        (&[], "/none", "/x", "`/none`: no such file or directory"),
        (&["x/l>/y", "y/"], "/d2", "/x", "`/d2`: no such file or directory"),
    ] {
        let case = Case { source: tree, below, from, to, options: CopyOptions::default() };
        assert_eq!(case.run().unwrap_err().to_string(), wanted, "{from} -> {to}");
    }
}

#[test]
fn owners_and_modes_reach_what_is_made_on_the_way() {
    let tree: &[&str] = &["d/a=1", "d/s/b=2"];
    let octal = ModeChange::parse("444").unwrap();
    let wide = ModeChange::parse("7777").unwrap();
    let symbolic = ModeChange::parse("u=rwX,go=").unwrap();
    for (mode, expected) in [
        (None, ["n/ 5:6", "n/x/ 5:6", "n/x/a=1 5:6", "n/x/s/ 5:6", "n/x/s/b=2 5:6"]),
        (
            Some(&octal),
            ["n/ @444 5:6", "n/x/ @444 5:6", "n/x/a=1 @444 5:6", "n/x/s/ @444 5:6", "n/x/s/b=2 @444 5:6"],
        ),
        (Some(&wide), ["n/ 5:6", "n/x/ 5:6", "n/x/a=1 @7777 5:6", "n/x/s/ @7777 5:6", "n/x/s/b=2 @7777 5:6"]),
        (
            Some(&symbolic),
            ["n/ 5:6", "n/x/ 5:6", "n/x/a=1 @600 5:6", "n/x/s/ @700 5:6", "n/x/s/b=2 @600 5:6"],
        ),
    ] {
        let options =
            CopyOptions { owner: Some((5, 6)), folder_owner: Some((5, 6)), mode, ..CopyOptions::default() };
        let case = Case { source: tree, below: &[], from: "/d", to: "/n/x", options };
        assert_eq!(case.run().unwrap(), expected, "{mode:?}");
    }
}

#[test]
fn directories_on_the_way_inherit_what_mkdir_does() {
    let below: &[&str] = &["g@2775/"];
    let tree: &[&str] = &["d/s/b=2"];
    let check = |folder_owner: Option<(u32, u32)>, from: &str, to: &str, expected: &[&str]| {
        let options = CopyOptions { folder_owner, ..CopyOptions::default() };
        let case = Case { source: tree, below, from, to, options };
        assert_eq!(case.run().unwrap(), expected, "{from} -> {to}");
    };
    check(None, "/d/s/b", "/g/n/m/b", &["g/ @2775", "g/n/ @2755", "g/n/m/ @2755", "g/n/m/b=2"]);
    check(Some((5, 6)), "/d/s/b", "/g/n/", &["g/ @2775", "g/n/ @2755 5:6", "g/n/b=2"]);
    check(None, "/d", "/g/n", &["g/ @2775", "g/n/ @2755", "g/n/s/", "g/n/s/b=2"]);
}

#[test]
fn filters_leave_out_and_look_inside() {
    let tree: &[&str] = &["a/b/c/keep=1", "a/b/no=2", "a/e/no=3", "k/x=4", "k/y/z=5", "top=6"];
    let filter = |path: &[u8], is_folder: bool| match path {
        b"k" | b"k/y" | b"k/y/z" | b"a/b/c/keep" => Verdict::Keep,
        _ if is_folder => Verdict::Descend,
        _ => Verdict::Skip,
    };
    for below in [&[][..], &["x/a/b/old=1"]] {
        let options = CopyOptions { filter: Some(&filter), ..CopyOptions::default() };
        let case = Case { source: tree, below, from: "/", to: "/x", options };
        let mut lines = case.run().unwrap();
        lines.retain(|line| line != "x/a/b/old=1");
        assert_eq!(
            lines,
            ["x/", "x/a/", "x/a/b/", "x/a/b/c/", "x/a/b/c/keep=1", "x/k/", "x/k/y/", "x/k/y/z=5"]
        );
    }
}

#[test]
fn a_directory_that_is_there_for_its_content_styles_the_one_below() {
    let filter = |path: &[u8], is_folder: bool| match path {
        b"a/keep" => Verdict::Keep,
        _ if is_folder => Verdict::Descend,
        _ => Verdict::Skip,
    };
    let tree: &[&str] = &["a@750/", "a/keep=1", "a/no=2", "b@750/", "b/no=3"];
    let below: &[&str] = &["x/a@700/", "x/a/old=1", "x/b@700/"];
    let options = CopyOptions { filter: Some(&filter), ..CopyOptions::default() };
    let lines = Case { source: tree, below, from: "/", to: "/x", options }.run().unwrap();
    assert_eq!(lines, ["x/", "x/a/ @750", "x/a/keep=1", "x/a/old=1", "x/b/ @700"]);
}

#[test]
fn shared_files_stay_shared_and_times_stay() {
    let source = layer(&["t/a=same", "t/b&t/a", "t/d/c&t/a", "t/big=x"]);
    let big = std::fs::File::options().write(true).open(source.path().join("t/big")).unwrap();
    big.set_len(8 << 20).unwrap();
    let upper = tempfile::tempdir().unwrap();
    let from = View::open_directory(source.path()).unwrap();
    let writer = LayerWriter::open(upper.path(), View::empty(), NOW).unwrap();
    let destination = Destination { path: ImagePath::new("/t"), is_folder: false };
    let copied = copy(&from, &ImagePath::new("/t"), &writer, &destination, &CopyOptions::default()).unwrap();
    writer.finish().unwrap();
    assert_eq!((copied.files, copied.folders, copied.size_bytes), (4, 2, 4 + (8 << 20)));
    let made = View::open(&[upper.path()]).unwrap();
    let entry = |view: &View, path: &str| view.lookup(&ImagePath::new(path)).unwrap().unwrap();
    assert_eq!(entry(&made, "/t/a").inode, entry(&made, "/t/d/c").inode);
    assert_eq!(entry(&made, "/t/b").links, 3);
    for path in ["/t", "/t/a", "/t/d", "/t/d/c"] {
        assert_eq!(entry(&made, path).mtime, entry(&from, path).mtime, "{path}");
    }
    let holes = entry(&made, "/t/big");
    assert!(holes.size_bytes == 8 << 20 && holes.allocated_bytes < 1 << 20, "{holes:?}");
}

#[test]
fn many_files_are_copied_by_many_threads() {
    let source = tempfile::tempdir().unwrap();
    for folder in 0..20 {
        let folder = source.path().join(format!("d{folder}"));
        std::fs::create_dir(&folder).unwrap();
        for file in 0..150 {
            std::fs::write(folder.join(format!("f{file}")), format!("content {file}")).unwrap();
        }
    }
    let from = View::open_directory(source.path()).unwrap();
    let upper = tempfile::tempdir().unwrap();
    let writer = LayerWriter::open(upper.path(), View::empty(), NOW).unwrap();
    let destination = Destination { path: ImagePath::root(), is_folder: true };
    let options = CopyOptions { threads: 4, ..CopyOptions::default() };
    let copied = copy(&from, &ImagePath::root(), &writer, &destination, &options).unwrap();
    writer.finish().unwrap();
    assert_eq!((copied.files, copied.folders), (3000, 21));
    assert_eq!(list(&from), list(&View::open(&[upper.path()]).unwrap()));
}

#[test]
fn what_is_removed_and_made_again_is_new() {
    let below = layer(&["d/x=1", "d/y=1", "f=1"]);
    let upper = tempfile::tempdir().unwrap();
    let writer = LayerWriter::open(upper.path(), View::open(&[below.path()]).unwrap(), NOW).unwrap();
    let path = |text: &str| ImagePath::new(text);
    writer.remove(&path("/d/x")).unwrap();
    assert_eq!(list(&writer.view()), ["d/", "d/y=1", "f=1"]);
    writer.remove(&path("/d")).unwrap();
    writer.remove(&path("/f")).unwrap();
    writer.remove(&path("/none")).unwrap();
    assert_eq!(list(&writer.view()), [""; 0]);
    writer.make_folders(&path("/d/e"), NewFolders::default()).unwrap();
    writer
        .write_file(
            &path("/f"),
            b"2",
            &Metadata { mode_bits: 0o600, ..Metadata::default() },
            NewFolders::default(),
        )
        .unwrap();
    writer.finish().unwrap();
    assert_eq!(list(&View::open(&[below.path(), upper.path()]).unwrap()), ["d/", "d/e/", "f=2 @600"]);
}

/// Copies a tree with its stream hashed by the way, and compares that with the stream of the layer. `false` where it was
/// not hashed.
fn packs(source: &Path, below: &View, to: &str, options: &CopyOptions<'_>) -> bool {
    let (from, upper) = (View::open_directory(source).unwrap(), tempfile::tempdir().unwrap());
    let writer = LayerWriter::open(upper.path(), below.clone(), NOW).unwrap();
    let destination = Destination { path: ImagePath::new(to), is_folder: true };
    let options = CopyOptions { packs: true, ..*options };
    copy(&from, &ImagePath::root(), &writer, &destination, &options).unwrap();
    let Some(packed) = writer.finish_packed().unwrap() else { return false };
    assert_eq!(packed, crate::diff_id(upper.path(), &crate::PackOptions::default()).unwrap(), "{to}");
    true
}

#[test]
fn the_stream_that_is_hashed_by_the_way_is_that_of_the_layer() {
    if crate::trees::policy() != crate::Policy::ROOT {
        return;
    }
    let (long, large) = (format!("{}/{}=1", "n".repeat(90), "m".repeat(150)), "x".repeat(300_000));
    let large = [format!("d/large={large}"), format!("e/large={large}{large}")];
    let many: Vec<String> = (0..500).map(|at| format!("many{}/f{at}={}", at % 7, "y".repeat(at))).collect();
    let odd = [
        "a=1", "a.b=2", "a-b/c=3", "d/e/f=4", "d/g=5", "empty/", "l>a", "d/l>../a", "s@4755=6", "z=",
        "g@2775/",
    ];
    let mut tree: Vec<&str> = odd.to_vec();
    tree.extend(many.iter().chain(&large).map(String::as_str));
    tree.extend([&*long, "\u{fc}=7"]);
    let tree = layer(&tree);
    let (linked, pipe) = (layer(&["a=1", "b&a", "c=2"]), layer(&["a=1", "p|"]));
    let below = layer(&["x@700/", "x/d@711/", "x/d/old=1", "x/a=old", "here>x/d", "x/many0/f7=old"]);
    let below = View::open(&[below.path()]).unwrap();
    let octal = ModeChange::parse("640").unwrap();
    let plain = CopyOptions { owner: Some((0, 0)), xattrs: false, ..CopyOptions::default() };
    for threads in [1, 2, 4] {
        let plain = CopyOptions { threads, ..plain };
        for to in ["/", "/x", "/new/way", "/here/in", "/x/d"] {
            assert!(packs(tree.path(), &below, to, &plain), "{to}");
        }
        let owned = CopyOptions { owner: Some((5, 3_000_000)), mode: Some(&octal), ..plain };
        assert!(packs(tree.path(), &below, "/new", &owned));
        let some = |path: &[u8], is_folder: bool| match path {
            b"d/e/f" | b"many3/f3" | b"z" => Verdict::Keep,
            _ if is_folder => Verdict::Descend,
            _ => Verdict::Skip,
        };
        assert!(packs(tree.path(), &below, "/new", &CopyOptions { filter: Some(&some), ..plain }));
        assert!(!packs(linked.path(), &below, "/new", &plain), "names share a file");
        assert!(!packs(pipe.path(), &below, "/new", &plain), "a pipe");
    }
}

#[test]
fn what_is_written_beside_a_copy_is_in_no_stream_that_was_hashed_by_the_way() {
    let (source, upper) = (layer(&["a=1"]), tempfile::tempdir().unwrap());
    let from = View::open_directory(source.path()).unwrap();
    let options = CopyOptions { packs: true, ..CopyOptions::default() };
    let to = |path: &str| Destination { path: ImagePath::new(path), is_folder: true };
    let writer = LayerWriter::open(upper.path(), View::empty(), NOW).unwrap();
    copy(&from, &ImagePath::root(), &writer, &to("/x"), &options).unwrap();
    copy(&from, &ImagePath::root(), &writer, &to("/y"), &options).unwrap();
    assert_eq!(writer.finish_packed().unwrap(), None);

    let upper = tempfile::tempdir().unwrap();
    let writer = LayerWriter::open(upper.path(), View::empty(), NOW).unwrap();
    copy(&from, &ImagePath::root(), &writer, &to("/x"), &options).unwrap();
    writer.make_folders(&ImagePath::new("/y"), NewFolders::default()).unwrap();
    assert_eq!(writer.finish_packed().unwrap(), None);
}

#[test]
fn what_was_listed_is_copied_and_read_once() {
    let tree: &[&str] = &["a=1", "d/b@755=22", "d/e/", "d/l>b", "d/no=3", "z/big=4"];
    let source = layer(tree);
    std::fs::write(source.path().join("z/big"), vec![7; 300_000]).unwrap();
    let filter = |path: &[u8], _: bool| if path == b"d/no" { Verdict::Skip } else { Verdict::Keep };
    let now = crate::Timestamp::at_second(1 << 40);
    let scanned = || {
        crate::scan(source.path(), &crate::ScanOptions { filter: None, index: None, now, threads: 2 })
            .unwrap()
    };
    let copied = |listing: Option<&Listing>| {
        let upper = tempfile::tempdir().unwrap();
        let from = View::open_directory(source.path()).unwrap();
        let writer = LayerWriter::open(upper.path(), View::empty(), NOW).unwrap();
        let destination = Destination { path: ImagePath::new("/x"), is_folder: false };
        let options = CopyOptions {
            owner: Some((0, 0)),
            xattrs: false,
            filter: Some(&filter),
            packs: true,
            listing,
            ..CopyOptions::default()
        };
        let copied = copy(&from, &ImagePath::root(), &writer, &destination, &options)?;
        let packed = writer.finish_packed()?;
        Ok::<_, WriteError>((
            copied,
            packed,
            crate::diff_id(upper.path(), &crate::PackOptions::default()).unwrap(),
        ))
    };
    let (listing, other) = (scanned(), scanned());
    let expected = copied(None).unwrap();
    assert_eq!(copied(Some(&listing)).unwrap(), expected);
    assert_eq!(listing.files_read(), 3);
    let options = crate::DigestOptions { filter: Some(&filter), ..crate::DigestOptions::default() };
    let digest = |listing: &Listing| listing.digest(&ImagePath::root(), &options).unwrap();
    assert_eq!(digest(&listing), digest(&other));
    assert_eq!((listing.files_read(), other.files_read()), (3, 3));
    std::fs::write(source.path().join("d/b"), "33").unwrap();
    assert!(matches!(copied(Some(&listing)), Err(WriteError::Changed { .. })));
    let listing = scanned();
    assert!(copied(Some(&listing)).is_ok());
    std::fs::remove_file(source.path().join("d/l")).unwrap();
    std::os::unix::fs::symlink("c", source.path().join("d/l")).unwrap();
    assert!(matches!(copied(Some(&listing)), Err(WriteError::Changed { .. })));
}

#[test]
fn the_stream_is_that_of_the_layer_where_attributes_come_from_above() {
    let source = layer(&["d/a=1", "d/b@4755=22", "d/c@600=3"]);
    let old = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(9);
    std::fs::File::open(source.path().join("d/c")).unwrap().set_modified(old).unwrap();
    let upper = tempfile::tempdir().unwrap();
    let acl = [&2_u32.to_le_bytes()[..], &acl_entry(1, 6), &acl_entry(4, 0), &acl_entry(32, 0)].concat();
    for acl in [None, Some(acl)] {
        let name = if acl.is_some() { "with" } else { "without" };
        let path = upper.path().join(name);
        std::fs::create_dir(&path).unwrap();
        if let Some(acl) = acl {
            let flags = rustix::fs::XattrFlags::empty();
            if rustix::fs::setxattr(&path, "system.posix_acl_default", &acl, flags).is_err() {
                return;
            }
        }
        let from = View::open_directory(source.path()).unwrap();
        let writer = LayerWriter::open(&path, View::empty(), NOW).unwrap();
        let destination = Destination { path: ImagePath::new("/x"), is_folder: false };
        let options =
            CopyOptions { owner: Some((0, 0)), xattrs: false, packs: true, ..CopyOptions::default() };
        copy(&from, &ImagePath::root(), &writer, &destination, &options).unwrap();
        if let Some(packed) = writer.finish_packed().unwrap() {
            assert_eq!(packed, crate::diff_id(&path, &crate::PackOptions::default()).unwrap(), "{name}");
        }
    }
}

/// An entry of an access control list: whose, and what may be done.
fn acl_entry(tag: u16, rights: u16) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &u32::MAX.to_le_bytes()].concat()
}
