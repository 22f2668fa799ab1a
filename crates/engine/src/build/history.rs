//! The history of builds: what was told while one went on, and what came of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use lighter_build::{
    Event, EventKind, Explanation, Finish, KeptRoot, Reason, StoreError, Vertex, compare_keys,
};
use lighter_image::Digest;
use lighter_store::{BuildDir, BuildId, FileError, FindBuildError, RecordError, Store};
use serde::{Deserialize, Serialize};

use super::{BuildRequest, ContextSource};

/// What is kept of a build, beside what was told while it went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The context: a folder, `-`, or an address.
    pub context: String,
    /// The Dockerfile's name.
    pub dockerfile: String,
    /// Context and Dockerfile, so that builds of the same are found whatever they were called.
    #[serde(default)]
    pub place: String,
    /// The target, where one was named.
    pub target: Option<String>,
    /// The names that were asked for.
    pub tags: Vec<String>,
    /// Whether `--no-cache` was given.
    #[serde(default)]
    pub no_cache: bool,
    /// The stages that `--no-cache-filter` named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_cache_filter: Vec<String>,
    /// Its steps, in the plan's order; none where it failed before or in one of them.
    pub steps: Vec<StepEntry>,
    /// What came of it.
    pub finish: Finish,
    /// The root of the step that failed, for `--on-error=keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptRoot>,
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEntry {
    /// As it was shown.
    pub name: String,
    /// The key that it is known by; none for an image.
    pub key: Option<Digest>,
    /// Whether it was known.
    pub is_cached: bool,
    /// For a step that ran: the key of what had stood in its place before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

/// Why the history of a build could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no such build, or more than one.
    #[error(transparent)]
    Find(#[from] FindBuildError),
    /// Its record is damaged or cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its directory cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its events cannot be read.
    #[error("reading what was told of build {id}")]
    Events {
        /// The build.
        id: BuildId,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// All builds of the history, the latest first. What is damaged is left out.
///
/// # Errors
/// [`HistoryError`], where the store cannot be read.
pub fn builds(store: &Store) -> Result<Vec<(BuildId, BuildRecord)>, HistoryError> {
    let mut found = Vec::new();
    for id in store.builds()? {
        match store.build::<BuildRecord>(&id) {
            Ok(record) => found.extend(record.map(|record| (id, record))),
            Err(error) if error.is_damage() => tracing::warn!(%error, "leaving out a build"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// A build by its name or the end of its name.
///
/// # Errors
/// [`HistoryError`], where there is none.
pub fn find(store: &Store, text: &str) -> Result<(BuildId, BuildRecord), HistoryError> {
    let id = store.find_build(text)?;
    let record = store.build::<BuildRecord>(&id)?;
    let missing = || FindBuildError::NotFound(text.to_owned());
    Ok((id, record.ok_or_else(missing)?))
}

/// All that was told while a build went on, whole logs included. A line that is torn ends it.
///
/// # Errors
/// [`HistoryError::Events`].
pub fn events(store: &Store, id: &BuildId) -> Result<Vec<Event>, HistoryError> {
    let fail = |source| HistoryError::Events { id: id.clone(), source };
    let file = File::open(store.build_dir(id).join("events")).map_err(fail)?;
    let mut events = Vec::new();
    for line in BufReader::new(file).lines() {
        match serde_json::from_str(&line.map_err(fail)?) {
            Ok(event) => events.push(event),
            Err(error) => {
                tracing::debug!(%error, "the rest of a history is torn");
                break;
            }
        }
    }
    Ok(events)
}

/// For each step of a build that ran: why, as far as that is still known.
///
/// # Errors
/// [`HistoryError`], where the store cannot be read.
pub fn explain(
    store: &Store,
    id: &BuildId,
    record: &BuildRecord,
) -> Result<Vec<(String, Option<Explanation>)>, HistoryError> {
    let earlier = earlier_steps(store, &record.place, Some(id))?;
    let mut explained = Vec::new();
    for step in record.steps.iter().filter(|step| !step.is_cached) {
        let explanation = match (&step.previous, &step.key) {
            _ if record.no_cache => Some(Explanation::plain(Reason::NoCache)),
            _ if record.no_cache_filter.iter().any(|stage| is_of_stage(&step.name, stage)) => {
                Some(Explanation::plain(Reason::NoCacheFilter(record.no_cache_filter.join(","))))
            }
            (Some(before), Some(after)) if before == after => Some(Explanation::plain(Reason::Pruned)),
            (Some(before), Some(after)) => compare_keys(store, before, after)?,
            (None, Some(_)) if earlier.contains_key(&step.name) => Some(Explanation::plain(Reason::Pruned)),
            (None, Some(_)) => Some(Explanation::plain(Reason::New)),
            // an image
            (_, None) => continue,
        };
        explained.push((step.name.clone(), explanation));
    }
    Ok(explained)
}

fn is_of_stage(step: &str, stage: &str) -> bool {
    let named = step.strip_prefix('[').and_then(|rest| rest.split_once(' '));
    named.is_some_and(|(name, _)| name.eq_ignore_ascii_case(stage))
}

/// The steps that builds of a place have had, by name, with their latest keys: of all, or of those before a build.
///
/// # Errors
/// [`HistoryError`], where the store cannot be read.
pub fn earlier_steps(
    store: &Store,
    place: &str,
    before: Option<&BuildId>,
) -> Result<BTreeMap<String, Digest>, HistoryError> {
    let mut steps = BTreeMap::new();
    for (id, record) in builds(store)? {
        let is_before = before.is_none_or(|before| id.to_string() < before.to_string());
        if is_before && record.place == place {
            for step in record.steps {
                if let Some(key) = step.key {
                    steps.entry(step.name).or_insert(key);
                }
            }
        }
    }
    Ok(steps)
}

/// Writes down what is told.
pub(super) struct Journal {
    place: Option<Place>,
    started: SystemTime,
    began: std::time::Instant,
}

struct Place {
    build: BuildDir,
    events: Mutex<Lines>,
}

/// How much of a step's output is kept.
const LONGEST_OUTPUT_BYTES: usize = 2 << 20;

/// The file, and how much each step has written into it so far.
struct Lines<W: Write = BufWriter<File>> {
    file: W,
    output_bytes: BTreeMap<Vertex, usize>,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, event: &Event) -> std::io::Result<()> {
        let clipped;
        let event = match &event.kind {
            EventKind::Output { stream, bytes } => match self.clip(event.vertex, bytes) {
                Clip::Whole => event,
                Clip::Nothing => return Ok(()),
                Clip::Head(bytes) => {
                    clipped = Event { kind: EventKind::Output { stream: *stream, bytes }, ..event.clone() };
                    &clipped
                }
            },
            _ => event,
        };
        serde_json::to_writer(&mut self.file, event)?;
        self.file.write_all(b"\n")
    }

    /// What is kept of a piece of output: the first two MiB of each step, and a word that there was more.
    fn clip(&mut self, vertex: Vertex, bytes: &[u8]) -> Clip {
        let written = self.output_bytes.entry(vertex).or_default();
        let left = LONGEST_OUTPUT_BYTES.checked_sub(*written);
        *written += bytes.len();
        match left {
            Some(left) if bytes.len() <= left => Clip::Whole,
            Some(left) => {
                let mut head = bytes[..left].to_vec();
                if !head.is_empty() && !head.ends_with(b"\n") {
                    head.push(b'\n');
                }
                head.extend_from_slice(b"[output clipped, log limit 2MiB reached]\n");
                Clip::Head(head)
            }
            None => Clip::Nothing,
        }
    }
}

/// What is kept of a piece of output.
enum Clip {
    Whole,
    Head(Vec<u8>),
    Nothing,
}

impl Journal {
    /// Begins the history of a build. A store that cannot be written has none.
    pub(super) fn begin(store: &Store, started: SystemTime) -> Result<Self, StoreError> {
        let began = std::time::Instant::now();
        let build = match store.new_build(started) {
            Ok(build) => build,
            Err(error) if is_read_only(&error) => return Ok(Self { place: None, started, began }),
            Err(error) => return Err(error.into()),
        };
        let place = match File::create(build.dir.join("events")) {
            Ok(file) => {
                let file = BufWriter::with_capacity(64 << 10, file);
                Some(Place { build, events: Mutex::new(Lines { file, output_bytes: BTreeMap::new() }) })
            }
            Err(error) => {
                tracing::warn!(%error, "this build has no history");
                None
            }
        };
        Ok(Self { place, started, began })
    }

    /// What the history knows this build by.
    pub(super) fn id(&self) -> Option<BuildId> {
        self.place.as_ref().map(|place| place.build.id.clone())
    }

    /// Writes an event down, as a line of JSON.
    pub(super) fn write(&self, event: &Event) {
        let Some(place) = &self.place else { return };
        let mut events = place.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = events.write(event) {
            tracing::warn!(%error, "an event is missing in the history");
        }
    }

    /// Ends the history.
    pub(super) fn end(
        self,
        store: &Store,
        request: &BuildRequest,
        (dockerfile, of): (&str, &str),
        steps: Vec<StepEntry>,
        finish: Finish,
        kept: Option<KeptRoot>,
    ) -> Option<BuildId> {
        let place = self.place?;
        let events = place.events.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = events.file.into_inner() {
            tracing::warn!(error = %error.error(), "the history of this build is not whole");
        }
        let context = match &request.context {
            ContextSource::Directory(path) => path.display().to_string(),
            ContextSource::Stdin => "-".to_owned(),
            ContextSource::Url(url) => url.clone(),
        };
        let started = jiff::Timestamp::try_from(self.started).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let record = BuildRecord {
            started: started.to_string(),
            took_us: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            context,
            dockerfile: dockerfile.to_owned(),
            place: of.to_owned(),
            target: request.target.clone(),
            no_cache: request.cache.no_cache,
            no_cache_filter: request.cache.no_cache_filter.clone(),
            tags: request.tags.iter().map(|name| name.clone().with_default_tag().familiar()).collect(),
            steps,
            finish,
            kept,
        };
        if let Some(kept) = &record.kept
            && let Err(error) = store.keep_for_build(&place.build.id, &kept.all_layers())
        {
            tracing::warn!(%error, "the root of the failed step may be collected");
        }
        if let Err(error) = store.write_build(&place.build.id, &record) {
            tracing::warn!(%error, "the history lacks this build");
        }
        Some(place.build.id)
    }
}

fn is_read_only(error: &lighter_store::FileError) -> bool {
    matches!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lighter_build::Stream;
    use std::time::Duration;

    #[test]
    fn the_first_two_mebibytes_of_each_step_are_kept() {
        let mut lines = Lines { file: Vec::new(), output_bytes: BTreeMap::new() };
        let mut told = |vertex, length: usize| {
            let kind = EventKind::Output { stream: Stream::Stdout, bytes: vec![b'x'; length] };
            lines.write(&Event { vertex: Vertex(vertex), at: Duration::ZERO, kind }).expect("written");
            String::from_utf8(std::mem::take(&mut lines.file)).expect("text")
        };
        assert!(told(1, 1 << 20).len() > 1 << 20);
        assert!(told(1, 1 << 20).len() > 1 << 20, "to the last byte");
        assert!(told(2, 10).contains("xxxxxxxxxx"), "another step has its own");
        let more = told(1, 3);
        assert!(more.contains("[output clipped, log limit 2MiB reached]") && !more.contains("xxx"), "{more}");
        assert_eq!(told(1, 3), "", "it is said once");
        let whole = told(3, (2 << 20) + 5);
        assert!(whole.contains("x\\n[output clipped") && whole.len() < (2 << 20) + 200, "{}", whole.len());
    }
}
