//! Containers whose layers cannot be mounted: each works on a copy, and what it changed is gathered when it ends.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lighter_build::plain::{PlainError, PlainRoot, without_overlays};
use lighter_sandbox::Spec;

/// The copies of a container, in its folder.
const FOLDER: &str = "copies";

/// Puts copies in the place of what cannot be mounted.
pub(super) fn make(spec: &mut Spec, dir: &Path) -> Result<Option<PlainRoot>, PlainError> {
    let folder = dir.join(FOLDER);
    remove(&folder)?;
    std::fs::create_dir(&folder).map_err(|source| PlainError::Folder { path: folder.clone(), source })?;
    without_overlays(spec, &folder)
}

/// Writes what was changed into the container's own layer.
pub(super) fn gather(copy: &PlainRoot, dir: &Path) -> Result<(), PlainError> {
    copy.write_changes()?;
    remove(&dir.join(FOLDER))
}

/// Gathers what a container had changed whose shim was killed.
pub(super) fn gather_left_behind(spec: &Spec, dir: &Path) -> Result<(), PlainError> {
    match PlainRoot::left_behind(spec, &dir.join(FOLDER)) {
        Some(copy) => gather(&copy, dir),
        None => Ok(()),
    }
}

/// Whether a container works on a copy now, or has left one behind: its own layer does not say what it changed, then.
pub(crate) fn are_in_use(dir: &Path) -> bool {
    dir.join(FOLDER).exists()
}

fn remove(folder: &Path) -> Result<(), PlainError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(PlainError::Folder { path: PathBuf::from(folder), source: error })
        }
        _ => Ok(()),
    }
}
