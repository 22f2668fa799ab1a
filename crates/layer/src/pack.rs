//! Writing a layer directory as a tar stream.
//!
//! The stream is a function of the directory: the same tree gives the same bytes, on any host and at any time.
//! Hence nothing needs to be stored as tar: the stream is made again whenever a blob is wanted.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lighter_image::{DiffId, Hasher, ImagePath};

use crate::archive::{Member, MemberKind, Writer};
use crate::dirfd;
use crate::entry::{Entry, Inode, Kind, Metadata, Timestamp};
use crate::policy::Policy;
use crate::stream::HashingWriter;
use crate::view::{Folder, Item, View, ViewError};

/// Why a tree could not be written as a tar stream.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The layer directory cannot be opened.
    #[error(transparent)]
    View(#[from] ViewError),
    /// An entry could not be read.
    #[error("reading `{path}`")]
    Read {
        /// The path inside the tree.
        path: ImagePath,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file has another length than its directory said.
    #[error("`{path}` changed while it was read")]
    Changed {
        /// The path inside the tree.
        path: ImagePath,
    },
    /// The stream could not be written.
    #[error("writing the archive")]
    Write(#[source] io::Error),
}

/// How a tree is written.
#[derive(Debug, Clone, Copy)]
pub struct PackOptions {
    /// The latest time that an entry may have: later ones are set to it.
    pub clamp_mtime: Option<Timestamp>,
    /// Under which policy the layer directory was written.
    pub policy: Policy,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self { clamp_mtime: None, policy: Policy::of_process() }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// The digest of the stream.
    pub diff_id: DiffId,
    /// The length of the stream, padding included.
    pub size_bytes: u64,
    /// How many members it has.
    pub members: u64,
}

/// Writes a layer directory in overlay form as an uncompressed tar stream.
///
/// # Shape
/// Names of each directory sorted bytewise, parents before children; removals as `.wh.` files, an opaque
/// directory by `.wh..wh..opq` as its first entry. Later names of a file are hard links to the first.
/// Sockets are left out, since they live with their process; so is the root itself.
/// # Units
/// The returned `size_bytes` counts the stream, padding included; times are whole seconds.
/// # Errors
/// [`PackError::Changed`] when a file changes while it is read, [`PackError::Write`] when `out` fails.
/// # Source
/// OCI image-spec, `layer.md`, "Representing Changes".
pub fn pack(layer: &Path, out: &mut dyn Write, options: &PackOptions) -> Result<Packed, PackError> {
    let mut hashing = HashingWriter::new(out);
    let packer = Packer::new(&mut hashing, options.clamp_mtime.map_or(Times::Kept, Times::NoneLater));
    let (members, _) = packer.layer(layer, options.policy)?;
    let (digest, size_bytes) = hashing.finish().map_err(PackError::Write)?;
    Ok(Packed { diff_id: DiffId(digest), size_bytes, members })
}

/// Writes a layer that lies in several directories, bottom first, as one tar stream: what they show merged.
///
/// Marks of an upper directory are about those under it, not about the layers below: they are not written, and
/// the lowest directory must have none.
///
/// # Errors
/// As for [`pack`].
pub fn pack_stack<P: AsRef<Path>>(
    layer: &[P],
    out: &mut dyn Write,
    options: &PackOptions,
) -> Result<Packed, PackError> {
    if let [only] = layer {
        return pack(only.as_ref(), out, options);
    }
    let view = View::open_as(layer, options.policy)?;
    let mut hashing = HashingWriter::new(out);
    let mut packer = Packer::new(&mut hashing, options.clamp_mtime.map_or(Times::Kept, Times::NoneLater));
    packer.folder(view.root(), &mut Vec::new())?;
    let members = packer.finish()?;
    let (digest, size_bytes) = hashing.finish().map_err(PackError::Write)?;
    Ok(Packed { diff_id: DiffId(digest), size_bytes, members })
}

/// Makes the diff id of a layer that lies in several directories, bottom first, and writes nothing.
///
/// # Errors
/// As for [`pack`].
pub fn stack_diff_id<P: AsRef<Path>>(layer: &[P], options: &PackOptions) -> Result<Packed, PackError> {
    pack_stack(layer, &mut io::sink(), options)
}

/// Makes the diff id of a layer that lies in one or several directories, and the one that it has with no time later than
/// `latest`, in one pass.
///
/// # Errors
/// As for [`pack`].
pub fn stack_diff_ids<P: AsRef<Path>>(
    layer: &[P],
    policy: Policy,
    latest: Timestamp,
) -> Result<(Packed, Packed), PackError> {
    let mut sink = io::sink();
    let mut hashing = HashingWriter::new(&mut sink);
    let mut packer = Packer::new(&mut hashing, Times::Kept);
    packer.twin = Some(Twin { writer: Writer::new(Tally(Hasher::new())), latest });
    let (members, twin) = match layer {
        [only] => packer.layer(only.as_ref(), policy)?,
        several => {
            packer.folder(View::open_as(several, policy)?.root(), &mut Vec::new())?;
            packer.end()?
        }
    };
    let (digest, size_bytes) = hashing.finish().map_err(PackError::Write)?;
    let kept = Packed { diff_id: DiffId(digest), size_bytes, members };
    let clamped = twin.map(|Tally(twin)| {
        let size_bytes = twin.size_bytes();
        Packed { diff_id: DiffId(twin.finish()), size_bytes, members }
    });
    Ok((kept, clamped.unwrap_or(kept)))
}

/// Makes the diff id of a layer directory, and writes nothing.
///
/// # Errors
/// As for [`pack`].
pub fn diff_id(layer: &Path, options: &PackOptions) -> Result<Packed, PackError> {
    pack(layer, &mut io::sink(), options)
}

/// A directory that is being written.
struct Level {
    folder: Folder,
    items: std::vec::IntoIter<Item>,
    /// How long the path is, up to its slash.
    length: usize,
}

impl Level {
    fn open(folder: Folder, path: &[u8]) -> Result<Self, PackError> {
        dirfd::check_length(path).map_err(|error| read_error(path, error))?;
        let items = folder.items().map_err(|error| read_error(path, error))?.into_iter();
        Ok(Self { folder, items, length: path.len() })
    }
}

/// Which times members have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Times {
    /// Their own.
    Kept,
    /// Their own, but none later than this.
    NoneLater(Timestamp),
    /// All this one.
    All(Timestamp),
}

/// Walks a tree and writes its members.
pub(crate) struct Packer<W> {
    writer: Writer<W>,
    times: Times,
    /// The attribute of opaque directories, where whiteouts are to be written as such.
    marks: Option<&'static str>,
    linked: HashMap<Inode, Vec<u8>>,
    buffer: Vec<u8>,
    members: u64,
    twin: Option<Twin>,
}

/// The same stream once more, with other times: only its digest is wanted.
struct Twin {
    writer: Writer<Tally>,
    latest: Timestamp,
}

/// Takes a digest, and nothing else.
struct Tally(Hasher);

impl Write for Tally {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Packer<W> {
    pub(crate) fn new(out: W, times: Times) -> Self {
        let buffer = vec![0; 128 * 1024];
        Self {
            writer: Writer::new(out),
            times,
            marks: None,
            linked: HashMap::new(),
            buffer,
            members: 0,
            twin: None,
        }
    }

    pub(crate) fn finish(self) -> Result<u64, PackError> {
        self.writer.finish().map_err(PackError::Write)?;
        Ok(self.members)
    }

    /// Writes a layer directory, its marks included, and ends the stream. How many members it has, and the twin's stream.
    fn layer(mut self, layer: &Path, policy: Policy) -> Result<(u64, Option<Tally>), PackError> {
        let root = View::open_raw(layer, policy)?.root();
        self.marks = Some(policy.marks.opaque());
        self.opaque_mark(&root, b"")?;
        self.folder(root, &mut Vec::new())?;
        self.end()
    }

    /// Ends the stream, and the twin's.
    fn end(mut self) -> Result<(u64, Option<Tally>), PackError> {
        let twin = self.twin.take().map(|twin| twin.writer.finish()).transpose().map_err(PackError::Write)?;
        Ok((self.finish()?, twin))
    }

    /// Writes all that is in a directory; `path` ends in a slash, or is empty for the root.
    ///
    /// It does not recurse: how deep a tree is, is up to whoever made it.
    pub(crate) fn folder(&mut self, folder: Folder, path: &mut Vec<u8>) -> Result<(), PackError> {
        let mut levels = vec![Level::open(folder, path)?];
        while let Some(level) = levels.last_mut() {
            path.truncate(level.length);
            let Some(item) = level.items.next() else {
                levels.pop();
                continue;
            };
            path.extend_from_slice(&item.name);
            if let Some(inner) = self.item(&level.folder, &item, path)? {
                levels.push(Level::open(inner, path)?);
            }
        }
        Ok(())
    }

    /// Writes one entry and what is in it under another name.
    pub(crate) fn named(&mut self, view: &View, path: &ImagePath, name: &[u8]) -> Result<(), PackError> {
        let fail = |error: io::Error| read_error(path.as_bytes(), error);
        let real = view.canonical_parent(path)?;
        let mut shown = name.to_vec();
        let (Some(parent), Some(file)) = (real.parent(), real.file_name()) else {
            let root = view.root();
            let entry = root.entry().map_err(fail)?;
            shown.push(b'/');
            self.begin(&shown, &entry, Metadata::of(&entry, root.own_xattrs().map_err(fail)?), b"")?;
            return self.folder(root, &mut shown);
        };
        let folder = view.folder(&parent)?;
        let missing = || ViewError::Missing { path: path.clone() };
        let found = folder.find(file).map_err(fail)?.ok_or_else(missing)?;
        match self.item(&folder, &Item { name: file.to_vec(), found }, &mut shown)? {
            Some(inner) => self.folder(inner, &mut shown),
            None => Ok(()),
        }
    }

    /// Writes one entry; of a directory, what is in it is left to the caller.
    fn item(
        &mut self,
        folder: &Folder,
        item: &Item,
        path: &mut Vec<u8>,
    ) -> Result<Option<Folder>, PackError> {
        let Item { name, found } = item;
        let entry = &found.entry;
        match entry.kind {
            Kind::Folder => {
                let inner = folder.open_folder(name, found).map_err(|error| read_error(path, error))?;
                let xattrs = inner.own_xattrs().map_err(|error| read_error(path, error))?;
                path.push(b'/');
                self.begin(path, entry, Metadata::of(entry, xattrs), b"")?;
                self.opaque_mark(&inner, path)?;
                return Ok(Some(inner));
            }
            Kind::File => self.file(folder, item, path)?,
            Kind::CharDevice if self.marks.is_some() && entry.is_whiteout() => self.whiteout(path, name)?,
            Kind::Socket => {
                tracing::debug!(path = %ImagePath::new(&*path), "socket left out");
            }
            _ => {
                let fail = |error| read_error(path, error);
                let xattrs = folder.xattrs(name, found).map_err(fail)?;
                let link = match entry.kind {
                    Kind::Link => folder.read_link(name, found).map_err(fail)?,
                    _ => Vec::new(),
                };
                self.begin(path, entry, Metadata::of(entry, xattrs), &link)?;
            }
        }
        Ok(None)
    }

    fn whiteout(&mut self, path: &[u8], name: &[u8]) -> Result<(), PackError> {
        self.mark(&[&path[..path.len() - name.len()], b".wh.", name].concat())
    }

    /// Says that what is below a directory is hidden.
    pub(crate) fn opaque_mark(&mut self, folder: &Folder, path: &[u8]) -> Result<(), PackError> {
        let Some(key) = self.marks else { return Ok(()) };
        let Some(part) = folder.parts.first() else { return Ok(()) };
        if !dirfd::has_xattr(&part.fd, key, b"y") {
            return Ok(());
        }
        self.mark(&[path, b".wh..wh..opq"].concat())
    }

    /// Writes an empty file that stands for something else. It has no time: a removal is the same whenever.
    fn mark(&mut self, path: &[u8]) -> Result<(), PackError> {
        self.member(path, MemberKind::Entry(Kind::File), (Metadata::default(), b"", 0), None)
    }

    fn file(&mut self, folder: &Folder, item: &Item, path: &[u8]) -> Result<(), PackError> {
        let entry = &item.found.entry;
        if entry.links > 1 {
            if let Some(first) = self.linked.get(&entry.inode).cloned() {
                let metadata = Metadata::of(entry, Vec::new());
                return self.member(path, MemberKind::HardLink, (metadata, &first, 0), None);
            }
            self.linked.insert(entry.inode, path.to_vec());
        }
        let fail = |error| read_error(path, error);
        let file = folder.open_file(&item.name, &item.found).map_err(fail)?;
        let xattrs = dirfd::xattrs_fd(&file).map_err(fail)?;
        self.begin(path, entry, Metadata::of(entry, xattrs), b"")?;
        self.content(&file, path, entry.size_bytes)
    }

    fn content(&mut self, file: &OwnedFd, path: &[u8], size: u64) -> Result<(), PackError> {
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let length = match rustix::io::read(file.as_fd(), &mut self.buffer[..wanted]) {
                Ok(length) => length,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(read_error(path, error)),
            };
            if length == 0 {
                return Err(PackError::Changed { path: ImagePath::new(path) });
            }
            self.writer.write_all(&self.buffer[..length]).map_err(PackError::Write)?;
            if let Some(twin) = &mut self.twin {
                twin.writer.write_all(&self.buffer[..length]).map_err(PackError::Write)?;
            }
            left -= length as u64;
        }
        Ok(())
    }

    fn begin(
        &mut self,
        path: &[u8],
        entry: &Entry,
        metadata: Metadata,
        link: &[u8],
    ) -> Result<(), PackError> {
        let size = if entry.kind == Kind::File { entry.size_bytes } else { 0 };
        self.member(path, MemberKind::Entry(entry.kind), (metadata, link, size), Some(entry))
    }

    fn member(
        &mut self,
        path: &[u8],
        kind: MemberKind,
        (mut metadata, link, size_bytes): (Metadata, &[u8], u64),
        entry: Option<&Entry>,
    ) -> Result<(), PackError> {
        metadata.mtime = match self.times {
            Times::Kept => metadata.mtime,
            Times::NoneLater(latest) => metadata.mtime.min(latest),
            Times::All(time) => time,
        };
        let device = match kind {
            MemberKind::Entry(Kind::CharDevice | Kind::BlockDevice) => entry.map(|entry| entry.device),
            _ => None,
        };
        let device = device.unwrap_or_default();
        let member = Member { path: path.to_vec(), kind, link: link.to_vec(), metadata, device, size_bytes };
        self.members += 1;
        self.writer.begin(&member).map_err(PackError::Write)?;
        let Some(twin) = &mut self.twin else { return Ok(()) };
        let mtime = member.metadata.mtime.min(twin.latest);
        let member = Member { metadata: Metadata { mtime, ..member.metadata }, ..member };
        twin.writer.begin(&member).map_err(PackError::Write)
    }
}

pub(crate) fn read_error(path: &[u8], source: impl Into<io::Error>) -> PackError {
    PackError::Read { path: ImagePath::new(path), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::layer;

    #[test]
    fn whiteouts_that_share_an_inode_are_all_there() {
        let (two, one) = (layer(&["d/a!", "d/b!", "d/x=1"]), layer(&["d/a!", "d/x=1"]));
        std::fs::hard_link(one.path().join("d/a"), one.path().join("d/b")).unwrap();
        let size = |layer: &Path| {
            let packed = diff_id(layer, &PackOptions::default()).unwrap();
            (packed.members, packed.size_bytes)
        };
        assert_eq!(size(one.path()), size(two.path()));
        assert_eq!(size(one.path()).0, 4);
    }

    #[test]
    fn two_diff_ids_in_one_pass() {
        let layer = layer(&["d/", "d/*", "d/f=1", "g&d/f", "l>g", "gone!"]);
        let policy = Policy::of_process();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5);
        std::fs::File::open(layer.path().join("d/f")).unwrap().set_modified(old).unwrap();
        let latest = Timestamp::at_second(1_000_000);
        let clamped = PackOptions { clamp_mtime: Some(latest), policy };
        let expected = (
            diff_id(layer.path(), &PackOptions::default()).unwrap(),
            diff_id(layer.path(), &clamped).unwrap(),
        );
        assert_ne!(expected.0.diff_id, expected.1.diff_id);
        assert_eq!(stack_diff_ids(&[layer.path()], policy, latest).unwrap(), expected);
    }
}
