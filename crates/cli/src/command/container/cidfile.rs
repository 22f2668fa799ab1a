//! `--cidfile`: the file that gets the id of a new container.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// A file that is not yet written; it is removed again where no container is made.
pub(super) struct CidFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl CidFile {
    /// Makes the file, if one is wanted.
    ///
    /// # Errors
    /// A file that is there already, or cannot be made.
    pub(super) fn make(path: Option<&str>) -> Result<Option<Self>, String> {
        let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(None) };
        match File::create_new(path) {
            Ok(file) => Ok(Some(Self { path: path.into(), file, written: false })),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )),
            Err(error) => Err(format!("failed to create the container ID file: open {path}: {error}")),
        }
    }

    /// Writes the id.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn keep(mut self, id: &str) -> Result<(), String> {
        self.written = true;
        self.file
            .write_all(id.as_bytes())
            .map_err(|error| format!("failed to write the container ID to the file: {error}"))
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "an empty file of a container's id stays");
        }
    }
}
