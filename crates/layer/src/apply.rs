//! Unpacking tar streams into a layer: received layers, and the archives of ADD, `import` and `cp`.
//!
//! A stream may come from anyone. Names are taken apart here, parents are looked up in the merged tree below
//! a root, and every call names a single component of an open directory: there is no path for the kernel to
//! be led astray by.

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::Path;

use lighter_image::{DiffId, ImagePath};
use rustix::fs::AtFlags;

use crate::archive::{ArchiveError, Member, MemberKind, Reader};
use crate::dirfd;
use crate::entry::{Kind, Metadata, Timestamp};
use crate::place;
use crate::policy::Policy;
use crate::stream::HashingReader;
use crate::view::{View, ViewError};
use crate::writer::{LayerWriter, NewFolders, Slot, WriteError};

/// What the name of a removal begins with.
///
/// # Source
/// OCI image-spec, layer.md, "Whiteouts".
const MARK: &[u8] = b".wh.";

/// Why a tar stream could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The stream is no sound archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The layer could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A member's name leads out of the root.
    #[error("archive member `{path}` points outside the root")]
    Escapes {
        /// The name as it is in the archive.
        path: String,
    },
    /// A hard link names nothing that is there.
    #[error("hard link `{path}` names `{target}`, which is no file of the archive or below it")]
    Link {
        /// The link.
        path: ImagePath,
        /// What it names.
        target: String,
    },
    /// A folder is not to give way to something else, nor something else to a folder.
    #[error("cannot overwrite {there} {path:?} with {new} {base:?}")]
    OtherKind {
        /// What is there.
        there: &'static str,
        /// The name as it is in the archive.
        path: String,
        /// What would come.
        new: &'static str,
        /// Where the archive is unpacked.
        base: String,
    },
    /// What becomes of it depends on the layers below, which are not known.
    #[error("archive member `{path}` depends on the layers below")]
    NeedsBelow {
        /// The name as it is in the archive.
        path: String,
    },
    /// A removal that names nothing sensible.
    #[error("whiteout `{path}` is malformed")]
    Whiteout {
        /// The name as it is in the archive.
        path: String,
    },
}

impl From<ViewError> for ApplyError {
    fn from(error: ViewError) -> Self {
        Self::Write(error.into())
    }
}

/// How a layer is unpacked.
#[derive(Clone)]
pub struct ApplyOptions {
    /// The layers below, for links to their files and the metadata of directories that the stream leaves out.
    pub below: View,
    /// How the layer directory is written.
    pub policy: Policy,
    /// The time of directories that are nowhere described.
    pub now: Timestamp,
    /// Whether `below` is empty only because it is not known yet: then [`ApplyError::NeedsBelow`] where it matters, and
    /// [`inherit_root`] is to be called at the end.
    pub alone: bool,
}

impl Default for ApplyOptions {
    /// Nothing below.
    fn default() -> Self {
        let (below, now) = (View::empty(), Timestamp::default());
        Self { below, policy: Policy::of_process(), now, alone: false }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The digest of the stream, to its very end.
    pub diff_id: DiffId,
    /// The length of the stream.
    pub size_bytes: u64,
    /// How many members it had.
    pub members: u64,
    /// Whether the root was one of them.
    pub has_root: bool,
}

/// Unpacks a layer's uncompressed tar stream into a new, empty directory, in overlay form.
///
/// The stream is read once and to its end, and hashed on the way; comparing the diff id is the caller's duty.
///
/// # Errors
/// [`ApplyError`]; what was written until then is to be thrown away.
/// # Source
/// OCI image-spec, `layer.md`, "Applying Changesets".
pub fn apply(tar: impl Read, into: &Path, options: &ApplyOptions) -> Result<Applied, ApplyError> {
    let writer = LayerWriter::open_as(into, options.below.clone(), options.now, options.policy)?;
    let mut reader = Reader::new(HashingReader::new(tar));
    let style = ExtractOptions { whiteouts: true, ..ExtractOptions::default() };
    let mut unpacker = Unpacker { alone: options.alone, ..Unpacker::new(&writer, ImagePath::root(), style) };
    let members = unpacker.run(&mut reader)?;
    let has_root = unpacker.has_root;
    reader.drain()?;
    let (digest, size_bytes) = reader.into_inner().finish().map_err(ArchiveError::from)?;
    writer.finish()?;
    Ok(Applied { diff_id: DiffId(digest), size_bytes, members, has_root })
}

/// Gives the root of a layer that was unpacked alone what it has from below, if the layer itself says nothing of it.
///
/// # Errors
/// [`WriteError`] where the directory cannot be opened or changed.
pub fn inherit_root(layer: &Path, applied: &Applied, options: &ApplyOptions) -> Result<(), WriteError> {
    if applied.has_root {
        return Ok(());
    }
    let writer = LayerWriter::open_as(layer, options.below.clone(), options.now, options.policy)?;
    writer.style_root().map_err(|source| WriteError::Layer { path: layer.to_owned(), source })?;
    writer.finish()
}

/// How an archive is unpacked.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractOptions {
    /// The owner of everything unpacked and made; `None` keeps the archive's.
    pub owner: Option<(u32, u32)>,
    /// Whether `.wh.` files remove, and the root's own entry counts: so in layers, not in archives.
    pub whiteouts: bool,
    /// Whether folders stay folders, and what is none does not become one: so where users copy files.
    pub keep_kinds: bool,
}

/// What was unpacked from an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// How many members it had.
    pub members: u64,
}

/// Unpacks an uncompressed tar stream below a directory of a layer, which is made if need be.
///
/// # Errors
/// [`ApplyError`]; what was written until then stays in the layer.
pub fn extract_archive(
    tar: impl Read,
    to: &LayerWriter,
    destination: &ImagePath,
    options: &ExtractOptions,
) -> Result<Extracted, ApplyError> {
    let real = to.make_folders(destination, NewFolders { owner: options.owner, ..NewFolders::default() })?;
    let mut reader = Reader::new(tar);
    let members = Unpacker::new(to, real, *options).run(&mut reader)?;
    Ok(Extracted { members })
}

/// Whether a stream, once decompressed, begins like a tar archive.
pub fn is_archive(stream: impl Read) -> bool {
    matches!(Reader::new(stream).next_member(), Ok(Some(_)) | Err(ArchiveError::Type { .. }))
}

/// Puts members where they belong.
struct Unpacker<'a> {
    to: &'a LayerWriter,
    base: ImagePath,
    options: ExtractOptions,
    /// Whether removals are also about what the layer has itself: it stands for several, and this is a later one.
    over: bool,
    /// The directory of the last member: its path in the archive, and where that is.
    last: Option<(Vec<u8>, Slot)>,
    /// Whether what is below is not known.
    alone: bool,
    has_root: bool,
}

/// A member's place: its directory, opened, and its name there.
struct Place {
    slot: Slot,
    name: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    fn new(to: &'a LayerWriter, base: ImagePath, options: ExtractOptions) -> Self {
        Self { to, base, options, over: false, last: None, alone: false, has_root: false }
    }

    fn run<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<u64, ApplyError> {
        let mut members = 0;
        while let Some(member) = reader.next_member()? {
            members += 1;
            self.unpack(member, reader)?;
        }
        Ok(members)
    }

    fn unpack<R: Read>(&mut self, mut member: Member, reader: &mut Reader<R>) -> Result<(), ApplyError> {
        if let Some((uid, gid)) = self.options.owner {
            (member.metadata.uid, member.metadata.gid) = (uid, gid);
        }
        if !self.options.whiteouts {
            as_docker_unpacks(&mut member.metadata);
        }
        dirfd::check_length(&member.path).map_err(|error| WriteError::io(&member.path, error))?;
        let parts = parts(&member.path).ok_or_else(|| ApplyError::Escapes { path: text(&member.path) })?;
        let Some((name, parents)) = parts.split_last() else {
            return self.root(&member);
        };
        let Some(slot) = self.parent(parents, &member)? else { return Ok(()) };
        if self.options.whiteouts && name.starts_with(MARK) {
            return self.mark(&slot, &name[MARK.len()..], &member.path);
        }
        let place = Place { slot, name: name.to_vec() };
        if self.options.keep_kinds {
            self.check_kind(&place, &member)?;
        }
        match member.kind {
            MemberKind::Entry(Kind::Folder) => self.folder(&place, &member.metadata),
            MemberKind::HardLink => self.hard_link(&place, &member),
            MemberKind::Entry(kind) => {
                self.clear(&place)?;
                let fail = |error| WriteError::io(&place.path(), error);
                let (slot, name, placer) = (&place.slot, &place.name, self.to.placer);
                match kind {
                    Kind::Link => {
                        placer.make_link(&slot.upper, name, &member.link, &member.metadata).map_err(fail)?;
                    }
                    Kind::File => {
                        let mode_bits = member.metadata.mode_bits;
                        let file = place::create_file(&slot.upper, name, mode_bits).map_err(fail)?;
                        reader.copy_content(&file)?.map_err(fail)?;
                        placer.finish_file(&file, &member.metadata).map_err(fail)?;
                    }
                    kind => {
                        let node = (kind, member.device);
                        placer.make_node(&slot.upper, name, node, &member.metadata).map_err(fail)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn check_kind(&self, place: &Place, member: &Member) -> Result<(), ApplyError> {
        let name = |is_folder| if is_folder { "directory" } else { "non-directory" };
        let comes_folder = member.kind == MemberKind::Entry(Kind::Folder);
        match place.slot.state(&place.name)? {
            Some(there) if there.is_folder() != comes_folder => Err(ApplyError::OtherKind {
                there: name(there.is_folder()),
                path: text(&member.path).trim_end_matches('/').to_owned(),
                new: name(comes_folder),
                base: self.base.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// A layer may describe its root; an archive's root is the directory it is unpacked in, as that is.
    fn root(&mut self, member: &Member) -> Result<(), ApplyError> {
        if self.options.whiteouts && member.kind == MemberKind::Entry(Kind::Folder) {
            self.has_root = true;
            self.to.restyle(&self.to.root_slot(), &member.metadata)?;
        }
        Ok(())
    }

    /// Opens the directory that a member is in; what is missing is made. `None` where nothing of a layer can be.
    fn parent(&mut self, parents: &[&[u8]], member: &Member) -> Result<Option<Slot>, ApplyError> {
        let path = parents.join(&b'/');
        if let Some((last, slot)) = &self.last
            && *last == path
        {
            return Ok(Some(slot.clone()));
        }
        let real = self.to.view().canonical_within(&self.base, &path, true)?;
        if self.options.whiteouts
            && let Some(mark) = real.components().find(|part| part.starts_with(MARK))
        {
            return below_mark(mark, &member.path).map(|()| None);
        }
        if self.alone && self.to.view().lookup(&real)?.is_none() {
            return Err(ApplyError::NeedsBelow { path: text(&member.path) });
        }
        // what the archive does not tell of is root's, whoever owns what it tells of
        let slot = self.to.slot(&real, NewFolders::default())?;
        self.last = Some((path, slot.clone()));
        Ok(Some(slot))
    }

    /// Removes what the archive put, or an earlier one, under a name.
    fn clear(&mut self, place: &Place) -> Result<(), ApplyError> {
        let fail = |error| WriteError::io(&place.path(), error);
        let Some(entry) = dirfd::stat(&place.slot.upper, &place.name).map_err(fail)? else { return Ok(()) };
        if matches!(entry.kind, Kind::Folder | Kind::Link) {
            // The way to the last directory may have led through it.
            self.last = None;
        }
        Ok(place.slot.drop_upper(&place.name)?)
    }

    fn folder(&mut self, place: &Place, metadata: &Metadata) -> Result<(), ApplyError> {
        let there = place.slot.state(&place.name)?;
        if there.is_some_and(|entry| !entry.is_folder()) {
            self.last = None;
            let made = self.to.replace_by_folder(&place.slot, &place.name, metadata)?;
            // what was replaced had hidden a folder below
            if self.over && place.slot.hides_folder(&place.name)? {
                let fail = |error| WriteError::io(&made.path, error);
                self.to.placer.make_opaque(&made.upper).map_err(fail)?;
            }
            return Ok(());
        }
        let (slot, new) = self.to.enter(&place.slot, &place.name, metadata)?;
        if !new {
            self.to.restyle(&slot, metadata)?;
        }
        Ok(())
    }

    fn hard_link(&mut self, place: &Place, member: &Member) -> Result<(), ApplyError> {
        let path = || ImagePath::new(place.path());
        let alone = self.alone;
        let missing = || {
            if alone {
                return ApplyError::NeedsBelow { path: text(&member.path) };
            }
            ApplyError::Link { path: path(), target: text(&member.link) }
        };
        let parts = parts(&member.link).ok_or_else(|| ApplyError::Escapes { path: text(&member.link) })?;
        let real = self.to.view().canonical_within(&self.base, &parts.join(&b'/'), false)?;
        let (Some(folder), Some(name)) = (real.parent(), real.file_name()) else { return Err(missing()) };
        let is_file = match self.to.view().lookup(&real)? {
            Some(entry) if !entry.is_folder() => entry.kind == Kind::File,
            _ => return Err(missing()),
        };
        let from = self.to.slot(&folder, NewFolders::default())?;
        self.to.copy_up(&from, name)?;
        if from.path == place.slot.path && name == place.name {
            return Ok(());
        }
        self.clear(place)?;
        let fail = |error| WriteError::io(&place.path(), error);
        rustix::fs::linkat(&from.upper, name, &place.slot.upper, &*place.name, AtFlags::empty())
            .map_err(|error| fail(error.into()))?;
        if is_file {
            // the last word on a file counts, whichever of its names it comes with
            self.to.placer.restyle_file(&place.slot.upper, &place.name, &member.metadata).map_err(fail)?;
        }
        Ok(())
    }

    /// Removes what is below: one name, or all of a directory.
    fn mark(&mut self, slot: &Slot, name: &[u8], path: &[u8]) -> Result<(), ApplyError> {
        let fail = |error| WriteError::io(&slot.path, error);
        match name {
            b".wh..opq" if self.over => return self.empty(slot),
            b".wh..opq" => {
                // what was kept of the last directory still shows what is hidden now
                self.last = None;
                return Ok(self.to.placer.make_opaque(&slot.upper).map_err(fail)?);
            }
            // Bookkeeping of AUFS, which means nothing here.
            _ if name.starts_with(MARK) => return Ok(()),
            b"" | b"." | b".." => return Err(ApplyError::Whiteout { path: text(path) }),
            _ if self.over => {
                self.last = None;
                return Ok(slot.remove(name)?);
            }
            _ => {}
        }
        match dirfd::stat(&slot.upper, name).map_err(fail)? {
            // A layer's removals are about what is below it, not about what it has itself.
            Some(entry) if entry.is_folder() => {
                let folder = dirfd::open_folder(&slot.upper, name).map_err(|error| fail(error.into()))?;
                self.last = None;
                Ok(self.to.placer.make_opaque(folder).map_err(fail)?)
            }
            Some(_) => Ok(()),
            None => Ok(place::make_whiteout(&slot.upper, name).map_err(fail)?),
        }
    }
}

impl Unpacker<'_> {
    /// Removes all that a directory has, here and below.
    fn empty(&mut self, slot: &Slot) -> Result<(), ApplyError> {
        let fail = |error| WriteError::io(&slot.path, error);
        self.last = None;
        for name in dirfd::names(&slot.upper).map_err(fail)? {
            slot.drop_upper(&name)?;
        }
        if !slot.is_blank()? {
            self.to.placer.make_opaque(&slot.upper).map_err(fail)?;
        }
        Ok(())
    }
}

/// What is in a folder whose name is a mark: nothing that a layer can hold, since the folder itself could not be told
/// from the removal of another. Only AUFS has left such folders, for its own use.
fn below_mark(mark: &[u8], path: &[u8]) -> Result<(), ApplyError> {
    if mark[MARK.len()..].starts_with(MARK) { Ok(()) } else { Err(ApplyError::Whiteout { path: text(path) }) }
}

/// Unpacks the stream of a layer into one that holds those below it already: the two become one.
pub(crate) fn apply_over(tar: impl Read, to: &LayerWriter) -> Result<(), ApplyError> {
    let mut reader = Reader::new(tar);
    let style = ExtractOptions { whiteouts: true, ..ExtractOptions::default() };
    let mut unpacker = Unpacker::new(to, ImagePath::root(), style);
    unpacker.over = true;
    unpacker.run(&mut reader)?;
    Ok(reader.drain()?)
}

impl Place {
    fn path(&self) -> Vec<u8> {
        self.slot.path_of(&self.name)
    }
}

/// What Docker takes of the metadata in an archive that is no layer: capabilities, and times that fit into 64 bits of
/// nanoseconds.
fn as_docker_unpacks(metadata: &mut Metadata) {
    metadata.xattrs.retain(|(name, _)| name == b"security.capability");
    if !(0..=i64::MAX / 1_000_000_000).contains(&metadata.mtime.seconds) {
        metadata.mtime = Timestamp::default();
    }
}

/// The parts of a member's name, cleaned; `None` where it leads out. An absolute name is taken as one of the
/// root, out of which nothing leads.
fn parts(path: &[u8]) -> Option<Vec<&[u8]>> {
    let absolute = path.first() == Some(&b'/');
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() && !absolute {
                    return None;
                }
            }
            name => parts.push(name),
        }
    }
    Some(parts)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
