//! `events`: a journal in the store that every process adds a line to when something happened to a container, a volume
//! or a network. Nobody need listen for it to be kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lighter_store::Store;
use serde::{Deserialize, Serialize};

use super::state::Container;

const JOURNAL: &str = "events";
const OLDER: &str = "events.1";

/// A journal that is longer is put aside, and takes the place of the one that was put aside before.
const LONGEST_JOURNAL_BYTES: u64 = 4 << 20;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `container`, `image`, `volume` or `network`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened: `create`, `start`, `die`…
    #[serde(rename = "Action")]
    pub action: String,
    /// The id of what it happened to.
    pub id: String,
    /// What else is to be known: image, name, labels, exit code.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// Why the journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the journal of events")]
pub struct ReadEventsError(#[source] io::Error);

/// Notes what happened to a container. That it cannot be noted stops nobody.
pub(super) fn note(store: &Store, container: &Container, action: &str, more: &[(&str, String)]) {
    let mut attributes = container.state.settings.labels.clone();
    attributes.insert("image".to_owned(), container.state.settings.image_name.clone());
    attributes.insert("name".to_owned(), container.record.name.clone());
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    note_event(store, "container", action, container.record.id.as_str(), attributes);
}

/// Notes what happened to an image, under the name that it has to do with; `id` may be a name of it, too.
pub(crate) fn note_image(store: &Store, action: &str, id: &str, name: &str) {
    note_labelled_image(store, action, id, name, labels_of_image(store, id));
}

/// The labels of an image; none where it is not there.
pub(crate) fn labels_of_image(store: &Store, image: &str) -> BTreeMap<String, String> {
    crate::image::look_up(store, image).map(|found| found.config.config.labels).unwrap_or_default()
}

/// As [`note_image`], where the labels are known.
pub(crate) fn note_labelled_image(
    store: &Store,
    action: &str,
    id: &str,
    name: &str,
    labels: BTreeMap<String, String>,
) {
    let mut attributes = labels;
    attributes.insert("name".to_owned(), name.to_owned());
    note_event(store, "image", action, id, attributes);
}

/// Notes what happened to anything.
pub(super) fn note_event(
    store: &Store,
    kind: &str,
    action: &str,
    id: &str,
    attributes: BTreeMap<String, String>,
) {
    let event = Event {
        kind: kind.to_owned(),
        action: action.to_owned(),
        id: id.to_owned(),
        attributes,
        time: Timestamp::now(),
    };
    if let Err(error) = append(store.root(), &event) {
        tracing::warn!(%error, action, "an event was not noted");
    }
}

fn append(root: &Path, event: &Event) -> io::Result<()> {
    let path = root.join(JOURNAL);
    let mut file = File::options().create(true).append(true).open(&path)?;
    if file.metadata()?.len() > LONGEST_JOURNAL_BYTES {
        std::fs::rename(&path, root.join(OLDER))?;
        file = File::options().create(true).append(true).open(&path)?;
    }
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    // in one piece, so that the lines of several processes do not mix
    file.write_all(&line)
}

/// Reads the journal from its beginning, and goes on where it has grown.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    files: Vec<BufReader<File>>,
    partial: String,
}

impl EventReader {
    /// Opens the journal.
    ///
    /// # Errors
    /// [`ReadEventsError`], where it is there and cannot be read.
    pub fn open(store: &Store) -> Result<Self, ReadEventsError> {
        let mut files = Vec::new();
        // the newest is the last of the list that is still to be read, hence the first of it
        for name in [JOURNAL, OLDER] {
            match File::open(store.root().join(name)) {
                Ok(file) => files.push(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(ReadEventsError(error)),
            }
        }
        Ok(Self { path: store.root().join(JOURNAL), files, partial: String::new() })
    }

    /// The next event; `None` where there is none yet.
    ///
    /// # Errors
    /// [`ReadEventsError`].
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadEventsError> {
        loop {
            let Some(file) = self.files.last_mut() else {
                match File::open(&self.path) {
                    Ok(file) => self.files.push(BufReader::new(file)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(ReadEventsError(error)),
                }
                continue;
            };
            let read = file.read_line(&mut self.partial).map_err(ReadEventsError)?;
            if read == 0 || !self.partial.ends_with('\n') {
                if self.files.len() > 1 || self.was_put_aside().map_err(ReadEventsError)? {
                    self.files.pop();
                    self.partial.clear();
                    continue;
                }
                return Ok(None);
            }
            let event = serde_json::from_str(&self.partial);
            self.partial.clear();
            if let Ok(event) = event {
                return Ok(Some(event));
            }
        }
    }

    /// Whether the file that is read is no longer the journal.
    fn was_put_aside(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt as _;
        let Some(file) = self.files.last() else { return Ok(false) };
        match std::fs::metadata(&self.path) {
            Ok(now) => Ok(now.ino() != file.get_ref().metadata()?.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_in_order_and_as_they_come() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        std::fs::create_dir(store.root()).expect("makes the store's folder");
        let mut reader = EventReader::open(&store).expect("opens");
        assert_eq!(reader.next_event().expect("reads"), None);
        for action in ["create", "start"] {
            note_event(&store, "container", action, "1", BTreeMap::new());
        }
        let mut next = || reader.next_event().expect("reads").map(|event| event.action);
        assert_eq!(next().as_deref(), Some("create"));
        assert_eq!(next().as_deref(), Some("start"));
        assert_eq!(next(), None);
        std::fs::rename(store.root().join(JOURNAL), store.root().join(OLDER)).expect("renames");
        note_event(&store, "container", "die", "1", BTreeMap::new());
        assert_eq!(next().as_deref(), Some("die"));
        let mut whole = EventReader::open(&store).expect("opens");
        assert_eq!(whole.next_event().expect("reads").map(|event| event.action).as_deref(), Some("create"));
    }
}
