//! Overlay mounts, with the new mount interface, or with the old one where the kernel has no other.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, open_tree, unmount,
};

use crate::{detached, userns};

/// Choices that keep the upper directory readable without overlayfs: no redirects, no files without data.
///
/// Bookkeeping in `user.` attributes excludes both by itself, and the kernel takes it ill when that is said twice.
const PLAIN_UPPER: [(&str, &str); 3] = [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off")];

/// A stack of directories.
pub(crate) struct Overlay<'a> {
    /// Read-only layers, bottom first, each once; two at least if there is no scratch.
    pub(crate) lowers: &'a [&'a OwnedFd],
    /// Upper and work directory.
    pub(crate) scratch: Option<&'a (OwnedFd, OwnedFd)>,
    /// Whether the bookkeeping is in `user.` attributes.
    pub(crate) in_user_namespace: bool,
}

impl Overlay<'_> {
    /// Makes the mount, attached nowhere. `place` serves for a moment where the kernel has only the old interface.
    pub(crate) fn mount(&self, attributes: MountAttrFlags, place: &Path) -> Result<OwnedFd, Errno> {
        match self.mount_new("lowerdir+", attributes) {
            Err(Errno::INVAL | Errno::NOSYS) => self.mount_old(attributes, place),
            other => other,
        }
    }

    fn mount_new(&self, lower_key: &str, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", "overlay")?;
        for lower in self.lowers.iter().rev() {
            fsconfig_set_string(&context, lower_key, magic_link(lower))?;
        }
        if let Some((upper, work)) = self.scratch {
            fsconfig_set_string(&context, "upperdir", magic_link(upper))?;
            fsconfig_set_string(&context, "workdir", magic_link(work))?;
            fsconfig_set_flag(&context, "volatile")?;
            for (key, value) in self.plain_upper() {
                fsconfig_set_string(&context, *key, *value)?;
            }
        }
        if self.in_user_namespace {
            fsconfig_set_flag(&context, "userxattr")?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }

    /// Mounts with one line of options, which must fit a page: about two hundred layers.
    fn mount_old(&self, attributes: MountAttrFlags, place: &Path) -> Result<OwnedFd, Errno> {
        let options = std::ffi::CString::new(self.option_line()).map_err(|_| Errno::INVAL)?;
        mount("overlay", place, "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let copy = open_tree(CWD, place, flags);
        unmount(place, UnmountFlags::DETACH)?;
        let copy = copy?;
        detached::change(&copy, attributes.bits().into(), false)?;
        Ok(copy)
    }

    fn plain_upper(&self) -> &'static [(&'static str, &'static str)] {
        if self.in_user_namespace { &PLAIN_UPPER[..1] } else { &PLAIN_UPPER }
    }

    fn option_line(&self) -> String {
        let lowers: Vec<String> = self.lowers.iter().rev().map(magic_link).collect();
        let mut line = format!("lowerdir={}", lowers.join(":"));
        if let Some((upper, work)) = self.scratch {
            let (upper, work) = (magic_link(upper), magic_link(work));
            line = format!("{line},upperdir={upper},workdir={work},volatile");
            for (key, value) in self.plain_upper() {
                line = format!("{line},{key}={value}");
            }
        }
        if self.in_user_namespace {
            line.push_str(",userxattr");
        }
        line
    }
}

/// Mounts an overlay of directories that it makes in an empty one, attached nowhere: whether that can be had there.
///
/// # Errors
/// Why not: the kernel is too old for it in a user namespace, or the file system cannot hold the writable directory.
pub fn try_overlay(place: &Path) -> io::Result<()> {
    let make = |name: &str| {
        let path = place.join(name);
        std::fs::create_dir(&path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok::<_, io::Error>(rustix::fs::open(&path, flags, Mode::empty())?)
    };
    let (lower, scratch) = (make("lower")?, (make("upper")?, make("work")?));
    let in_user_namespace = userns::is_inside();
    let overlay = Overlay { lowers: &[&lower], scratch: Some(&scratch), in_user_namespace };
    match overlay.mount_new("lowerdir", MountAttrFlags::empty()) {
        // a kernel without the new interface, and a process that can mount nothing, fail later, and say why
        Err(Errno::NOSYS) => Ok(()),
        Err(Errno::PERM | Errno::ACCESS) if !in_user_namespace => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// The directories of a stack, each once, bottom first: an image may have the same layer several times, and the kernel
/// takes no directory twice. What the topmost one says hides all that the others below could.
pub(crate) fn distinct(lowers: &[PathBuf]) -> Vec<&Path> {
    let mut seen = HashSet::new();
    let mut distinct: Vec<&Path> =
        lowers.iter().rev().map(PathBuf::as_path).filter(|lower| seen.insert(*lower)).collect();
    distinct.reverse();
    distinct
}

/// Names an open directory in a few plain characters, whatever its path is.
fn magic_link(directory: impl AsFd) -> String {
    format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())
}

/// Takes away the mark which a volatile overlay leaves in its work directory, and which forbids to mount it again.
///
/// The mark says that writes may be lost in a crash of the machine. Who keeps an upper directory for longer than one
/// mount has to know that by itself.
pub(crate) fn clear_volatile_mark(work: &Path) {
    let mark = work.join("work/incompat");
    match std::fs::remove_dir_all(&mark) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(mark = %mark.display(), %error, "the mark stays"),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::openat;

    use super::*;
    use crate::sys::{self, MountAttributes};

    fn open(path: &Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).expect("open")
    }

    /// Mounts three directories in a thread with mounts of its own; root may do that.
    fn check(mount: fn(&Overlay<'_>, &Path) -> Result<OwnedFd, Errno>) {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let checked = std::thread::spawn(move || {
            sys::unshare_mounts().expect("unshare");
            let change = MountAttributes {
                propagation: libc::MS_SLAVE,
                recursive: true,
                ..MountAttributes::default()
            };
            sys::mount_setattr(CWD, c"/", change).expect("slave");
            let scratch = tempfile::tempdir().expect("scratch");
            let path = |name: &str| scratch.path().join(name);
            for name in ["bottom", "top, \\odd:", "upper", "work"] {
                std::fs::create_dir(path(name)).expect("directory");
            }
            std::fs::write(path("bottom/f"), "bottom").expect("file");
            std::fs::write(path("top, \\odd:/f"), "top").expect("file");
            let lowers = [open(&path("bottom")), open(&path("top, \\odd:"))];
            let writable = (open(&path("upper")), open(&path("work")));
            let overlay =
                Overlay { lowers: &lowers.each_ref(), scratch: Some(&writable), in_user_namespace: false };
            let mounted = mount(&overlay, &path("upper")).expect("mount");
            let file = openat(&mounted, "f", OFlags::RDONLY, Mode::empty()).expect("file");
            let text = std::io::read_to_string(std::fs::File::from(file)).expect("text");
            assert_eq!(text, "top");
            let flags = OFlags::CREATE | OFlags::WRONLY;
            openat(&mounted, "new", flags, Mode::from_raw_mode(0o644)).expect("new file");
            assert!(path("upper/new").exists());
            let again = openat(&mounted, ".", OFlags::RDONLY, Mode::empty());
            drop((again, mounted));
            clear_volatile_mark(&path("work"));
            mount(&overlay, &path("upper")).expect("once more");
        });
        checked.join().expect("thread");
    }

    #[test]
    fn directories_are_stacked() {
        check(|overlay, _| overlay.mount_new("lowerdir+", MountAttrFlags::empty()));
    }

    #[test]
    fn directories_are_stacked_through_the_old_interface() {
        check(|overlay, place| overlay.mount_old(MountAttrFlags::empty(), place));
    }
}
