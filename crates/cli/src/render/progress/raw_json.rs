//! Progress for machines, one object a line, in the form of BuildKit's `SolveStatus`.

use super::state::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use lighter_engine::build::{Event, EventKind, Stream, Vertex as Id};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Turns events into lines of JSON.
#[derive(Debug)]
pub(super) struct RawJson {
    started: Timestamp,
    state: State,
}

impl RawJson {
    /// For a build that has started at that time.
    pub(super) fn new(started: Timestamp) -> Self {
        Self { started, state: State::default() }
    }

    /// The text to write for an event.
    pub(super) fn take(&mut self, event: &Event) -> String {
        self.state.apply(event);
        let line = match &event.kind {
            EventKind::Output { stream, bytes } => json!({"logs": [{
                "vertex": digest(event.vertex),
                "stream": if *stream == Stream::Stdout { 1 } else { 2 },
                "data": BASE64.encode(bytes),
                "timestamp": self.time(event.at),
            }]}),
            EventKind::Progress { what, current, total, done } => {
                json!({"statuses": [self.status(event, what, *current, *total, *done)]})
            }
            EventKind::Warning(warning) => json!({"warnings": [{
                "vertex": digest(event.vertex),
                "level": 1,
                "short": BASE64.encode(super::state::described(warning)),
                "url": warning.url,
            }]}),
            EventKind::Explained(explanation) => {
                json!({"explanations": [{"vertex": digest(event.vertex), "explanation": explanation}]})
            }
            EventKind::Finished(_) => return String::new(),
            _ => json!({"vertexes": [self.vertex(event.vertex)]}),
        };
        format!("{line}\n")
    }

    fn vertex(&self, id: Id) -> Value {
        let mut fields = Map::new();
        let Some(vertex) = self.state.vertices.get(&id) else { return Value::Object(fields) };
        let mut field = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        field("digest", digest(id).into());
        if !vertex.inputs.is_empty() {
            field("inputs", vertex.inputs.iter().map(|id| digest(*id)).collect());
        }
        field("name", vertex.name.as_str().into());
        if let Some(started) = vertex.started.or(vertex.ended) {
            field("started", self.time(started).into());
        }
        if let Some(ended) = vertex.ended {
            field("completed", self.time(ended).into());
        }
        match &vertex.outcome {
            Some(super::state::Outcome::Cached) => drop(field("cached", true.into())),
            Some(super::state::Outcome::Failed(error)) => drop(field("error", error.as_str().into())),
            Some(super::state::Outcome::Cancelled) => drop(field("error", "context canceled".into())),
            Some(super::state::Outcome::Done) | None => {}
        }
        Value::Object(fields)
    }

    fn status(&self, event: &Event, what: &str, current: u64, total: Option<u64>, done: bool) -> Value {
        let parts = self.state.vertices.get(&event.vertex).map(|vertex| &vertex.parts);
        let started =
            parts.and_then(|parts| parts.iter().find(|part| part.what == what)).map(|part| part.started);
        let mut fields = Map::new();
        let mut field = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        field("id", what.into());
        field("vertex", digest(event.vertex).into());
        field("name", what.split(' ').next().unwrap_or(what).trim_end_matches(':').into());
        if let Some(total) = total {
            field("total", total.into());
        }
        field("current", current.into());
        field("timestamp", self.time(event.at).into());
        field("started", self.time(started.unwrap_or(event.at)).into());
        if done {
            field("completed", self.time(event.at).into());
        }
        Value::Object(fields)
    }

    fn time(&self, at: Duration) -> String {
        let time = jiff::SignedDuration::try_from(at).ok().and_then(|at| self.started.checked_add(at).ok());
        time.unwrap_or(self.started).to_string()
    }
}

/// A vertex's number in the form of a digest, which readers of this format expect.
fn digest(id: Id) -> String {
    format!("sha256:{:064x}", id.0)
}
