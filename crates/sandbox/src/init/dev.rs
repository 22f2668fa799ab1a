//! `/dev`: a small file system in memory with harmless devices.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, chmodat, mkdirat, mknodat, openat, statat, symlinkat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::locate::{self, PointKind};
use super::nodes::Nodes;
use super::root::MountedRoot;
use super::{At, Result};
use crate::detached::{self, DATA_ONLY, MountOption};
use crate::message::{Host, Stage};
use crate::spec::{Namespace, Spec};

/// The devices of every container, with their minor numbers.
const NODES: [(&str, u32); 6] =
    [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9), ("tty", 0)];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Names in `/dev` of the host that have a counterpart of the container's own.
const OWN_NAMES: [&[u8]; 9] =
    [b"pts", b"shm", b"mqueue", b"fd", b"stdin", b"stdout", b"stderr", b"ptmx", b"console"];

/// The container's `/dev`.
pub(super) struct Dev {
    /// Its top directory.
    pub(super) top: OwnedFd,
    /// The top directory of its `/dev/pts`.
    pub(super) terminals: OwnedFd,
    /// Makes its nodes.
    pub(super) nodes: Nodes,
}

/// Makes `/dev` with all below it, and attaches it in the root.
///
/// Where the IPC namespace is another's, so is `memory`, its `/dev/shm`.
pub(super) fn attach(spec: &Spec, host: Host, root: &MountedRoot, memory: Option<OwnedFd>) -> Result<Dev> {
    let name = || "/dev".to_owned();
    let may_make_nodes = !spec.has_dead_nodes() && !host.in_user_namespace;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, !may_make_nodes);
    let options = [MountOption::Value("mode", b"755"), MountOption::Value("size", b"65536k")];
    let top = detached::new_file_system("tmpfs", "tmpfs", &options, attributes).at(Stage::Mounts, name)?;
    let has_memory = memory.is_some() || spec.shm_size_bytes > 0 || spec.ipc == Namespace::Host;
    for directory in ["pts", "mqueue"].into_iter().chain(has_memory.then_some("shm")) {
        mkdirat(&top, directory, Mode::from_raw_mode(0o755)).at(Stage::Mounts, name)?;
    }
    for (link, target) in LINKS {
        symlinkat(target, &top, link).at(Stage::Mounts, name)?;
    }
    let point = root.point("/dev", PointKind::Directory)?;
    detached::attach(&top, &point).at(Stage::Mounts, name)?;
    let terminals = attach_terminals(&top, host)?;
    attach_memory(&top, spec, memory)?;
    if spec.privileged {
        show_all_devices(&top, may_make_nodes).at(Stage::Mounts, name)?;
    }
    let nodes = Nodes::new(host).at(Stage::Mounts, name)?;
    if !spec.privileged {
        for (node, minor) in NODES {
            show_device(&top, &nodes, node, minor).at(Stage::Mounts, || format!("/dev/{node}"))?;
        }
    }
    Ok(Dev { top, terminals, nodes })
}

/// Attaches `/dev/pts`.
fn attach_terminals(top: &OwnedFd, host: Host) -> Result<OwnedFd> {
    let name = || "/dev/pts".to_owned();
    let new = |with_group: bool| {
        let mut options = vec![
            MountOption::Flag("newinstance"),
            MountOption::Value("ptmxmode", b"0666"),
            MountOption::Value("mode", b"0620"),
        ];
        if with_group {
            options.push(MountOption::Value("gid", b"5"));
        }
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        detached::new_file_system("devpts", "devpts", &options, attributes)
    };
    let terminals = match new(true) {
        // With a single mapped id there is no group 5.
        Err(Errno::INVAL) if host.in_user_namespace => new(false),
        other => other,
    }
    .at(Stage::Mounts, name)?;
    detached::attach_at(&terminals, top, c"pts").at(Stage::Mounts, name)?;
    Ok(terminals)
}

/// Attaches `/dev/shm` and `/dev/mqueue`.
fn attach_memory(top: &OwnedFd, spec: &Spec, memory: Option<OwnedFd>) -> Result<()> {
    let shm = || "/dev/shm".to_owned();
    if let Some(memory) = memory {
        detached::attach_at(&memory, top, c"shm").at(Stage::Mounts, shm)?;
    } else if spec.ipc == Namespace::Host {
        let host = detached::copy_of(Path::new("/dev/shm"), false).at(Stage::Mounts, shm)?;
        detached::attach_at(&host, top, c"shm").at(Stage::Mounts, shm)?;
    } else if spec.shm_size_bytes > 0 {
        let size = spec.shm_size_bytes.to_string();
        let options = [MountOption::Value("mode", b"1777"), MountOption::Value("size", size.as_bytes())];
        let own = detached::new_file_system("tmpfs", "shm", &options, DATA_ONLY).at(Stage::Mounts, shm)?;
        detached::attach_at(&own, top, c"shm").at(Stage::Mounts, shm)?;
    }
    let mqueue = || "/dev/mqueue".to_owned();
    let queues = if spec.ipc == Namespace::Host {
        detached::copy_of(Path::new("/dev/mqueue"), false)
    } else {
        detached::new_file_system("mqueue", "mqueue", &[], DATA_ONLY)
    };
    match queues {
        Ok(queues) => detached::attach_at(&queues, top, c"mqueue").at(Stage::Mounts, mqueue),
        // The kernel or the host has none.
        Err(Errno::NODEV | Errno::NOENT | Errno::INVAL) => Ok(()),
        Err(error) => Err(error).at(Stage::Mounts, mqueue),
    }
}

/// Shows one of the devices of every container.
fn show_device(top: &OwnedFd, nodes: &Nodes, name: &str, minor: u32) -> std::result::Result<(), Errno> {
    let Some(node) = nodes.standard(name, minor)? else {
        return Ok(());
    };
    let name = locate::c_name(name.as_ref())?;
    empty_file(top, &name)?;
    detached::attach_at(&node, top, &name)
}

fn empty_file(directory: impl AsFd, name: &CStr) -> std::result::Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::from_raw_mode(0o666)).map(drop)
}

/// Shows the terminal as `/dev/console`.
pub(super) fn show_console(dev: &Dev, terminal: &OwnedFd) -> std::result::Result<(), Errno> {
    empty_file(&dev.top, c"console")?;
    let node = detached::copy_of_open(terminal, false)?;
    detached::attach_at(&node, &dev.top, c"console")
}

/// Shows every device of the host.
fn show_all_devices(top: &OwnedFd, may_make_nodes: bool) -> std::result::Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let host = openat(CWD, "/dev", flags, Mode::empty())?;
    let top = openat(top, ".", flags, Mode::empty())?;
    show_devices_below(&host, &top, may_make_nodes, true)
}

fn show_devices_below(
    host: &OwnedFd,
    own: &OwnedFd,
    may_make_nodes: bool,
    is_top: bool,
) -> std::result::Result<(), Errno> {
    for entry in Dir::read_from(host)? {
        let entry = entry?;
        let name = entry.file_name();
        let bytes = name.to_bytes();
        if bytes == b"." || bytes == b".." || (is_top && OWN_NAMES.contains(&bytes)) {
            continue;
        }
        match entry.file_type() {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                mkdirat(own, name, Mode::from_raw_mode(0o755))?;
                let below = openat(host, name, flags, Mode::empty())?;
                let own = openat(own, name, flags, Mode::empty())?;
                show_devices_below(&below, &own, may_make_nodes, false)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice if may_make_nodes => {
                copy_node(host, own, name)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                let node = rustix::mount::open_tree(
                    host,
                    name,
                    rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
                        | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC,
                )?;
                empty_file(own, name)?;
                detached::attach_at(&node, own, name)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn copy_node(host: &OwnedFd, own: &OwnedFd, name: &CStr) -> std::result::Result<(), Errno> {
    use rustix::fs::{AtFlags, Gid, Uid, chownat};
    let status = statat(host, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(status.st_mode);
    let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
    mknodat(own, name, kind, mode, status.st_rdev)?;
    let owner = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    chownat(own, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)?;
    chmodat(own, name, mode, AtFlags::empty())
}
