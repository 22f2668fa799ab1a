//! Stacked layers as one plain directory, for where they cannot be mounted; and what was changed in it, as a layer again.
//!
//! The merged tree is copied, and the identity and the change time of each copy are written down: no program can set
//! either. What differs later was changed, as it would have been copied up by an overlay mount. A directory of another
//! identity was made anew, so that nothing of the old one is seen through it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lighter_image::ImagePath;

use crate::copy::{CopyOptions, Destination, Verdict, copy};
use crate::entry::{Entry, Inode, Metadata, Timestamp};
use crate::view::View;
use crate::writer::{LayerWriter, NewFolders, WriteError, prepare_root};

/// How often it is looked whether the clock of a file system has gone on; the slowest ones count seconds.
const TICKS: u32 = 3000;

/// A plain directory that was copied from a stack of layers.
#[derive(Debug)]
pub struct PlainTree {
    tree: PathBuf,
    /// The copies by their paths; those that only stand in for mount points have no time.
    seen: BTreeMap<Vec<u8>, Seen>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    inode: Inode,
    changed_at: Option<Timestamp>,
}

impl Seen {
    fn of(entry: &Entry, is_stand_in: bool) -> Self {
        let changed_at = (!is_stand_in).then_some(entry.changed_at);
        Self { inode: entry.inode, changed_at }
    }
}

impl PlainTree {
    /// Copies a stack, bottom first, into a new, empty directory.
    ///
    /// What is missing of `points`, paths and the modes of those that are directories, is made, and does not count as a
    /// change.
    ///
    /// # Errors
    /// [`WriteError`]; what was written until then is to be thrown away.
    pub fn copy(
        stack: &[PathBuf],
        tree: &Path,
        points: &[(ImagePath, Option<u32>)],
    ) -> Result<Self, WriteError> {
        let view = View::open(stack)?;
        prepare_root(tree, &view)?;
        let writer = LayerWriter::open(tree, View::empty(), Timestamp::default())?;
        // of a file with several names, an overlay changes the one that is written to
        let options = CopyOptions { links: false, ..CopyOptions::default() };
        copy(&view, &ImagePath::root(), &writer, &top(), &options)?;
        let mut stand_ins = BTreeSet::new();
        for (path, folder_mode) in points {
            stand_in(&writer, path, *folder_mode, &mut stand_ins)?;
        }
        writer.finish()?;
        let mut seen = BTreeMap::new();
        walk(&View::open(&[tree])?, &mut |path, entry| {
            seen.insert(path.to_vec(), Seen::of(entry, stand_ins.contains(path)));
        })?;
        await_tick(tree).map_err(|source| WriteError::Layer { path: tree.to_owned(), source })?;
        Ok(Self { tree: tree.to_owned(), seen })
    }

    /// A directory of which nobody remembers any more what was copied into it: all that is in it counts as changed.
    pub fn forgotten(tree: &Path) -> Self {
        Self { tree: tree.to_owned(), seen: BTreeMap::new() }
    }

    /// Writes what was changed into the topmost directory of the stack that was copied.
    ///
    /// # Errors
    /// [`WriteError`]; it may be tried again.
    pub fn write_changes(&self, lowers: &[PathBuf], upper: &Path) -> Result<(), WriteError> {
        let now = View::open(&[&self.tree])?;
        let writer = LayerWriter::open(upper, View::open(lowers)?, Timestamp::default())?;
        let mut changes =
            Changes { tree: self, now: &now, below: writer.view(), kept: BTreeSet::new(), gone: Vec::new() };
        changes.compare(&ImagePath::root(), false)?;
        let Changes { kept, gone, .. } = changes;
        for path in &gone {
            writer.remove(path)?;
        }
        let filter = |path: &[u8], is_folder: bool| match (kept.contains(path), is_folder) {
            (true, _) => Verdict::Keep,
            (false, true) => Verdict::Descend,
            (false, false) => Verdict::Skip,
        };
        let options = CopyOptions { filter: Some(&filter), ..CopyOptions::default() };
        copy(&now, &ImagePath::root(), &writer, &top(), &options)?;
        writer.finish()
    }
}

/// What differs between a directory and the stack that it was copied from.
struct Changes<'a> {
    tree: &'a PlainTree,
    now: &'a View,
    below: View,
    kept: BTreeSet<Vec<u8>>,
    gone: Vec<ImagePath>,
}

impl Changes<'_> {
    /// Compares a directory; in one that was made anew everything is new.
    fn compare(&mut self, folder: &ImagePath, is_new: bool) -> Result<(), WriteError> {
        let entries = self.now.read_dir(folder)?;
        if !is_new {
            self.find_gone(folder, &entries)?;
        }
        for (name, entry) in entries {
            let path = folder.join(&name);
            let seen = self.tree.seen.get(path.relative());
            let current = Seen::of(&entry, seen.is_some_and(|seen| seen.changed_at.is_none()));
            let is_other = seen.is_none_or(|seen| seen.inode != current.inode);
            if is_new || seen != Some(&current) {
                self.kept.insert(path.relative().to_vec());
            }
            let is_replaced = !is_new && self.is_replaced(&path, &entry, is_other)?;
            if entry.is_folder() {
                self.compare(&path, is_new || is_other || is_replaced)?;
            }
            if is_replaced {
                self.gone.push(path);
            }
        }
        Ok(())
    }

    /// Whether what is below must go before what is there now comes: one of the two is a directory, and not the other.
    fn is_replaced(&self, path: &ImagePath, entry: &Entry, is_other: bool) -> Result<bool, WriteError> {
        let below = self.below.lookup(path)?;
        Ok(below.is_some_and(|below| match (below.is_folder(), entry.is_folder()) {
            (true, true) => is_other,
            (one, other) => one != other,
        }))
    }

    fn find_gone(&mut self, folder: &ImagePath, entries: &[(Vec<u8>, Entry)]) -> Result<(), WriteError> {
        if self.below.lookup(folder)?.is_none() {
            return Ok(());
        }
        for (name, _) in self.below.read_dir(folder)? {
            if entries.binary_search_by(|(other, _)| other.cmp(&name)).is_err() {
                self.gone.push(folder.join(&name));
            }
        }
        Ok(())
    }
}

fn top() -> Destination {
    Destination { path: ImagePath::root(), is_folder: true }
}

/// Makes what is missing of a mount point, and notes it.
fn stand_in(
    writer: &LayerWriter,
    path: &ImagePath,
    folder_mode: Option<u32>,
    made: &mut BTreeSet<Vec<u8>>,
) -> Result<(), WriteError> {
    let view = writer.view();
    let real = view.canonical(path)?;
    let mut missing = Some(real.clone());
    while let Some(path) = missing.filter(|path| !path.is_root()) {
        if view.lookup(&path)?.is_some() {
            break;
        }
        missing = path.parent();
        made.insert(path.relative().to_vec());
    }
    if !made.contains(real.relative()) {
        return Ok(());
    }
    if let Some(mode_bits) = folder_mode {
        if let Some(parent) = real.parent() {
            writer.make_folders(&parent, NewFolders::default())?;
        }
        return writer.make_folders(&real, NewFolders { mode_bits, owner: None }).map(drop);
    }
    let metadata = Metadata { mode_bits: 0o644, ..Metadata::default() };
    writer.write_file(&real, b"", &metadata, NewFolders::default())
}

/// Tells of everything in a view, by paths without a slash at their beginning.
fn walk(view: &View, tell: &mut dyn FnMut(&[u8], &Entry)) -> Result<(), WriteError> {
    let mut folders = vec![ImagePath::root()];
    while let Some(folder) = folders.pop() {
        for (name, entry) in view.read_dir(&folder)? {
            let path = folder.join(&name);
            tell(path.relative(), &entry);
            if entry.is_folder() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Waits until what is changed next has a later time than what was written until now.
pub(crate) fn await_tick(tree: &Path) -> io::Result<()> {
    let beside = tempfile_beside(tree);
    let mark = File::create_new(&beside)?;
    let time = || crate::dirfd::stat_fd(&mark).map(|entry| entry.changed_at);
    let began = time()?;
    for tick in 0..TICKS {
        std::thread::sleep(Duration::from_millis(1));
        rustix::fs::fchmod(&mark, rustix::fs::Mode::from_raw_mode(0o600 | tick & 1))?;
        if time()? != began {
            break;
        }
    }
    drop(mark);
    std::fs::remove_file(&beside)
}

fn tempfile_beside(tree: &Path) -> PathBuf {
    tree.with_extension("clock")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::trees::{layer, list};

    /// Changes a copy by a shell script: what the new layer holds, and that it leads to what the copy is.
    fn check(stack: &[&[&str]], script: &str, expected: &[&str]) {
        let layers: Vec<_> = stack.iter().map(|notation| layer(notation)).collect();
        let lowers: Vec<PathBuf> = layers.iter().map(|layer| layer.path().to_owned()).collect();
        let top = tempfile::tempdir().unwrap();
        let (tree, upper) = (top.path().join("tree"), top.path().join("upper"));
        for path in [&tree, &upper] {
            std::fs::create_dir(path).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let points = [(ImagePath::new("/etc/hosts"), None), (ImagePath::new("/mnt/point"), Some(0o755))];
        let copied = PlainTree::copy(&lowers, &tree, &points).unwrap();
        let done =
            std::process::Command::new("sh").args(["-ec", script]).current_dir(&tree).status().unwrap();
        assert!(done.success(), "{script}");
        // a second time changes nothing
        for _ in 0..2 {
            copied.write_changes(&lowers, &upper).unwrap();
            let stack: Vec<&Path> = lowers.iter().chain([&upper]).map(PathBuf::as_path).collect();
            let stands_in = |line: &String| line == "etc/hosts=" || line.starts_with("mnt/point");
            let shown = |stack: &[&Path]| -> Vec<String> {
                let lines = list(&View::open(stack).unwrap());
                lines
                    .into_iter()
                    .filter(|line| !stands_in(line) && line != "etc/" && line != "mnt/")
                    .collect()
            };
            assert_eq!(shown(&stack), shown(&[&tree]), "{script}");
            assert_eq!(members(&upper), expected, "{script}");
        }
    }

    #[test]
    fn nothing_of_a_forgotten_copy_is_lost() {
        let base = layer(&["a=1", "d/x=1", "gone=1"]);
        let (tree, upper) = (layer(&["a=2", "d/y=1", "d/x=1"]), layer(&[]));
        let lowers = [base.path().to_owned()];
        PlainTree::forgotten(tree.path()).write_changes(&lowers, upper.path()).unwrap();
        let merged = View::open(&[base.path(), upper.path()]).unwrap();
        assert_eq!(list(&merged), list(&View::open(&[tree.path()]).unwrap()));
    }

    fn members(layer: &Path) -> Vec<String> {
        let mut packed = Vec::new();
        crate::pack(layer, &mut packed, &crate::PackOptions::default()).unwrap();
        let mut reader = crate::archive::Reader::new(&packed[..]);
        let mut names = Vec::new();
        while let Some(member) = reader.next_member().unwrap() {
            names.push(String::from_utf8(member.path).unwrap());
        }
        names
    }

    #[test]
    fn what_was_changed_becomes_a_layer() {
        let base: &[&str] = &["a=1", "d/x=1", "d/y=2", "e/", "l>a", "h&a"];
        check(&[base], "true", &[]);
        check(&[base], "cat a d/*", &[]);
        check(&[base], "echo 2 > n; mkdir -p m/n", &["m/", "m/n/", "n"]);
        check(&[base], "rm d/x", &["d/", "d/.wh.x"]);
        check(&[base], "rm -r d", &[".wh.d"]);
        check(&[base], "mkdir k; rm -r d; mv k d; echo 3 > d/y", &["d/", "d/.wh..wh..opq", "d/y"]);
        check(&[base], "rm -r d; echo 3 > d", &["d"]);
        check(&[base], "rm l; mkdir l", &["l/", "l/.wh..wh..opq"]);
        check(&[base], "chmod 700 e", &["e/"]);
        check(&[base], "chmod 600 d/x", &["d/", "d/x"]);
        // same size, and the time is put back
        check(&[base], "touch -r d/x k; echo -n 9 > d/x; touch -r k d/x; rm k", &["d/", "d/x"]);
        // what is moved is there twice: gone, and new
        check(&[base], "mv d f", &[".wh.d", "f/", "f/x", "f/y"]);
        check(
            &[&["p/x=1", "q/x=2"]],
            "mv p r; mv q p; mv r q",
            &["p/", "p/.wh..wh..opq", "p/x", "q/", "q/.wh..wh..opq", "q/x"],
        );
        check(&[&["a=1"], &["a!", "b=2"]], "echo 1 > a", &["a"]);
        // names of one file are parted, as by an overlay
        check(&[base], "echo 2 >> a", &["a"]);
        check(&[base], "ln a b", &["a", "b"]);
        check(&[base], "echo 1 > mnt/other", &["mnt/", "mnt/other"]);
    }
}
