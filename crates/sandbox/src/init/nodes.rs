//! Device nodes that are the container's own.

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, makedev, mknodat, openat, statat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::locate;
use crate::detached::{self, MountOption};
use crate::message::Host;
use crate::sys;

/// Where device nodes of a container come from.
///
/// What a container does to a node's mode, owner or times must stay with the container. So the nodes are made anew, in
/// a file system in memory that is seen nowhere, and each is shown by a mount of it alone: `/dev` itself can be mounted
/// so that nodes which a container makes there are dead. Where no node can be made, the host's own are shown, in a way
/// in which they cannot be changed.
pub(super) struct Nodes {
    place: Option<OwnedFd>,
    in_user_namespace: bool,
    count: Cell<u32>,
}

impl Nodes {
    /// Prepares for them; from here on the host's `/dev` is covered, until the host's tree goes away.
    pub(super) fn new(host: Host) -> Result<Self, Errno> {
        let place = if host.in_user_namespace { None } else { Some(hidden_place()?) };
        Ok(Self { place, in_user_namespace: host.in_user_namespace, count: Cell::new(0) })
    }

    /// A mount of a node for one of the devices of every container, or nothing where the host has none.
    pub(super) fn standard(&self, name: &str, minor: u32) -> Result<Option<OwnedFd>, Errno> {
        let major = if name == "tty" { 5 } else { 1 };
        let mode = Mode::from_raw_mode(0o666);
        let own = self.make(FileType::CharacterDevice, mode, makedev(major, minor), None);
        match own {
            Err(Errno::PERM) => {}
            other => return other.map(Some),
        }
        match detached::copy_of(&Path::new("/dev").join(name), false) {
            Ok(node) => self.fixed(node).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A mount of a node like that of the host on which `node` is.
    pub(super) fn like(&self, node: OwnedFd) -> Result<OwnedFd, Errno> {
        let status = statat(&node, c"", AtFlags::EMPTY_PATH)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            return Ok(node);
        }
        let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
        match self.make(kind, mode, status.st_rdev, Some(&status)) {
            Err(Errno::PERM) => self.fixed(node),
            other => other,
        }
    }

    fn make(&self, kind: FileType, mode: Mode, device: u64, owner: Option<&Stat>) -> Result<OwnedFd, Errno> {
        let place = self.place.as_ref().ok_or(Errno::PERM)?;
        self.count.set(self.count.get() + 1);
        let name: CString = locate::c_name(self.count.get().to_string().as_ref())?;
        mknodat(place, &name, kind, mode, device)?;
        if let Some(owner) = owner {
            let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
            chownat(place, &name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        // the file mode creation mask does not count
        chmodat(place, &name, mode, AtFlags::empty())?;
        open_tree(place, &name, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
    }

    /// The host's own node. A read-only mount keeps it as it is, and what is written to the device is not written to the
    /// mount; a node whose owner nobody in this user namespace is needs no such care.
    fn fixed(&self, node: OwnedFd) -> Result<OwnedFd, Errno> {
        const NOBODY: u32 = 65_534;
        let owner = statat(&node, c"", AtFlags::EMPTY_PATH)?.st_uid;
        if !(self.in_user_namespace && owner == NOBODY) {
            detached::change(&node, sys::MOUNT_ATTR_RDONLY, false)?;
        }
        Ok(node)
    }
}

fn hidden_place() -> Result<OwnedFd, Errno> {
    let options = [MountOption::Value("mode", b"700"), MountOption::Value("size", b"64k")];
    // programs map `/dev/zero` to run what they put there
    let place = detached::new_file_system("tmpfs", "tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // only what is attached can be copied
    let host = openat(CWD, "/dev", flags, Mode::empty())?;
    detached::attach(&place, &host)?;
    Ok(place)
}
