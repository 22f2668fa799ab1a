//! What a container changed: `docker diff`.
//!
//! Only the upper directory is walked. An entry that is also below counts as changed when mode, owner, device,
//! or, unless it is a directory, size or time differ; a directory also when anything in it did.

use std::fmt;
use std::io;
use std::path::Path;

use lighter_image::ImagePath;

use crate::dirfd;
use crate::entry::{Entry, Kind, Timestamp};
use crate::policy::Policy;
use crate::view::{Folder, Found, Item, View, ViewError};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It is there, but not below.
    Added,
    /// It is there as it is below, but not the same.
    Changed,
    /// It is below, but not there.
    Deleted,
}

impl ChangeKind {
    /// The letter that Docker prints.
    pub const fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
        }
    }

    /// The number that Docker's engine gives it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Changed => 0,
            Self::Added => 1,
            Self::Deleted => 2,
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Where.
    pub path: ImagePath,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.letter(), self.path)
    }
}

/// Compares an upper directory in overlay form with what is below it; parents come before what is in them.
///
/// `ignore` takes out paths that belong to the runtime, with all that is in them.
///
/// # Errors
/// [`ViewError`].
pub fn changes(
    upper: &Path,
    below: &View,
    ignore: &dyn Fn(&ImagePath) -> bool,
) -> Result<Vec<Change>, ViewError> {
    let policy = Policy::of_process();
    let raw = View::open_raw(upper, policy)?;
    let mut walk = Walk { opaque: policy.marks.opaque(), ignore, changes: Vec::new() };
    walk.run(raw.root(), Some(below.root())).map_err(|(path, error)| ViewError::io(&path, error))?;
    Ok(walk.changes)
}

struct Walk<'a> {
    opaque: &'static str,
    ignore: &'a dyn Fn(&ImagePath) -> bool,
    changes: Vec<Change>,
}

type Failed = (ImagePath, io::Error);

/// A directory that is being compared.
struct Level {
    path: ImagePath,
    upper: Folder,
    items: std::vec::IntoIter<Item>,
    /// What it is compared with; nothing where it is new.
    below: Option<Folder>,
    /// Whether it was made anew, so that what it does not have is gone.
    opaque: bool,
    /// How many changes there were before it was told, and before what is in it.
    before: usize,
    start: usize,
}

impl Walk<'_> {
    fn is_opaque(&self, folder: &Folder) -> bool {
        folder.parts.first().is_some_and(|part| dirfd::has_xattr(&part.fd, self.opaque, b"y"))
    }

    fn run(&mut self, upper: Folder, below: Option<Folder>) -> Result<(), Failed> {
        let mut levels = vec![self.level(ImagePath::root(), upper, below, 0)?];
        while let Some(level) = levels.last_mut() {
            let Some(item) = level.items.next() else {
                if let Some(level) = levels.pop() {
                    self.leave(level)?;
                }
                continue;
            };
            let path = level.path.join(&item.name);
            if !(self.ignore)(&path)
                && let Some(inner) = self.item(level, &item, path)?
            {
                levels.push(inner);
            }
        }
        Ok(())
    }

    fn level(
        &self,
        path: ImagePath,
        upper: Folder,
        below: Option<Folder>,
        before: usize,
    ) -> Result<Level, Failed> {
        let fail = |error| (path.clone(), error);
        dirfd::check_length(path.as_bytes()).map_err(|error| fail(error.into()))?;
        let items = upper.items().map_err(fail)?.into_iter();
        let opaque = below.is_some() && self.is_opaque(&upper);
        Ok(Level { path, upper, items, below, opaque, before, start: self.changes.len() })
    }

    /// Tells of one entry; a directory is to be looked into next.
    fn item(
        &mut self,
        level: &Level,
        Item { name, found }: &Item,
        path: ImagePath,
    ) -> Result<Option<Level>, Failed> {
        let fail = |error| (path.clone(), error);
        let entry = &found.entry;
        let old = match &level.below {
            Some(below) => below.find(name).map_err(fail)?.map(|found| (below, found)),
            None => None,
        };
        if entry.is_whiteout() {
            if old.is_some() {
                self.push(ChangeKind::Deleted, path);
            }
            return Ok(None);
        }
        let before = self.changes.len();
        match &old {
            None => self.push(ChangeKind::Added, path.clone()),
            Some((below, old))
                if differs(&old.entry, entry)
                    || other_capabilities(below, old, &level.upper, found, name) =>
            {
                self.push(ChangeKind::Changed, path.clone());
            }
            Some(_) => {}
        }
        if !entry.is_folder() {
            return Ok(None);
        }
        let inner = level.upper.open_folder(name, found).map_err(fail)?;
        let old = old.filter(|(_, old)| old.entry.is_folder());
        let old = old.map(|(below, old)| below.open_folder(name, &old)).transpose().map_err(fail)?;
        self.level(path, inner, old, before).map(Some)
    }

    /// Ends a directory: it has changed if anything in it has.
    fn leave(&mut self, level: Level) -> Result<(), Failed> {
        if let Some(below) = level.below.as_ref().filter(|_| level.opaque) {
            self.tell_lost(&level, below)?;
        }
        let told = level.start > level.before;
        if !told && self.changes.len() > level.start && !level.path.is_root() {
            self.changes.insert(level.before, Change { kind: ChangeKind::Changed, path: level.path });
        }
        Ok(())
    }

    /// What a directory made anew had and has no more is gone, without a mark for each.
    fn tell_lost(&mut self, level: &Level, below: &Folder) -> Result<(), Failed> {
        let fail = |error| (level.path.clone(), error);
        for item in below.items().map_err(fail)? {
            let child = level.path.join(&item.name);
            if level.upper.find(&item.name).map_err(fail)?.is_none() && !(self.ignore)(&child) {
                self.push(ChangeKind::Deleted, child);
            }
        }
        self.changes[level.start..].sort_by(|a, b| a.path.components().cmp(b.path.components()));
        Ok(())
    }

    fn push(&mut self, kind: ChangeKind, path: ImagePath) {
        self.changes.push(Change { kind, path });
    }
}

fn differs(old: &Entry, new: &Entry) -> bool {
    old.kind != new.kind
        || old.mode_bits != new.mode_bits
        || (old.uid, old.gid) != (new.uid, new.gid)
        || old.device != new.device
        || new.kind != Kind::Folder && (old.size_bytes != new.size_bytes || !same_time(old.mtime, new.mtime))
}

/// Whether a file that looks the same has other capabilities, which change no time.
fn other_capabilities(below: &Folder, old: &Found, upper: &Folder, new: &Found, name: &[u8]) -> bool {
    let of = |folder: &Folder, found: &Found| match found.entry.kind {
        Kind::File => dirfd::xattr(folder.holder(found), name, b"security.capability").ok().flatten(),
        _ => None,
    };
    of(below, old) != of(upper, new)
}

/// A time of whole seconds comes from an archive, which knows no more.
fn same_time(old: Timestamp, new: Timestamp) -> bool {
    old.seconds == new.seconds && (old.nanos == new.nanos || old.nanos == 0 || new.nanos == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::layer;

    fn check(below: &[&str], upper: &[&str], expected: &[&str]) {
        let (below, upper) = (layer(below), layer(upper));
        let (from, to) = (below.path().join("same"), upper.path().join("same"));
        if let (Ok(from), Ok(to)) = (from.metadata(), std::fs::File::open(to)) {
            to.set_modified(from.modified().unwrap()).unwrap();
        }
        let view = View::open(&[below.path()]).unwrap();
        let ignore = |path: &ImagePath| path.as_bytes() == b"/run";
        let lines: Vec<_> =
            changes(upper.path(), &view, &ignore).unwrap().iter().map(Change::to_string).collect();
        assert_eq!(lines, expected, "{upper:?}");
    }

    #[test]
    fn changes_are_told_as_docker_tells_them() {
        check(&["a=1"], &[], &[]);
        check(&["etc/p=1"], &["etc/p=22", "etc/new=1", "l>x"], &["C /etc", "A /etc/new", "C /etc/p", "A /l"]);
        check(&["d/x=1"], &["a/b/c=1"], &["A /a", "A /a/b", "A /a/b/c"]);
        check(
            &["bin/vi=1", "etc/g=1"],
            &["bin/vi!", "etc/g!"],
            &["C /bin", "D /bin/vi", "C /etc", "D /etc/g"],
        );
        check(&["d/"], &["d/"], &[]);
        check(&["d/"], &["d@700/"], &["C /d"]);
        check(&["h/x=1", "h/y=1"], &["h/", "h/*", "h/z=1"], &["C /h", "D /h/x", "D /h/y", "A /h/z"]);
        check(&["d/x=1"], &["d=file"], &["C /d"]);
        check(&["d=file"], &["d/x=1"], &["C /d", "A /d/x"]);
        check(&["same=1"], &["same=1"], &[]);
        check(&["run/x=1"], &["run/x!", "run/y=1"], &[]);
        check(&["a=1"], &["never!"], &[]);
    }
}
