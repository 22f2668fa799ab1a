//! The root file system: mounted, completed with mount points, and made the root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags, unmount};
use rustix::process::{fchdir, pivot_root};

use super::locate::{self, Located, PointKind, Skeleton, locate};
use super::mounts::Source;
use super::{At, Caller, Result};
use crate::detached;
use crate::message::{Host, Report, Stage};
use crate::overlay::{self, Overlay};
use crate::spec::{Root, Spec, Stub};
use crate::sys;

/// Mount points every container has.
const SYSTEM_POINTS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// A root that is mounted in this namespace, but not yet the root of this process.
pub(super) struct MountedRoot {
    /// Its top directory.
    pub(super) top: OwnedFd,
    /// The directory it was attached on.
    covered: OwnedFd,
}

impl MountedRoot {
    /// Opens the place for a mount, and makes it if it is missing.
    pub(super) fn point(&self, target: &str, kind: PointKind) -> Result<OwnedFd> {
        let located = locate(&self.top, Path::new(target)).at(Stage::Mounts, || target.to_owned())?;
        if located.missing.is_empty() {
            return Ok(located.found);
        }
        locate::make_missing(located, kind, &mut Vec::new()).at(Stage::Mounts, || target.to_owned())
    }

    /// Makes it the root of this process and lets go of the host's tree.
    pub(super) fn pivot(self) -> Result<()> {
        let name = || "new root".to_owned();
        fchdir(&self.top).at(Stage::Root, name)?;
        drop(self.covered);
        match pivot_root(".", ".") {
            // The old root is no mount, after a chroot.
            Err(Errno::INVAL) => {
                super::join::leave_chroot()?;
                fchdir(&self.top).at(Stage::Root, name)?;
                pivot_root(".", ".").at(Stage::Root, name)?;
            }
            other => other.at(Stage::Root, name)?,
        }
        // The old root now lies on top of the new one.
        unmount(".", UnmountFlags::DETACH).at(Stage::Root, name)?;
        rustix::process::chdir("/").at(Stage::Root, name)
    }
}

/// Mounts the root of the spec with all mount points it needs.
pub(super) fn mount(caller: &Caller, spec: &Spec, host: Host, sources: &[Source]) -> Result<MountedRoot> {
    match &spec.root {
        Root::Directory(directory) => mount_directory(caller, spec, directory, sources),
        Root::Overlay { lowers, upper, work } => {
            overlay::clear_volatile_mark(work);
            mount_overlay(spec, host, lowers, Some((upper, work)), upper, sources)
        }
        Root::ReadOnlyOverlay { lowers } => {
            let Some(top) = lowers.last() else {
                return Err(Errno::INVAL).at(Stage::Root, || "no layers".to_owned());
            };
            mount_overlay(spec, host, lowers, None, top, sources)
        }
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).at(Stage::Root, || path.display().to_string())
}

fn mount_directory(
    caller: &Caller,
    spec: &Spec,
    directory: &Path,
    sources: &[Source],
) -> Result<MountedRoot> {
    let name = || directory.display().to_string();
    let covered = open_directory(directory)?;
    let top = detached::copy_of(directory, true).at(Stage::Root, name)?;
    detached::change(&top, device_guard(spec), false).at(Stage::Root, name)?;
    detached::attach(&top, &covered).at(Stage::Root, name)?;
    let mut made = Vec::new();
    for (target, kind, stub) in wanted_points(sources) {
        let located = locate(&top, Path::new(&target)).at(Stage::Mounts, || target.clone())?;
        let mut new = Vec::new();
        locate::make_missing(located, kind, &mut new).at(Stage::Mounts, || target.clone())?;
        if stub == Stub::Transient {
            made.extend(new);
        }
    }
    let stubs: Vec<PathBuf> =
        made.iter().rev().map(|inside| directory.join(inside.strip_prefix("/").unwrap_or(inside))).collect();
    caller.tell(&Report::Stubs(stubs), None).at(Stage::Order, || "telling mount points".to_owned())?;
    Ok(MountedRoot { top, covered })
}

/// Keeps device nodes in an image from reaching the host's devices.
fn device_guard(spec: &Spec) -> u64 {
    if spec.has_dead_nodes() { sys::MOUNT_ATTR_NODEV } else { 0 }
}

/// The mount points of a spec, in the order of the mounts.
fn wanted_points(sources: &[Source]) -> Vec<(String, PointKind, Stub)> {
    let system = SYSTEM_POINTS.iter().map(|path| ((*path).to_owned(), PointKind::Directory, Stub::Transient));
    let asked = sources.iter().map(|source| (source.target.clone(), source.point, source.stub));
    system.chain(asked).collect()
}

/// Mounts an overlay; mount points that must leave no trace come from a layer of their own below all others: what the
/// image has hides it, what the image lacks is there.
///
/// Where the image hides a point without having it, by a removal or by a link on the way, a second such layer lies above
/// the image's. Both are file systems in memory of this namespace: nothing has to be cleaned up, whatever happens.
fn mount_overlay(
    spec: &Spec,
    host: Host,
    lowers: &[PathBuf],
    scratch: Option<(&PathBuf, &PathBuf)>,
    place: &Path,
    sources: &[Source],
) -> Result<MountedRoot> {
    let name = || place.display().to_string();
    let covered = open_directory(place)?;
    let upper_and_work =
        scratch.map(|(upper, work)| Ok((open_directory(upper)?, open_directory(work)?))).transpose()?;
    let lowers = overlay::distinct(lowers).into_iter().map(open_directory).collect::<Result<Vec<_>>>()?;
    let points = transient_points(sources);
    // from here on, this covers the directory that it is attached on: that may be one of the layers
    let bottom = new_layer(&covered)?;
    let made =
        points.iter().try_for_each(|(target, kind)| locate::make_plain(&bottom, Path::new(target), *kind));
    made.at(Stage::Root, points_name)?;
    let mut layers: Vec<OwnedFd> = std::iter::once(bottom).chain(lowers).collect();
    let mount = |layers: &[OwnedFd]| {
        let lowers: Vec<&OwnedFd> = layers.iter().collect();
        let scratch = upper_and_work.as_ref();
        Overlay { lowers: &lowers, scratch, in_user_namespace: host.in_user_namespace }
            .mount(attributes(spec), place)
            .at(Stage::Root, || format!("overlay of {} layers", layers.len()))
    };
    let (mut top, mut base) = (mount(&layers)?, 0);
    let missing = missing_points(&top, points)?;
    if !missing.is_empty() {
        // nothing holds the first mount any more when the second is made
        layers.push(skeleton(&layers[base], top, missing)?);
        if let Some((_, work)) = scratch {
            overlay::clear_volatile_mark(work);
        }
        base = layers.len() - 1;
        top = mount(&layers)?;
    }
    let base = layers.swap_remove(base);
    detached::attach(&top, &base).at(Stage::Root, name)?;
    Ok(MountedRoot { top, covered: base })
}

fn points_name() -> String {
    "layer of mount points".to_owned()
}

fn attributes(spec: &Spec) -> MountAttrFlags {
    if spec.has_dead_nodes() { MountAttrFlags::MOUNT_ATTR_NODEV } else { MountAttrFlags::empty() }
}

/// The mount points that must leave no trace, without those in other mounts.
fn transient_points(sources: &[Source]) -> Vec<(String, PointKind)> {
    let is_covered = |target: &str| sources.iter().any(|other| covers(&other.target, target));
    let points = wanted_points(sources).into_iter();
    let points = points.filter(|(target, _, stub)| *stub == Stub::Transient && !is_covered(target));
    points.map(|(target, kind, _)| (target, kind)).collect()
}

fn missing_points(root: &OwnedFd, points: Vec<(String, PointKind)>) -> Result<Vec<(Located, PointKind)>> {
    let mut missing = Vec::new();
    for (target, kind) in points {
        let located = locate(root, Path::new(&target)).at(Stage::Mounts, || target)?;
        if !located.missing.is_empty() {
            missing.push((located, kind));
        }
    }
    Ok(missing)
}

/// A new layer in memory, attached where it is in nobody's way: the kernel takes no other.
fn new_layer(place: &OwnedFd) -> Result<OwnedFd> {
    let layer = detached::new_file_system("tmpfs", "tmpfs", &[], MountAttrFlags::empty());
    let layer = layer.at(Stage::Root, points_name)?;
    detached::attach(&layer, place).at(Stage::Root, points_name)?;
    Ok(layer)
}

/// Makes the layer of mount points that are missing in `root`, which is no more then.
fn skeleton(place: &OwnedFd, root: OwnedFd, missing: Vec<(Located, PointKind)>) -> Result<OwnedFd> {
    let layer = new_layer(place)?;
    let make = || {
        let mut skeleton = Skeleton::new(root, reopen(&layer)?);
        for (located, kind) in missing {
            skeleton.add(&located, kind)?;
        }
        skeleton.finish()
    };
    make().at(Stage::Root, points_name)?;
    Ok(layer)
}

/// Whether a mount at `above` hides what the root has at `target`.
fn covers(above: &str, target: &str) -> bool {
    let above = Path::new(above);
    let target = Path::new(target);
    above != target && target.starts_with(above)
}

/// Opens the top of a mount for changes of its attributes.
fn reopen(mount: impl AsFd) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(mount, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_covers_what_is_below_it() {
        let check = |above: &str, target: &str, expected: bool| {
            assert_eq!(covers(above, target), expected, "{above} {target}");
        };
        check("/a", "/a/b", true);
        check("/a/", "/a/b/c", true);
        check("/a", "/ab", false);
        check("/a", "/a", false);
        check("/a/b", "/a", false);
    }
}
