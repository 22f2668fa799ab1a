//! A container's log: one line of JSON for each line that it wrote, as Docker's `json-file` driver keeps it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::log_settings::Rotation;

/// What a container wrote: a line, or a piece of a very long one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The text, with its end of line where it had one.
    pub log: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// What the log's options add, for `--details`.
    #[serde(rename = "attrs", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// Longer lines are kept in pieces of this size.
const PIECE_BYTES: usize = 16 << 10;

/// Writes a log.
pub(super) struct LogWriter {
    /// None where nothing is to be kept.
    sink: Option<Mutex<Sink>>,
    attributes: BTreeMap<String, String>,
}

/// The file that is written, and when the next one takes its place.
struct Sink {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotation: Option<Rotation>,
}

/// The name of the file that was put aside so many files ago.
fn aside(path: &Path, age: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

impl Sink {
    fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, rotation })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(rotation) = self.rotation else { return self.file.write_all(lines) };
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if self.bytes > 0 && self.bytes + line.len() as u64 > rotation.bytes {
                self.rotate(rotation.files)?;
            }
            self.file.write_all(line)?;
            self.bytes += line.len() as u64;
        }
        Ok(())
    }

    /// Puts the file aside, and those that were put aside one further; the oldest goes.
    fn rotate(&mut self, files: usize) -> io::Result<()> {
        for age in (1..files.saturating_sub(1)).rev() {
            match fs::rename(aside(&self.path, age), aside(&self.path, age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if files > 1 {
            fs::rename(&self.path, aside(&self.path, 1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        *self = Self::open(&self.path, self.rotation)?;
        Ok(())
    }
}

/// One stream's way into the log: it keeps what is no whole line yet.
pub(super) struct LogStream<'a> {
    log: &'a LogWriter,
    name: &'static str,
    rest: Vec<u8>,
}

impl LogWriter {
    /// Opens a log; its file gives way to a new one as the rotation says.
    pub(super) fn open(
        path: &Path,
        rotation: Option<Rotation>,
        attributes: BTreeMap<String, String>,
    ) -> io::Result<Self> {
        Ok(Self { sink: Some(Mutex::new(Sink::open(path, rotation)?)), attributes })
    }

    /// A log that keeps nothing.
    pub(super) const fn nowhere() -> Self {
        Self { sink: None, attributes: BTreeMap::new() }
    }

    pub(super) const fn stream(&self, name: &'static str) -> LogStream<'_> {
        LogStream { log: self, name, rest: Vec::new() }
    }

    fn write(&self, lines: &[u8]) -> io::Result<()> {
        match &self.sink {
            Some(sink) => sink.lock().unwrap_or_else(PoisonError::into_inner).write(lines),
            None => Ok(()),
        }
    }
}

impl LogStream<'_> {
    /// Takes what the container wrote.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.log.sink.is_none() {
            return Ok(());
        }
        self.rest.extend_from_slice(bytes);
        let mut done = 0;
        let mut lines = Vec::new();
        loop {
            let rest = &self.rest[done..];
            let end = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if rest.len() >= PIECE_BYTES => PIECE_BYTES,
                None => break,
            };
            self.encode(&rest[..end.min(PIECE_BYTES)], &mut lines)?;
            done += end.min(PIECE_BYTES);
        }
        self.rest.drain(..done);
        if lines.is_empty() { Ok(()) } else { self.log.write(&lines) }
    }

    /// Keeps what has no end of line.
    pub(super) fn finish(self) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let mut line = Vec::new();
        self.encode(&self.rest, &mut line)?;
        self.log.write(&line)
    }

    fn encode(&self, bytes: &[u8], lines: &mut Vec<u8>) -> io::Result<()> {
        let line = LogLine {
            log: String::from_utf8_lossy(bytes).into_owned(),
            stream: self.name.to_owned(),
            attributes: self.log.attributes.clone(),
            time: Timestamp::now(),
        };
        serde_json::to_writer(&mut *lines, &line)?;
        lines.push(b'\n');
        Ok(())
    }
}

/// Reads a log line by line, the files that were put aside first, and goes on where it has grown.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    /// What is still to be read, oldest first.
    files: VecDeque<BufReader<File>>,
    partial: String,
}

impl LogReader {
    /// Opens a log; a container that never ran has none.
    ///
    /// # Errors
    /// The system's, where there is one that cannot be read.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut files = VecDeque::new();
        let mut age = 0;
        loop {
            let path = if age == 0 { path.to_owned() } else { aside(path, age) };
            match File::open(path) {
                Ok(file) => files.push_front(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
            age += 1;
        }
        let reader = Self { path: path.to_owned(), files, partial: String::new() };
        Ok((!reader.files.is_empty()).then_some(reader))
    }

    /// Goes on to the next file, where the one that was read is no longer the log.
    fn is_behind(&mut self) -> io::Result<bool> {
        let Some(file) = self.files.front() else { return Ok(false) };
        if self.files.len() == 1 {
            let now = match fs::metadata(&self.path) {
                Ok(now) => now,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
            if now.ino() == file.get_ref().metadata()?.ino() {
                return Ok(false);
            }
            self.files.push_back(BufReader::new(File::open(&self.path)?));
        }
        Ok(true)
    }

    /// The next whole line; `None` where there is none yet. Lines that a crash tore are left out.
    ///
    /// # Errors
    /// The system's.
    pub fn next_line(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            let Some(file) = self.files.front_mut() else { return Ok(None) };
            if file.read_line(&mut self.partial)? == 0 || !self.partial.ends_with('\n') {
                if !self.is_behind()? {
                    return Ok(None);
                }
                // what was written between the last look and the change of files comes first
                let Some(file) = self.files.front_mut() else { return Ok(None) };
                if file.read_line(&mut self.partial)? == 0 {
                    self.files.pop_front();
                    self.partial.clear();
                    continue;
                }
            }
            let line = serde_json::from_str(&self.partial);
            self.partial.clear();
            if let Ok(line) = line {
                return Ok(Some(line));
            }
        }
    }

    /// Goes to where the last so many lines begin.
    ///
    /// # Errors
    /// The system's.
    pub fn skip_to_last(&mut self, lines: usize) -> io::Result<()> {
        let mut wanted = lines;
        for place in (0..self.files.len()).rev() {
            let found = skip_in(&mut self.files[place], wanted)?;
            wanted -= found;
            if wanted == 0 {
                self.files.drain(..place);
                break;
            }
        }
        Ok(())
    }
}

/// Goes to where the last so many lines of a file begin; how many there are.
fn skip_in(file: &mut BufReader<File>, lines: usize) -> io::Result<usize> {
    let mut starts = VecDeque::from([0]);
    let mut place = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = file.read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            break;
        }
        place += length;
        starts.push_back(place);
        while starts.len() > lines.saturating_add(1) {
            starts.pop_front();
        }
    }
    let start = starts.front().copied().unwrap_or_default();
    file.seek(SeekFrom::Start(start))?;
    Ok(starts.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_whole_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let writer = LogWriter::open(&path, None, BTreeMap::new()).expect("opens");
        let (mut out, mut err) = (writer.stream("stdout"), writer.stream("stderr"));
        out.take(b"one\ntw").expect("takes");
        err.take(b"oops\n").expect("takes");
        out.take(b"o\nend").expect("takes");
        out.finish().expect("finishes");
        err.finish().expect("finishes");
        let mut reader = LogReader::open(&path).expect("opens").expect("is there");
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().expect("reads") {
            lines.push((line.stream, line.log));
        }
        let texts: Vec<&str> = lines.iter().map(|(_, log)| log.as_str()).collect();
        assert_eq!(texts, ["one\n", "oops\n", "two\n", "end"]);
        assert_eq!(lines[1].0, "stderr");
        let mut reader = LogReader::open(&path).expect("opens").expect("is there");
        reader.skip_to_last(2).expect("skips");
        assert_eq!(reader.next_line().expect("reads").expect("a line").log, "two\n");
        let mut reader = LogReader::open(&path).expect("opens").expect("is there");
        reader.skip_to_last(0).expect("skips");
        assert_eq!(reader.next_line().expect("reads"), None);
    }

    #[test]
    fn long_lines_are_kept_in_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let writer = LogWriter::open(&path, None, BTreeMap::new()).expect("opens");
        let mut out = writer.stream("stdout");
        let long = vec![b'x'; 3 * PIECE_BYTES + 5];
        out.take(&long).expect("takes");
        out.take(b"\n").expect("takes");
        let mut reader = LogReader::open(&path).expect("opens").expect("is there");
        let mut whole = String::new();
        while let Some(line) = reader.next_line().expect("reads") {
            assert!(line.log.len() <= PIECE_BYTES);
            whole.push_str(&line.log);
        }
        assert_eq!(whole.len(), long.len() + 1);
    }

    #[test]
    fn a_full_file_gives_way_to_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let rotation = Some(Rotation { bytes: 400, files: 3 });
        let writer = LogWriter::open(&path, rotation, BTreeMap::new()).expect("opens");
        let mut out = writer.stream("stdout");
        let read = |reader: &mut LogReader| {
            let mut lines = Vec::new();
            while let Some(line) = reader.next_line().expect("reads") {
                lines.push(line.log.trim_end().to_owned());
            }
            lines
        };
        out.take(b"0\n").expect("takes");
        let mut tail = LogReader::open(&path).expect("opens").expect("is there");
        let mut followed = read(&mut tail);
        for number in 1..50 {
            out.take(format!("{number}\n").as_bytes()).expect("takes");
            followed.extend(read(&mut tail));
        }
        assert_eq!(followed, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
        let lines = read(&mut LogReader::open(&path).expect("opens").expect("is there"));
        assert_eq!(lines.last().map(String::as_str), Some("49"));
        assert!((6..20).contains(&lines.len()), "{lines:?}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 3);
        let mut reader = LogReader::open(&path).expect("opens").expect("is there");
        reader.skip_to_last(7).expect("skips");
        assert_eq!(read(&mut reader), lines[lines.len() - 7..]);
    }
}
