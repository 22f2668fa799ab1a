//! What is known of a build so far: the sum of its events.

use super::log::{Line, Splitter};
use crate::failure::in_plain_words;
use lighter_engine::build::{Event, EventKind, Finish, Vertex as Id, Warning};
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

/// How many lines of output are kept of each vertex, to be shown when it fails.
const KEPT_LINES: usize = 40;

/// A build so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// All that was announced.
    pub(super) vertices: BTreeMap<Id, Vertex>,
    /// Those that have been begun or found, in that order.
    pub(super) order: Vec<Id>,
    /// What the user should know.
    pub(super) warnings: Vec<Warning>,
    /// How it ended.
    pub(super) finish: Option<Finish>,
    /// The time of the last event.
    pub(super) now: Duration,
}

/// One line of work.
#[derive(Debug, Default)]
pub(super) struct Vertex {
    pub(super) name: String,
    pub(super) inputs: Vec<Id>,
    pub(super) started: Option<Duration>,
    pub(super) ended: Option<Duration>,
    pub(super) outcome: Option<Outcome>,
    pub(super) parts: Vec<Part>,
    pub(super) lines: VecDeque<Line>,
    pub(super) splitter: Splitter,
}

/// How a vertex ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Cached,
    Failed(String),
    Cancelled,
}

/// A part of a vertex.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) what: String,
    pub(super) current: u64,
    pub(super) total: Option<u64>,
    pub(super) started: Duration,
    pub(super) changed: Duration,
    pub(super) done: bool,
}

impl Vertex {
    /// How long it has been worked on.
    pub(super) fn took(&self, now: Duration) -> Duration {
        match self.started {
            Some(started) => self.ended.unwrap_or(now).saturating_sub(started),
            None => Duration::ZERO,
        }
    }

    /// How long after its start a moment was.
    pub(super) fn since_start(&self, at: Duration) -> Duration {
        at.saturating_sub(self.started.unwrap_or(at))
    }

    fn keep(&mut self, lines: Vec<Line>) {
        self.lines.extend(lines);
        while self.lines.len() > KEPT_LINES {
            self.lines.pop_front();
        }
    }

    /// Ends it; gives back the lines that had no end.
    fn end(&mut self, at: Duration, outcome: Outcome) -> Vec<Line> {
        let rest = self.splitter.rest(self.since_start(at));
        self.keep(rest.clone());
        self.ended = Some(at);
        self.outcome = Some(outcome);
        rest
    }

    fn progress(&mut self, what: &str, current: u64, total: Option<u64>, at: Duration, done: bool) {
        let place = if let Some(place) = self.parts.iter().position(|part| part.what == what) {
            place
        } else {
            self.parts.push(Part {
                what: what.to_owned(),
                current: 0,
                total: None,
                started: at,
                changed: at,
                done: false,
            });
            self.parts.len() - 1
        };
        let part = &mut self.parts[place];
        (part.current, part.total, part.changed, part.done) = (current, total, at, done);
    }
}

impl State {
    /// Adds an event; gives back the lines of output that it completes.
    pub(super) fn apply(&mut self, event: &Event) -> Vec<Line> {
        let at = event.at;
        self.now = self.now.max(at);
        if event.vertex == Id::BUILD {
            match &event.kind {
                EventKind::Warning(warning) => self.warnings.push(warning.clone()),
                EventKind::Finished(finish) => self.finish = Some(finish.clone()),
                _ => {}
            }
            return Vec::new();
        }
        if !matches!(event.kind, EventKind::Announced { .. } | EventKind::Cancelled)
            && !self.order.contains(&event.vertex)
        {
            self.order.push(event.vertex);
        }
        let vertex = self.vertices.entry(event.vertex).or_default();
        match &event.kind {
            EventKind::Announced { name, inputs } => {
                vertex.name.clone_from(name);
                vertex.inputs.clone_from(inputs);
            }
            EventKind::Started => vertex.started = Some(at),
            EventKind::Output { stream, bytes } => {
                let lines = vertex.splitter.push(*stream, bytes, vertex.since_start(at));
                vertex.keep(lines.clone());
                return lines;
            }
            EventKind::Progress { what, current, total, done } => {
                vertex.progress(what, *current, *total, at, *done);
            }
            EventKind::Cached => return vertex.end(at, Outcome::Cached),
            EventKind::Done { .. } => return vertex.end(at, Outcome::Done),
            EventKind::Failed { error } => {
                return vertex.end(at, Outcome::Failed(in_plain_words(error.clone())));
            }
            EventKind::Cancelled => return vertex.end(at, Outcome::Cancelled),
            EventKind::Warning(warning) => self.warnings.push(warning.clone()),
            EventKind::Explained(_) | EventKind::Finished(_) => {}
        }
        Vec::new()
    }

    /// Whether a vertex has failed.
    pub(super) fn failed(&self, id: Id) -> bool {
        self.vertices.get(&id).is_some_and(|vertex| matches!(vertex.outcome, Some(Outcome::Failed(_))))
    }

    /// What the steps that failed have written last.
    pub(super) fn failures(&self) -> String {
        let mut text = String::new();
        for vertex in self.vertices.values() {
            let Some(Outcome::Failed(_)) = &vertex.outcome else { continue };
            if vertex.lines.is_empty() && vertex.name.starts_with("[internal]") {
                continue;
            }
            let _ = write!(text, "------\n > {}:\n", vertex.name);
            for line in &vertex.lines {
                let _ = writeln!(text, "{}", line.timed());
            }
            text.push_str("------\n");
        }
        text
    }

    /// The warnings, as they stand at the end.
    pub(super) fn remarks(&self) -> String {
        let count = self.warnings.len();
        if count == 0 {
            return String::new();
        }
        let plural = if count == 1 { "warning" } else { "warnings" };
        let mut text = format!("\n {count} {plural} found (use --check to see where):\n");
        for warning in &self.warnings {
            let _ = writeln!(text, " - {}", described(warning));
        }
        text
    }
}

/// A warning in one line.
pub(super) fn described(warning: &Warning) -> String {
    let mut text = match warning.code.as_str() {
        "" => warning.message.clone(),
        code => format!("{code}: {}", warning.message),
    };
    if let Some(line) = warning.line {
        let _ = write!(text, " (line {line})");
    }
    text
}
