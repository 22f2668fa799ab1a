//! The progress of layers that come from, or go to, a registry.

use crate::environment;
use crate::render::progress::screen::{Row, Screen, Tone};
use crate::render::units;
use crate::session::{Output, Session};
use lighter_engine::registry::TransferEvent;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a picture is drawn at most.
const TICK: Duration = Duration::from_millis(100);
/// How long a bar is.
const BAR: usize = 50;

/// Shows layers: a picture on a terminal, else a line whenever one of them gets further.
#[derive(Debug)]
pub(crate) struct Transfers {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    layers: Vec<Layer>,
    face: Face,
}

#[derive(Debug)]
enum Face {
    Nothing,
    Lines(Output),
    Picture { screen: Screen<Output>, drawn: Instant },
}

/// What happens to one layer.
#[derive(Debug, Clone, PartialEq)]
struct Layer {
    name: String,
    word: String,
    amount: Option<Amount>,
}

/// How much of a transfer is done, and how fast it goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Amount {
    current: u64,
    total: Option<u64>,
    began: Option<(Instant, u64)>,
}

impl Amount {
    /// Counts an event.
    pub(crate) fn take(&mut self, event: &TransferEvent) {
        match event {
            TransferEvent::Started { offset_bytes, total_bytes } => {
                (self.current, self.total) = (*offset_bytes, *total_bytes);
                self.began = Some((Instant::now(), *offset_bytes));
            }
            TransferEvent::Advanced { bytes } => self.current += bytes,
            TransferEvent::Rewound { bytes } => self.current = self.current.saturating_sub(*bytes),
            TransferEvent::Retrying { .. } | TransferEvent::Finished => {}
        }
    }

    /// Bytes in a second, since it began.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is shown with four digits, and is neither negative nor beyond what is counted"
    )]
    fn speed(&self, now: Instant) -> Option<u64> {
        let (began, offset) = self.began?;
        let seconds = now.saturating_duration_since(began).as_secs_f64();
        (seconds >= 0.5).then(|| (self.current.saturating_sub(offset) as f64 / seconds) as u64)
    }

    /// `1.5MB/3MB  1MB/s  2s left`.
    fn shown(&self, now: Instant) -> String {
        let mut text = units::size(self.current);
        if let Some(total) = self.total {
            let _ = write!(text, "/{}", units::size(total));
        }
        let Some(speed @ 1..) = self.speed(now) else { return text };
        let _ = write!(text, "  {}/s", units::size(speed));
        if let Some(left @ 1..) = self.total.map(|total| total.saturating_sub(self.current)) {
            let seconds = left.div_ceil(speed);
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            let _ = match minutes {
                0 => write!(text, "  {seconds}s left"),
                _ => write!(text, "  {minutes}m{seconds:02}s left"),
            };
        }
        text
    }
}

impl Transfers {
    /// Layers on standard output. Nothing is shown of them when `quiet`.
    pub(crate) fn new(session: &Session, quiet: bool) -> Self {
        Self::on(session.stdout(), session.writes_to_terminal(), quiet)
    }

    /// The same on standard error.
    pub(crate) fn aside(session: &Session, quiet: bool) -> Self {
        Self::on(session.stderr(), session.reports_to_terminal(), quiet)
    }

    fn on(output: Output, is_terminal: bool, quiet: bool) -> Self {
        let face = match is_terminal {
            _ if quiet => Face::Nothing,
            true => {
                Face::Picture { screen: Screen::new(output, !environment::no_color()), drawn: Instant::now() }
            }
            false => Face::Lines(output),
        };
        Self { inner: Mutex::new(Inner { layers: Vec::new(), face }) }
    }

    /// A layer gets to another stage: `Pulling fs layer`, `Downloading`, `Pushed`.
    pub(crate) fn stage(&self, name: &str, word: &str) {
        let mut inner = self.lock();
        let layer = inner.layer(name);
        let is_new = layer.word != word;
        word.clone_into(&mut layer.word);
        layer.amount = None;
        if is_new {
            inner.show(Some((name, word)));
        }
    }

    /// The same for a stage that only a picture shows.
    pub(crate) fn note(&self, name: &str, word: &str) {
        let mut inner = self.lock();
        let layer = inner.layer(name);
        word.clone_into(&mut layer.word);
        layer.amount = None;
        inner.show(None);
    }

    /// A transfer has gone on.
    pub(crate) fn moved(&self, name: &str, word: &str, amount: &Amount, event: &TransferEvent) {
        match event {
            TransferEvent::Retrying { wait, reason, .. } => {
                self.stage(name, &format!("Retrying in {} seconds: {reason}", wait.as_secs().max(1)));
            }
            TransferEvent::Finished => {}
            TransferEvent::Started { .. }
            | TransferEvent::Advanced { .. }
            | TransferEvent::Rewound { .. } => {
                let mut inner = self.lock();
                let layer = inner.layer(name);
                word.clone_into(&mut layer.word);
                layer.amount = Some(*amount);
                inner.show(None);
            }
        }
    }

    /// Draws the end.
    pub(crate) fn finish(self) {
        let mut inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        inner.draw();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn layer(&mut self, name: &str) -> &mut Layer {
        let place = if let Some(place) = self.layers.iter().position(|layer| layer.name == name) {
            place
        } else {
            self.layers.push(Layer { name: name.to_owned(), word: String::new(), amount: None });
            self.layers.len() - 1
        };
        &mut self.layers[place]
    }

    fn show(&mut self, news: Option<(&str, &str)>) {
        match (&mut self.face, news) {
            (Face::Lines(out), Some((name, word))) => {
                if let Err(error) = writeln!(out, "{name}: {word}") {
                    tracing::debug!(%error, "progress could not be written");
                }
            }
            (Face::Picture { drawn, .. }, _) if drawn.elapsed() >= TICK => self.draw(),
            _ => {}
        }
    }

    fn draw(&mut self) {
        let Face::Picture { screen, drawn } = &mut self.face else { return };
        let columns = rustix::termios::tcgetwinsize(rustix::stdio::stdout())
            .map_or(80, |size| usize::from(size.ws_col));
        let now = Instant::now();
        let rows: Vec<Row> = self.layers.iter().map(|layer| layer.row(columns.max(20), now)).collect();
        if let Err(error) = screen.draw(&rows) {
            tracing::debug!(%error, "progress could not be drawn");
        }
        *drawn = now;
    }
}

impl Layer {
    fn row(&self, columns: usize, now: Instant) -> Row {
        let mut text = format!("{}: {}", self.name, self.word);
        if let Some(amount) = &self.amount {
            if let Some(total @ 1..) = amount.total {
                let _ = write!(text, " [{}]", bar(amount.current, total));
            }
            let _ = write!(text, "  {}", amount.shown(now));
        }
        Row { tone: Tone::Normal, text: text.chars().take(columns - 1).collect() }
    }
}

fn bar(current: u64, total: u64) -> String {
    let part = current.min(total).saturating_mul(BAR as u64) / total;
    let filled = usize::try_from(part).unwrap_or(BAR);
    match filled {
        BAR => "=".repeat(BAR),
        _ => format!("{:<BAR$}", "=".repeat(filled) + ">"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let now = Instant::now();
        let before = now.checked_sub(Duration::from_secs(2));
        let amount = |current, total, seconds: bool| {
            Some(Amount { current, total, began: before.filter(|_| seconds).map(|began| (began, 0)) })
        };
        let layer = |amount| Layer { name: "abc".to_owned(), word: "Downloading".to_owned(), amount };
        assert_eq!(layer(None).row(80, now).text, "abc: Downloading");
        assert_eq!(layer(amount(1500, None, false)).row(80, now).text, "abc: Downloading  1.5kB");
        let half = layer(amount(500, Some(1000), false)).row(120, now).text;
        assert_eq!(half, format!("abc: Downloading [{}>{}]  500B/1kB", "=".repeat(25), " ".repeat(24)));
        let fast = layer(amount(400, Some(1000), true)).row(140, now).text;
        assert!(fast.ends_with("]  400B/1kB  200B/s  3s left"), "{fast}");
        let slow = layer(amount(2, Some(1000), true)).row(140, now).text;
        assert!(slow.ends_with("  1B/s  16m38s left"), "{slow}");
        assert_eq!(bar(1, 1), "=".repeat(50));
        assert_eq!(layer(amount(1, Some(2), true)).row(20, now).text.chars().count(), 19);
    }

    #[test]
    fn amounts_count_what_is_sent_twice_once() {
        let mut amount = Amount::default();
        for event in [
            TransferEvent::Started { offset_bytes: 5, total_bytes: Some(10) },
            TransferEvent::Advanced { bytes: 3 },
            TransferEvent::Rewound { bytes: 2 },
            TransferEvent::Finished,
        ] {
            amount.take(&event);
        }
        assert_eq!((amount.current, amount.total), (6, Some(10)));
    }
}
