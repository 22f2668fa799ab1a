//! The caller's terminal as that of a program in a build's root.

use crate::command::container::terminal::{self, RawTerminal};
use lighter_engine::build::{Attach, Window};
use rustix::termios::isatty;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

/// Shows a program's terminal on the caller's; none where the caller has none.
pub(crate) fn attach() -> Option<Attach> {
    if !isatty(io::stdin()) || !isatty(io::stdout()) {
        return None;
    }
    let window = terminal::window().map(|(rows, columns)| Window { rows, columns });
    Some(Attach { window, show: Arc::new(show) })
}

fn show(terminal: OwnedFd) -> io::Result<()> {
    let raw = RawTerminal::enter()?;
    let mut keys = File::from(terminal.try_clone()?);
    // it waits for keys until the process ends, or for the one that nobody takes any more
    drop(thread::spawn(move || io::copy(&mut io::stdin(), &mut keys)));
    let mut screen = File::from(terminal);
    let mut bytes = vec![0; 32 << 10];
    let result = loop {
        match screen.read(&mut bytes) {
            // a terminal that nobody has open any more answers with an error
            Ok(0) => break Ok(()),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => break Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
            Ok(length) => {
                let written = io::stdout().write_all(&bytes[..length]).and_then(|()| io::stdout().flush());
                if written.is_err() {
                    break written;
                }
            }
        }
    };
    drop(raw);
    result
}
