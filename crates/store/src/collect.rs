//! Collection: what nothing needs goes to the trash, and the trash is emptied.
//!
//! The gate is closed while marks are set and names are taken away, so no process can begin to rely on
//! something in between; that is a matter of milliseconds. The deletion itself happens with the gate open.

use std::collections::HashSet;
use std::fs::File;

use lighter_image::{DiffId, Digest};

use crate::Store;
use crate::disk;
use crate::error::{At as _, FileError, RecordError, if_there, if_whole};
use crate::id::LayerId;
use crate::layer::LayerError;
use crate::layout::fanned_digests;
use crate::lease::{self, Pins};
use crate::lock;
use crate::mark::Needed;
use crate::partial::pending_digest;

/// Why a collection stopped. What it did until then stays done, and is whole.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A record is damaged: what it needs cannot be known.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A layer cannot be looked at.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Something cannot be moved or deleted.
    #[error(transparent)]
    File(#[from] FileError),
}

impl CollectError {
    /// Whether there was no room on the disk for even a name.
    fn is_full_disk(&self) -> bool {
        let file = match self {
            Self::Layer(LayerError::File(error) | LayerError::Record(RecordError::File(error)))
            | Self::Record(RecordError::File(error))
            | Self::File(error) => error,
            Self::Record(_) | Self::Layer(_) => return false,
        };
        file.kind() == std::io::ErrorKind::StorageFull
    }
}

/// What a collection took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many bytes of disk are free now that were not before: whole blocks, directories and records too.
    pub bytes: u64,
    /// The step records that were removed.
    pub steps: Vec<Digest>,
    /// The cache mounts that were removed, by id.
    pub mounts: Vec<String>,
    /// The layers that were removed.
    pub layers: Vec<LayerId>,
    /// The diff ids of which the store knows nothing any more.
    pub diffs: Vec<DiffId>,
    /// The blobs that were removed.
    pub blobs: Vec<Digest>,
}

impl Store {
    /// Removes everything that no image, container, step record or living process needs, and what dead
    /// processes left.
    ///
    /// # Errors
    /// When a record that says what is needed is damaged, or something cannot be deleted.
    pub fn collect_garbage(&self) -> Result<Freed, CollectError> {
        self.collect(|_, _| Ok(()))
    }

    /// Collects, after `choose` has removed what is no longer wanted. It runs with the gate closed, and once
    /// more after a disk that was too full even for the names in the trash.
    pub(crate) fn collect(
        &self,
        choose: impl Fn(&Pins, &mut Freed) -> Result<(), CollectError>,
    ) -> Result<Freed, CollectError> {
        let mut freed = Freed { bytes: self.make_room()?, ..Freed::default() };
        loop {
            let moved = self.move_to_trash(&choose, &mut freed);
            let bytes = self.empty_trash()?;
            freed.bytes += bytes;
            match moved {
                Ok(()) => return Ok(freed),
                Err(error) if error.is_full_disk() && bytes > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The part of a collection that nobody else may be inside for.
    fn move_to_trash(
        &self,
        choose: impl Fn(&Pins, &mut Freed) -> Result<(), CollectError>,
        freed: &mut Freed,
    ) -> Result<(), CollectError> {
        let _closed = self.close_gate()?;
        let (pins, living) = lease::pins(self.layout())?;
        lease::reap(self.layout())?;
        choose(&pins, freed)?;
        let needed = self.mark(&pins)?;
        self.sweep(&needed, freed)?;
        self.sweep_unowned(&living)?;
        // no image may come back after a loss of power while what it needs does not
        for name in ["images", "tags", "trash"] {
            disk::sync_dir(&self.layout().top(name))?;
        }
        Ok(())
    }

    /// On a full disk not even a lease can be taken: deletes what needs no lease to be deleted.
    fn make_room(&self) -> Result<u64, FileError> {
        match self.lease() {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                lease::reap(self.layout())?;
                let freed = self.empty_trash()?;
                self.lease().map(|_| freed)
            }
            lease => lease.map(|_| 0),
        }
    }

    fn mark(&self, pins: &Pins) -> Result<Needed, CollectError> {
        let mut needed = Needed::default();
        needed.add_pins(pins);
        for key in fanned_digests(&self.layout().top("steps"))? {
            match self.read_step(&key) {
                Ok(Some(step)) => needed.add_step_layers(&step.layers),
                Ok(None) => {}
                Err(error) if error.is_damage() => {
                    tracing::warn!(%error, "dropping a step record");
                    self.throw_step_away(&key)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.close_over(&mut needed)?;
        needed.add(&self.needed_by_images()?);
        needed.add(&self.needed_by_containers()?);
        Ok(needed)
    }

    fn sweep(&self, needed: &Needed, freed: &mut Freed) -> Result<(), CollectError> {
        let layout = self.layout();
        for layer in self.layers()? {
            if !needed.layers.contains(&layer) && self.bury(&layout.layer(&layer))? {
                freed.layers.push(layer);
            }
        }
        for digest in fanned_digests(&layout.top("diffs"))? {
            let diff_id = DiffId(digest);
            if !needed.diffs.contains(&diff_id) && self.bury(&layout.diff(&diff_id))? {
                freed.diffs.push(diff_id);
            }
        }
        for digest in fanned_digests(&layout.blobs())? {
            if !needed.blobs.contains(&digest) && self.bury(&layout.blob(&digest))? {
                freed.blobs.push(digest);
            }
        }
        self.sweep_pending(needed, freed)?;
        self.sweep_tags()?;
        self.sweep_step_index()
    }

    /// Pending blobs of this boot are whole; those of another are not known to be.
    fn sweep_pending(&self, needed: &Needed, freed: &mut Freed) -> Result<(), CollectError> {
        for boot in disk::names(&self.layout().top("pending"))? {
            let dir = self.layout().pending(&boot);
            if boot != self.boot() {
                self.bury(&dir)?;
                continue;
            }
            for name in disk::names(&dir)? {
                let digest = pending_digest(&name);
                if digest.is_none_or(|digest| !needed.blobs.contains(&digest)) {
                    self.bury(&dir.join(name))?;
                    freed.blobs.extend(digest);
                }
            }
        }
        Ok(())
    }

    /// Names whose image is gone, as a killed removal leaves them.
    fn sweep_tags(&self) -> Result<(), CollectError> {
        for tagged in self.all_tags()? {
            if !self.layout().image(&tagged.image).exists() {
                self.bury(&self.layout().tag(&tagged.reference))?;
            }
        }
        Ok(())
    }

    /// Leaves only keys in the index that have a record.
    fn sweep_step_index(&self) -> Result<(), CollectError> {
        for index in fanned_digests(&self.layout().top("steps-index"))? {
            let path = self.layout().step_index(&index);
            let keys = self.indexed_keys(&index, usize::MAX)?;
            let kept: Vec<_> = keys.iter().filter(|key| self.layout().step(key).exists()).collect();
            if kept.is_empty() {
                self.bury(&path)?;
                continue;
            }
            // the latest stands last
            let mut text = String::new();
            for key in kept.iter().rev() {
                text.push_str(&key.hex());
                text.push('\n');
            }
            if if_whole(disk::read(&path))?.is_some_and(|before| before != text.as_bytes()) {
                let unnamed = self.lease()?.fresh_path()?;
                drop(disk::write_file(&unnamed, text.as_bytes())?);
                disk::rename(&unnamed, &path)?;
            }
        }
        Ok(())
    }

    /// What belongs to nobody: scratch without a lease, leases that never got their name, idle flights.
    fn sweep_unowned(&self, living: &HashSet<String>) -> Result<(), CollectError> {
        let layout = self.layout();
        for name in disk::names(&layout.top("scratch"))? {
            // one that was taken after the look at the leases has its file
            if !living.contains(&name) && !layout.lease(&name).exists() {
                self.bury(&layout.scratch(&name))?;
            }
        }
        for top in ["leases", "flights"] {
            for name in disk::names(&layout.top(top))? {
                if top == "leases" && !name.starts_with('.') {
                    continue;
                }
                let path = layout.top(top).join(name);
                let Some(file) = if_there(File::open(&path).at("opening", &path))? else { continue };
                if lock::try_exclusive(&file, &path)? && lock::is_current(&file, &path)? {
                    disk::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}
