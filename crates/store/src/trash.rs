//! Throwing away: a rename now, the deletion later.
//!
//! Deleting many files takes long, and on ext4 slows the creation of files for minutes. So what is no
//! longer wanted is moved to `trash/`, and deleted when somebody prunes, or when nobody waits.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::Store;
use crate::disk;
use crate::error::{At as _, FileError, if_there};
use crate::failpoint::point;
use crate::id::random_text;

/// How deep a tree is followed before its lower parts are moved up: each level holds a descriptor.
const DEEPEST: usize = 64;

impl Store {
    /// Moves something to the trash; `false` where there is nothing.
    ///
    /// On a disk that is too full even for a name in the trash, the trash is emptied first.
    pub(crate) fn throw_away(&self, path: &Path) -> Result<bool, FileError> {
        match self.bury(path) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && self.empty_trash()? > 0 => {
                self.bury(path)
            }
            result => result,
        }
    }

    /// Gives a whole file its name; what stands there instead of a file goes to the trash.
    pub(crate) fn replace(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        match disk::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                self.throw_away(to)?;
                disk::rename(from, to)
            }
            result => result,
        }
    }

    /// As [`Store::throw_away`], for collectors, who empty the trash themselves.
    pub(crate) fn bury(&self, path: &Path) -> Result<bool, FileError> {
        let grave = self.layout().top("trash").join(random_text(16));
        if_there(disk::rename(path, &grave)).map(|done| done.is_some())
    }

    /// Deletes what was thrown away at once where the disk is nearly full: whoever comes next needs the room.
    pub(crate) fn make_room_where_tight(&self) {
        let is_tight = rustix::fs::statvfs(self.root()).is_ok_and(|disk| {
            // a tenth of a big disk is room enough
            let few = |free: u64, all: u64, enough: u64| all > 0 && free < (all / 10).min(enough);
            few(disk.f_bavail, disk.f_blocks, (1 << 30) / disk.f_frsize.max(1))
                || few(disk.f_favail, disk.f_files, 100_000)
        });
        if is_tight && let Err(error) = self.empty_trash() {
            tracing::warn!(%error, "what was thrown away still takes room");
        }
    }

    /// Deletes what was thrown away, and returns how many bytes of disk that freed.
    ///
    /// Several processes may do this at once: each file is counted by the one that deleted it.
    ///
    /// # Errors
    /// When something cannot be deleted.
    pub fn empty_trash(&self) -> Result<u64, FileError> {
        let path = self.layout().top("trash");
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, directory, Mode::empty()).at("opening", &path);
        let Some(trash) = if_there(opened)? else { return Ok(0) };
        let mut freed = 0;
        // deep trees put their lower parts back here: look again until there is nothing
        loop {
            let names = names_in(trash.as_fd()).at("listing", &path)?;
            if names.is_empty() {
                return Ok(freed);
            }
            for name in names {
                point();
                freed += delete(trash.as_fd(), trash.as_fd(), &name, 0).at("emptying", &path)?;
            }
        }
    }
}

/// Deletes a file or a tree, and returns the bytes that it freed.
fn delete(trash: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<u64, Errno> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(0),
        result => result?,
    };
    let own = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        let last_link = stat.st_nlink == 1;
        let done = gone(rustix::fs::unlinkat(parent, name, AtFlags::empty()))?;
        return Ok(if done && last_link { own } else { 0 });
    }
    if depth == DEEPEST {
        let up = CString::new(random_text(16)).map_err(|_| Errno::INVAL)?;
        gone(rustix::fs::renameat_with(parent, name, trash, &up, RenameFlags::NOREPLACE))?;
        return Ok(0);
    }
    let mut freed = 0;
    if let Some(directory) = open_directory(parent, name)? {
        for child in names_in(directory.as_fd())? {
            freed += delete(trash, directory.as_fd(), &child, depth + 1)?;
        }
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        // another process is at it as well, and put something deep back
        Err(Errno::NOTEMPTY) => Ok(freed),
        result => Ok(if gone(result)? { freed + own } else { freed }),
    }
}

/// Opens a directory whatever its mode; `None` where another process was quicker.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    let opened = match open() {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            open()
        }
        result => result,
    };
    match opened {
        Err(Errno::NOENT) => Ok(None),
        result => {
            let directory = result?;
            let mode = rustix::fs::fstat(&directory)?.st_mode;
            if mode & 0o300 != 0o300 {
                rustix::fs::fchmod(&directory, Mode::RWXU)?;
            }
            Ok(Some(directory))
        }
    }
}

fn names_in(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Whether it was we who removed it.
fn gone(result: Result<(), Errno>) -> Result<bool, Errno> {
    match result {
        Err(Errno::NOENT) => Ok(false),
        result => result.map(|()| true),
    }
}
