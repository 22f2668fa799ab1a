//! Writing a new layer on top of a view.
//!
//! What is written goes into one directory in overlay form, never into the layers below. A directory that is
//! only below is made anew with its metadata as soon as something in it changes; what is removed leaves a
//! whiteout. Paths are resolved in the merged tree, so a link of the image leads to where it leads in the
//! image.

mod slot;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lighter_image::ImagePath;
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::copy::copy_content;
use crate::dirfd;
use crate::entry::{Kind, Metadata, Timestamp};
use crate::pack::Packed;
use crate::place::{self, Placer};
use crate::policy::Policy;
use crate::view::{View, ViewError};
pub(crate) use slot::Slot;

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The tree below, or the source, could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The file system refused.
    #[error("writing `{path}`")]
    Io {
        /// The path inside the image.
        path: ImagePath,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What is copied is no longer what it was listed as.
    #[error("`{path}` has changed since it was listed")]
    Changed {
        /// The path inside the image.
        path: ImagePath,
    },
    /// The directory of the new layer is not usable.
    #[error("layer directory `{}`", path.display())]
    Layer {
        /// The directory on the host.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A directory is wanted where something else is.
    #[error("cannot copy to non-directory: {path}")]
    NotFolder {
        /// The path inside the image.
        path: ImagePath,
    },
    /// Something else is to be written where a directory is.
    #[error("cannot replace directory {path} with a file")]
    IsFolder {
        /// The path inside the image.
        path: ImagePath,
    },
}

impl WriteError {
    pub(crate) fn io(path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Io { path: ImagePath::new(path), source: source.into() }
    }
}

/// The bit of directories whose group new entries get.
const SETGID: u32 = 0o2000;

/// Who owns what is made on the way, and its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewFolders {
    /// Permissions. In a setgid directory they are setgid, too.
    pub mode_bits: u32,
    /// User and group; `None` for root, and the group of a setgid directory in it.
    pub owner: Option<(u32, u32)>,
}

impl Default for NewFolders {
    /// 0755, nobody's in particular.
    fn default() -> Self {
        Self { mode_bits: 0o755, owner: None }
    }
}

/// Writes a new layer on top of a view.
///
/// It can be shared between threads, but two threads must not write below the same path. Call
/// [`LayerWriter::finish`] at the end: only then have directories their times.
pub struct LayerWriter {
    root: Arc<OwnedFd>,
    below: View,
    pub(crate) placer: Placer,
    now: Timestamp,
    pending: Mutex<HashMap<Vec<u8>, Pending>>,
    /// What is known of the layer's tar stream, until something else is written.
    packed: Mutex<Option<Packed>>,
}

/// What a directory gets when nothing is made in it any more.
struct Pending {
    mode_bits: u32,
    mtime: Timestamp,
}

impl LayerWriter {
    /// Starts to write into an existing, usually empty, directory.
    ///
    /// `now` is the time that newly made directories get.
    ///
    /// # Errors
    /// [`WriteError::Layer`] when the directory cannot be opened.
    pub fn open(layer: &Path, below: View, now: Timestamp) -> Result<Self, WriteError> {
        Self::open_as(layer, below, now, Policy::of_process())
    }

    /// Starts to write under a policy.
    ///
    /// # Errors
    /// [`WriteError::Layer`] when the directory cannot be opened.
    pub fn open_as(layer: &Path, below: View, now: Timestamp, policy: Policy) -> Result<Self, WriteError> {
        let fail = |source| WriteError::Layer { path: layer.to_owned(), source };
        let root = Arc::new(dirfd::open_root(layer).map_err(fail)?);
        let (placer, pending, packed) = (Placer::new(policy), Mutex::default(), Mutex::default());
        let writer = Self { root, below, placer, now, pending, packed };
        if dirfd::names(&writer.root).map_err(fail)?.is_empty() {
            writer.style_root().map_err(fail)?;
        }
        Ok(writer)
    }

    /// Starts to write into a plain directory of the host: nothing is below it, its own metadata stays.
    ///
    /// # Errors
    /// [`WriteError::Layer`] when the directory cannot be opened.
    pub fn plain(directory: &Path) -> Result<Self, WriteError> {
        let fail = |source| WriteError::Layer { path: directory.to_owned(), source };
        let root = Arc::new(dirfd::open_root(directory).map_err(fail)?);
        let placer = Placer::new(Policy::of_process());
        let (now, pending, packed) = (Timestamp::default(), Mutex::default(), Mutex::default());
        Ok(Self { root, below: View::empty(), placer, now, pending, packed })
    }

    /// The root of a new layer is what the root below is.
    pub(crate) fn style_root(&self) -> io::Result<()> {
        let folder = self.below.root();
        let metadata = Metadata::of(&folder.entry()?, folder.own_xattrs()?);
        self.placer.restyle_folder(&self.root, &metadata)?;
        self.later(b"", &metadata);
        Ok(())
    }

    /// Makes the top directory what a directory elsewhere is: its owner, mode, time and attributes.
    ///
    /// # Errors
    /// [`WriteError::View`] where there is no such directory, [`WriteError::Io`] where the top cannot be changed.
    pub fn style_root_as(&self, from: &View, path: &ImagePath) -> Result<(), WriteError> {
        let folder = from.folder(path)?;
        let fail = |source| WriteError::View(ViewError::io(path, source));
        let metadata = Metadata::of(&folder.entry().map_err(fail)?, folder.own_xattrs().map_err(fail)?);
        self.restyle(&self.root_slot(), &metadata)
    }

    /// What the image is with what has been written so far.
    pub fn view(&self) -> View {
        self.below.with_top(Arc::clone(&self.root), self.placer.policy)
    }

    /// Makes a directory and those it needs; links are followed, existing directories stay as they are.
    ///
    /// Returns the real path.
    ///
    /// # Errors
    /// [`WriteError::NotFolder`] when something else is in the way.
    pub fn make_folders(&self, path: &ImagePath, new: NewFolders) -> Result<ImagePath, WriteError> {
        let real = self.view().canonical(path)?;
        self.slot(&real, new)?;
        Ok(real)
    }

    /// Removes what is at a path, itself no matter what it is, and all that is in it; nothing there is fine.
    ///
    /// # Errors
    /// [`WriteError::Io`] and [`WriteError::View`].
    pub fn remove(&self, path: &ImagePath) -> Result<(), WriteError> {
        let real = self.view().canonical_parent(path)?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else { return Ok(()) };
        if self.view().lookup(&real)?.is_none() {
            return Ok(());
        }
        let slot = self.slot(&parent, NewFolders::default())?;
        slot.remove(name)
    }

    /// Writes a small file; links are followed, and parents are made as `new` says.
    ///
    /// # Errors
    /// [`WriteError::IsFolder`] when a directory is at the path.
    pub fn write_file(
        &self,
        path: &ImagePath,
        content: &[u8],
        metadata: &Metadata,
        new: NewFolders,
    ) -> Result<(), WriteError> {
        let real = self.view().canonical(path)?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(WriteError::IsFolder { path: real });
        };
        let slot = self.slot(&parent, new)?;
        slot.vacate(name)?;
        let fail = |error: io::Error| WriteError::io(real.as_bytes(), error);
        let file = place::create_file(&slot.upper, name, metadata.mode_bits).map_err(fail)?;
        let mut file = std::fs::File::from(file);
        file.write_all(content).map_err(fail)?;
        self.placer.finish_file(&file, metadata).map_err(fail)
    }

    /// Gives the directories their times; the layer is whole then.
    ///
    /// # Errors
    /// [`WriteError::Io`] when a directory cannot be changed.
    pub fn finish(self) -> Result<(), WriteError> {
        self.finish_packed().map(drop)
    }

    /// The same, and says what [`crate::pack()`] makes of the layer, where that is known already: see
    /// [`crate::CopyOptions::packs`].
    ///
    /// # Errors
    /// As for [`LayerWriter::finish`].
    pub fn finish_packed(self) -> Result<Option<Packed>, WriteError> {
        let packed = self.packed.into_inner().unwrap_or_else(PoisonError::into_inner);
        // the file system must keep what directories are given
        let mut is_exact = true;
        let mut pending: Vec<_> =
            self.pending.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect();
        pending.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        for (path, folder) in pending {
            let fail = |error: io::Error| WriteError::io(&path, error);
            let fd = match dirfd::open_folder_below(&self.root, &path) {
                Ok(fd) => fd,
                // Removed or replaced since.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(fail(error.into())),
            };
            if folder.mode_bits & SETGID != 0 {
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(folder.mode_bits))
                    .map_err(|error| fail(error.into()))?;
            }
            place::set_times(&fd, folder.mtime).map_err(fail)?;
            let kept = dirfd::stat_fd(&fd).map_err(fail)?;
            is_exact &= (kept.mode_bits, kept.mtime) == (folder.mode_bits, folder.mtime);
        }
        Ok(packed.filter(|_| is_exact))
    }

    /// The mode and the time that a directory has in the end.
    pub(crate) fn promised(&self, path: &[u8]) -> Option<(u32, Timestamp)> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.get(path).map(|folder| (folder.mode_bits, folder.mtime))
    }

    /// Notes what a directory gets in the end.
    pub(crate) fn later(&self, path: &[u8], metadata: &Metadata) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Pending { mode_bits: metadata.mode_bits, mtime: metadata.mtime };
        pending.insert(path.to_vec(), folder);
    }

    /// What a directory that is made on the way gets: of a setgid directory, what `mkdir` inherits.
    fn new_folder(&self, parent: &Slot, new: NewFolders) -> Result<Metadata, WriteError> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let inherits = pending.get(&parent.path).is_some_and(|folder| folder.mode_bits & SETGID != 0);
        drop(pending);
        let (mut mode_bits, (uid, mut gid)) = (new.mode_bits, new.owner.unwrap_or_default());
        if inherits {
            mode_bits |= SETGID;
            if new.owner.is_none() {
                let entry = dirfd::stat_fd(&parent.upper);
                gid = entry.map_err(|error| WriteError::io(&parent.path, error))?.gid;
            }
        }
        Ok(Metadata { mode_bits, uid, gid, mtime: self.now, xattrs: Vec::new() })
    }

    /// Keeps what is known of the tar stream of a layer in which everything is written.
    pub(crate) fn set_packed(&self, packed: Option<Packed>) {
        *self.packed.lock().unwrap_or_else(PoisonError::into_inner) = packed;
    }

    pub(crate) fn root_slot(&self) -> Slot {
        self.set_packed(None);
        Slot { path: Vec::new(), upper: Arc::clone(&self.root), lower: Some(self.below.root()), new: false }
    }

    /// Opens a directory for writing, by its real path; what is missing is made.
    pub(crate) fn slot(&self, real: &ImagePath, new: NewFolders) -> Result<Slot, WriteError> {
        let mut slot = self.root_slot();
        for name in real.components() {
            let metadata = self.new_folder(&slot, new)?;
            slot = self.enter(&slot, name, &metadata)?.0;
        }
        Ok(slot)
    }

    /// Opens a directory of a directory for writing; makes it where there is none, and says so.
    pub(crate) fn enter(
        &self,
        slot: &Slot,
        name: &[u8],
        metadata: &Metadata,
    ) -> Result<(Slot, bool), WriteError> {
        let path = slot.path_of(name);
        let fail = |error: io::Error| WriteError::io(&path, error);
        let lower = |slot: &Slot| match &slot.lower {
            None => Ok(None),
            Some(lower) => lower.find(name).map(|found| found.map(|found| (lower.clone(), found))),
        };
        let mut hidden = false;
        match dirfd::stat(&slot.upper, name).map_err(fail)? {
            Some(entry) if entry.is_whiteout() => {
                place::remove(&slot.upper, name, &entry).map_err(fail)?;
                hidden = true;
            }
            Some(entry) if entry.is_folder() => {
                let upper = dirfd::open_folder(&slot.upper, name).map_err(|error| fail(error.into()))?;
                let below = if slot.lower.is_none() || self.placer.is_opaque(&upper) {
                    None
                } else {
                    lower(slot).map_err(fail)?.filter(|(_, found)| found.entry.is_folder())
                };
                let below = below.map(|(lower, found)| lower.open_folder(name, &found));
                let lower = below.transpose().map_err(fail)?;
                return Ok((Slot { path, upper: Arc::new(upper), lower, new: false }, false));
            }
            Some(_) => return Err(WriteError::NotFolder { path: ImagePath::new(path) }),
            None => {}
        }
        let below = if hidden { None } else { lower(slot).map_err(fail)? };
        if let Some((lower, found)) = below {
            if !found.entry.is_folder() {
                return Err(WriteError::NotFolder { path: ImagePath::new(path) });
            }
            let xattrs = lower.xattrs(name, &found).map_err(fail)?;
            let metadata = Metadata::of(&found.entry, xattrs);
            let upper = self.make(slot, name, &metadata)?;
            let lower = lower.open_folder(name, &found).map_err(fail)?;
            return Ok((Slot { path, upper, lower: Some(lower), new: false }, false));
        }
        let upper = self.make(slot, name, metadata)?;
        if hidden {
            self.placer.make_opaque(&upper).map_err(fail)?;
        }
        Ok((Slot { path, upper, lower: None, new: true }, true))
    }

    /// Makes a directory where something else is.
    pub(crate) fn replace_by_folder(
        &self,
        slot: &Slot,
        name: &[u8],
        metadata: &Metadata,
    ) -> Result<Slot, WriteError> {
        slot.drop_upper(name)?;
        let upper = self.make(slot, name, metadata)?;
        Ok(Slot { path: slot.path_of(name), upper, lower: None, new: true })
    }

    /// Brings a file or link of a layer below into this one, as it is.
    pub(crate) fn copy_up(&self, slot: &Slot, name: &[u8]) -> Result<(), WriteError> {
        let fail = |error: io::Error| WriteError::io(&slot.path_of(name), error);
        if dirfd::stat(&slot.upper, name).map_err(fail)?.is_some() {
            return Ok(());
        }
        let Some(lower) = &slot.lower else { return Ok(()) };
        let Some(found) = lower.find(name).map_err(fail)? else { return Ok(()) };
        let entry = &found.entry;
        let metadata = Metadata::of(entry, lower.xattrs(name, &found).map_err(fail)?);
        match entry.kind {
            Kind::File => {
                let source = lower.open_file(name, &found).map_err(fail)?;
                let file = place::create_file(&slot.upper, name, entry.mode_bits).map_err(fail)?;
                copy_content(&source, &file, entry, &mut vec![0; 128 * 1024]).map_err(fail)?;
                self.placer.finish_file(&file, &metadata).map_err(fail)
            }
            Kind::Link => {
                let target = lower.read_link(name, &found).map_err(fail)?;
                self.placer.make_link(&slot.upper, name, &target, &metadata).map_err(fail)
            }
            kind => {
                let node = (kind, entry.device);
                self.placer.make_node(&slot.upper, name, node, &metadata).map_err(fail)
            }
        }
    }

    fn make(&self, slot: &Slot, name: &[u8], metadata: &Metadata) -> Result<Arc<OwnedFd>, WriteError> {
        let path = slot.path_of(name);
        let upper = self
            .placer
            .make_folder(&slot.upper, name, metadata)
            .map_err(|error| WriteError::io(&path, error))?;
        self.later(&path, metadata);
        Ok(Arc::new(upper))
    }

    /// Opens a directory of this layer by its path in it.
    pub(crate) fn upper_folder(&self, path: &[u8]) -> Result<OwnedFd, WriteError> {
        dirfd::open_folder_below(&self.root, path).map_err(|error| WriteError::io(path, error))
    }

    /// Gives a directory that was there already new metadata.
    pub(crate) fn restyle(&self, slot: &Slot, metadata: &Metadata) -> Result<(), WriteError> {
        let styled = self.placer.restyle_folder(&slot.upper, metadata);
        styled.map_err(|error| WriteError::io(&slot.path, error))?;
        self.later(&slot.path, metadata);
        Ok(())
    }

    /// Gives a directory another time, and leaves the rest as it is.
    pub(crate) fn touch(&self, slot: &Slot, mtime: Timestamp) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = pending.get_mut(&slot.path) {
            folder.mtime = mtime;
        }
    }
}

impl std::fmt::Debug for LayerWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerWriter").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Gives a new, empty layer directory the metadata of the root below it, as a mount needs it.
///
/// # Errors
/// [`WriteError::Layer`] when the directory cannot be opened or changed.
pub fn prepare_root(layer: &Path, below: &View) -> Result<(), WriteError> {
    LayerWriter::open(layer, below.clone(), Timestamp::default())?.finish()
}
