//! Progress as plain lines, as BuildKit prints them: `#5 [build 2/5] RUN make`.
//!
//! The lines of one step stand together: one step is shown as they come, the others wait until they have ended or it
//! has been silent for long.

use super::explain;
use super::log::Line;
use super::state::{Outcome, State, described};
use super::{part, seconds};
use lighter_engine::build::{Event, EventKind, Vertex as Id};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// After so long without a word, the step that is shown gives way to one that has something to say.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long of waiting, a step is shown even if another has still something to say.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A part of a step is told about so often at most, while it goes on.
const BETWEEN_PARTS: Duration = Duration::from_secs(2);

/// Turns events into lines.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub(super) state: State,
    shown: BTreeMap<Id, Shown>,
    current: Option<Id>,
    begun: bool,
    /// Behind a failure there is an empty line only if something else follows.
    owes_line: bool,
}

/// What has been shown of a vertex.
#[derive(Debug)]
struct Shown {
    number: usize,
    pending: String,
    waiting_since: Option<Duration>,
    last_word: Duration,
    last_part: BTreeMap<String, Duration>,
}

impl Plain {
    /// The text to write for an event.
    pub(super) fn take(&mut self, event: &Event) -> String {
        let mut text = String::new();
        if !self.begun {
            self.begun = true;
            text.push_str("#0 building with lighter\n\n");
        }
        let lines = self.state.apply(event);
        if event.vertex == Id::BUILD {
            return text;
        }
        match self.words(event, &lines) {
            Some(words) => self.note(event, &words),
            None => return text,
        }
        let ended = self.state.vertices.get(&event.vertex).is_some_and(|vertex| vertex.outcome.is_some());
        if self.current == Some(event.vertex) || self.may_switch(event.vertex, event.at, ended) {
            self.flush(event.vertex, event.at, &mut text);
        }
        if ended {
            self.current = None;
            self.owes_line = self.state.failed(event.vertex);
            text.push_str(if self.owes_line { "" } else { "\n" });
            self.resume(event.at, &mut text);
        }
        text
    }

    /// What is told about an event: lines without the number in front. None: nothing yet, not even the name.
    fn words(&mut self, event: &Event, lines: &[Line]) -> Option<Vec<String>> {
        let due = self.is_due(event);
        let vertex = self.state.vertices.get(&event.vertex)?;
        let mut words: Vec<String> = lines.iter().map(Line::timed).collect();
        match &event.kind {
            EventKind::Announced { .. } | EventKind::Finished(_) => return None,
            EventKind::Cancelled if vertex.started.is_none() => return None,
            EventKind::Progress { what, current, total, done } => {
                let started = vertex.parts.iter().find(|part| part.what == *what).map(|part| part.started);
                let took = event.at.saturating_sub(started.unwrap_or(event.at));
                if due {
                    words.push(part(what, *current, *total, took, *done));
                }
            }
            EventKind::Warning(warning) => words.push(format!("WARN: {}", described(warning))),
            EventKind::Explained(explanation) => words.extend(explain::lines(explanation)),
            _ => {}
        }
        match &vertex.outcome {
            Some(Outcome::Done) => words.push(format!("DONE {}", seconds(vertex.took(event.at)))),
            Some(Outcome::Cached) => words.push("CACHED".to_owned()),
            Some(Outcome::Failed(error)) => words.push(format!("ERROR: {error}")),
            Some(Outcome::Cancelled) => words.push("CANCELED".to_owned()),
            None => {}
        }
        Some(words)
    }

    /// Whether it is time to tell about a part again; its start is no news.
    fn is_due(&mut self, event: &Event) -> bool {
        let EventKind::Progress { what, done, .. } = &event.kind else { return false };
        let done = *done;
        let Some(shown) = self.shown.get_mut(&event.vertex) else { return done };
        let last = *shown.last_part.entry(what.clone()).or_insert(event.at);
        let due = done || event.at.saturating_sub(last) >= BETWEEN_PARTS;
        if due {
            shown.last_part.insert(what.clone(), event.at);
        }
        due
    }

    fn note(&mut self, event: &Event, words: &[String]) {
        let number = self.shown.len() + 1;
        let shown = self.shown.entry(event.vertex).or_insert_with(|| Shown {
            number,
            pending: String::new(),
            waiting_since: None,
            last_word: event.at,
            last_part: BTreeMap::new(),
        });
        for line in words {
            let _ = writeln!(shown.pending, "#{} {line}", shown.number);
        }
        if !words.is_empty() {
            shown.waiting_since.get_or_insert(event.at);
        }
    }

    /// Whether another vertex than the current one may be shown now.
    fn may_switch(&self, to: Id, at: Duration, ended: bool) -> bool {
        let Some(current) = self.current.and_then(|current| self.shown.get(&current)) else { return true };
        let waiting = self.shown.get(&to).and_then(|shown| shown.waiting_since);
        ended
            || waiting.is_some_and(|since| {
                at.saturating_sub(current.last_word) > PATIENCE || at.saturating_sub(since) > LONGEST_WAIT
            })
    }

    /// Makes a vertex the current one and writes what it has to say.
    fn flush(&mut self, id: Id, at: Duration, text: &mut String) {
        if let Some(left) = self.current.filter(|current| *current != id) {
            let number = self.shown.get(&left).map_or(0, |shown| shown.number);
            let _ = write!(text, "#{number} ...\n\n");
        }
        let Some(shown) = self.shown.get_mut(&id) else { return };
        if self.current != Some(id) {
            text.push_str(if std::mem::take(&mut self.owes_line) { "\n" } else { "" });
            let name = self.state.vertices.get(&id).map_or("", |vertex| vertex.name.as_str());
            let _ = writeln!(text, "#{} {name}", shown.number);
        }
        text.push_str(&std::mem::take(&mut shown.pending));
        shown.waiting_since = None;
        shown.last_word = at;
        self.current = Some(id);
    }

    /// Goes on with the vertex that has waited longest, if one has something to say.
    fn resume(&mut self, at: Duration, text: &mut String) {
        let waiting = self.shown.iter().filter_map(|(id, shown)| Some((shown.waiting_since?, *id))).min();
        if let Some((_, id)) = waiting {
            self.flush(id, at, text);
        }
    }
}
