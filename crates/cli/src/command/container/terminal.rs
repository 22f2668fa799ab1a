//! The caller's terminal: raw while a container's terminal is shown on it, and always as it was afterwards.

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// The terminal of standard input, made raw; it is what it was when this is dropped.
pub(crate) struct RawTerminal {
    before: Termios,
    restored: AtomicBool,
}

impl RawTerminal {
    /// Makes the terminal raw; `None` where standard input is none.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let input = io::stdin();
        if !isatty(&input) {
            return Ok(None);
        }
        let terminal = Self { before: tcgetattr(&input)?, restored: AtomicBool::new(false) };
        terminal.make_raw()?;
        Ok(Some(terminal))
    }

    /// Makes it raw again, after something else had it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn make_raw(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &raw)?)
    }

    /// Makes it what it was.
    pub(crate) fn restore(&self) {
        if !self.restored.swap(true, Ordering::SeqCst)
            && let Err(error) = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before)
        {
            tracing::debug!(%error, "the terminal stays raw");
        }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Lines and columns of the terminal, where standard output or input is one.
pub(crate) fn window() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
