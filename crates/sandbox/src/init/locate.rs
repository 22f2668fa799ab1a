//! Finding mount points in a root, and making those that are missing.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, chmodat, mkdirat, openat, openat2, readlinkat,
};
use rustix::io::Errno;

/// How many symbolic links one path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

/// A path as far as it exists.
pub(super) struct Located {
    /// Its deepest existing part, open.
    pub(super) found: OwnedFd,
    /// The same as a path inside the root, free of links.
    pub(super) path: PathBuf,
    /// What is missing below it.
    pub(super) missing: Vec<OsString>,
}

/// Follows a path inside `root`, links included, never out of it.
pub(super) fn locate(root: impl AsFd, path: &Path) -> Result<Located, Errno> {
    if let Some(found) = open_inside(&root, path)? {
        let path = path_inside(&root, &found)?;
        return Ok(Located { found, path, missing: Vec::new() });
    }
    walk(root, path)
}

/// Opens what a path names inside `root`; none if a part of it is missing.
pub(super) fn open_inside(root: impl AsFd, path: &Path) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        return match openat2(&root, path, flags, Mode::empty(), resolve) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::AGAIN) => continue,
            Err(error) => Err(error),
        };
    }
}

/// Says where an open file of `root` is, seen from there.
fn path_inside(root: impl AsFd, found: &OwnedFd) -> Result<PathBuf, Errno> {
    let base = path_of(root.as_fd())?;
    let full = path_of(found.as_fd())?;
    let inside = full.strip_prefix(&base).unwrap_or(&full);
    Ok(Path::new("/").join(inside))
}

fn path_of(open: impl AsFd) -> Result<PathBuf, Errno> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", open.as_fd().as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

/// Follows a path part by part and stops at the first that is missing.
fn walk(root: impl AsFd, path: &Path) -> Result<Located, Errno> {
    let mut ahead = parts(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let Some(found) = open_inside(&root, &here)? else {
            return Err(Errno::NOENT);
        };
        match readlinkat(&found, part.as_os_str(), Vec::new()) {
            Ok(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    ahead.push_front(part);
                }
            }
            Err(Errno::NOENT) => {
                let missing = plain_rest(part, ahead);
                return Ok(Located { found, path: here, missing });
            }
            // Not a link: it exists.
            Err(Errno::INVAL) => here = next,
            Err(error) => return Err(error),
        }
    }
    let found = open_inside(&root, &here)?.ok_or(Errno::NOENT)?;
    Ok(Located { found, path: here, missing: Vec::new() })
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

/// The missing parts without `..`, which can only mean parts that are missing as well.
fn plain_rest(first: OsString, ahead: VecDeque<OsString>) -> Vec<OsString> {
    let mut rest = vec![first];
    for part in ahead {
        if part == ".." {
            rest.pop();
        } else {
            rest.push(part);
        }
    }
    rest
}

/// Kind of a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PointKind {
    /// A directory.
    Directory,
    /// A directory whose mode goes to what is mounted there; a missing one is open to all.
    Open,
    /// An empty file.
    File,
}

/// Makes a path in a root without links, as far as it is missing.
pub(super) fn make_plain(root: &OwnedFd, path: &Path, kind: PointKind) -> Result<(), Errno> {
    let mut missing = Vec::new();
    for part in parts(path) {
        if part == ".." {
            missing.pop();
        } else {
            missing.push(part);
        }
    }
    let located = Located { found: rustix::io::dup(root)?, path: PathBuf::from("/"), missing };
    make_missing(located, kind, &mut Vec::new()).map(drop)
}

/// Makes the missing parts below `found` and opens the last; new ones are told in `made`.
pub(super) fn make_missing(
    located: Located,
    kind: PointKind,
    made: &mut Vec<PathBuf>,
) -> Result<OwnedFd, Errno> {
    let mut here = located.found;
    let mut path = located.path;
    let last = located.missing.len().saturating_sub(1);
    for (index, name) in located.missing.iter().enumerate() {
        path.push(name);
        let is_new = match kind {
            PointKind::File if index == last => make_file(&here, name)?,
            PointKind::Open if index == last => make_open_directory(&here, name)?,
            _ => make_directory(&here, name)?,
        };
        if is_new {
            made.push(path.clone());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        here = openat(&here, name.as_os_str(), flags, Mode::empty())?;
    }
    Ok(here)
}

fn make_directory(parent: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn make_open_directory(parent: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    let is_new = make_directory(parent, name)?;
    if is_new {
        // not by `mkdirat`, which the umask narrows
        chmodat(parent, name, Mode::from_raw_mode(0o1777), AtFlags::empty())?;
    }
    Ok(is_new)
}

fn make_file(parent: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies of those directories of a root that lead to missing mount points, and the mount points.
pub(super) struct Skeleton {
    original: OwnedFd,
    copy: OwnedFd,
    /// Directories of the original with their copies.
    pairs: Vec<(OwnedFd, OwnedFd)>,
}

impl Skeleton {
    /// Begins with the root alone.
    pub(super) fn new(original: OwnedFd, copy: OwnedFd) -> Self {
        Self { original, copy, pairs: Vec::new() }
    }

    /// Adds a mount point with the directories above it.
    pub(super) fn add(&mut self, located: &Located, kind: PointKind) -> Result<(), Errno> {
        let mut from = rustix::io::dup(&self.original)?;
        let mut to = rustix::io::dup(&self.copy)?;
        for name in parts(&located.path) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next_from = openat(&from, name.as_os_str(), flags, Mode::empty())?;
            make_directory(&to, &name)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next_to = openat(&to, name.as_os_str(), flags, Mode::empty())?;
            self.pairs.push((from, to));
            (from, to) = (next_from, next_to);
        }
        let below =
            Located { found: rustix::io::dup(&to)?, path: PathBuf::new(), missing: located.missing.clone() };
        self.pairs.push((from, to));
        make_missing(below, kind, &mut Vec::new()).map(drop)
    }

    /// Makes every copied directory look like its original, now that nothing is added any more.
    pub(super) fn finish(self) -> Result<(), Errno> {
        for (from, to) in &self.pairs {
            copy_attributes(from, to)?;
        }
        copy_attributes(&self.original, &self.copy)
    }
}

/// Gives a directory owner, mode and times of another.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    use rustix::fs::{Gid, Timespec, Timestamps, Uid, fchmod, fchown, futimens, statat};
    let status = statat(from, c"", AtFlags::EMPTY_PATH)?;
    fchown(to, Some(Uid::from_raw(status.st_uid)), Some(Gid::from_raw(status.st_gid)))?;
    fchmod(to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    let time =
        |seconds: i64, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: nanos.try_into().unwrap_or(0) };
    let times = Timestamps {
        last_access: time(status.st_atime, status.st_atime_nsec),
        last_modification: time(status.st_mtime, status.st_mtime_nsec),
    };
    futimens(to, &times)
}

/// Says what kind of mount point an open source needs.
pub(super) fn point_kind(source: impl AsFd) -> Result<PointKind, Errno> {
    let status = rustix::fs::statat(source, c"", AtFlags::EMPTY_PATH)?;
    Ok(match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => PointKind::Directory,
        _ => PointKind::File,
    })
}

/// A name as the kernel takes it.
pub(super) fn c_name(name: &OsStr) -> Result<CString, Errno> {
    CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)
}
