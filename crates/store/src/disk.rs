//! The writes of the store, one function each, so that every write point is known and can be failed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, UTIME_NOW};

use crate::error::{At as _, FileError, ReadWholeError, if_there};
use crate::failpoint::{dir_synced, point, renamed, renaming, synced, wrote};

/// Makes a directory that only we may enter, with its parents where they are missing.
pub(crate) fn make_dir(path: &Path) -> Result<(), FileError> {
    point();
    DirBuilder::new().recursive(true).mode(0o700).create(path).at("creating", path)
}

/// Asks the file system to put what is made in a directory far from each other. ext4 keeps it close together otherwise,
/// and scans past every inode there that was freed a short while ago: deleting one tree makes writing the next slow.
pub(crate) fn spread(path: &Path) {
    let spread = File::open(path).and_then(|dir| {
        let flags = rustix::fs::ioctl_getflags(&dir)?;
        Ok(rustix::fs::ioctl_setflags(&dir, flags | rustix::fs::IFlags::TOPDIR)?)
    });
    if let Err(error) = spread {
        // other file systems have no such wish
        tracing::debug!(%error, path = %path.display(), "directories are put where the file system likes");
    }
}

/// Makes one directory, which must not exist yet, with exactly this mode.
pub(crate) fn make_new_dir(path: &Path, mode_bits: u32) -> Result<(), FileError> {
    with_parent(path, || {
        point();
        DirBuilder::new().mode(mode_bits).create(path).at("creating", path)
    })?;
    // the process's umask must not reach what a container sees
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode_bits);
    fs::set_permissions(path, mode).at("setting the mode of", path)
}

/// Opens a new file for writing; it must not exist yet.
pub(crate) fn create_file(path: &Path) -> Result<File, FileError> {
    point();
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).at("creating", path)?;
    wrote(path);
    Ok(file)
}

/// Opens a file that locks are taken on, creating it where it is missing.
pub(crate) fn open_lock(path: &Path) -> Result<File, FileError> {
    with_parent(path, || {
        point();
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .at("opening the lock", path)
    })
}

/// Writes a whole new file.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<File, FileError> {
    let mut file = create_file(path)?;
    point();
    file.write_all(bytes).at("writing", path)?;
    Ok(file)
}

/// Adds bytes to the end of a file in one piece, creating it where it is missing.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = open_lock(path)?;
    point();
    file.write_all(bytes).at("appending to", path)
}

/// Moves a file or directory, replacing a file that is there.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    with_parent(to, || {
        point();
        let replaced = renaming(to);
        fs::rename(from, to).at("renaming to", to)?;
        renamed(from, to, replaced);
        Ok(())
    })
}

/// Moves a file or directory to a name that must be free; `false` where it is taken.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<bool, FileError> {
    with_parent(to, || {
        point();
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => Ok(false),
            // a file system without the flag: the callers' names are random or content addressed
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => {
                fs::rename(from, to).at("renaming to", to).map(|()| true)
            }
            result => result.at("renaming to", to).map(|()| true),
        }
    })
}

/// Removes a file; `false` where there is none.
pub(crate) fn remove_file(path: &Path) -> Result<bool, FileError> {
    point();
    if_there(fs::remove_file(path).at("removing", path)).map(|done| done.is_some())
}

/// Makes a file's content durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<(), FileError> {
    point();
    file.sync_data().at("syncing", path)?;
    synced(path);
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), FileError> {
    point();
    let dir = File::open(path).at("opening", path)?;
    dir.sync_all().at("syncing", path)?;
    dir_synced(path);
    Ok(())
}

/// Marks a file as used now. A store that cannot be written has no use to record.
pub(crate) fn touch(path: &Path) -> Result<(), FileError> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    match rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()) {
        Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Ok(()),
        result => result.at("touching", path),
    }
}

/// The largest file of the store's own that is read whole; few have more than some thousand bytes.
pub const WHOLE_BYTES: u64 = 256 << 20;

/// Reads a whole file of no more than so many bytes; `None` where there is none.
///
/// # Errors
/// [`ReadWholeError::TooLarge`] before anything is read of a larger one, and [`ReadWholeError::NotAFile`] for whatever
/// else has its name: a pipe does not make the reader wait.
pub fn read_whole(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, ReadWholeError> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path).at("reading", path);
    let Some(file) = if_there(opened)? else { return Ok(None) };
    let metadata = file.metadata().at("reading", path)?;
    if !metadata.is_file() {
        return Err(ReadWholeError::NotAFile(path.to_owned()));
    }
    let too_large = || ReadWholeError::TooLarge { path: path.to_owned(), limit_bytes };
    if metadata.len() > limit_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // it may grow meanwhile
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).at("reading", path)?;
    if bytes.len() as u64 > limit_bytes { Err(too_large()) } else { Ok(Some(bytes)) }
}

/// Reads a whole small file of the store; `None` where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ReadWholeError> {
    read_whole(path, WHOLE_BYTES)
}

/// The names in a directory, sorted; none where it is missing. Names that are no text are not ours.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, FileError> {
    let Some(entries) = if_there(fs::read_dir(path).at("listing", path))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry.at("listing", path)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Runs a write, and once more after making the parent directory where that was missing.
fn with_parent<T>(path: &Path, write: impl Fn() -> Result<T, FileError>) -> Result<T, FileError> {
    match (write(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            // where it exists by now, another thread was quicker
            if !parent.exists() {
                make_dir(parent)?;
            }
            write()
        }
        (result, _) => result,
    }
}
