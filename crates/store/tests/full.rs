//! A disk that is full, or has no inodes left: a clear error, and room again for whoever comes next.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use lighter_store::Store;
use support::true_layer;

/// A small file system of its own; `None` where this process may mount none.
struct Small(tempfile::TempDir);

impl Small {
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "t"]).arg(dir.path()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: no file system can be mounted here");
            return None;
        }
        Some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Fills what a failed step would: its layer; the error that ends it.
fn fill(store: &Store, write: impl Fn(&Path) -> std::io::Result<()>) -> ErrorKind {
    let scratch = store.new_layer().unwrap();
    write(&scratch.fs()).unwrap_err().kind()
}

#[test]
fn what_a_failed_step_wrote_makes_room_at_once() {
    for options in ["size=8m", "size=64m,nr_inodes=600"] {
        let Some(small) = Small::new(options) else { return };
        let root = small.path().join("store");
        let store = Store::open(&root).unwrap();
        true_layer(&store, "before");
        let kind = fill(&store, |fs| {
            (0..).try_for_each(|number| std::fs::write(fs.join(format!("{number}")), [1; 10_000]))
        });
        assert_eq!(kind, ErrorKind::StorageFull, "{options}");
        // the same process, and the next one
        true_layer(&store, "after");
        drop(store);
        true_layer(&Store::open(&root).unwrap(), "next");
    }
}

#[test]
fn what_a_killed_process_left_makes_room_for_the_next() {
    let Some(small) = Small::new("size=8m") else { return };
    let root = small.path().join("store");
    let store = Store::open(&root).unwrap();
    true_layer(&store, "before");
    let scratch = store.new_layer().unwrap();
    let full =
        (0..).try_for_each(|number| std::fs::write(scratch.fs().join(format!("{number}")), [1; 10_000]));
    assert!(full.is_err());
    std::mem::forget(scratch);
    // as the kernel leaves it: the scratch is there, and its lease is free
    let lease = std::fs::read_dir(root.join("leases")).unwrap().next().unwrap().unwrap().path();
    let dead = lease.with_file_name("dead");
    let scratches = root.join("scratch");
    std::fs::rename(scratches.join(lease.file_name().unwrap()), scratches.join("dead")).unwrap();
    std::fs::File::create(dead).unwrap();
    true_layer(&Store::open(&root).unwrap(), "next");
}
