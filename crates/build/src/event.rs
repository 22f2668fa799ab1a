//! What a build tells while it goes on: one stream of events, for every renderer and for the kept history.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lighter_image::{error_chain, text_or_bytes};
use serde::{Deserialize, Serialize};

/// Names one line of work in the stream: a step of the plan, or something around it, as loading a base's metadata.
///
/// [`Vertex::BUILD`] is the build as a whole. Numbers are given in the order in which work is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vertex(pub u32);

impl Vertex {
    /// The build as a whole.
    pub const BUILD: Self = Self(0);
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What it happened to.
    pub vertex: Vertex,
    /// When, counted from the start of the build.
    #[serde(with = "micros")]
    pub at: Duration,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of things that happen. A vertex goes `Announced` → `Started` → (`Output` | `Progress`)* → one of
/// `Cached`, `Done`, `Failed`, `Cancelled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The vertex exists.
    Announced {
        /// As it is shown: `[build 2/5] RUN make`, `[internal] load build definition from Dockerfile`.
        name: String,
        /// The vertices that it stands on.
        inputs: Vec<Vertex>,
    },
    /// Work on it has begun.
    Started,
    /// Its result was there already.
    Cached,
    /// A process of it has written something.
    Output {
        /// Where to.
        stream: Stream,
        /// What, in pieces of any size: not always whole lines, not always text.
        #[serde(with = "text_or_bytes")]
        bytes: Vec<u8>,
    },
    /// Part of it is done.
    Progress {
        /// Which part: a layer's digest, `transferring context`, `exporting layers`.
        what: String,
        /// How far, in bytes or pieces.
        current: u64,
        /// Out of how much, where that is known.
        total: Option<u64>,
        /// The part is finished.
        done: bool,
    },
    /// It has succeeded.
    Done {
        /// How long it took since `Started`.
        #[serde(with = "micros")]
        took: Duration,
    },
    /// It has failed.
    Failed {
        /// Why, in one line.
        error: String,
    },
    /// It was stopped, because of Ctrl-C or because something else had failed.
    Cancelled,
    /// Something the user should know, that stops nothing.
    Warning(Warning),
    /// The step's key was not in the cache: why, where an earlier build is there to compare with.
    Explained(crate::explain::Explanation),
    /// The build is over, and this is what came of it. Always of [`Vertex::BUILD`].
    Finished(Finish),
}

/// Where a process has written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Something the user should know, that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The rule's name, as `JSONArgsRecommended`; empty where it comes from no rule.
    pub code: String,
    /// In one line.
    pub message: String,
    /// Where in the Dockerfile, in bytes.
    pub span: Option<(usize, usize)>,
    /// The line of the Dockerfile, from 1.
    pub line: Option<u32>,
    /// Where to read more.
    pub url: Option<String>,
}

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Finish {
    /// It was made.
    Succeeded {
        /// The image's id; none where no image was asked for.
        image: Option<String>,
        /// Its names.
        names: Vec<String>,
    },
    /// It was not.
    Failed {
        /// Why, in one line.
        error: String,
    },
    /// It was stopped.
    Cancelled,
}

/// Takes events. Called from several threads, one event at a time per vertex.
pub type Sink<'a> = &'a (dyn Fn(Event) + Sync);

/// Gives vertices their numbers and events their times, and hands them on.
pub struct Reporter<'a> {
    sink: Sink<'a>,
    started: Instant,
    next: AtomicU32,
}

impl<'a> Reporter<'a> {
    /// A reporter whose clock starts now.
    pub fn new(sink: Sink<'a>) -> Self {
        Self { sink, started: Instant::now(), next: AtomicU32::new(1) }
    }

    /// How long the build has been going on.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Tells that something happened to a vertex, now.
    pub fn tell(&self, vertex: Vertex, kind: EventKind) {
        (self.sink)(Event { vertex, at: self.elapsed(), kind });
    }

    /// Makes a vertex known.
    pub fn announce(&self, name: impl Into<String>, inputs: Vec<Vertex>) -> Vertex {
        let vertex = Vertex(self.next.fetch_add(1, Ordering::Relaxed));
        self.tell(vertex, EventKind::Announced { name: name.into(), inputs });
        vertex
    }

    /// Announces and starts a vertex for work outside of the plan.
    pub fn begin(&self, name: impl Into<String>) -> Work<'_> {
        let vertex = self.announce(name, Vec::new());
        self.start(vertex)
    }

    /// Starts a vertex that was announced.
    pub fn start(&self, vertex: Vertex) -> Work<'_> {
        self.tell(vertex, EventKind::Started);
        Work { reporter: self, vertex, since: Instant::now() }
    }
}

impl std::fmt::Debug for Reporter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("started", &self.started).finish_non_exhaustive()
    }
}

/// A vertex that is being worked on.
#[derive(Debug)]
pub struct Work<'a> {
    reporter: &'a Reporter<'a>,
    vertex: Vertex,
    since: Instant,
}

impl Work<'_> {
    /// Which vertex it is.
    pub const fn vertex(&self) -> Vertex {
        self.vertex
    }

    /// Tells that something happened to it.
    pub fn tell(&self, kind: EventKind) {
        self.reporter.tell(self.vertex, kind);
    }

    /// Tells how far a part of it is.
    pub fn progress(&self, what: impl Into<String>, current: u64, total: Option<u64>, done: bool) {
        self.tell(EventKind::Progress { what: what.into(), current, total, done });
    }

    /// Tells something that stops nothing.
    pub fn warn(&self, message: impl Into<String>) {
        let message = message.into();
        let warning = Warning { code: String::new(), message, span: None, line: None, url: None };
        self.tell(EventKind::Warning(warning));
    }

    /// Tells that it has succeeded.
    pub fn done(self) {
        self.tell(EventKind::Done { took: self.since.elapsed() });
    }

    /// Tells that its result was there already.
    pub fn cached(self) {
        self.tell(EventKind::Cached);
    }

    /// Tells that it has failed.
    pub fn failed(self, error: &(dyn std::error::Error + 'static)) {
        self.tell(EventKind::Failed { error: error_chain(error) });
    }

    /// Tells that it was stopped.
    pub fn cancelled(self) {
        self.tell(EventKind::Cancelled);
    }

    /// Tells how it ended, and hands the result on.
    ///
    /// # Errors
    /// The error that it was given.
    pub fn finish<T, E: std::error::Error + 'static>(self, result: Result<T, E>) -> Result<T, E> {
        match &result {
            Ok(_) => self.done(),
            Err(error) => self.failed(error),
        }
        result
    }
}

/// Durations as whole microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_micros(u64::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn check(event: &Event, json: &str) {
        assert_eq!(serde_json::to_string(event).expect("writes"), json);
        assert_eq!(&serde_json::from_str::<Event>(json).expect("reads"), event);
    }

    #[test]
    fn events_are_flat_lines_of_json() {
        let event = |kind| Event { vertex: Vertex(3), at: Duration::from_micros(1500), kind };
        check(&event(EventKind::Started), r#"{"vertex":3,"at":1500,"event":"started"}"#);
        let output = EventKind::Output { stream: Stream::Stderr, bytes: b"hi\n".to_vec() };
        check(&event(output), r#"{"vertex":3,"at":1500,"event":"output","stream":"stderr","bytes":"hi\n"}"#);
        let odd = EventKind::Output { stream: Stream::Stdout, bytes: vec![255, 10] };
        check(&event(odd), r#"{"vertex":3,"at":1500,"event":"output","stream":"stdout","bytes":[255,10]}"#);
        let done = EventKind::Done { took: Duration::from_micros(7) };
        check(&event(done), r#"{"vertex":3,"at":1500,"event":"done","took":7}"#);
    }

    #[test]
    fn vertices_are_numbered_in_order() {
        let seen = Mutex::new(Vec::new());
        let sink = |event: Event| seen.lock().expect("one thread").push(event);
        let reporter = Reporter::new(&sink);
        reporter.begin("one").done();
        let second = reporter.begin("two");
        assert_eq!(second.vertex(), Vertex(2));
        second.cached();
        let kinds: Vec<u32> = seen.lock().expect("one thread").iter().map(|event| event.vertex.0).collect();
        assert_eq!(kinds, [1, 1, 1, 2, 2, 2]);
    }
}
