//! The cache between machines: `--cache-from` and `--cache-to`.
//!
//! Every step is one immutable record of its own: a manifest whose configuration says what the step is and whose one
//! layer is what it has made. In a folder they stand in an OCI layout, in a registry each under the tag `step-KEY`, so
//! writers never race and nothing has to be merged; the name that was given leads to an index of the records that the
//! last build has written, for other tools to list. An image with `type=inline` carries the keys of its layers in its
//! configuration.

mod export;
mod inline;
mod local;
mod mounts;
mod registry;
mod upload;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use lighter_build::{CancelToken, FetchError, Reporter, SharedCache, SharedStep, Work};
use lighter_image::{Descriptor, DiffId, Digest, Manifest, error_chain, go_bool, media_type};
use lighter_store::{KnownLayer, Store};
use serde::{Deserialize, Serialize};

pub(super) use export::export;
pub(super) use inline::add as add_inline;
pub(super) use upload::Uploads;

use super::CacheLocation;
use crate::fetch::Network;

/// The media type of a record.
const RECORD: &str = "application/vnd.lighter.step.v1+json";
/// What kind of artifact a record's manifest is.
const ARTIFACT: &str = "application/vnd.lighter.step.v1";
/// The annotation that says which step a manifest is of.
const KEY: &str = "dev.lighter.step";
/// The annotation that says what the step has made.
const DIFF_ID: &str = "dev.lighter.diff-id";

/// Why a cache is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// It is not said where it is, or the kind does not exist.
    #[error("{0}")]
    Location(String),
    /// A file of it cannot be read or written.
    #[error("`{}`", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A document of it cannot be understood or written.
    #[error("a document of the cache")]
    Json(#[from] serde_json::Error),
    /// It contradicts itself.
    #[error("the cache is damaged: {0}")]
    Damaged(String),
    /// The build was stopped.
    #[error("cancelled")]
    Cancelled,
    /// A cache mount cannot be packed or unpacked.
    #[error("cache mount `{id}`")]
    Mount {
        /// Which.
        id: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A cache mount cannot be had.
    #[error(transparent)]
    Held(#[from] lighter_store::MountError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] lighter_store::FileError),
    /// A manifest of it cannot be understood.
    #[error("a manifest of the cache")]
    Manifest(#[from] lighter_image::ParseManifestError),
    /// The registry does not give it.
    #[error(transparent)]
    Resolve(#[from] Box<lighter_registry::ResolveError>),
    /// The same.
    #[error(transparent)]
    Fetch(#[from] Box<lighter_registry::FetchError>),
    /// The registry does not take it.
    #[error(transparent)]
    Push(#[from] Box<lighter_registry::PushError>),
    /// A layer cannot be packed.
    #[error(transparent)]
    Pack(#[from] Box<super::OutputError>),
    /// The store cannot be read.
    #[error(transparent)]
    Blob(#[from] lighter_store::ReadBlobError),
    /// The store cannot be written.
    #[error(transparent)]
    Put(#[from] lighter_store::PutBlobError),
    /// The same.
    #[error(transparent)]
    Record(#[from] lighter_store::RecordError),
}

/// What a record says of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    key: Digest,
    #[serde(default)]
    description: String,
    diff_id: DiffId,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Digest>,
}

impl Record {
    fn step(&self) -> SharedStep {
        let created: jiff::Timestamp = self.created.parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        SharedStep { diff_id: self.diff_id, created_at: created.into(), source: self.source }
    }
}

/// The manifest of a record.
fn manifest_of(record: &Record, layer: Descriptor) -> Result<(Manifest, Vec<u8>), serde_json::Error> {
    let config = serde_json::to_vec(record)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: Some(ARTIFACT.to_owned()),
        config: Descriptor::of(RECORD, &config),
        layers: vec![layer],
        subject: None,
        annotations: BTreeMap::from([
            (KEY.to_owned(), record.key.to_string()),
            (DIFF_ID.to_owned(), record.diff_id.to_string()),
        ]),
    };
    Ok((manifest, config))
}

/// The record of a manifest, if it is the one that is looked for.
fn record_of(manifest: &Manifest, config: &[u8], key: &Digest) -> Result<(Record, Descriptor), SharedError> {
    let record: Record = serde_json::from_slice(config)?;
    let [layer] = &manifest.layers[..] else {
        return Err(SharedError::Damaged(format!("the record of step {key} has no layer")));
    };
    if record.key != *key {
        return Err(SharedError::Damaged(format!("the record of step {key} is of step {}", record.key)));
    }
    Ok((record, layer.clone()))
}

impl CacheLocation {
    /// An attribute that must be there.
    fn attribute(&self, option: &str, name: &str) -> Result<&str, SharedError> {
        let missing = || SharedError::Location(format!("{option} type={} needs {name}=", self.kind));
        self.attributes.get(name).map(String::as_str).ok_or_else(missing)
    }

    fn is_on(&self, name: &str, value: &str) -> bool {
        self.attributes.get(name).is_some_and(|found| found == value)
    }

    /// Whether a switch is on, as Go reads one.
    fn is_true(&self, name: &str) -> bool {
        self.attributes.get(name).is_some_and(|found| go_bool(found) == Some(true))
    }
}

/// Looks steps up in the places that were named.
pub(crate) struct Shared<'a> {
    store: &'a Store,
    network: &'a Network,
    cancel: CancelToken,
    reporter: &'a Reporter<'a>,
    uploads: &'a Uploads<'a>,
    places: Vec<Place>,
}

/// A place of `--cache-from`.
struct Place {
    name: String,
    kind: PlaceKind,
    /// Whether cache mounts are taken from it.
    mounts: bool,
    /// Whether it can be used; looked at when it is first needed.
    usable: OnceLock<bool>,
}

enum PlaceKind {
    Local(local::Folder),
    Registry(Box<registry::Repository>),
}

impl<'a> Shared<'a> {
    /// Takes the places of `--cache-from`, and what brings layers to those of `--cache-to`.
    pub(super) fn new(
        store: &'a Store,
        network: &'a Network,
        cancel: CancelToken,
        reporter: &'a Reporter<'a>,
        uploads: &'a Uploads<'a>,
        locations: &[CacheLocation],
    ) -> Result<Self, SharedError> {
        let place = |location: &CacheLocation| {
            let (name, kind) = match location.kind.as_str() {
                "local" => {
                    let path = location.attribute("--cache-from", "src")?;
                    (path, PlaceKind::Local(local::Folder::new(path.into())))
                }
                "registry" => {
                    let name = location.attribute("--cache-from", "ref")?;
                    (name, PlaceKind::Registry(Box::new(registry::Repository::new(name)?)))
                }
                other => return Err(SharedError::Location(format!("unknown cache importer: {other}"))),
            };
            let (name, mounts) = (name.to_owned(), location.is_true("mounts"));
            Ok(Place { name, kind, mounts, usable: OnceLock::new() })
        };
        let places = locations.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self { store, network, cancel, reporter, uploads, places })
    }

    /// Whether a place can be used. Where it cannot, that is told once, and the build does without.
    fn is_usable(&self, place: &Place) -> bool {
        *place.usable.get_or_init(|| {
            let work = self.reporter.begin(format!("importing cache manifest from {}", place.name));
            let opened = match &place.kind {
                PlaceKind::Local(folder) => folder.open().map(|()| true),
                PlaceKind::Registry(repository) => repository.open(self.network.client(&self.cancel)),
            };
            match opened {
                Ok(true) => work.done(),
                // records may be there all the same
                Ok(false) => work.failed(&SharedError::Location(format!("{}: not found", place.name))),
                Err(error) => {
                    work.failed(&error);
                    return false;
                }
            }
            true
        })
    }

    fn find_in(&self, place: &Place, key: &Digest) -> Result<Option<SharedStep>, SharedError> {
        match &place.kind {
            PlaceKind::Local(folder) => folder.find(self.store, key),
            PlaceKind::Registry(repository) => {
                repository.find(self.store, self.network.client(&self.cancel), key)
            }
        }
    }

    fn fill_from(&self, place: &Place, id: &str, into: &Path) -> Result<bool, SharedError> {
        match &place.kind {
            PlaceKind::Local(folder) => folder.fill_mount(id, into),
            PlaceKind::Registry(repository) => {
                repository.fill_mount(self.network.client(&self.cancel), id, into)
            }
        }
    }

    fn check(&self) -> Result<(), FetchError> {
        if self.cancel.is_cancelled() { Err(FetchError::Cancelled) } else { Ok(()) }
    }
}

impl SharedCache for Shared<'_> {
    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn find(&self, key: &Digest, work: &Work<'_>) -> Result<Option<SharedStep>, FetchError> {
        for place in &self.places {
            self.check()?;
            if !self.is_usable(place) {
                continue;
            }
            match self.find_in(place, key) {
                Ok(Some(step)) => return Ok(Some(step)),
                Ok(None) => {}
                Err(error) => {
                    let text = error_chain(&error);
                    work.warn(format!("a cache is of no use for this step: {text}"));
                }
            }
        }
        Ok(None)
    }

    fn made(&self, layer: &DiffId, is_in_result: bool) {
        self.uploads.add(layer, is_in_result);
    }

    fn fill_mount(&self, id: &str, into: &Path, work: &Work<'_>) -> Result<bool, FetchError> {
        for place in self.places.iter().filter(|place| place.mounts) {
            self.check()?;
            if !self.is_usable(place) {
                continue;
            }
            match self.fill_from(place, id, into) {
                Ok(true) => {
                    work.progress(format!("filling cache mount {id}"), 0, None, true);
                    return Ok(true);
                }
                Ok(false) => {}
                Err(error) => {
                    // half of a cache is worse than none
                    empty(into).map_err(|error| FetchError::Transfer {
                        what: format!("cache mount {id}"),
                        reason: error.to_string(),
                    })?;
                    let text = error_chain(&error);
                    work.warn(format!("cache mount `{id}` begins empty: {text}"));
                }
            }
        }
        Ok(false)
    }
}

/// Removes what is in a folder.
fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Tells the store where a layer can be had.
fn know(
    store: &Store,
    diff_id: DiffId,
    layer: Descriptor,
    source: Option<lighter_image::Reference>,
) -> Result<(), SharedError> {
    let known =
        KnownLayer { blobs: vec![layer], sources: source.into_iter().collect(), ..KnownLayer::new(diff_id) };
    Ok(store.know_layer(&known)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_believed_only_for_its_own_key() {
        let record = Record {
            key: Digest::of("k"),
            description: "RUN true".to_owned(),
            diff_id: DiffId(Digest::of("d")),
            created: "2020-01-01T00:00:00Z".to_owned(),
            source: None,
        };
        let layer = Descriptor::new(media_type::OCI_LAYER_ZSTD, Digest::of("l"), 1);
        let (manifest, config) = manifest_of(&record, layer.clone()).unwrap();
        assert_eq!(record_of(&manifest, &config, &record.key).unwrap(), (record, layer));
        assert!(matches!(record_of(&manifest, &config, &Digest::of("x")), Err(SharedError::Damaged(_))));
    }
}
