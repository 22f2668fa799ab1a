//! The running binary, opened so that a container which gets hold of it cannot write to it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::sys::{self, MountAttributes};

static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();

/// Opens the running binary, once for the process.
///
/// It is executed from a mount of its own that is read-only and attached nowhere: a hostile image that makes the init
/// execute itself again (`#!/proc/self/exe`) finds a file that nobody can open for writing.
pub(crate) fn open() -> Result<BorrowedFd<'static>, Errno> {
    if let Some(open) = PROGRAM.get() {
        return Ok(open.as_fd());
    }
    let program = read_only_mount()
        .or_else(|_| rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()))?;
    // A low number is needed for the child's own descriptors.
    let program = rustix::io::fcntl_dupfd_cloexec(program, 10)?;
    Ok(PROGRAM.get_or_init(|| program).as_fd())
}

fn read_only_mount() -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, "/proc/self/exe", flags)?;
    let change = MountAttributes { set: sys::MOUNT_ATTR_RDONLY, ..MountAttributes::default() };
    sys::mount_setattr(mount.as_fd(), c"", change)?;
    Ok(mount)
}

/// Arguments under which the binary becomes an init, or a keeper and an init in new namespaces.
pub(crate) fn init_arguments(kept_namespaces: Option<i32>) -> Vec<CString> {
    let kept = kept_namespaces.and_then(|flags| CString::new(flags.to_string()).ok());
    [c"lighter".to_owned(), crate::HIDDEN_VERB.to_owned()].into_iter().chain(kept).collect()
}
