//! Single flight: one process does a piece of work, the others wait for it.

use std::fs::File;
use std::path::PathBuf;

use lighter_image::Digest;

use crate::Store;
use crate::disk;
use crate::error::FileError;
use crate::lock::{self, WaitError};

/// The right to do one piece of work; it ends when this is dropped, or when the process dies.
#[derive(Debug)]
pub struct Flight {
    path: PathBuf,
    _file: File,
}

impl Store {
    /// Waits for the right to do the work named by `key`.
    ///
    /// Look for the result again once this returns: most likely the process that was waited for left it.
    ///
    /// # Errors
    /// [`WaitError::Cancelled`] when `cancelled` says so before the right is got.
    pub fn single_flight(&self, key: &Digest, cancelled: &dyn Fn() -> bool) -> Result<Flight, WaitError> {
        lock::wait_for(cancelled, || Ok(self.try_flight(key)?))
    }

    /// Takes the right to do the work named by `key`, if nobody has it now.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    fn try_flight(&self, key: &Digest) -> Result<Option<Flight>, FileError> {
        self.ready()?;
        let path = self.layout().flight(key);
        loop {
            let file = disk::open_lock(&path)?;
            if !lock::try_exclusive(&file, &path)? {
                return Ok(None);
            }
            // its last holder may have removed the file between our opening and locking
            if lock::is_current(&file, &path)? {
                return Ok(Some(Flight { path, _file: file }));
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Err(error) = disk::remove_file(&self.path) {
            tracing::warn!(%error, "ending a single flight");
        }
    }
}
