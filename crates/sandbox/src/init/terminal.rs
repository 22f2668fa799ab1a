//! The terminal of a container, and the session around its program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, makedev, openat};
use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};

use super::dev::{self, Dev};
use super::{At, Caller, Result};
use crate::message::{Report, Stage};
use crate::process::resize;
use crate::spec::Window;

/// Opens a terminal of the container's `/dev/pts`, gives the caller its other end, and shows it as `/dev/console`.
pub(super) fn open(caller: &Caller, dev: &Dev, window: Option<Window>, uid: u32) -> Result<OwnedFd> {
    let terminal = open_below(caller, &dev.terminals, "ptmx", window, uid)?;
    dev::show_console(dev, &terminal).at(Stage::Terminal, || "/dev/console".to_owned())?;
    Ok(terminal)
}

/// Opens a terminal of the `/dev/pts` that this process sees.
pub(super) fn open_in_place(caller: &Caller, window: Option<Window>, uid: u32) -> Result<OwnedFd> {
    open_below(caller, CWD, "/dev/pts/ptmx", window, uid)
}

fn open_below(
    caller: &Caller,
    directory: impl AsFd,
    path: &str,
    window: Option<Window>,
    uid: u32,
) -> Result<OwnedFd> {
    let name = || "/dev/pts/ptmx".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(directory, path, flags, Mode::empty()).at(Stage::Terminal, name)?;
    unlockpt(&master).at(Stage::Terminal, name)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = ioctl_tiocgptpeer(&master, flags).at(Stage::Terminal, name)?;
    if let Some(window) = window {
        resize(&master, window).at(Stage::Terminal, name)?;
    }
    if uid != 0 {
        fchown(&terminal, Some(Uid::from_raw(uid)), None).at(Stage::Terminal, name)?;
    }
    caller.tell(&Report::Terminal, Some(&master)).at(Stage::Terminal, name)?;
    Ok(terminal)
}

/// Begins a session of its own, on the terminal if there is one, with standard streams that are the container's.
pub(super) fn take(terminal: Option<&OwnedFd>, uid: u32) -> Result<()> {
    begin_session(terminal)?;
    own_null()?;
    own_streams(uid)
}

fn begin_session(terminal: Option<&OwnedFd>) -> Result<()> {
    let name = || "session".to_owned();
    match setsid() {
        // It leads one already.
        Ok(_) | Err(Errno::PERM) => {}
        Err(error) => return Err(error).at(Stage::Terminal, name),
    }
    let Some(terminal) = terminal else {
        return Ok(());
    };
    ioctl_tiocsctty(terminal).at(Stage::Terminal, name)?;
    dup2_stdin(terminal).at(Stage::Terminal, name)?;
    dup2_stdout(terminal).at(Stage::Terminal, name)?;
    dup2_stderr(terminal).at(Stage::Terminal, name)
}

/// Puts the container's own `/dev/null` in the place of the host's at the standard streams: whoever has a file open can
/// change its mode and owner.
fn own_null() -> Result<()> {
    let name = || "/dev/null".to_owned();
    let is_null = |open: BorrowedFd<'_>| -> Result<bool> {
        let status = fstat(open).at(Stage::Terminal, name)?;
        let is_device = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
        Ok(is_device && status.st_rdev == makedev(1, 3))
    };
    let mut own = None;
    for (number, stream) in [stdin(), stdout(), stderr()].into_iter().enumerate() {
        if !is_null(stream)? {
            continue;
        }
        if own.is_none() {
            match openat(CWD, "/dev/null", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(null) if is_null(null.as_fd())? => own = Some(null),
                // what is there is something else, which was asked for
                _ => return Ok(()),
            }
        }
        let Some(own) = &own else { return Ok(()) };
        match number {
            0 => dup2_stdin(own),
            1 => dup2_stdout(own),
            _ => dup2_stderr(own),
        }
        .at(Stage::Terminal, name)?;
    }
    Ok(())
}

/// Gives pipes at the standard streams to the user, so that `/dev/stdout` can be opened by name.
fn own_streams(uid: u32) -> Result<()> {
    if uid == 0 {
        return Ok(());
    }
    for stream in [stdin(), stdout(), stderr()] {
        let status = fstat(stream).at(Stage::User, || "standard stream".to_owned())?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Fifo {
            continue;
        }
        match fchown(stream, Some(Uid::from_raw(uid)), None::<Gid>) {
            // A pipe of somebody else's, or an id that is not mapped: the stream itself works.
            Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => {}
            Err(error) => return Err(error).at(Stage::User, || "standard stream".to_owned()),
        }
    }
    Ok(())
}
