//! Joining namespaces and control groups that exist.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::thread::move_into_link_name_space;

use super::locate::{self, PointKind};
use super::root::MountedRoot;
use super::{At, Result};
use crate::cgroup::{self, Cgroup};
use crate::detached::{self, DATA_ONLY, MountOption};
use crate::message::Stage;
use crate::sys;

/// Joins the control group of the spec.
pub(super) fn cgroup(cgroup: Option<&Cgroup>) -> Result<()> {
    for directory in cgroup.into_iter().flat_map(Cgroup::directories) {
        add_self(directory)?;
    }
    Ok(())
}

fn add_self(directory: &Path) -> Result<()> {
    std::fs::write(directory.join("cgroup.procs"), "0").at(Stage::Cgroup, || directory.display().to_string())
}

/// Joins the control groups of a process.
pub(super) fn cgroup_of(target: i32) -> Result<()> {
    let directories = cgroup::directories_of(target).at(Stage::Cgroup, || target.to_string())?;
    let own = cgroup::directories_of_self().at(Stage::Cgroup, || "own cgroups".to_owned())?;
    for directory in directories.iter().filter(|directory| !own.contains(directory)) {
        add_self(directory)?;
    }
    Ok(())
}

/// Joins the namespace behind a path.
pub(super) fn namespace(path: &Path) -> Result<()> {
    let name = || path.display().to_string();
    let open = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .at(Stage::Namespaces, name)?;
    move_into_link_name_space(open.as_fd(), None).at(Stage::Namespaces, name)
}

/// Makes the root of the whole mount namespace the root of this process.
pub(super) fn leave_chroot() -> Result<()> {
    namespace(Path::new("/proc/self/ns/mnt"))
}

/// The `/dev/shm` that a process sees, from the mount namespace beside its IPC namespace; its own links and mounts have
/// no say in what that is, as the path is looked up by names alone. There may be none.
pub(super) fn memory_beside(ipc: &Path) -> Result<Option<OwnedFd>> {
    let name = || format!("/dev/shm beside {}", ipc.display());
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |file: &str, flags| rustix::fs::open(file, flags, Mode::empty()).at(Stage::Mounts, name);
    let (root, here) = (open("/", path)?, open(".", path)?);
    let own = open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC)?;
    namespace(&ipc.with_file_name("mnt"))?;
    let memory = in_root("dev/shm").and_then(|place| detached::copy_of_open(place, false));
    move_into_link_name_space(own.as_fd(), None).at(Stage::Namespaces, name)?;
    // entering a mount namespace leads to its root
    rustix::process::fchdir(&root)
        .and_then(|()| rustix::process::chroot("."))
        .and_then(|()| rustix::process::fchdir(&here))
        .at(Stage::Mounts, name)?;
    match memory {
        Ok(memory) => Ok(Some(memory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL) => Ok(None),
        Err(error) => Err(error).at(Stage::Mounts, name),
    }
}

/// Opens a folder below the root; there is no link on the way.
fn in_root(path: &str) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open("/", flags, Mode::empty())?;
    for name in path.split('/') {
        folder = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
    }
    Ok(folder)
}

/// Makes a cgroup namespace where the container has a group of version 2, as Docker does.
pub(super) fn own_cgroup_namespace(cgroup: Option<&Cgroup>) -> Result<()> {
    if cgroup.is_some_and(Cgroup::is_unified) {
        return sys::unshare_cgroup_namespace().at(Stage::Namespaces, || "cgroup namespace".to_owned());
    }
    Ok(())
}

/// Joins all namespaces of a process but its PID namespace, in which this process was started, and its user
/// namespace, which is shared. They are named by the host's `/proc`: numbers of this PID namespace mean others. Those
/// that are this process's own already need not, and in a user namespace cannot, be joined.
pub(super) fn namespaces_of(target: i32) -> Result<()> {
    let name = || format!("namespaces of process {target}");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut opened = Vec::new();
    for kind in ["cgroup", "ipc", "uts", "net", "mnt"] {
        let open = |owner: &str| rustix::fs::open(format!("/proc/{owner}/ns/{kind}"), flags, Mode::empty());
        let namespace = open(&target.to_string()).at(Stage::Namespaces, name)?;
        let own = open("self").at(Stage::Namespaces, name)?;
        if !is_same(&namespace, &own).at(Stage::Namespaces, name)? {
            opened.push(namespace);
        }
    }
    for namespace in opened {
        move_into_link_name_space(namespace.as_fd(), None).at(Stage::Namespaces, name)?;
    }
    Ok(())
}

fn is_same(one: &OwnedFd, other: &OwnedFd) -> std::result::Result<bool, Errno> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Shows the container its own control group below `/sys/fs/cgroup`.
pub(super) fn show_cgroup(cgroup: &Cgroup, writable: bool, root: &MountedRoot) -> Result<()> {
    let name = || "/sys/fs/cgroup".to_owned();
    let mut attributes = DATA_ONLY;
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, !writable);
    let point = root.point("/sys/fs/cgroup", PointKind::Directory)?;
    if cgroup.is_unified() {
        let own = detached::new_file_system("cgroup2", "cgroup2", &[], attributes).at(Stage::Mounts, name)?;
        return detached::attach(&own, &point).at(Stage::Mounts, name);
    }
    let options = [MountOption::Value("mode", b"755")];
    let frame = detached::new_file_system("tmpfs", "tmpfs", &options, DATA_ONLY).at(Stage::Mounts, name)?;
    detached::attach(&frame, &point).at(Stage::Mounts, name)?;
    for (controller, directory) in &cgroup.v1 {
        show_controller(&frame, controller, directory, attributes)
            .at(Stage::Mounts, || format!("/sys/fs/cgroup/{controller}"))?;
    }
    Ok(())
}

fn show_controller(
    frame: &OwnedFd,
    controller: &str,
    directory: &Path,
    attributes: MountAttrFlags,
) -> std::result::Result<(), Errno> {
    let copy = detached::copy_of(directory, false)?;
    detached::change(&copy, attributes.bits().into(), false)?;
    let name = locate::c_name(controller.as_ref())?;
    rustix::fs::mkdirat(frame, &name, Mode::from_raw_mode(0o755))?;
    detached::attach_at(&copy, frame, &name)
}
