//! A keeper: a process between the caller and process 1 of a PID namespace, outside of that namespace.
//!
//! The kernel keeps from process 1 every signal for which it has no handler, `SIGKILL` from outside excepted. Whoever
//! sends `SIGINT` to the caller's child, or `SIGTERM`, means to end it: the keeper takes the signal, kills the namespace,
//! and ends by the signal itself, so that the caller sees what has happened. It dies with the caller, and process 1 with
//! it, whichever way.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Pid, WaitOptions, WaitStatus, set_dumpable_behavior, waitpid};

use super::{At, Result};
use crate::message::Stage;
use crate::sys;

/// The signals that end what is kept.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// What a kept process holds of its keeper.
pub(super) struct Tie(OwnedFd);

impl Tie {
    /// Whether the keeper lives.
    pub(super) fn holds(&self) -> Result<()> {
        let name = || "keeper".to_owned();
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut watched, Some(&Timespec::default())).at(Stage::Order, name)? {
            0 => Ok(()),
            _ => Err(Errno::CHILD).at(Stage::Order, name),
        }
    }
}

/// What came of the division into keeper and kept.
pub(super) enum Side {
    /// This is process 1 of the new namespaces.
    Kept(Tie),
    /// This is the keeper: the number of what it keeps, and what ties that to it.
    Keeper { kept: i32, tie: OwnedFd },
}

/// Divides into a keeper and process 1 of new namespaces. All signals must be blocked.
pub(super) fn divide(namespaces: i32) -> Result<Side> {
    let name = || "keeper".to_owned();
    let (watched, tie) = pipe_with(PipeFlags::CLOEXEC).at(Stage::Order, name)?;
    sys::unshare_namespaces(libc::CLONE_NEWPID).at(Stage::Namespaces, name)?;
    if let Some(kept) = sys::fork().at(Stage::Namespaces, name)? {
        return Ok(Side::Keeper { kept, tie });
    }
    drop(tie);
    super::die_with_caller(true)?;
    sys::unshare_namespaces(namespaces & !libc::CLONE_NEWPID).at(Stage::Namespaces, name)?;
    Ok(Side::Kept(Tie(watched)))
}

/// Keeps process 1 until it has ended, and ends as it did, or by the signal that was to end it.
pub(super) fn keep(kept: i32) -> i32 {
    let mut ended_by = None;
    loop {
        match sys::wait_signal() {
            Ok(libc::SIGCHLD) => match ended(kept) {
                Ok(None) => {}
                Ok(Some(status)) => return end(status, ended_by),
                Err(_) => return 125,
            },
            Ok(signal) if ENDING.contains(&signal) => {
                ended_by = ended_by.or(Some(signal));
                // It may have ended just now: SIGCHLD comes next.
                let _ = sys::kill(kept, libc::SIGKILL);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return 125,
        }
    }
}

fn ended(kept: i32) -> std::result::Result<Option<WaitStatus>, Errno> {
    Ok(waitpid(Pid::from_raw(kept), WaitOptions::NOHANG)?.map(|(_, status)| status))
}

fn end(status: WaitStatus, ended_by: Option<i32>) -> i32 {
    match ended_by.or_else(|| status.terminating_signal()) {
        Some(signal) => {
            die_by(signal);
            128 + signal
        }
        None => status.exit_status().unwrap_or(125),
    }
}

/// Ends by a signal, without a core file; returns if that is not to be had.
fn die_by(signal: i32) {
    let died = set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| sys::kill(std::process::id().cast_signed(), signal))
        // this one only: a stop signal that waits, too, would stop the keeper here
        .and_then(|()| sys::admit_signal(signal));
    // The exit status says it, then.
    let _ = died;
}
