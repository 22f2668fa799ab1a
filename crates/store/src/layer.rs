//! Layers: directories in overlay form, immutable once they have a name.

use std::path::{Path, PathBuf};

use lighter_image::{Descriptor, DiffId, Digest, Reference};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::disk;
use crate::error::{At as _, FileError, RecordError};
use crate::id::LayerId;
use crate::known::KnownLayer;
use crate::layout::Layout;
use crate::lease::Pin;
use crate::record;
use crate::verify::{Verdict, VerifyError};

const KIND: &str = "layer";
/// The file beside a layer's directory that says what a COPY has put there.
const INVENTORY: &str = "inventory";

/// Why a layer could not be stored, named or found.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// There is no such layer in this store.
    #[error("layer {0} is not in the store")]
    Missing(LayerId),
    /// Its record is damaged, or cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its directory cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It comes from before the machine was started, and could not be verified.
    #[error(transparent)]
    Verify(#[from] Box<VerifyError>),
}

/// What the store remembers of an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerMeta {
    /// Its name.
    pub id: LayerId,
    /// The digest of its uncompressed tar, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<DiffId>,
    /// The size of its uncompressed tar in bytes, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The digest of what `pack` makes of the directory, where that is not the diff id: layers that were
    /// received have the tar of somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Digest>,
    /// Whether it was received as a blob: its tar is somebody else's, and may not be what `pack` makes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub received: bool,
    /// The layer whose directory lies under its own: the two together are the layer. That one has none under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<LayerId>,
    /// Another diff id of it, with all later times set to one, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamped: Option<Clamped>,
    /// The boot in which it was written; `None` once it is known to be on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

/// The diff id of a layer whose times are none later than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clamped {
    /// The latest time, in seconds since 1970.
    pub seconds: i64,
    /// The digest of the uncompressed tar with such times.
    pub diff_id: DiffId,
}

/// What is known of a layer when it gets its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewLayer {
    /// The digest of its uncompressed tar; may be set later with [`Store::set_diff_id`].
    pub diff_id: Option<DiffId>,
    /// The size of its uncompressed tar, in bytes.
    pub size_bytes: Option<u64>,
    /// The digest of what `pack` makes of the directory, where that is known and not the diff id.
    pub packed: Option<Digest>,
    /// The layer that it holds only the difference to. It must have been made without one itself, and be usable.
    pub base: Option<LayerId>,
    /// The blobs it was received as; only with a diff id.
    pub blobs: Vec<Descriptor>,
    /// Where it was received from; only with a diff id.
    pub sources: Vec<Reference>,
}

/// A layer that is being made; dropped without being committed, it leaves nothing.
#[derive(Debug)]
pub struct Scratch {
    store: Store,
    dir: PathBuf,
    committed: bool,
}

impl Scratch {
    /// The directory of this scratch: others of the caller's files may stand beside `fs` while it works,
    /// and are gone when the layer is committed.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that is kept beside the layer, if it is written: what a COPY has put into it.
    pub fn inventory(&self) -> PathBuf {
        self.dir.join(INVENTORY)
    }

    /// The directory that becomes the layer.
    pub fn fs(&self) -> PathBuf {
        self.dir.join("fs")
    }

    /// An empty directory for overlay to work in, on the same file system; made at the first call.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work(&self) -> Result<PathBuf, FileError> {
        let work = self.dir.join("work");
        if !work.exists() {
            disk::make_new_dir(&work, 0o700)?;
        }
        Ok(work)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        if let Err(error) = self.store.throw_away(&self.dir) {
            tracing::warn!(%error, "throwing away an unfinished layer");
        }
        self.store.make_room_where_tight();
    }
}

impl Store {
    /// Begins a layer: an empty directory, mode 0755.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_layer(&self) -> Result<Scratch, FileError> {
        let dir = self.lease()?.fresh_path()?;
        disk::make_new_dir(&dir, 0o700)?;
        let scratch = Scratch { store: self.clone(), dir, committed: false };
        disk::make_new_dir(&scratch.fs(), 0o755)?;
        Ok(scratch)
    }

    /// Names a finished layer, which nothing may write from now on.
    ///
    /// It is not synced: it carries the id of this boot, and after another boot it is verified or dropped.
    ///
    /// # Errors
    /// When the record cannot be written or the directory not be moved.
    pub fn commit_layer(&self, mut scratch: Scratch, new: NewLayer) -> Result<LayerId, LayerError> {
        self.clear_beside(&scratch.dir)?;
        let id = LayerId::random();
        let meta = LayerMeta {
            id: id.clone(),
            diff_id: new.diff_id,
            size_bytes: new.size_bytes,
            packed: new.packed,
            received: !new.blobs.is_empty(),
            base: new.base,
            clamped: None,
            boot: Some(self.boot().to_owned()),
        };
        drop(disk::write_file(&scratch.dir.join("layer"), &record::encode(KIND, &meta)?)?);
        let _inside = self.enter()?;
        self.lease()?.pin(Pin::Layer(&id))?;
        if let Some(base) = &meta.base {
            self.lease()?.pin(Pin::Layer(base))?;
        }
        disk::rename(&scratch.dir, &self.layout().layer(&id))?;
        scratch.committed = true;
        if let Some(diff_id) = new.diff_id {
            self.lease()?.pin(Pin::Diff(&diff_id))?;
            let _lock = self.update()?;
            self.merge_known(&KnownLayer {
                diff_id,
                layer: Some(id.clone()),
                size_bytes: new.size_bytes,
                content_bytes: None,
                blobs: new.blobs,
                sources: new.sources,
                ..KnownLayer::new(diff_id)
            })?;
        }
        Ok(id)
    }

    /// Remembers the diff id of a layer, which was not known when it was committed.
    ///
    /// Returns the layer that stands for this diff id: an earlier one, where the store had one already.
    ///
    /// # Errors
    /// [`LayerError::Missing`] where there is no such layer.
    pub fn set_diff_id(&self, id: &LayerId, diff_id: DiffId, size_bytes: u64) -> Result<LayerId, LayerError> {
        let _inside = self.enter()?;
        self.lease()?.pin(Pin::Diff(&diff_id))?;
        let _lock = self.update()?;
        let mut meta = self.layer_meta(id)?.ok_or_else(|| LayerError::Missing(id.clone()))?;
        if meta.diff_id != Some(diff_id) || meta.size_bytes != Some(size_bytes) {
            meta.diff_id = Some(diff_id);
            meta.size_bytes = Some(size_bytes);
            self.write_layer_meta(&meta)?;
        }
        let known = self.merge_known(&KnownLayer {
            layer: Some(id.clone()),
            size_bytes: Some(size_bytes),
            ..KnownLayer::new(diff_id)
        })?;
        let stands = known.layer.unwrap_or_else(|| id.clone());
        self.lease()?.pin(Pin::Layer(&stands))?;
        Ok(stands)
    }

    /// Remembers that a layer, with no time in it later than `clamp_mtime_seconds`, has another diff id, too.
    ///
    /// # Errors
    /// [`LayerError::Missing`] where there is no such layer.
    pub fn set_clamped_diff_id(
        &self,
        id: &LayerId,
        diff_id: DiffId,
        size_bytes: u64,
        clamp_mtime_seconds: i64,
    ) -> Result<(), LayerError> {
        let _inside = self.enter()?;
        self.lease()?.pin(Pin::Diff(&diff_id))?;
        let _lock = self.update()?;
        let mut meta = self.layer_meta(id)?.ok_or_else(|| LayerError::Missing(id.clone()))?;
        let clamped = Clamped { seconds: clamp_mtime_seconds, diff_id };
        if meta.clamped != Some(clamped) {
            meta.clamped = Some(clamped);
            self.write_layer_meta(&meta)?;
        }
        self.merge_known(&KnownLayer {
            layer: Some(id.clone()),
            size_bytes: Some(size_bytes),
            clamp_mtime_seconds: Some(clamp_mtime_seconds),
            ..KnownLayer::new(diff_id)
        })?;
        Ok(())
    }

    /// A layer's own directory. It must not be written, and need not be all of the layer: see
    /// [`Store::layer_dirs`].
    pub fn layer_path(&self, id: &LayerId) -> PathBuf {
        self.layout().layer(id).join("fs")
    }

    /// The directories that make up a layer, bottom first, which overlay takes as they are. They must not be
    /// written.
    ///
    /// # Errors
    /// When the record is damaged or cannot be read.
    pub fn layer_dirs(&self, id: &LayerId) -> Result<Vec<PathBuf>, RecordError> {
        let base = self.layer_meta(id)?.and_then(|meta| meta.base);
        Ok(base.iter().chain([id]).map(|id| self.layer_path(id)).collect())
    }

    /// The file that remembers what a COPY has put into a layer, where there is one.
    pub fn layer_inventory(&self, id: &LayerId) -> PathBuf {
        self.layout().layer(id).join(INVENTORY)
    }

    /// Whether all directories of a layer are there.
    pub(crate) fn has_layer_dirs(&self, id: &LayerId) -> bool {
        match self.layer_dirs(id) {
            Ok(dirs) => dirs.iter().all(|dir| dir.is_dir()),
            Err(_) => self.layer_path(id).is_dir(),
        }
    }

    /// What the store remembers of a layer; `None` where there is no such layer.
    ///
    /// # Errors
    /// When the record is damaged or cannot be read.
    pub fn layer_meta(&self, id: &LayerId) -> Result<Option<LayerMeta>, RecordError> {
        let path = record_path(self.layout(), id);
        let meta: Option<LayerMeta> = record::read(KIND, &path)?;
        match meta {
            Some(meta) if meta.id != *id => {
                Err(RecordError::Damaged { path, reason: "belongs to another layer".to_owned() })
            }
            meta => Ok(meta),
        }
    }

    /// The unpacked layer with a diff id, if the store has one that can be trusted. It is kept until this
    /// process ends.
    ///
    /// # Errors
    /// When a record is damaged or cannot be read.
    pub fn layer_by_diff_id(&self, diff_id: &DiffId) -> Result<Option<LayerId>, LayerError> {
        let Some(id) = self.known_layer(diff_id)?.and_then(|known| known.layer) else { return Ok(None) };
        Ok(self.is_usable(&id)?.then_some(id))
    }

    /// Whether a layer is here and can be trusted. It is kept until this process ends.
    ///
    /// One from an earlier boot that was never synced is verified against its diff id now, once, and
    /// dropped if it is not whole.
    ///
    /// # Errors
    /// When the record cannot be read, or the verification itself failed.
    pub fn is_usable(&self, id: &LayerId) -> Result<bool, LayerError> {
        let meta = self.look_up(&[Pin::Layer(id)], || self.layer_meta(id));
        let meta = match meta {
            Ok(Some(meta)) if self.is_there(&meta) => meta,
            Ok(None) => return Ok(false),
            Ok(Some(_)) => {
                self.drop_layer(id)?;
                return Ok(false);
            }
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "dropping a layer");
                self.drop_layer(id)?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        if self.is_of_this_boot(&meta) {
            return Ok(true);
        }
        if self.verify_layer(id).map_err(Box::new)? == Verdict::Intact {
            self.mark_durable(id)?;
            return Ok(true);
        }
        tracing::info!(%id, "dropping a layer that was not on the disk when the machine stopped");
        self.drop_layer(id)?;
        Ok(false)
    }

    /// Whether a layer is on the disk, or was written since the machine was started.
    pub(crate) fn is_of_this_boot(&self, meta: &LayerMeta) -> bool {
        meta.boot.as_deref().is_none_or(|boot| boot == self.boot())
    }

    /// Whether the directories of a layer are there.
    fn is_there(&self, meta: &LayerMeta) -> bool {
        meta.base.iter().chain([&meta.id]).all(|id| self.layer_path(id).is_dir())
    }

    /// The first of these layers that is not here or cannot be trusted; as [`Store::is_usable`] for each.
    ///
    /// # Errors
    /// When a record cannot be read, or a verification itself failed.
    pub fn first_unusable<'a>(&self, ids: &'a [LayerId]) -> Result<Option<&'a LayerId>, LayerError> {
        for id in ids {
            if !self.is_usable(id)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Removes an unpacked layer, whatever needs it: what else is known under its diff id stays.
    ///
    /// Where a container stands on it, the directory stays for the container, and the store no longer gives
    /// it to others. A layer that holds only the difference to it is found to be incomplete when it is asked for.
    ///
    /// # Errors
    /// When the directory cannot be moved or a record not be written.
    pub fn drop_layer(&self, id: &LayerId) -> Result<(), LayerError> {
        let _inside = self.enter()?;
        let _lock = self.update()?;
        let meta = self.layer_meta(id).ok().flatten();
        let stands_on = |layer: &LayerId| {
            layer == id
                || self
                    .layer_meta(layer)
                    .is_ok_and(|meta| meta.and_then(|meta| meta.base).as_ref() == Some(id))
        };
        let stays = self.containers()?.iter().any(|container| container.all_layers().any(stands_on));
        if !stays {
            self.throw_away(&self.layout().layer(id))?;
        }
        let Some(diff_id) = meta.and_then(|meta| meta.diff_id) else { return Ok(()) };
        if let Some(mut known) = self.read_known(&diff_id)?
            && known.layer.as_ref() == Some(id)
        {
            known.layer = None;
            self.write_known(&known)?;
        }
        Ok(())
    }

    /// The names of all unpacked layers.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn layers(&self) -> Result<Vec<LayerId>, FileError> {
        let top = self.layout().top("layers");
        let mut ids = Vec::new();
        for group in disk::names(&top)? {
            ids.extend(disk::names(&top.join(group))?.iter().filter_map(|name| name.parse().ok()));
        }
        Ok(ids)
    }

    /// Makes all layers durable that this boot wrote so far. It waits for everything the file system has
    /// to write, other people's data too: call it when nobody waits for the result.
    ///
    /// # Errors
    /// When syncing fails or a record cannot be written.
    pub fn sync_layers(&self) -> Result<(), LayerError> {
        let mut unsynced = Vec::new();
        for id in self.layers()? {
            if let Some(meta) = self.layer_meta(&id)?
                && meta.boot.as_deref() == Some(self.boot())
            {
                unsynced.push(id);
            }
        }
        if unsynced.is_empty() {
            return Ok(());
        }
        let root = std::fs::File::open(self.root()).at("opening", self.root())?;
        rustix::fs::syncfs(&root).at("syncing", self.root())?;
        crate::failpoint::all_synced();
        unsynced.iter().try_for_each(|id| self.mark_durable(id))
    }

    /// Remembers that a layer is on the disk.
    pub(crate) fn mark_durable(&self, id: &LayerId) -> Result<(), LayerError> {
        self.change_layer_meta(id, |meta| meta.boot = None)
    }

    /// Changes what is remembered of a layer, if it is still there.
    pub(crate) fn change_layer_meta(
        &self,
        id: &LayerId,
        change: impl FnOnce(&mut LayerMeta),
    ) -> Result<(), LayerError> {
        let _inside = self.enter()?;
        let _lock = self.update()?;
        if let Some(mut meta) = self.layer_meta(id)? {
            change(&mut meta);
            self.write_layer_meta(&meta)?;
        }
        Ok(())
    }

    fn write_layer_meta(&self, meta: &LayerMeta) -> Result<(), RecordError> {
        self.write_record(KIND, &record_path(self.layout(), &meta.id), meta)
    }

    /// Leaves nothing but `fs` and an inventory in a scratch directory.
    fn clear_beside(&self, dir: &Path) -> Result<(), FileError> {
        for name in disk::names(dir)? {
            let path = dir.join(&name);
            // an unused work directory is empty, and gone with one call
            if name == "fs" || name == INVENTORY || std::fs::remove_dir(&path).is_ok() {
                continue;
            }
            // overlay leaves a directory in it that nobody may enter, not even to copy the store
            let emptied = std::fs::remove_dir(path.join("work")).and_then(|()| std::fs::remove_dir(&path));
            if emptied.is_err() {
                self.throw_away(&path)?;
            }
        }
        Ok(())
    }
}

fn record_path(layout: &Layout, id: &LayerId) -> PathBuf {
    layout.layer(id).join("layer")
}
