use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::*;
use crate::copy::{Filter, Verdict};
use crate::scan::{ScanOptions, scan};
use crate::trees::{NOW, grow, layer, list};
use crate::{Copied, DigestOptions, ModeChange, PackOptions, copy, diff_id, stack_diff_id};

type Act = fn(&Path);

/// Many files, so that a few differences are worth while.
const MANY: usize = 60;

struct Bench {
    source: tempfile::TempDir,
    below: tempfile::TempDir,
    to: &'static str,
    filter: Option<Filter<'static>>,
    mode: Option<ModeChange>,
}

impl Bench {
    fn new(source: &[&str], below: &[&str]) -> Self {
        let bench =
            Self { source: layer(source), below: layer(below), to: "/x/y/", filter: None, mode: None };
        for number in 0..MANY {
            grow(bench.source.path(), &[&format!("many/{}/f{number}={number}", number % 3)]);
        }
        bench
    }

    fn options(&self) -> CopyOptions<'_> {
        CopyOptions {
            owner: Some((0, 0)),
            mode: self.mode.as_ref(),
            xattrs: false,
            filter: self.filter,
            ..CopyOptions::default()
        }
    }

    fn destination(&self) -> Destination {
        Destination { path: ImagePath::new(self.to), is_folder: true }
    }

    fn inventory(&self) -> Option<Inventory> {
        let options = ScanOptions { filter: None, index: None, now: NOW, threads: 2 };
        let listing = scan(self.source.path(), &options).unwrap();
        listing.digest(&ImagePath::root(), &DigestOptions::default()).unwrap();
        listing.inventory(&ImagePath::root(), &self.options())
    }

    fn copy(&self) -> (tempfile::TempDir, Copied) {
        let upper = tempfile::tempdir().unwrap();
        let from = View::open_directory(self.source.path()).unwrap();
        let writer = LayerWriter::open(upper.path(), View::open(&[self.below.path()]).unwrap(), NOW).unwrap();
        let copied = copy(&from, &ImagePath::root(), &writer, &self.destination(), &self.options()).unwrap();
        writer.finish().unwrap();
        (upper, copied)
    }

    fn copy_over(&self, base: &Path, old: &Inventory, now: &Inventory) -> Option<tempfile::TempDir> {
        let upper = tempfile::tempdir().unwrap();
        let from = View::open_directory(self.source.path()).unwrap();
        let (parent, layer) = (View::open(&[self.below.path()]).unwrap(), View::open(&[base]).unwrap());
        let stack = View::open(&[self.below.path(), base]).unwrap();
        let writer = LayerWriter::open(upper.path(), stack, NOW).unwrap();
        let earlier = Earlier { parent: &parent, layer: &layer, inventory: old };
        let (source, destination) = (ImagePath::root(), self.destination());
        let done = copy_over(&from, &source, &writer, &destination, &self.options(), (earlier, now)).unwrap();
        writer.finish().unwrap();
        done.then_some(upper)
    }

    /// Copies, changes the source, copies the difference, and compares with a copy of the whole.
    fn check(&self, what: &str, change: impl FnOnce(&Path)) -> bool {
        let old = self.inventory().expect("an inventory");
        let (base, copied) = self.copy();
        assert!(old.agrees_with(&copied), "{what}: {old:?} is not {copied:?}");
        change(self.source.path());
        let now = self.inventory().expect("an inventory");
        let Some(upper) = self.copy_over(base.path(), &old, &now) else { return false };
        let (whole, copied) = self.copy();
        assert!(now.agrees_with(&copied), "{what}: {now:?} is not {copied:?}");
        let merged = View::open(&[self.below.path(), base.path(), upper.path()]).unwrap();
        let expected = View::open(&[self.below.path(), whole.path()]).unwrap();
        assert_eq!(list(&merged), list(&expected), "{what}");
        let options = PackOptions::default();
        let packed = stack_diff_id(&[base.path(), upper.path()], &options).unwrap();
        assert_eq!(packed, diff_id(whole.path(), &options).unwrap(), "{what}");
        true
    }
}

fn write(root: &Path, path: &str, content: &str) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), content).unwrap();
}

#[test]
fn a_difference_over_a_copy_is_a_copy() {
    let tree: &[&str] = &["a=1", "d/b=2", "d/e/c=3", "l>a", "empty/", "gone/x/y=1"];
    let cases: &[(&str, Act)] = &[
        ("nothing", |_| {}),
        ("content", |root| write(root, "d/b", "other")),
        ("a time", |root| {
            let file = fs::File::options().write(true).open(root.join("d/b")).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("a mode", |root| fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o600)).unwrap()),
        ("a directory's mode", |root| {
            fs::set_permissions(root.join("d/e"), fs::Permissions::from_mode(0o2700)).unwrap();
        }),
        ("a new file", |root| write(root, "d/e/new", "n")),
        ("new directories", |root| write(root, "n/m/new", "n")),
        ("a file less", |root| fs::remove_file(root.join("d/b")).unwrap()),
        ("directories less", |root| fs::remove_dir_all(root.join("gone")).unwrap()),
        ("a link elsewhere", |root| {
            fs::remove_file(root.join("l")).unwrap();
            symlink("d/b", root.join("l")).unwrap();
        }),
        ("a link in place of a file", |root| {
            fs::remove_file(root.join("d/b")).unwrap();
            symlink("/etc/passwd", root.join("d/b")).unwrap();
        }),
        ("a file in place of a link", |root| {
            fs::remove_file(root.join("l")).unwrap();
            write(root, "l", "file");
        }),
        ("another name", |root| fs::rename(root.join("d/b"), root.join("d/b2")).unwrap()),
    ];
    for below in [&[][..], &["x/other=1", "x/y@700/", "x/y/d/kept=1", "x/y/a=below"]] {
        for (what, act) in cases {
            assert!(Bench::new(tree, below).check(what, act), "{what}: nothing was done");
        }
        for to in ["/", "/d/", "/new/one/"] {
            let bench = Bench { to, ..Bench::new(tree, below) };
            assert!(bench.check(to, |root| write(root, "d/b", "other")));
        }
        let mode = Some(ModeChange::parse("u=rwX,go=").unwrap());
        let bench = Bench { mode, ..Bench::new(tree, below) };
        assert!(bench.check("with a mode", |root| write(root, "d/b", "other")));
    }
}

#[test]
fn what_a_filter_leaves_out_is_in_neither() {
    let filter: Filter<'static> = &|path, is_folder| match path {
        b"d" | b"d/e" => Verdict::Descend,
        b"d/e/c" | b"d/e/new" => Verdict::Keep,
        _ if path.starts_with(b"many") || path == b"a" => Verdict::Keep,
        _ if is_folder => Verdict::Descend,
        _ => Verdict::Skip,
    };
    let tree: &[&str] = &["a=1", "d@700/", "d/b=2", "d/e/c=3", "other/x=1"];
    for below in [&[][..], &["x/y/d@750/", "x/y/d/kept=1"]] {
        let bench = Bench { filter: Some(filter), ..Bench::new(tree, below) };
        assert!(bench.check("a file", |root| write(root, "d/e/new", "n")));
        assert!(bench.check("one that does not count", |root| write(root, "other/y", "n")));
        assert!(bench.check("the time of a directory on the way", |root| write(root, "d/n", "n")));
    }
}

#[test]
fn what_cannot_be_told_is_left_to_a_whole_copy() {
    let check = |below: &[&str], what: &str, change: fn(&Path)| {
        let bench = Bench::new(&["a=1", "d/b=2", "e/c=3"], below);
        assert!(!bench.check(what, change), "{what}");
    };
    check(&["x/y/a=below"], "a whiteout would hide what is below", |root| {
        fs::remove_file(root.join("a")).unwrap();
    });
    check(&["x/y/d/"], "the same for a directory", |root| fs::remove_dir_all(root.join("d")).unwrap());
    check(&[], "a file where a directory was", |root| {
        fs::remove_dir_all(root.join("d")).unwrap();
        write(root, "d", "file");
    });
    check(&[], "a directory where a file was", |root| {
        fs::remove_file(root.join("a")).unwrap();
        write(root, "a/b", "file");
    });
    check(&[], "too many differences", |root| {
        (0..MANY).for_each(|number| write(root, &format!("more/{number}"), "1"));
    });
}

#[test]
fn names_that_share_a_file_have_no_inventory() {
    let bench = Bench::new(&["a=1", "h&a"], &[]);
    assert!(bench.inventory().is_none());
    assert!(Bench::new(&["p|"], &[]).inventory().is_none());
    let outside = Bench::new(&["a=1"], &[]);
    fs::hard_link(outside.source.path().join("a"), outside.below.path().join("elsewhere")).unwrap();
    assert!(outside.inventory().is_some(), "a second name elsewhere does not count");
}

#[test]
fn an_inventory_comes_back_and_a_damaged_one_does_not() {
    let inventory = Bench::new(&["a=1", "l>a", "d/"], &[]).inventory().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory");
    inventory.save(&path).unwrap();
    assert_eq!(Inventory::load(&path).as_ref(), Some(&inventory));
    let bytes = fs::read(&path).unwrap();
    for at in [0, 9, 30, bytes.len() - 1] {
        let mut other = bytes.clone();
        other[at] ^= 1;
        fs::write(&path, &other).unwrap();
        assert_eq!(Inventory::load(&path), None, "byte {at}");
    }
    for length in [0, 3, 8, 21, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(Inventory::load(&path), None, "{length} bytes");
    }
    assert_eq!(Inventory::load(&dir.path().join("none")), None);
}
