//! `logs`: what a container wrote, and writes.

use super::told;
use crate::args::container::look::Logs;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::Store;
use lighter_engine::container::{self, LogLine, LogReader, Status};
use std::io::Write as _;
use std::time::Duration;

/// How often a log is looked at that has not grown.
const PAUSE: Duration = Duration::from_millis(20);

impl Verb for Logs {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let now = Timestamp::now();
        let time = |option: &str, text: &Option<String>| {
            let parse = |text: &String| {
                lighter_engine::image::parse_time(text, now).ok_or_else(|| {
                    let fault = format!("failed to parse value as time or duration: {text:?}");
                    Failure::new(format!("invalid value for {option:?}: {fault}"))
                })
            };
            // none at all, as `0`
            text.as_ref().filter(|text| !text.is_empty()).map(parse).transpose()
        };
        let (since, until) = (time("since", &self.since)?, time("until", &self.until)?);
        let tail = match self.tail.as_str() {
            "all" | "" => None,
            number => number.parse::<usize>().ok(),
        };
        let store = session.open_store()?;
        let found = container::find(&store, &self.container).map_err(|error| told(&error))?;
        if found.state.settings.host.log.is_nowhere() {
            let text = "Error: configured logging driver does not support reading";
            return Err(Failure::new(text));
        }
        let id = found.record.id;
        let path = container::log_path(&store, &id);
        let mut shown = Shown { session, timestamps: self.timestamps, details: self.details, since, until };
        let mut reader = None;
        loop {
            // asked before the log is read to its end, so that nothing is missed
            let goes_on = self.follow && may_grow(&store, id.as_str())?;
            if reader.is_none() {
                reader = LogReader::open(&path)?;
                if let (Some(reader), Some(lines)) = (&mut reader, tail) {
                    reader.skip_to_last(lines)?;
                }
            }
            let ended = match &mut reader {
                Some(reader) => shown.all(reader)?,
                None => false,
            };
            if !goes_on || ended {
                return Ok(0);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether a container may write more.
fn may_grow(store: &Store, id: &str) -> Result<bool, Failure> {
    match container::find(store, id) {
        Ok(found) => Ok(found.state.is_running() || found.state.status == Status::Restarting),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(told(&error)),
    }
}

struct Shown<'a> {
    session: &'a Session,
    timestamps: bool,
    /// The line begins with what the log's options add.
    details: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Shown<'_> {
    /// Shows all that is there; whether what comes is too late to be shown.
    fn all(&mut self, reader: &mut LogReader) -> Result<bool, Failure> {
        let mut stdout = std::io::BufWriter::new(self.session.stdout());
        let mut stderr = std::io::BufWriter::new(self.session.stderr());
        while let Some(line) = reader.next_line()? {
            if self.until.is_some_and(|until| line.time > until) {
                return Ok(true);
            }
            if self.since.is_some_and(|since| line.time < since) {
                continue;
            }
            if line.stream == "stderr" {
                stdout.flush()?;
                stderr.write_all(self.text(&line).as_bytes())?;
            } else {
                stderr.flush()?;
                stdout.write_all(self.text(&line).as_bytes())?;
            }
        }
        stdout.flush()?;
        stderr.flush()?;
        Ok(self.until.is_some_and(|until| Timestamp::now() > until))
    }

    fn text(&self, line: &LogLine) -> String {
        let time = if self.timestamps { format!("{:.9} ", line.time) } else { String::new() };
        if !self.details {
            return format!("{time}{}", line.log);
        }
        let details: Vec<String> =
            line.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{time}{} {}", details.join(","), line.log)
    }
}
