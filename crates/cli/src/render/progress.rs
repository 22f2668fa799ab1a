//! The progress of a build: one stream of events, shown for people or for machines.
//!
//! `Plain` and `RawJson` turn each event into text; the live display folds events into a `State` and draws it again
//! and again. All are pure; `Display` does the writing.

mod display;
mod explain;
mod live;
mod log;
mod plain;
mod raw_json;
pub(crate) mod screen;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use display::{Display, Mode};

use jiff::Timestamp;
use lighter_engine::build::{Event, Explanation};
use std::fmt::Write as _;
use std::time::Duration;

/// A duration in seconds with one digit behind the point, as `0.5s`.
fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

/// An amount as BuildKit shows it: `250B`, `32.45kB`.
fn amount(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") }
}

/// How far a part of a vertex is: `transferring context: 2.50MB 0.1s done`.
fn part(what: &str, current: u64, total: Option<u64>, took: Duration, done: bool) -> String {
    let mut text = what.to_owned();
    if what.starts_with("transferring") && !what.ends_with(':') {
        text.push(':');
    }
    match total {
        // what the caller sends is told as a whole when it is there, as BuildKit does
        Some(total) if total > 0 && !(done && what.starts_with("transferring")) => {
            let _ = write!(text, " {} / {}", amount(current), amount(total));
        }
        _ if current > 0 => {
            let _ = write!(text, " {}", amount(current));
        }
        _ => {}
    }
    if took > Duration::from_millis(10) {
        let _ = write!(text, " {}", seconds(took));
    }
    if done {
        text.push_str(" done");
    }
    text
}

/// A whole build as text, told again from what was kept of it.
pub(crate) fn replayed(mode: Mode, events: &[Event], now: Timestamp) -> String {
    if mode == Mode::RawJson {
        let last = events.last().map(|event| event.at).unwrap_or_default();
        let started = jiff::SignedDuration::try_from(last).ok().and_then(|last| now.checked_sub(last).ok());
        let mut raw = raw_json::RawJson::new(started.unwrap_or(now));
        return events.iter().map(|event| raw.take(event)).collect();
    }
    let mut plain = plain::Plain::default();
    let text: String = events.iter().map(|event| plain.take(event)).collect();
    text + &plain.state.failures() + &plain.state.remarks()
}

/// Why a step ran, in lines.
pub(crate) fn explained(explanation: &Explanation) -> String {
    explain::lines(explanation).iter().flat_map(|line| ["  ", line, "\n"]).collect()
}
