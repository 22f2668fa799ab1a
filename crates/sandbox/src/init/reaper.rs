//! A process 1 that does what programs often do not: it passes signals on and reaps orphans.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

use super::{Fault, program};
use crate::message::errno_text;
use crate::sys;

/// The name under which the reaper appears, as in Docker.
pub(crate) const ARGUMENT_ZERO: &str = "/sbin/docker-init";

/// Executes the own binary as the reaper, which starts the program.
pub(super) fn become_reaper(binary: &OwnedFd, args: &[String], env: &[String]) -> i32 {
    let mut arguments = vec![ARGUMENT_ZERO.to_owned(), "--".to_owned()];
    arguments.extend(args.iter().cloned());
    // The descriptor closes on exec, after the kernel has opened what it names.
    let path = format!("/proc/self/fd/{}", binary.as_raw_fd());
    match CString::new(path) {
        Ok(path) => program::execute(&path, &arguments, env),
        Err(_) => 125,
    }
}

/// Starts the program, serves as process 1 until it has ended, and returns its status.
pub(crate) fn reap_as_process_one(args: &[String], env: &[String]) -> i32 {
    let program = match program::find(args, env) {
        Ok(program) => program,
        Err(Fault::Command { program, fault }) => {
            program::complain(&format!("{}\n", fault.describe(&program)));
            return fault.exit_code();
        }
        Err(Fault::Setup { errno, .. }) => return give_up(errno),
    };
    let forked = sys::block_signals().and_then(|()| sys::fork());
    match forked {
        Ok(None) => start(&program, args, env),
        Ok(Some(child)) => serve(child),
        Err(errno) => give_up(errno),
    }
}

fn give_up(errno: Errno) -> i32 {
    program::complain(&format!("docker-init: {}\n", errno_text(errno.raw_os_error())));
    125
}

/// The child's side: a process group of its own, in the foreground if there is a terminal.
///
/// Signals are still blocked while it takes the foreground, so that the terminal does not stop it.
fn start(program: &CString, args: &[String], env: &[String]) -> i32 {
    let begun = rustix::process::setpgid(None, None)
        .and_then(|()| take_foreground())
        .and_then(|()| sys::reset_signals());
    match begun {
        Ok(()) => program::execute(program, args, env),
        Err(errno) => give_up(errno),
    }
}

fn take_foreground() -> Result<(), Errno> {
    let input = rustix::stdio::stdin();
    match rustix::termios::tcsetpgrp(input, rustix::process::getpgrp()) {
        Ok(()) | Err(Errno::NOTTY | Errno::NXIO | Errno::INVAL) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Passes signals on to the child and reaps whatever ends, until the child has ended.
fn serve(child: i32) -> i32 {
    loop {
        match sys::wait_signal() {
            Ok(libc::SIGCHLD) => {
                if let Some(status) = reap_until(child) {
                    return status;
                }
            }
            Ok(signal) => {
                // It may have ended just now: SIGCHLD comes next.
                let _ = sys::kill(child, signal);
            }
            Err(Errno::INTR) => {}
            Err(_) => return 125,
        }
    }
}

/// Reaps all that have ended; the status of the child if it is among them.
fn reap_until(child: i32) -> Option<i32> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == child {
            ended = Some(status_code(status));
        }
    }
    ended
}

fn status_code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
}
