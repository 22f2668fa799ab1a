//! Mounts that are attached nowhere yet: made, adjusted, then moved to their place.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use rustix::process::fchdir;

use crate::sys::{self, MountAttributes};

type Result<T> = std::result::Result<T, Errno>;

/// No set-user-ID, no devices, no programs.
pub(crate) const DATA_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// An option of a file system.
pub(crate) enum MountOption<'a> {
    /// A word.
    Flag(&'a str),
    /// A key with its value.
    Value(&'a str, &'a [u8]),
}

/// Makes a file system of the given kind; `source` is what `/proc/mounts` names first.
pub(crate) fn new_file_system(
    kind: &str,
    source: &str,
    options: &[MountOption<'_>],
    attributes: MountAttrFlags,
) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", source)?;
    for option in options {
        match option {
            MountOption::Flag(word) => fsconfig_set_flag(&context, *word)?,
            MountOption::Value(key, value) => fsconfig_set_string(&context, *key, *value)?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Copies the mount that `path` is on, from `path` downwards; without the mounts below unless `recursive`.
pub(crate) fn copy_of(path: &Path, recursive: bool) -> Result<OwnedFd> {
    open_tree(CWD, path, copy_flags(recursive))
}

/// Copies the mount that an open file or directory is on.
pub(crate) fn copy_of_open(open: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    open_tree(open, c"", copy_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)
}

/// Copies a part of a mount that is attached nowhere. Only what is attached can be copied, on older kernels: so it is,
/// for a moment, on the root of this namespace, which paths that begin there do not notice.
pub(crate) fn copy_of_part(mount: impl AsFd, part: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())?;
    attach(&mount, &root)?;
    let copy = copy_of_open(part, false);
    fchdir(&mount)?;
    unmount(".", UnmountFlags::DETACH)?;
    fchdir(&root)?;
    copy
}

fn copy_flags(recursive: bool) -> OpenTreeFlags {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags
}

/// Attaches a mount on an open file or directory.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// Attaches a mount at a plain name in an open directory, without following a link.
pub(crate) fn attach_at(mount: impl AsFd, directory: impl AsFd, name: &CStr) -> Result<()> {
    move_mount(mount, c"", directory, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Changes attributes of a mount, and of those below if `recursive`.
pub(crate) fn change(mount: impl AsFd, set: u64, recursive: bool) -> Result<()> {
    if set == 0 {
        return Ok(());
    }
    let change = MountAttributes { set, recursive, ..MountAttributes::default() };
    sys::mount_setattr(mount.as_fd(), c"", change)
}
