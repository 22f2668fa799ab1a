//! The part of the terminal that a picture is drawn in.

use std::fmt::Write as _;
use std::io::{self, Write};

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// What a line of the picture is about; colours follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Normal,
    Finished,
    Failed,
    Cancelled,
    Faint,
}

/// One line of the picture, no longer than the terminal is wide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

/// Draws pictures over each other. The cursor is hidden while it lives, and always comes back.
#[derive(Debug)]
pub(crate) struct Screen<W: Write> {
    terminal: W,
    colours: bool,
    drawn: usize,
}

impl<W: Write> Screen<W> {
    /// A screen with nothing drawn yet.
    pub(crate) fn new(terminal: W, colours: bool) -> Self {
        Self { terminal, colours, drawn: 0 }
    }

    /// Draws a picture in place of the last one.
    pub(crate) fn draw(&mut self, rows: &[Row]) -> io::Result<()> {
        let mut text = String::from(HIDE_CURSOR);
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        text.push('\r');
        for row in rows {
            let colour = if self.colours { colour(row.tone) } else { "" };
            text.push_str(colour);
            text.push_str(&row.text);
            text.push_str(if colour.is_empty() { "" } else { "\x1b[0m" });
            text.push_str(CLEAR_LINE);
            text.push_str("\r\n");
        }
        text.push_str(CLEAR_BELOW);
        self.drawn = rows.len();
        self.terminal.write_all(text.as_bytes())?;
        self.terminal.flush()
    }

    /// Gives the terminal back, the last picture in it.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.terminal.write_all(SHOW_CURSOR.as_bytes())?;
        self.terminal.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::debug!(%error, "the cursor could not be shown again");
        }
    }
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Normal => "",
        Tone::Finished => "\x1b[34m",
        Tone::Failed => "\x1b[31m",
        Tone::Cancelled => "\x1b[33m",
        Tone::Faint => "\x1b[2m",
    }
}
