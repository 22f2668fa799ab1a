//! Mounts that the spec asks for, and `/proc` and `/sys`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, openat, statat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::locate::{self, PointKind, locate};
use super::nodes::Nodes;
use super::root::MountedRoot;
use super::{At, Result};
use crate::detached::{self, DATA_ONLY, MountOption};
use crate::message::{Host, Stage};
use crate::overlay::{self, Overlay};
use crate::spec::{Mount, MountKind, Namespace, Network, Propagation, Scratch, Spec, Stub, Tmpfs};
use crate::sys::{self, MountAttributes};

/// A mount that is made but attached nowhere yet.
pub(super) struct Source {
    mount: OwnedFd,
    /// Where it goes.
    pub(super) target: String,
    /// What it needs there.
    pub(super) point: PointKind,
    /// What becomes of the mount point if it has to be made.
    pub(super) stub: Stub,
    /// Attributes that it gets when it has its mode.
    attributes: u64,
    /// Whether it is a device that was asked for, of which the container gets a node of its own.
    is_device: bool,
}

/// Mounts that are shared with the host, by their target.
pub(super) type Shared = BTreeMap<String, OwnedFd>;

/// Opens what is to be shared with the host, as long as this namespace shares anything with it.
pub(super) fn open_shared(spec: &Spec) -> Result<Shared> {
    let mut shared = Shared::new();
    for mount in spec.mounts.iter().filter(|mount| mount.propagation == Propagation::Shared) {
        if let MountKind::Bind { source, part, recursive } = &mount.kind {
            let copy = copy_of_bind(source, part.as_deref(), *recursive)
                .at(Stage::Mounts, || describe(source, mount))?;
            shared.insert(mount.target.clone(), copy);
        }
    }
    Ok(shared)
}

/// Keeps mounts made from here on out of the host's sight.
pub(super) fn stop_propagation() -> Result<()> {
    let name = || "mounts of the host".to_owned();
    let change =
        MountAttributes { propagation: libc::MS_SLAVE, recursive: true, ..MountAttributes::default() };
    let set = || sys::mount_setattr(CWD, c"/", change);
    match set() {
        // The root is no mount, after a chroot: all mounts are to be had from outside of it.
        Err(Errno::INVAL) => {}
        other => return other.at(Stage::Mounts, name),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = rustix::fs::open("/", flags, Mode::empty()).at(Stage::Mounts, name)?;
    super::join::leave_chroot()?;
    set().at(Stage::Mounts, name)?;
    rustix::process::fchdir(&inside).at(Stage::Mounts, name)?;
    rustix::process::chroot(".").at(Stage::Mounts, name)
}

/// Makes all mounts of the spec, outer ones first, with the host's eyes.
pub(super) fn open_sources(spec: &Spec, host: Host, mut shared: Shared) -> Result<Vec<Source>> {
    let devices = spec.devices.iter().map(|device| {
        let target = &device.target;
        let mount = detached::copy_of(&device.source, false)
            .at(Stage::Mounts, || device.source.display().to_string())?;
        Ok(Source {
            mount,
            target: target.clone(),
            point: PointKind::File,
            stub: Stub::Transient,
            attributes: 0,
            is_device: true,
        })
    });
    let mut sources = spec
        .mounts
        .iter()
        .map(|mount| open_source(mount, spec, host, shared.remove(&mount.target)))
        .chain(devices)
        .collect::<Result<Vec<_>>>()?;
    sources.sort_by_key(|source| Path::new(&source.target).components().count());
    Ok(sources)
}

fn open_source(mount: &Mount, spec: &Spec, host: Host, shared: Option<OwnedFd>) -> Result<Source> {
    let is_shared = shared.is_some();
    let detached = match &mount.kind {
        MountKind::Bind { source, part, recursive } => match shared {
            Some(shared) => shared,
            None => copy_of_bind(source, part.as_deref(), *recursive)
                .at(Stage::Mounts, || describe(source, mount))?,
        },
        MountKind::Tmpfs(tmpfs) => new_tmpfs(tmpfs, host).at(Stage::Mounts, || mount.target.clone())?,
        MountKind::File { content, mode_bits, uid, gid } => {
            new_file(&content.0, *mode_bits, (*uid, *gid), host).at(Stage::Mounts, || mount.target.clone())?
        }
        MountKind::Overlay { lowers, scratch, source } => {
            let stack =
                open_overlay(lowers, scratch.as_ref(), host).at(Stage::Mounts, || mount.target.clone())?;
            part_of(&stack, source).at(Stage::Mounts, || source.clone())?
        }
    };
    let recursive = matches!(&mount.kind, MountKind::Bind { recursive: true, .. });
    let is_open = matches!(&mount.kind, MountKind::Tmpfs(Tmpfs { mode_bits: None, .. }));
    let attributes = attributes_of(mount, spec);
    // what is read-only already would not take the mode of its mount point
    let (now, later) = if is_open { (0, attributes) } else { (attributes, 0) };
    detached::change(&detached, now, recursive).at(Stage::Mounts, || mount.target.clone())?;
    // a copy of a mount of this namespace is a slave of what the host shares, as that is
    if !is_shared && mount.propagation != Propagation::Slave {
        keep_private(&detached).at(Stage::Mounts, || mount.target.clone())?;
    }
    let point = if is_open { Ok(PointKind::Open) } else { locate::point_kind(&detached) };
    let point = point.at(Stage::Mounts, || mount.target.clone())?;
    let target = mount.target.clone();
    Ok(Source { mount: detached, target, point, stub: mount.stub, attributes: later, is_device: false })
}

/// Copies a mount of the host from a path downwards, or from what `part` names inside of it: who can write there can make
/// it a link at any time, which then leads nowhere else.
fn copy_of_bind(source: &Path, part: Option<&str>, recursive: bool) -> std::result::Result<OwnedFd, Errno> {
    let Some(part) = part else { return detached::copy_of(source, recursive) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(source, flags, Mode::empty())?;
    let found = locate::open_inside(&root, Path::new(part))?.ok_or(Errno::NOENT)?;
    detached::copy_of_open(found, recursive)
}

fn describe(source: &Path, mount: &Mount) -> String {
    format!("{} at {}", source.display(), mount.target)
}

fn attributes_of(mount: &Mount, spec: &Spec) -> u64 {
    let only_if = |wanted: bool, flag: u64| if wanted { flag } else { 0 };
    only_if(mount.read_only, sys::MOUNT_ATTR_RDONLY)
        | only_if(!mount.exec, sys::MOUNT_ATTR_NOEXEC)
        | only_if(!mount.suid, sys::MOUNT_ATTR_NOSUID)
        | only_if(spec.has_dead_nodes(), sys::MOUNT_ATTR_NODEV)
}

fn keep_private(mount: &OwnedFd) -> std::result::Result<(), Errno> {
    let change =
        MountAttributes { propagation: libc::MS_PRIVATE, recursive: true, ..MountAttributes::default() };
    sys::mount_setattr(mount.as_fd(), c"", change)
}

fn new_tmpfs(tmpfs: &Tmpfs, host: Host) -> std::result::Result<OwnedFd, Errno> {
    let size = tmpfs.size_bytes.map(|size| size.to_string());
    let mode = format!("{:o}", tmpfs.mode_bits.unwrap_or(0o1777));
    let (uid, gid) = (tmpfs.uid.to_string(), tmpfs.gid.to_string());
    let mut options = vec![MountOption::Value("mode", mode.as_bytes())];
    if let Some(size) = &size {
        options.push(MountOption::Value("size", size.as_bytes()));
    }
    if (tmpfs.uid, tmpfs.gid) != (0, 0) || !host.in_user_namespace {
        options.push(MountOption::Value("uid", uid.as_bytes()));
        options.push(MountOption::Value("gid", gid.as_bytes()));
    }
    detached::new_file_system("tmpfs", "tmpfs", &options, MountAttrFlags::empty())
}

/// A file in a file system of its own in memory.
fn new_file(
    content: &[u8],
    mode_bits: u32,
    (uid, gid): (u32, u32),
    host: Host,
) -> std::result::Result<OwnedFd, Errno> {
    let room = (content.len() + (64 << 10)).to_string();
    let options = [MountOption::Value("mode", b"700"), MountOption::Value("size", room.as_bytes())];
    let top = detached::new_file_system("tmpfs", "tmpfs", &options, MountAttrFlags::empty())?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&top, "file", flags, Mode::from_raw_mode(0o600))?;
    std::fs::File::from(rustix::io::dup(&file)?)
        .write_all(content)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    match fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
        // nobody of that id exists here: it is root's, as is all else of such owners
        Err(Errno::INVAL) if host.in_user_namespace => {}
        other => other?,
    }
    // a change of owner may take bits away
    fchmod(&file, Mode::from_raw_mode(mode_bits))?;
    drop(file);
    let part = openat(&top, "file", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    detached::copy_of_part(&top, &part)
}

fn open_overlay(
    lowers: &[PathBuf],
    scratch: Option<&Scratch>,
    host: Host,
) -> std::result::Result<OwnedFd, Errno> {
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    };
    let layers =
        overlay::distinct(lowers).into_iter().map(open).collect::<std::result::Result<Vec<_>, _>>()?;
    let scratch = scratch
        .map(|scratch| {
            overlay::clear_volatile_mark(&scratch.work);
            Ok((open(&scratch.upper)?, open(&scratch.work)?))
        })
        .transpose()?;
    if let ([only], None) = (layers.as_slice(), &scratch) {
        return detached::copy_of_open(only, false);
    }
    let layers: Vec<&OwnedFd> = layers.iter().collect();
    let place = lowers.last().map_or(Path::new("/"), PathBuf::as_path);
    Overlay { lowers: &layers, scratch: scratch.as_ref(), in_user_namespace: host.in_user_namespace }
        .mount(MountAttrFlags::empty(), place)
}

/// Narrows a mount to one of its files or directories.
fn part_of(stack: &OwnedFd, source: &str) -> std::result::Result<OwnedFd, Errno> {
    let located = locate(stack, Path::new(source))?;
    if !located.missing.is_empty() {
        return Err(Errno::NOENT);
    }
    if located.path == Path::new("/") {
        return rustix::io::dup(stack);
    }
    detached::copy_of_part(stack, &located.found)
}

/// Attaches all mounts of the spec in the root.
pub(super) fn attach_all(sources: Vec<Source>, root: &MountedRoot, nodes: &Nodes) -> Result<()> {
    for mut source in sources {
        if source.is_device {
            source.mount = nodes.like(source.mount).at(Stage::Mounts, || source.target.clone())?;
        }
        let point = root.point(&source.target, source.point)?;
        if source.point == PointKind::Open {
            take_mode(&source, &point).at(Stage::Mounts, || source.target.clone())?;
        }
        detached::attach(&source.mount, &point).at(Stage::Mounts, || source.target.clone())?;
    }
    Ok(())
}

/// Gives a file system the mode of the directory that it will hide.
fn take_mode(source: &Source, point: &OwnedFd) -> std::result::Result<(), Errno> {
    let status = statat(point, c"", AtFlags::EMPTY_PATH)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat(&source.mount, ".", flags, Mode::empty())?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        fchmod(&top, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    }
    detached::change(&source.mount, source.attributes, false)
}

/// Attaches `/proc` and `/sys`.
pub(super) fn attach_system(spec: &Spec, host: Host, root: &MountedRoot) -> Result<()> {
    let proc = if spec.pid == Namespace::Host && host.in_user_namespace {
        detached::copy_of(Path::new("/proc"), true)
    } else {
        detached::new_file_system("proc", "proc", &[], DATA_ONLY)
    }
    .at(Stage::Mounts, || "/proc".to_owned())?;
    attach_system_at(root, "/proc", &proc)?;
    let mut attributes = DATA_ONLY;
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, !spec.privileged);
    let own_network = spec.network != Network::Host;
    let sys = if host.in_user_namespace && !own_network {
        host_sys(attributes)
    } else {
        detached::new_file_system("sysfs", "sysfs", &[], attributes)
    }
    .at(Stage::Mounts, || "/sys".to_owned())?;
    attach_system_at(root, "/sys", &sys)?;
    match &spec.cgroup {
        Some(cgroup) => super::join::show_cgroup(cgroup, spec.privileged, root),
        None => Ok(()),
    }
}

/// The host's `/sys`, for a user namespace that does not own its network.
fn host_sys(attributes: MountAttrFlags) -> std::result::Result<OwnedFd, Errno> {
    let copy = detached::copy_of(Path::new("/sys"), true)?;
    detached::change(&copy, attributes.bits().into(), true)?;
    Ok(copy)
}

/// Attaches at a path of the root that must be no link, so that an image cannot lead it astray.
fn attach_system_at(root: &MountedRoot, path: &str, mount: &OwnedFd) -> Result<()> {
    let point = root.point(path, PointKind::Directory)?;
    let located = locate(&root.top, Path::new(path)).at(Stage::Mounts, || path.to_owned())?;
    if located.path != Path::new(path) {
        return Err(Errno::LOOP).at(Stage::Mounts, || path.to_owned());
    }
    detached::attach(mount, &point).at(Stage::Mounts, || path.to_owned())
}
