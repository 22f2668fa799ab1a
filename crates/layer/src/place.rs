//! Making single entries in a layer directory, as far as the process may.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid};
use rustix::io::Errno;

use crate::dirfd;
use crate::entry::{Device, Entry, Kind, Metadata, Timestamp, Xattrs};
use crate::policy::{self, Marks, Ownership, Policy};

/// Makes entries below directory descriptors; names are single path components.
#[derive(Clone, Copy)]
pub(crate) struct Placer {
    pub(crate) policy: Policy,
    umask: u32,
}

impl Placer {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, umask: process_umask() }
    }

    /// Gives a file made by [`create_file`] all but its content.
    pub(crate) fn finish_file(self, file: impl AsFd, metadata: &Metadata) -> io::Result<()> {
        let file = file.as_fd();
        let owned = self.own_fd(file, metadata.uid, metadata.gid)?;
        if owned || metadata.mode_bits & (self.umask | 0o7000) != 0 {
            rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode_bits))?;
        }
        set_xattrs(file, b"", &metadata.xattrs)?;
        set_times(file, metadata.mtime)
    }

    /// Gives a file that is there already new metadata.
    pub(crate) fn restyle_file(self, dir: impl AsFd, name: &[u8], metadata: &Metadata) -> io::Result<()> {
        let opened = match dirfd::open_file(&dir, name) {
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(&dir, name, Mode::RUSR, AtFlags::empty())?;
                dirfd::open_file(&dir, name)?
            }
            opened => opened?,
        };
        let now = dirfd::stat_fd(&opened)?;
        if self.policy.marks == Marks::User || (now.uid, now.gid) != (metadata.uid, metadata.gid) {
            self.own_fd_always(opened.as_fd(), metadata.uid, metadata.gid)?;
        }
        rustix::fs::fchmod(&opened, Mode::from_raw_mode(metadata.mode_bits))?;
        set_xattrs(&opened, b"", &metadata.xattrs)?;
        set_times(&opened, metadata.mtime)
    }

    /// Makes a directory, all but its time and its setgid bit, which would reach into what is made in it.
    pub(crate) fn make_folder(self, dir: impl AsFd, name: &[u8], metadata: &Metadata) -> io::Result<OwnedFd> {
        rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(metadata.mode_bits & 0o777))?;
        let fd = dirfd::open_folder(&dir, name)?;
        let owned = self.own_fd(fd.as_fd(), metadata.uid, metadata.gid)?;
        if owned || metadata.mode_bits & (self.umask | 0o5000) != 0 {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(metadata.mode_bits & !0o2000))?;
        }
        set_xattrs(&fd, b"", &metadata.xattrs)?;
        Ok(fd)
    }

    /// Gives a directory that is there already new metadata, all but its time and setgid bit.
    pub(crate) fn restyle_folder(self, folder: impl AsFd, metadata: &Metadata) -> io::Result<()> {
        let folder = folder.as_fd();
        let now = dirfd::stat_fd(folder)?;
        let record = self.policy.marks == Marks::User;
        if record || (now.uid, now.gid) != (metadata.uid, metadata.gid) {
            self.own_fd_always(folder, metadata.uid, metadata.gid)?;
        }
        rustix::fs::fchmod(folder, Mode::from_raw_mode(metadata.mode_bits & !0o2000))?;
        set_xattrs(folder, b"", &metadata.xattrs)
    }

    /// Makes a symbolic link.
    pub(crate) fn make_link(
        self,
        dir: impl AsFd,
        name: &[u8],
        target: &[u8],
        metadata: &Metadata,
    ) -> io::Result<()> {
        rustix::fs::symlinkat(target, &dir, name)?;
        self.own_child(dir.as_fd(), name, metadata)?;
        set_xattrs(&dir, name, &metadata.xattrs)?;
        set_times_at(dir, name, metadata.mtime)
    }

    /// Makes a named pipe or a device node; where the process may not, an empty file that says so.
    pub(crate) fn make_node(
        self,
        dir: impl AsFd,
        name: &[u8],
        (kind, device): (Kind, Device),
        metadata: &Metadata,
    ) -> io::Result<()> {
        let (file_type, letter) = match kind {
            Kind::CharDevice => (FileType::CharacterDevice, 'c'),
            Kind::BlockDevice => (FileType::BlockDevice, 'b'),
            _ => (FileType::Fifo, 'p'),
        };
        let number = rustix::fs::makedev(device.major, device.minor);
        let mode = Mode::from_raw_mode(metadata.mode_bits & 0o7777);
        match rustix::fs::mknodat(&dir, name, file_type, mode, number) {
            Err(Errno::PERM) if letter != 'p' && self.policy.marks == Marks::User => {
                let file = create_file(&dir, name, metadata.mode_bits)?;
                let node = format!("{letter}:{}:{}", device.major, device.minor);
                dirfd::set_xattr(&file, b"", policy::NODE.as_bytes(), node.as_bytes())?;
                return self.finish_file(&file, metadata);
            }
            other => other?,
        }
        self.own_child(dir.as_fd(), name, metadata)?;
        rustix::fs::chmodat(&dir, name, mode, AtFlags::empty())?;
        set_xattrs(&dir, name, &metadata.xattrs)?;
        set_times_at(dir, name, metadata.mtime)
    }

    /// Hides what is below a directory.
    pub(crate) fn make_opaque(self, folder: impl AsFd) -> io::Result<()> {
        Ok(dirfd::set_xattr(folder, b"", self.policy.marks.opaque().as_bytes(), b"y")?)
    }

    pub(crate) fn is_opaque(self, folder: impl AsFd) -> bool {
        dirfd::has_xattr(folder, self.policy.marks.opaque(), b"y")
    }

    /// Sets the owner of something just made, which belongs to the process; says whether it had to.
    fn own_fd(self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<bool> {
        if (uid, gid) == (0, 0) {
            return Ok(false);
        }
        self.own_fd_always(fd, uid, gid)?;
        Ok(true)
    }

    fn own_fd_always(self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
        let wished = || format!("{uid}:{gid}");
        if self.policy.ownership == Ownership::Real {
            match rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
                Err(Errno::INVAL | Errno::PERM) if self.policy.marks == Marks::User => {}
                other => return Ok(other?),
            }
        }
        Ok(dirfd::set_xattr(fd, b"", policy::OWNER.as_bytes(), wished().as_bytes())?)
    }

    /// Sets the owner of something that can have no attribute of the user: the parent keeps the record.
    fn own_child(self, dir: BorrowedFd<'_>, name: &[u8], metadata: &Metadata) -> io::Result<()> {
        let (uid, gid) = (metadata.uid, metadata.gid);
        if (uid, gid) == (0, 0) && self.policy.ownership == Ownership::Real {
            return Ok(());
        }
        if self.policy.ownership == Ownership::Real {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::chownat(dir, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags) {
                Err(Errno::INVAL | Errno::PERM) if self.policy.marks == Marks::User => {}
                other => return Ok(other?),
            }
        }
        let key = policy::CHILD_OWNERS.as_bytes();
        let list = dirfd::xattr(dir, b"", key)?;
        let owner = ((uid, gid) != (0, 0)).then_some((uid, gid));
        if list.is_none() && owner.is_none() {
            return Ok(());
        }
        let list = policy::with_child_owner(&list.unwrap_or_default(), name, owner);
        Ok(dirfd::set_xattr(dir, b"", key, &list)?)
    }
}

/// Makes a file that must not be there yet.
pub(crate) fn create_file(dir: impl AsFd, name: &[u8], mode_bits: u32) -> io::Result<OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode_bits & 0o777))?)
}

/// Makes a mark that removes what is below.
pub(crate) fn make_whiteout(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)?)
}

/// Sets the time of the last write; the time of the last read is nobody's business and follows it.
pub(crate) fn set_times(fd: impl AsFd, mtime: Timestamp) -> io::Result<()> {
    let time = mtime.into();
    Ok(rustix::fs::futimens(fd, &Timestamps { last_access: time, last_modification: time })?)
}

fn set_times_at(dir: impl AsFd, name: &[u8], mtime: Timestamp) -> io::Result<()> {
    let time = mtime.into();
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets attributes; what the file system or the process cannot keep is left out, as Docker does.
fn set_xattrs(dir: impl AsFd, name: &[u8], xattrs: &Xattrs) -> io::Result<()> {
    for (key, value) in xattrs.iter().filter(|(key, _)| policy::is_content(key)) {
        match dirfd::set_xattr(&dir, name, key, value) {
            Ok(()) => {}
            Err(error @ (Errno::OPNOTSUPP | Errno::PERM)) => {
                let key = String::from_utf8_lossy(key);
                tracing::warn!(%key, %error, "extended attribute not kept");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes an entry and all that is in it, without recursion.
pub(crate) fn remove(dir: impl AsFd, name: &[u8], entry: &Entry) -> io::Result<()> {
    if !entry.is_folder() {
        return Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?);
    }
    let open = |dir: BorrowedFd<'_>, name: &[u8]| -> io::Result<_> {
        let folder = dirfd::open_folder(dir, name)?;
        let names = dirfd::names(&folder)?;
        Ok((folder, names, name.to_vec()))
    };
    let mut levels = vec![open(dir.as_fd(), name)?];
    while let Some((folder, names, _)) = levels.last_mut() {
        match names.pop() {
            Some(child) if dirfd::stat(&*folder, &child)?.is_some_and(|entry| entry.is_folder()) => {
                let inner = open(folder.as_fd(), &child)?;
                levels.push(inner);
            }
            Some(child) => rustix::fs::unlinkat(&*folder, &child, AtFlags::empty())?,
            None => {
                let Some((_, _, name)) = levels.pop() else { break };
                let parent = levels.last().map_or(dir.as_fd(), |(folder, ..)| folder.as_fd());
                rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(())
}

/// What the process takes away from the modes it asks for; it can be read only where /proc is.
fn process_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|value| u32::from_str_radix(value.trim(), 8).ok())
        .unwrap_or(0o777)
}
