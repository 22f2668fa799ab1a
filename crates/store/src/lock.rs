//! File locks: who may come in, who waits, and how a wait is broken off.
//!
//! All locks are `flock`s, which belong to an open file and are freed by the kernel when its holder dies.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::disk;
use crate::error::{At as _, FileError};

/// Why something that another process holds was not got.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The caller no longer wants it.
    #[error("cancelled while waiting for another process")]
    Cancelled,
    /// The lock itself could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The longest pause between two looks at a lock that is held.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Tries until it succeeds, or until the caller no longer wants it. `flock` itself cannot be told to stop.
pub(crate) fn wait_for<T, E: From<WaitError>>(
    cancelled: &dyn Fn() -> bool,
    mut attempt: impl FnMut() -> Result<Option<T>, E>,
) -> Result<T, E> {
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if cancelled() {
            return Err(WaitError::Cancelled.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Takes the lock alone, waiting for it.
pub(crate) fn exclusive(file: &File, path: &Path) -> Result<(), FileError> {
    uninterrupted(|| file.lock()).at("locking", path)
}

/// Takes the lock beside others, waiting for it.
pub(crate) fn shared(file: &File, path: &Path) -> Result<(), FileError> {
    uninterrupted(|| file.lock_shared()).at("locking", path)
}

/// Takes the lock alone, if nobody has it now.
pub(crate) fn try_exclusive(file: &File, path: &Path) -> Result<bool, FileError> {
    tried(file.try_lock(), path)
}

/// Takes the lock beside others, if nobody has it alone now.
pub(crate) fn try_shared(file: &File, path: &Path) -> Result<bool, FileError> {
    tried(file.try_lock_shared(), path)
}

fn tried(result: Result<(), TryLockError>, path: &Path) -> Result<bool, FileError> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).at("locking", path),
    }
}

fn uninterrupted(mut lock: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Whether an open file is still the one that a path names.
pub(crate) fn is_current(file: &File, path: &Path) -> Result<bool, FileError> {
    use std::os::unix::fs::MetadataExt as _;
    let held = file.metadata().at("reading", path)?;
    let named = crate::error::if_there(std::fs::metadata(path).at("reading", path))?;
    Ok(named.is_some_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())))
}

/// The gate of a store: those who publish or pin something pass through it together; the collector, which
/// must see all pins and all publications, has it alone.
///
/// It is held for the microseconds of a rename or a pin, never for the time of work.
#[derive(Debug)]
pub(crate) struct Gate {
    path: PathBuf,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    count: usize,
    file: Option<File>,
}

/// A passage through the gate; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Passage<'gate>(&'gate Gate);

/// The gate closed for all others; it opens when this is dropped.
#[derive(Debug)]
pub(crate) struct Closed {
    _file: File,
}

impl Gate {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, inside: Mutex::default() }
    }

    /// Passes through, beside others.
    pub(crate) fn enter(&self) -> Result<Passage<'_>, FileError> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.count == 0 {
            if inside.file.is_none() {
                inside.file = Some(disk::open_lock(&self.path)?);
            }
            if let Some(file) = &inside.file {
                shared(file, &self.path)?;
            }
        }
        inside.count += 1;
        Ok(Passage(self))
    }

    /// Waits until nobody is inside, and lets nobody in.
    pub(crate) fn close(&self) -> Result<Closed, FileError> {
        let file = disk::open_lock(&self.path)?;
        exclusive(&file, &self.path)?;
        Ok(Closed { _file: file })
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        let mut inside = self.0.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.count -= 1;
        if inside.count == 0
            && let Some(file) = &inside.file
            && let Err(error) = file.unlock()
        {
            tracing::warn!(%error, "unlocking the store");
            // closing the file unlocks it in any case
            inside.file = None;
        }
    }
}

/// Takes a lock file alone for a read-modify-write of records; freed when dropped.
pub(crate) fn hold(path: &Path) -> Result<File, FileError> {
    let file = disk::open_lock(path)?;
    exclusive(&file, path)?;
    Ok(file)
}
