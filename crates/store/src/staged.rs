//! Records that are written but have no name yet.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Store;
use crate::disk;
use crate::error::{FileError, RecordError};
use crate::record;

/// A record in scratch; it replaces the one with its name when it is published, and is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    store: Store,
    file: File,
    unnamed: PathBuf,
    path: PathBuf,
    published: bool,
}

impl Staged {
    /// Makes the content durable.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        disk::sync_file(&self.file, &self.unnamed)
    }

    /// Gives it its name, which is durable once the directory is synced.
    pub(crate) fn publish(mut self) -> Result<(), FileError> {
        self.store.replace(&self.unnamed, &self.path)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = disk::remove_file(&self.unnamed)
        {
            tracing::warn!(%error, "removing an unused record");
        }
    }
}

impl Store {
    /// Writes a record without giving it its name.
    pub(crate) fn stage<T: Serialize>(
        &self,
        kind: &'static str,
        path: &Path,
        value: &T,
    ) -> Result<Staged, RecordError> {
        let unnamed = self.lease()?.fresh_path()?;
        let file = disk::create_file(&unnamed)?;
        let staged = Staged { store: self.clone(), file, unnamed, path: path.to_owned(), published: false };
        record::write(kind, value, &staged.file, &staged.unnamed)?;
        Ok(staged)
    }

    /// Writes a record, replacing the one that is there. It becomes durable when the kernel sees fit: for
    /// records whose loss costs work, not data.
    pub(crate) fn write_record<T: Serialize>(
        &self,
        kind: &'static str,
        path: &Path,
        value: &T,
    ) -> Result<(), RecordError> {
        Ok(self.stage(kind, path, value)?.publish()?)
    }
}
