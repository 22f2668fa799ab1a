//! Paths that are hidden or shown read-only.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::locate::{self, PointKind};
use super::{At, Result};
use crate::detached::{self, MountOption};
use crate::message::Stage;
use crate::sys::{self, MountAttributes};

/// Hides files behind `/dev/null` and directories behind an empty one; those that are not there are left out.
pub(super) fn mask(paths: &[String]) -> Result<()> {
    let mut empty = None;
    for path in paths {
        hide(path, &mut empty).at(Stage::Paths, || path.clone())?;
    }
    Ok(())
}

fn hide(path: &str, empty: &mut Option<OwnedFd>) -> std::result::Result<(), Errno> {
    let Some(target) = open_existing(path)? else {
        return Ok(());
    };
    if locate::point_kind(&target)? == PointKind::File {
        let null = detached::copy_of(Path::new("/dev/null"), false)?;
        return detached::attach(&null, &target);
    }
    let cover = match empty {
        Some(attached) => detached::copy_of_open(&*attached, false)?,
        None => empty_directory()?,
    };
    detached::attach(&cover, &target)?;
    empty.get_or_insert(cover);
    Ok(())
}

fn empty_directory() -> std::result::Result<OwnedFd, Errno> {
    let options = [MountOption::Value("size", b"4k"), MountOption::Value("nr_inodes", b"1")];
    detached::new_file_system("tmpfs", "tmpfs", &options, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Shows paths read-only; those that are not there are left out.
pub(super) fn make_read_only(paths: &[String]) -> Result<()> {
    for path in paths {
        cover_read_only(path).at(Stage::Paths, || path.clone())?;
    }
    Ok(())
}

fn cover_read_only(path: &str) -> std::result::Result<(), Errno> {
    let Some(target) = open_existing(path)? else {
        return Ok(());
    };
    let copy = detached::copy_of_open(&target, true)?;
    detached::change(&copy, sys::MOUNT_ATTR_RDONLY, true)?;
    detached::attach(&copy, &target)
}

fn open_existing(path: &str) -> std::result::Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Ok(open) => Ok(Some(open)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the root itself read-only, not what is mounted in it.
pub(super) fn make_root_read_only() -> Result<()> {
    let change = MountAttributes { set: sys::MOUNT_ATTR_RDONLY, ..MountAttributes::default() };
    sys::mount_setattr(CWD, c"/", change).at(Stage::Paths, || "/".to_owned())
}
