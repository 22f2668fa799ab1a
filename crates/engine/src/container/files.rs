//! A container's files from outside: `diff` and `export`.

use std::io::Write;
use std::path::PathBuf;

use lighter_layer::{Change, ExportOptions, PackError, View, ViewError, changes, export_tar};
use lighter_store::Store;

use super::shim::spec;
use super::state::{Container, FindError, find_gathered};

/// Why a container's files were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFilesError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Its files cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// They cannot be written out.
    #[error(transparent)]
    Pack(#[from] Box<PackError>),
}

/// What a container changed of its image.
///
/// # Errors
/// [`ReadFilesError`].
pub fn diff(store: &Store, text: &str) -> Result<Vec<Change>, ReadFilesError> {
    let container = find_gathered(store, text)?;
    let upper = store.container_paths(&container.record.id).upper;
    Ok(changes(&upper, &below(store, &container)?, &|_| false)?)
}

/// Writes all of a container's files as a tar archive.
///
/// # Errors
/// [`ReadFilesError`].
pub fn export(store: &Store, text: &str, out: &mut dyn Write) -> Result<(), ReadFilesError> {
    let container = find_gathered(store, text)?;
    export_tar(&view(store, &container)?, out, &ExportOptions::default()).map_err(Box::new)?;
    super::events::note(store, &container, "export", &[]);
    Ok(())
}

/// All of a container's files but its mounts.
pub(super) fn view(store: &Store, container: &Container) -> Result<View, ViewError> {
    let mut stack: Vec<PathBuf> = spec::lowers(store, container)?;
    stack.push(store.container_paths(&container.record.id).upper);
    View::open(&stack)
}

/// What a container's own layer lies on.
pub(super) fn below(store: &Store, container: &Container) -> Result<View, ViewError> {
    View::open(&spec::lowers(store, container)?)
}
