//! How large layers and images are, as Docker counts: the sizes of all that is no directory.

use std::collections::HashSet;
use std::path::PathBuf;

use lighter_image::{DiffId, ImagePath};
use lighter_layer::{Kind, View, ViewError};
use lighter_store::{KnownLayer, LayerError, RecordError, Store};

/// Why a layer could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// It cannot be found.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// What is known of it cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its files cannot be read.
    #[error("measuring {path}")]
    View {
        /// The layer's directory.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ViewError,
    },
}

/// The sizes of a layer's files and links together, in bytes; counted once and then remembered.
///
/// A layer whose bytes are not here yet has the size of its archive, or 0 where that is not known either.
pub(crate) fn content_bytes(store: &Store, diff_id: &DiffId) -> Result<u64, SizeError> {
    let known = store.known_layer(diff_id)?;
    if let Some(counted) = known.as_ref().and_then(|known| known.content_bytes) {
        return Ok(counted);
    }
    let Some(layer) = store.layer_by_diff_id(diff_id)? else {
        return Ok(known.and_then(|known| known.size_bytes).unwrap_or_default());
    };
    let dirs = store.layer_dirs(&layer)?;
    let counted =
        count(&dirs).map_err(|source| SizeError::View { path: store.layer_path(&layer), source })?;
    let remembered = KnownLayer { content_bytes: Some(counted), ..KnownLayer::new(*diff_id) };
    if let Err(error) = store.know_layer(&remembered) {
        tracing::debug!(%error, "not remembering the size of a layer");
    }
    Ok(counted)
}

/// Adds up what is no directory in one layer, each inode once; a symbolic link is as long as its target's name.
fn count(layer: &[PathBuf]) -> Result<u64, ViewError> {
    let view = match layer {
        [only] => View::open_directory(only)?,
        dirs => View::open(dirs)?,
    };
    let mut folders = vec![ImagePath::root()];
    let mut linked = HashSet::new();
    let mut total = 0;
    while let Some(folder) = folders.pop() {
        for (name, entry) in view.read_dir(&folder)? {
            match entry.kind {
                Kind::Folder => folders.push(folder.join(&name)),
                Kind::File | Kind::Link if entry.links == 1 || linked.insert(entry.inode) => {
                    total += entry.size_bytes;
                }
                _ => {}
            }
        }
    }
    Ok(total)
}
