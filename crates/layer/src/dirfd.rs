//! Calls relative to directory descriptors, one path component at a time: no link is ever followed.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RawDirEntry, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use crate::entry::{Entry, Xattrs};
use crate::policy;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The longest path, as the kernel has it; a tree that is deeper cannot be walked by anyone.
const PATH_MAX: usize = 4096;

/// Refuses a path that is too long for the kernel, before a walk goes deeper still.
pub(crate) fn check_length(path: &[u8]) -> rustix::io::Result<()> {
    if path.len() < PATH_MAX { Ok(()) } else { Err(Errno::NAMETOOLONG) }
}

/// Says what a name of a directory is; `None` where there is none.
pub(crate) fn stat(dir: impl AsFd, name: &[u8]) -> io::Result<Option<Entry>> {
    let flags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::EMPTY_PATH).union(AtFlags::NO_AUTOMOUNT);
    match rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => Entry::of_stat(&stat)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown file type")),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says what an open descriptor is.
pub(crate) fn stat_fd(fd: impl AsFd) -> io::Result<Entry> {
    stat(fd, b"")?.ok_or_else(|| Errno::NOENT.into())
}

/// Opens a directory that the caller names by a host path.
pub(crate) fn open_root(path: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a directory of a directory; `ENOTDIR` for a link.
pub(crate) fn open_folder(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, FOLDER, Mode::empty())
}

/// Opens a folder deep below `root`, all parts of whose path are folders.
pub(crate) fn open_folder_below(root: impl AsFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
    retry(|| rustix::fs::openat2(&root, path, FOLDER, Mode::empty(), resolve))
}

/// Opens a path below `root`, links resolved as if `root` were `/`.
pub(crate) fn open_in_root(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
    retry(|| rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// The kernel gives up with `EAGAIN` when something was renamed meanwhile.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    for _ in 0..64 {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    call()
}

/// Opens a file for reading; a pipe does not block.
pub(crate) fn open_file(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Lists the names of a directory, in no order; the position of `dir` itself does not move.
pub(crate) fn names(dir: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    names_once(open_folder(dir, b".")?)
}

/// Lists the names of a directory that was just opened and that nobody else reads.
pub(crate) fn names_once(dir: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for_each_name(dir, |name, _| names.push(name.to_vec()))?;
    Ok(names)
}

/// Lists the names of a directory, in no order; of character devices with the number of the inode.
pub(crate) fn names_and_devices(dir: impl AsFd) -> io::Result<Vec<(Vec<u8>, Option<u64>)>> {
    let mut names = Vec::new();
    for_each_name(open_folder(dir, b".")?, |name, entry| {
        let is_device = entry.file_type() == FileType::CharacterDevice;
        names.push((name.to_vec(), is_device.then(|| entry.ino())));
    })?;
    Ok(names)
}

fn for_each_name(dir: impl AsFd, mut visit: impl FnMut(&[u8], &RawDirEntry<'_>)) -> io::Result<()> {
    // Not on the stack: walks go deep.
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut raw = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            visit(name, &entry);
        }
    }
    Ok(())
}

/// Reads where a link points.
pub(crate) fn read_link(dir: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(dir, name, Vec::with_capacity(256))?.into_bytes())
}

/// A path for the calls that take no descriptor: magic for the directory, plain for the last component.
fn proc_path(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}", dir.as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

/// Reads one attribute of an entry; `None` where it has none or the file system knows none.
pub(crate) fn xattr(dir: impl AsFd, name: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let path = proc_path(dir.as_fd(), name);
    let read = |buffer: &mut [u8]| match name {
        [] => rustix::fs::getxattr(&*path, key, buffer),
        _ => rustix::fs::lgetxattr(&*path, key, buffer),
    };
    let mut value = vec![0; 256];
    loop {
        match read(&mut value) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < 1 << 16 => value.resize(1 << 16, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether an open directory carries an attribute with this value.
pub(crate) fn has_xattr(fd: impl AsFd, key: &str, value: &[u8]) -> bool {
    let mut buffer = [0; 8];
    matches!(rustix::fs::fgetxattr(fd, key, &mut buffer[..]), Ok(length) if buffer.get(..length) == Some(value))
}

/// Reads the attributes of an entry that belong to an image, sorted.
pub(crate) fn xattrs(dir: impl AsFd, name: &[u8]) -> io::Result<Xattrs> {
    let dir = dir.as_fd();
    let path = proc_path(dir, name);
    let list = |buffer: &mut [u8]| match name {
        [] => rustix::fs::listxattr(&*path, buffer),
        _ => rustix::fs::llistxattr(&*path, buffer),
    };
    let mut keys = vec![0; 512];
    let length = loop {
        match list(&mut keys) {
            Ok(length) => break length,
            Err(Errno::RANGE) if keys.len() < 1 << 16 => keys.resize(1 << 16, 0),
            Err(Errno::OPNOTSUPP | Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
    };
    let mut found = Vec::new();
    for key in keys[..length].split(|byte| *byte == 0).filter(|key| policy::is_content(key)) {
        if !key.is_empty()
            && let Some(value) = xattr(dir, name, key)?
        {
            found.push((key.to_vec(), value));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the attributes of an open file that belong to an image, sorted.
pub(crate) fn xattrs_fd(fd: impl AsFd) -> io::Result<Xattrs> {
    match rustix::fs::flistxattr_query(&fd) {
        Ok(0) | Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        _ => xattrs(fd, b""),
    }
}

/// Whether an open file or directory has no attributes at all.
pub(crate) fn has_no_xattrs(fd: impl AsFd) -> bool {
    matches!(rustix::fs::flistxattr_query(&fd), Ok(0) | Err(Errno::OPNOTSUPP))
}

/// Sets an attribute of an entry.
pub(crate) fn set_xattr(dir: impl AsFd, name: &[u8], key: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    let path = proc_path(dir.as_fd(), name);
    let flags = rustix::fs::XattrFlags::empty();
    match name {
        [] => rustix::fs::setxattr(&*path, key, value, flags),
        _ => rustix::fs::lsetxattr(&*path, key, value, flags),
    }
}
