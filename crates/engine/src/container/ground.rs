//! The ground of containers: a layer between an image and a container's own, with what every container has. What is
//! there is no change of the container's, and does not come into an image that is made of it.
//!
//! Containers on the same layers share it: making it anew for each would be half of the cost of a start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lighter_image::{Hasher, ImagePath};
use lighter_layer::{LayerWriter, Metadata, NewFolders, Timestamp, View, WriteError};
use lighter_store::failpoint::point;
use lighter_store::{ContainerId, LayerId, Store};
use rustix::fs::FlockOperation;

use super::state::{FindError, all};

/// The folder of all grounds in a store.
const FOLDER: &str = "grounds";

/// How many digits of a digest name one.
const NAME_DIGITS: usize = 32;

/// Folders that something is mounted on.
const FOLDERS: [&str; 5] = ["/dev/pts", "/dev/shm", "/etc", "/proc", "/sys"];

/// Files that something is mounted on, and the mark of a container.
const FILES: [&str; 5] = ["/.dockerenv", "/dev/console", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// A link to the list of what is mounted.
const MOUNTS: &str = "/etc/mtab";

/// Why there is no ground.
#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    /// A folder cannot be made or removed.
    #[error("preparing `{path}`")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its files cannot be written.
    #[error(transparent)]
    Write(#[from] Box<WriteError>),
    /// It cannot be found out who stands on it.
    #[error(transparent)]
    Find(#[from] FindError),
}

/// Keeps grounds from being swept away, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    _folder: File,
}

/// Holds the grounds of a store: from before a container is made until its ground is there.
///
/// # Errors
/// [`GroundError::Folder`].
pub(super) fn hold(store: &Store) -> Result<Hold, GroundError> {
    lock(store, FlockOperation::LockShared)
}

fn lock(store: &Store, kind: FlockOperation) -> Result<Hold, GroundError> {
    let path = store.root().join(FOLDER);
    let fail = |source| GroundError::Folder { path: path.clone(), source };
    let folder = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&path).map_err(fail)?;
            File::open(&path).map_err(fail)?
        }
        opened => opened.map_err(fail)?,
    };
    rustix::fs::flock(&folder, kind).map_err(|error| fail(error.into()))?;
    Ok(Hold { _folder: folder })
}

/// Where the ground above these layers is, or would be.
pub(super) fn path(store: &Store, layers: &[LayerId]) -> PathBuf {
    let mut hasher = Hasher::new();
    for layer in layers {
        hasher.update(layer.as_str().as_bytes());
        hasher.update(b"\n");
    }
    store.root().join(FOLDER).join(&hasher.finish().hex()[..NAME_DIGITS])
}

/// Makes the ground above an image's layers, unless it is there.
///
/// # Errors
/// [`GroundError`].
pub(super) fn make(
    store: &Store,
    layers: &[LayerId],
    image: &View,
    hold: &Hold,
) -> Result<PathBuf, GroundError> {
    let path = path(store, layers);
    tracing::trace!(?hold, "the grounds are held");
    if path.exists() {
        return Ok(path);
    }
    let unnamed = store.root().join(FOLDER).join(format!(".{}", ContainerId::random().short()));
    let fail = |source| GroundError::Folder { path: unnamed.clone(), source };
    point();
    fs::create_dir(&unnamed).map_err(fail)?;
    point();
    fill(&unnamed, image)?;
    point();
    match fs::rename(&unnamed, &path) {
        Ok(()) => Ok(path),
        // somebody else was faster
        Err(_) if path.exists() => {
            fs::remove_dir_all(&unnamed).map_err(fail)?;
            Ok(path)
        }
        Err(error) => Err(fail(error)),
    }
}

fn fill(folder: &Path, image: &View) -> Result<(), GroundError> {
    let writer = LayerWriter::open(folder, image.clone(), Timestamp::default()).map_err(Box::new)?;
    let is_missing = |path: &ImagePath| -> Result<bool, Box<WriteError>> {
        Ok(image.lookup(path).map_err(WriteError::from)?.is_none())
    };
    for path in FOLDERS.map(ImagePath::new) {
        if is_missing(&path)? {
            writer.make_folders(&path, NewFolders::default()).map_err(Box::new)?;
        }
    }
    let metadata =
        Metadata { mode_bits: 0o755, uid: 0, gid: 0, mtime: Timestamp::default(), xattrs: Vec::new() };
    let write =
        |path: &ImagePath| writer.write_file(path, b"", &metadata, NewFolders::default()).map_err(Box::new);
    for path in FILES.map(ImagePath::new) {
        if is_missing(&path)? {
            write(&path)?;
        }
    }
    let mounts = ImagePath::new(MOUNTS);
    let has_mounts = !is_missing(&mounts)?;
    if !has_mounts {
        // there is first a file, so that the folder is made as it is below
        write(&mounts)?;
    }
    writer.finish().map_err(Box::new)?;
    let link = folder.join(mounts.relative_os());
    let fail = |source| GroundError::Folder { path: link.clone(), source };
    if !has_mounts && fs::symlink_metadata(&link).is_ok_and(|found| found.is_file()) {
        fs::remove_file(&link).map_err(fail)?;
        std::os::unix::fs::symlink("/proc/mounts", &link).map_err(fail)?;
    }
    Ok(())
}

/// Removes the grounds that no container stands on.
///
/// # Errors
/// [`GroundError`].
pub fn sweep_grounds(store: &Store) -> Result<(), GroundError> {
    let folder = store.root().join(FOLDER);
    if !folder.exists() {
        return Ok(());
    }
    let alone = lock(store, FlockOperation::LockExclusive)?;
    let used: BTreeSet<PathBuf> = all(store)?.iter().map(|one| path(store, &one.record.layers)).collect();
    let fail = |source| GroundError::Folder { path: folder.clone(), source };
    for entry in fs::read_dir(&folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if !used.contains(&path) {
            fs::remove_dir_all(&path).map_err(|source| GroundError::Folder { path, source })?;
        }
    }
    drop(alone);
    Ok(())
}
