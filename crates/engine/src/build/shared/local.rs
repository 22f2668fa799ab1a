//! A cache in a folder: an OCI layout, and beside it a file for each record that says which manifest it is.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lighter_build::SharedStep;
use lighter_image::{Descriptor, Digest, Document, Index, Manifest, go_json, media_type, parse_document};
use lighter_store::{Expected, Store};

use super::registry::tag_of;
use super::{KEY, SharedError, know, mounts, record_of};
use crate::archive::layout::LAYOUT;

/// The folder of the files that name manifests.
const NAMES: &str = "lighter";
/// Whose lock is held while the index is read and written.
const LOCK: &str = "lighter/lock";

/// A folder that steps are looked up in.
pub(super) struct Folder {
    layout: Layout,
    /// The manifests of the layout, by step: for folders in which the names were lost. Read once.
    listed: OnceLock<HashMap<Digest, Digest>>,
}

impl Folder {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { layout: Layout(path), listed: OnceLock::new() }
    }

    /// Looks whether there is a cache at all.
    pub(super) fn open(&self) -> Result<(), SharedError> {
        let path = self.layout.0.join("index.json");
        let bytes = fs::read(&path).map_err(failed(&path))?;
        self.listed.get_or_init(|| {
            let entries = entries_in(&bytes, &path).unwrap_or_default();
            entries.iter().filter_map(|entry| Some((key_of(entry)?, entry.digest))).collect()
        });
        entries_in(&bytes, &path).map(drop)
    }

    /// Finds a step; its layer's blob is taken into the store, for the folder may be gone when it is needed.
    pub(super) fn find(&self, store: &Store, key: &Digest) -> Result<Option<SharedStep>, SharedError> {
        let listed = || self.listed.get().and_then(|listed| listed.get(key)).copied();
        let Some(digest) = self.layout.named(&tag_of(key))?.or_else(listed) else { return Ok(None) };
        let manifest = self.layout.read_manifest(&digest)?;
        let config = self.layout.read_blob(&manifest.config.digest)?;
        let (record, layer) = record_of(&manifest, &config, key)?;
        if store.known_layer(&record.diff_id)?.is_none_or(|known| known.layer.is_none()) {
            let file = self.layout.open_blob(&layer.digest)?;
            store.put_blob(file, Expected::by(&layer))?;
        }
        know(store, record.diff_id, layer, None)?;
        Ok(Some(record.step()))
    }

    /// Fills a cache mount with what is kept of it here.
    pub(super) fn fill_mount(&self, id: &str, into: &Path) -> Result<bool, SharedError> {
        let Some(digest) = self.layout.named(&mounts::name_of(id))? else { return Ok(false) };
        let layer = mounts::layer_of(&self.layout.read_manifest(&digest)?, id)?;
        mounts::unpack(id, &layer, self.layout.open_blob(&layer.digest)?, into)?;
        Ok(true)
    }
}

/// The folder of a layout.
pub(super) struct Layout(PathBuf);

impl Layout {
    /// Makes what is missing of the folder.
    pub(super) fn make(path: &Path) -> Result<Self, SharedError> {
        for inner in ["blobs/sha256", NAMES] {
            fs::create_dir_all(path.join(inner)).map_err(failed(path))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// The manifest that has a name.
    fn named(&self, name: &str) -> Result<Option<Digest>, SharedError> {
        let path = self.0.join(NAMES).join(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let damaged = |_| SharedError::Damaged(format!("`{}` names no digest", path.display()));
                text.trim().parse().map(Some).map_err(damaged)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SharedError::File { path, source }),
        }
    }

    /// The bytes of the manifest that has a name, where it and its parts are whole.
    pub(super) fn manifest(&self, name: &str) -> Result<Option<Vec<u8>>, SharedError> {
        let Some(digest) = self.named(name)? else { return Ok(None) };
        let Ok(bytes) = self.read_blob(&digest) else { return Ok(None) };
        let Ok(Document::Manifest(manifest)) = parse_document(&bytes, None) else { return Ok(None) };
        let parts = manifest.layers.iter().chain([&manifest.config]);
        let are_here = parts.into_iter().all(|part| {
            fs::metadata(self.blob_path(&part.digest)).is_ok_and(|found| found.len() == part.size)
        });
        Ok(are_here.then_some(bytes))
    }

    fn read_manifest(&self, digest: &Digest) -> Result<Manifest, SharedError> {
        match parse_document(&self.read_blob(digest)?, None)? {
            Document::Manifest(manifest) => Ok(*manifest),
            Document::Index(_) => Err(SharedError::Damaged(format!("{digest} is no manifest"))),
        }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.hex())
    }

    fn open_blob(&self, digest: &Digest) -> Result<File, SharedError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(failed(&path))
    }

    /// A small blob, believed only if it is what its name says.
    fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, SharedError> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).map_err(failed(&path))?;
        if Digest::of(&bytes) != *digest {
            return Err(SharedError::Damaged(format!("blob {digest} has other bytes")));
        }
        Ok(bytes)
    }

    /// Brings a blob of the store here.
    pub(super) fn put_layer(&self, store: &Store, layer: &Descriptor) -> Result<(), SharedError> {
        let path = self.blob_path(&layer.digest);
        if fs::metadata(&path).is_ok_and(|found| found.len() == layer.size) {
            return Ok(());
        }
        let mut copied = Ok(());
        let written = write(&path, |to| {
            copied = store.copy_blob(&layer.digest, to)?;
            // what is not whole gets no name
            if copied.is_ok() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
        });
        copied?;
        written.map_err(failed(&path))
    }

    /// Writes a record, its name last.
    pub(super) fn put_record(&self, name: &str, config: &[u8], manifest: &[u8]) -> Result<(), SharedError> {
        let digest = Digest::of(manifest);
        let name = self.0.join(NAMES).join(name);
        put(&self.blob_path(&Digest::of(config)), config)?;
        put(&self.blob_path(&digest), manifest)?;
        put(&name, format!("{digest}\n").as_bytes())
    }

    /// Lists records in the index, beside those that are there. One writer at a time.
    pub(super) fn list(&self, new: Vec<Descriptor>) -> Result<(), SharedError> {
        let path = self.0.join(LOCK);
        let lock = File::create(&path).map_err(failed(&path))?;
        if let Err(error) = lock.lock()
            && error.kind() != io::ErrorKind::Unsupported
        {
            return Err(SharedError::File { path, source: error });
        }
        let path = self.0.join("index.json");
        let before = match fs::read(&path) {
            // what cannot be understood is written anew
            Ok(bytes) => entries_in(&bytes, &path).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(SharedError::File { path, source }),
        };
        let named = |entry: Descriptor| Some((name_of(&entry)?, entry));
        let entries: BTreeMap<String, Descriptor> = before.into_iter().chain(new).filter_map(named).collect();
        put(&self.0.join("oci-layout"), LAYOUT)?;
        put(&path, &go_json::to_vec(&Index::of(entries.into_values().collect()))?)
    }
}

/// Which step an entry of an index is of.
fn key_of(entry: &Descriptor) -> Option<Digest> {
    entry.annotations.get(KEY)?.parse().ok()
}

/// What an entry of an index is of.
fn name_of(entry: &Descriptor) -> Option<String> {
    key_of(entry)
        .map(|key| tag_of(&key))
        .or_else(|| entry.annotations.get(mounts::ID).map(|id| mounts::name_of(id)))
}

fn entries_in(bytes: &[u8], path: &Path) -> Result<Vec<Descriptor>, SharedError> {
    match parse_document(bytes, Some(media_type::OCI_INDEX))? {
        Document::Index(Index { manifests, .. }) => Ok(manifests),
        Document::Manifest(_) => Err(SharedError::Damaged(format!("`{}` is no index", path.display()))),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SharedError {
    let path = path.to_owned();
    move |source| SharedError::File { path, source }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), SharedError> {
    write(path, |file| io::Write::write_all(file, bytes)).map_err(failed(path))
}

/// Writes a file under a name that nobody looks for, then gives it its own.
fn write(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unnamed = path.with_extension(format!("new-{}", std::process::id()));
    let written = File::create(&unnamed).and_then(|mut file| content(&mut file));
    let named = written.and_then(|()| fs::rename(&unnamed, path));
    if named.is_err()
        && let Err(error) = fs::remove_file(&unnamed)
    {
        tracing::debug!(%error, "an unfinished file stays behind");
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_do_not_lose_each_others_entries() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::make(folder.path()).unwrap();
        let entry = |key: &str| {
            let mut entry = Descriptor::of(media_type::OCI_MANIFEST, key.as_bytes());
            entry.annotations.insert(KEY.to_owned(), Digest::of(key).to_string());
            entry
        };
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (layout, entry) = (&layout, entry(&number.to_string()));
                scope.spawn(move || layout.list(vec![entry]).unwrap());
            }
        });
        let bytes = fs::read(folder.path().join("index.json")).unwrap();
        assert_eq!(entries_in(&bytes, folder.path()).unwrap().len(), 8);
        assert!(matches!(Folder::new(folder.path().join("none")).open(), Err(SharedError::File { .. })));
    }
}
