//! Copying from a view into a layer: the mechanics of COPY, ADD and `cp`.
//!
//! A directory is merged into the one at the destination, links in a source stay links, names that share a
//! file in the source share one in the destination. Small files are copied by several threads, while one
//! walks; large ones by the kernel, holes kept.

mod batch;
mod content;
mod inventory;
mod over;
mod packing;
#[cfg(test)]
mod tests;
mod tree;

use lighter_image::ImagePath;

pub(crate) use content::copy_content;
pub(crate) use inventory::Collector;
pub use inventory::Inventory;
pub use over::{Earlier, copy_over};
use packing::Line;

use crate::chmod::ModeChange;
use crate::entry::{Entry, Kind, Metadata, Timestamp};
use crate::scan::Listing;
use crate::view::{View, ViewError};
use crate::writer::{LayerWriter, NewFolders, WriteError};

/// What a filter says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the tree.
    Keep,
    /// It does not, nor does anything in it.
    Skip,
    /// The directory does not by itself, but something in it may: it is made when that turns up.
    Descend,
}

/// Decides about an entry by its path, relative to where the walk began and without a slash at the start.
pub type Filter<'a> = &'a (dyn Fn(&[u8], bool) -> Verdict + Sync);

/// How entries are copied.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct CopyOptions<'a> {
    /// The owner of everything copied; `None` keeps the source's.
    pub owner: Option<(u32, u32)>,
    /// The owner of directories made on the way; see [`NewFolders::owner`].
    pub folder_owner: Option<(u32, u32)>,
    /// The change of permissions; octal bits hold for directories made on the way too.
    pub mode: Option<&'a ModeChange>,
    /// The time of everything copied; `None` keeps the source's.
    pub mtime: Option<Timestamp>,
    /// Whether extended attributes are kept.
    pub xattrs: bool,
    /// Which entries of a directory are copied; the top one always is.
    pub filter: Option<Filter<'a>>,
    /// Whether a link as the source itself is followed.
    pub follow: bool,
    /// Whether a directory stands for its content, as in COPY, not for itself.
    pub contents: bool,
    /// Whether a directory gives way to something else, and something else to a directory.
    pub replaces: bool,
    /// Whether names that share a file in the source share one in the destination.
    pub links: bool,
    /// Whether the tar stream of the layer is hashed by the way, where nothing else is in it:
    /// [`LayerWriter::finish_packed`] says the outcome. It saves a second look at each file, but the copy of large ones
    /// takes longer.
    pub packs: bool,
    /// What the source was listed as, where it is a directory of the caller's: just that is copied, and the digests of
    /// files that are not known yet are taken by the way. What has changed since makes the copy fail with
    /// [`WriteError::Changed`].
    pub listing: Option<&'a Listing>,
    /// How many threads copy.
    pub threads: usize,
}

impl Default for CopyOptions<'_> {
    /// As `COPY --from` without flags.
    fn default() -> Self {
        Self {
            owner: None,
            folder_owner: None,
            mode: None,
            mtime: None,
            xattrs: true,
            filter: None,
            follow: true,
            contents: true,
            replaces: false,
            links: true,
            packs: false,
            listing: None,
            threads: 2,
        }
    }
}

impl CopyOptions<'_> {
    /// What directories get that are made on the way.
    pub fn new_folders(&self) -> NewFolders {
        let mode_bits = self.mode.map_or(0o755, ModeChange::of_new_folders);
        NewFolders { mode_bits, owner: self.folder_owner }
    }

    /// What a copy of an entry gets.
    pub(crate) fn metadata(&self, entry: &Entry) -> Metadata {
        let (uid, gid) = self.owner.unwrap_or((entry.uid, entry.gid));
        let mode_bits = match self.mode {
            Some(change) => change.apply(entry.mode_bits, entry.is_folder()),
            None => entry.mode_bits,
        };
        Metadata { mode_bits, uid, gid, mtime: self.mtime.unwrap_or(entry.mtime), xattrs: Vec::new() }
    }
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Entries that are no directories.
    pub files: u64,
    /// Directories, without those made on the way.
    pub folders: u64,
    /// The content of files.
    pub size_bytes: u64,
}

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The path in the image.
    pub path: ImagePath,
    /// Whether it is a directory even if nothing is there yet: it ended in a slash, or takes several sources.
    pub is_folder: bool,
}

/// Copies what is at `source` in `from` to a destination in a layer.
///
/// # Errors
/// [`WriteError::View`] with [`ViewError::Missing`] when there is nothing at the source;
/// [`WriteError::NotFolder`] and [`WriteError::IsFolder`] when the kinds do not go together.
pub fn copy(
    from: &View,
    source: &ImagePath,
    to: &LayerWriter,
    destination: &Destination,
    options: &CopyOptions<'_>,
) -> Result<Copied, WriteError> {
    let missing = || ViewError::Missing { path: source.clone() };
    let (real, entry) = if options.follow {
        from.resolve(source)?.ok_or_else(missing)?
    } else {
        (from.canonical_parent(source)?, from.lookup(source)?.ok_or_else(missing)?)
    };
    if entry.kind == Kind::Socket {
        return Ok(Copied::default());
    }
    let target = prepare(source, &entry, to, destination, options)?;
    let threads = if entry.is_folder() { options.threads } else { 1 };
    let mut job = tree::Job::new(to, CopyOptions { threads, ..*options });
    if entry.is_folder() {
        let slot = to.slot(&target, options.new_folders())?;
        let metadata = options.metadata(&entry);
        to.touch(&slot, metadata.mtime);
        let folder = from.folder(&real)?;
        let line = if options.packs { Line::start(to, &target)? } else { None };
        job.run(line, |job| job.folder(folder, slot, &real))
    } else {
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(WriteError::IsFolder { path: target });
        };
        let slot = to.slot(&parent, options.new_folders())?;
        let (Some(source_parent), Some(source_name)) = (real.parent(), real.file_name()) else {
            return Err(missing().into());
        };
        let folder = from.folder(&source_parent)?;
        let fail = |error| WriteError::View(ViewError::io(source, error));
        let found = folder.find(source_name).map_err(fail)?.ok_or_else(missing)?;
        job.run(None, |job| job.single(&folder, (source_name, found), &slot, name))
    }
}

/// Makes the directories that the destination needs, and says where exactly the copy goes.
fn prepare(
    source: &ImagePath,
    entry: &Entry,
    to: &LayerWriter,
    destination: &Destination,
    options: &CopyOptions<'_>,
) -> Result<ImagePath, WriteError> {
    let new = options.new_folders();
    let path = &destination.path;
    if destination.is_folder {
        to.make_folders(path, new)?;
    } else if let Some(parent) = path.parent() {
        to.make_folders(&parent, new)?;
    }
    let view = to.view();
    let real = view.canonical(path)?;
    let there = view.lookup(&real)?;
    let into_folder = there.as_ref().is_some_and(Entry::is_folder);
    let keeps_name = if entry.is_folder() { !options.contents && into_folder } else { into_folder };
    match source.file_name() {
        Some(name) if keeps_name => {
            // A name that is already there is replaced or merged into, never followed.
            Ok(real.join(name))
        }
        _ if entry.is_folder() && there.is_some() && !into_folder => {
            Err(WriteError::NotFolder { path: real })
        }
        _ => Ok(real),
    }
}
