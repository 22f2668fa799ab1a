//! Cache mounts: directories that steps keep between builds, by id.
//!
//! A mount has slots, numbered from 0. Steps that share use slot 0 together; a step that locks has it alone;
//! a private one takes the first slot that nobody uses, and makes one where there is none.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Store;
use crate::disk;
use crate::error::{At as _, FileError, RecordError, if_there};
use crate::lock::{self, WaitError};
use crate::record;

const KIND: &str = "mount";

/// Who may use a cache mount at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// All at once.
    Shared,
    /// Each gets one that nobody else uses.
    Private,
    /// One after the other.
    Locked,
}

/// Why a cache mount was not got.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The wait for another step or process was broken off, or its lock cannot be used.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// A record is damaged, or cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A cache mount in use; it is free again when this is dropped, or when the process dies.
#[derive(Debug)]
pub struct CacheMount {
    dir: PathBuf,
    fresh: bool,
    sharing: Sharing,
    lock_path: PathBuf,
    lock: File,
}

/// A cache mount as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMountEntry {
    /// The id that Dockerfiles give it.
    pub id: String,
    /// How many slots it has.
    pub slots: usize,
    /// What it occupies on the disk, in bytes.
    pub size_bytes: u64,
    /// When a step last took it.
    pub last_used: Option<std::time::SystemTime>,
    /// Whether a step uses it now.
    pub in_use: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct MountRecord {
    id: String,
}

impl CacheMount {
    /// The directory to mount.
    pub fn path(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Whether the directory is new: the caller fills it and sets its owner and mode, alone, and then calls
    /// [`CacheMount::filled`]. If it does not, the next one finds it fresh, too.
    pub const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Says that the directory is as it should be first. Those who share may come in now.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn filled(&mut self) -> Result<(), FileError> {
        if self.fresh {
            drop(disk::write_file(&self.dir.join("filled"), b"")?);
            self.fresh = false;
        }
        if self.sharing == Sharing::Shared {
            lock::shared(&self.lock, &self.lock_path)?;
        }
        Ok(())
    }
}

impl Store {
    /// Takes a cache mount, waiting for others as `sharing` asks for.
    ///
    /// # Errors
    /// [`WaitError::Cancelled`] when `cancelled` says so first.
    pub fn cache_mount(
        &self,
        id: &str,
        sharing: Sharing,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<CacheMount, MountError> {
        lock::wait_for(cancelled, || {
            // inside the gate, so that no collector takes the directory between its making and its locking
            let _inside = self.enter()?;
            let dir = self.layout().mount(id);
            let path = dir.join("mount");
            if !path.exists() {
                disk::make_dir(&dir)?;
                self.write_record(KIND, &path, &MountRecord { id: id.to_owned() })?;
            }
            disk::touch(&path)?;
            take_slot(&dir, sharing)
        })
    }

    /// Whether there is a cache mount with an id.
    pub fn has_cache_mount(&self, id: &str) -> bool {
        self.layout().mount(id).join("mount").exists()
    }

    /// All cache mounts, with their sizes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn cache_mounts(&self) -> Result<Vec<CacheMountEntry>, RecordError> {
        let top = self.layout().top("mounts");
        let mut entries = Vec::new();
        for name in disk::names(&top)? {
            let dir = top.join(name);
            let path = dir.join("mount");
            let record: MountRecord = match record::read(KIND, &path) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) if error.is_damage() => {
                    tracing::warn!(%error, "leaving out a cache mount");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let metadata = if_there(std::fs::metadata(&path).at("reading", &path))?;
            entries.push(CacheMountEntry {
                id: record.id,
                slots: slots(&dir)?.len(),
                size_bytes: crate::usage::disk_bytes(&dir)?,
                last_used: metadata.and_then(|metadata| metadata.modified().ok()),
                in_use: is_in_use(&dir)?,
            });
        }
        Ok(entries)
    }

    /// Removes a cache mount; `false` where there is none, or a step uses it.
    ///
    /// # Errors
    /// When it cannot be moved away.
    pub fn remove_cache_mount(&self, id: &str) -> Result<bool, FileError> {
        let _closed = self.close_gate()?;
        let dir = self.layout().mount(id);
        if is_in_use(&dir)? {
            return Ok(false);
        }
        self.throw_away(&dir)
    }
}

/// Takes a slot as `sharing` asks for; `None` where that must wait.
fn take_slot(dir: &Path, sharing: Sharing) -> Result<Option<CacheMount>, MountError> {
    for number in 0..usize::MAX {
        let slot = dir.join(number.to_string());
        let lock_path = slot.join("lock");
        disk::make_dir(&slot)?;
        let lock = disk::open_lock(&lock_path)?;
        let data = slot.join("data");
        let fresh = !slot.join("filled").exists();
        // a fresh one is had alone until it is filled
        let taken = if sharing == Sharing::Shared && !fresh {
            lock::try_shared(&lock, &lock_path)?
        } else {
            lock::try_exclusive(&lock, &lock_path)?
        };
        if !taken {
            if sharing == Sharing::Private {
                continue;
            }
            return Ok(None);
        }
        // it may have been filled between the look and the lock
        let fresh = !slot.join("filled").exists();
        if !data.exists() {
            disk::make_new_dir(&data, 0o755)?;
        }
        let mut mount = CacheMount { dir: slot, fresh, sharing, lock_path, lock };
        if !fresh {
            mount.filled()?;
        }
        return Ok(Some(mount));
    }
    Ok(None)
}

fn slots(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let names = disk::names(dir)?;
    Ok(names.iter().filter(|name| name.parse::<usize>().is_ok()).map(|name| dir.join(name)).collect())
}

/// Whether a step uses a slot now.
pub(crate) fn is_in_use(dir: &Path) -> Result<bool, FileError> {
    for slot in slots(dir)? {
        let path = slot.join("lock");
        let Some(file) = if_there(File::open(&path).at("opening", &path))? else { continue };
        if !lock::try_exclusive(&file, &path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a cache mount says which id it has.
pub(crate) fn is_readable(dir: &Path) -> Result<bool, FileError> {
    match record::read::<MountRecord>(KIND, &dir.join("mount")) {
        Ok(record) => Ok(record.is_some()),
        Err(RecordError::File(error)) => Err(error),
        Err(_) => Ok(false),
    }
}
