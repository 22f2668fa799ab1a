//! A running sandboxed process, seen from the caller.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::message::Warning;
use crate::spec::Window;
use crate::sys;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It exited with a status.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// The status as shells and Docker say it: 128 and the signal's number for a signal.
    pub fn status_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// Whether it exited with 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

/// Why a process could not be waited for or signalled.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The system refused to say how it ended.
    #[error("waiting for process {pid}")]
    Wait {
        /// Its number.
        pid: i32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system refused to send the signal.
    #[error("sending signal {signal} to process {pid}")]
    Signal {
        /// Its number.
        pid: i32,
        /// The signal's number.
        signal: i32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running sandboxed process.
///
/// It can be shared between threads: one waits, another kills. Dropping it neither kills the process nor waits for it.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: OwnedFd,
    ended: Mutex<Option<Exit>>,
    terminal: Option<OwnedFd>,
    warnings: Vec<Warning>,
    stubs: Mutex<Vec<PathBuf>>,
    has_keeper: bool,
}

impl Process {
    pub(crate) fn new(
        pid: i32,
        pidfd: OwnedFd,
        terminal: Option<OwnedFd>,
        warnings: Vec<Warning>,
        stubs: Vec<PathBuf>,
    ) -> Self {
        let stubs = Mutex::new(stubs);
        Self { pid, pidfd, ended: Mutex::new(None), terminal, warnings, stubs, has_keeper: false }
    }

    /// It is a keeper, and what is kept ends before it does.
    pub(crate) fn with_keeper(self) -> Self {
        Self { has_keeper: true, ..self }
    }

    /// Its number in the caller's PID namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A descriptor that becomes readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Takes the caller's end of its terminal; the first call only, and only if the spec asked for one.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Wishes of the spec that could not be kept.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Waits until it ends; as process 1 of its PID namespace it takes all others there with it.
    ///
    /// # Errors
    /// [`WaitError::Wait`] if somebody else reaped it.
    pub fn wait(&self) -> Result<Exit, WaitError> {
        loop {
            if let Some(exit) = self.wait_timeout(Duration::from_hours(1))? {
                return Ok(exit);
            }
        }
    }

    /// Waits until it ends or the time is over.
    ///
    /// # Errors
    /// [`WaitError::Wait`] if somebody else reaped it.
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<Exit>, WaitError> {
        let deadline = Instant::now() + limit;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(rest).map_err(|_| self.wait_error(Errno::INVAL))?;
            let mut watched = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut watched, Some(&timeout)) {
                Ok(0) => return Ok(None),
                Ok(_) => return self.reap(),
                Err(Errno::INTR) => {}
                Err(source) => return Err(self.wait_error(source)),
            }
        }
    }

    /// Says how it ended if it has ended.
    ///
    /// # Errors
    /// [`WaitError::Wait`] if somebody else reaped it.
    pub fn try_wait(&self) -> Result<Option<Exit>, WaitError> {
        self.reap()
    }

    fn reap(&self) -> Result<Option<Exit>, WaitError> {
        let mut ended = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if ended.is_some() {
            return Ok(*ended);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status =
            waitid(WaitId::PidFd(self.pidfd.as_fd()), options).map_err(|source| self.wait_error(source))?;
        let Some(status) = status else {
            return Ok(None);
        };
        let exit = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or_default()),
        };
        *ended = Some(exit);
        drop(ended);
        self.remove_stubs();
        Ok(Some(exit))
    }

    /// Removes the stand-ins for mount points, as far as they are as empty as they were made.
    fn remove_stubs(&self) {
        let stubs =
            std::mem::take(&mut *self.stubs.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        crate::message::remove_stubs(&stubs);
    }

    fn wait_error(&self, source: Errno) -> WaitError {
        WaitError::Wait { pid: self.pid, source: source.into() }
    }

    /// Sends it a signal; one that has ended already is no error. A keeper is asked to kill where it would be killed, so
    /// that all has ended when it has.
    ///
    /// # Errors
    /// [`WaitError::Signal`] if the signal does not exist or is not allowed.
    pub fn kill(&self, signal: i32) -> Result<(), WaitError> {
        let signal = if self.has_keeper && signal == libc::SIGKILL { libc::SIGTERM } else { signal };
        match sys::pidfd_send_signal(self.pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(source) => Err(WaitError::Signal { pid: self.pid, signal, source: source.into() }),
        }
    }
}

/// Tells a terminal its new size; the processes on it get `SIGWINCH`.
///
/// # Errors
/// The system's, if `terminal` is none.
pub fn resize(terminal: impl AsFd, window: Window) -> std::io::Result<()> {
    let size = Winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_have_shell_status() {
        let check = |exit: Exit, code: i32| assert_eq!(exit.status_code(), code);
        check(Exit::Code(0), 0);
        check(Exit::Code(255), 255);
        check(Exit::Signal(9), 137);
        check(Exit::Signal(15), 143);
    }
}
