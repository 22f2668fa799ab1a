//! What a COPY of a context has put into its layer: with it, the next such COPY can tell what differs without a
//! look at the layer.
//!
//! # Shape
//! The eight bytes `LTRCOPY2`; the time of the top directory; one record for each entry, in depth-first order with
//! names sorted bytewise; a CRC-32 of all before it. Numbers are little-endian. A record is the length of all that
//! follows and of the path in 4 bytes each, the path, the kind as one letter, mode, owner and group in 4 bytes each,
//! the time, the size in 8 bytes, and the digest of a file or the target of a link. A time is seconds in 8 bytes and
//! nanoseconds in 4.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::Path;

use libdeflater::Crc;

use super::{Copied, CopyOptions};
use crate::content_digest::ContentDigest;
use crate::entry::{Entry, Kind, Metadata, Timestamp};

const MAGIC: &[u8; 8] = b"LTRCOPY2";
/// The magic bytes and the time of the top directory.
const HEAD: usize = MAGIC.len() + 12;
/// So much of it is in one piece in memory.
const PIECE_BYTES: usize = 1 << 19;
/// What comes after the path of a record and before its content.
const FIXED: usize = 1 + 12 + 12 + 8;

/// What a COPY of a directory has put into its layer.
#[derive(Clone, PartialEq, Eq)]
pub struct Inventory {
    /// When the top directory was last changed.
    top: Timestamp,
    /// The records, none of them in two pieces. One large piece would find no room in what the walk of a context has
    /// left.
    pieces: Vec<Vec<u8>>,
    copied: Copied,
}

/// Collects an inventory, entry by entry in depth-first order.
pub(crate) struct Collector<'a> {
    options: CopyOptions<'a>,
    inventory: Inventory,
    /// Directories that are there only if something in them is.
    owed: Vec<(Vec<u8>, Metadata)>,
    linked: HashSet<crate::entry::Inode>,
    is_plain: bool,
}

/// What an entry of an inventory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Folder,
    File,
    Link,
}

impl Piece {
    pub(super) const fn is_folder(self) -> bool {
        matches!(self, Self::Folder)
    }
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) path: &'a [u8],
    pub(super) piece: Piece,
    pub(super) size_bytes: u64,
    /// Mode, owner, group and time.
    style: &'a [u8],
    content: &'a [u8],
}

/// How one inventory differs from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference<'a> {
    /// An entry, with all that is in it, is no more.
    Gone(&'a [u8]),
    /// A directory is new or has other metadata.
    Folder(Record<'a>),
    /// A file or link is new or another.
    Content(Record<'a>),
}

impl<'a> Collector<'a> {
    pub(crate) fn new(top: Timestamp, options: CopyOptions<'a>) -> Self {
        let inventory = Inventory::empty(options.mtime.unwrap_or(top));
        Self { options, inventory, owed: Vec::new(), linked: HashSet::new(), is_plain: true }
    }

    /// Takes a directory that is there only if something in it is.
    pub(crate) fn way(&mut self, path: &[u8], entry: &Entry) {
        self.leave(path);
        self.owed.push((path.to_vec(), self.options.metadata(entry)));
    }

    /// Takes an entry that is copied.
    pub(crate) fn entry(&mut self, path: &[u8], entry: &Entry, digest: Option<ContentDigest>, target: &[u8]) {
        if entry.kind == Kind::Socket {
            return;
        }
        self.leave(path);
        for (path, metadata) in std::mem::take(&mut self.owed) {
            self.inventory.put(&path, b'd', &metadata, 0, b"");
            self.inventory.copied.folders += 1;
        }
        let metadata = self.options.metadata(entry);
        match (entry.kind, digest) {
            (Kind::Folder, _) => {
                self.inventory.copied.folders += 1;
                self.inventory.put(path, b'd', &metadata, 0, b"");
            }
            (Kind::File, Some(digest)) if entry.links == 1 || self.linked.insert(entry.inode) => {
                self.inventory.copied.files += 1;
                self.inventory.copied.size_bytes += entry.size_bytes;
                self.inventory.put(path, b'f', &metadata, entry.size_bytes, digest.as_bytes());
            }
            (Kind::Link, _) => {
                self.inventory.copied.files += 1;
                self.inventory.put(path, b'l', &Metadata { mode_bits: 0o777, ..metadata }, 0, target);
            }
            // names that share a file, and what is no file at all, are not worth the trouble
            _ => self.is_plain = false,
        }
    }

    /// Forgets directories in which nothing turned up.
    fn leave(&mut self, path: &[u8]) {
        while let Some((owed, _)) = self.owed.last()
            && !is_in(path, owed)
        {
            self.owed.pop();
        }
    }

    pub(crate) fn finish(self) -> Option<Inventory> {
        self.is_plain.then_some(self.inventory)
    }
}

impl Inventory {
    /// How many entries it has.
    pub fn len(&self) -> u64 {
        self.copied.files + self.copied.folders
    }

    /// Whether nothing was copied.
    pub fn is_empty(&self) -> bool {
        self.copied.files == 0
    }

    /// Whether a copy has copied just as much: the source did not change meanwhile.
    pub fn agrees_with(&self, copied: &Copied) -> bool {
        self.copied == *copied
    }

    /// How many of these files, by path and digest, are in it.
    pub fn count(&self, files: &[(Vec<u8>, ContentDigest)]) -> usize {
        let is_one = |record: &Record<'_>| {
            files.iter().any(|(path, digest)| *path == record.path && digest.as_bytes() == record.content)
        };
        self.records().filter(|record| record.piece == Piece::File && is_one(record)).count()
    }

    fn empty(top: Timestamp) -> Self {
        Self { top, pieces: Vec::new(), copied: Copied { folders: 1, ..Copied::default() } }
    }

    /// Reads one; none where it is missing or damaged.
    pub fn load(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let loaded = Self::read(file);
        if loaded.is_none() {
            tracing::warn!(path = %path.display(), "the inventory of a layer is damaged");
        }
        loaded
    }

    fn read(file: File) -> Option<Self> {
        let mut left = file.metadata().ok()?.len().checked_sub((HEAD + 4) as u64)?;
        let (mut file, mut sum) = (BufReader::with_capacity(1 << 16, file), Crc::new());
        let mut head = [0; HEAD];
        file.read_exact(&mut head).ok()?;
        sum.update(&head);
        let mut loaded = Self::empty(time_of(head.strip_prefix(MAGIC)?));
        while left > 0 {
            let mut length = [0; 4];
            file.read_exact(&mut length).ok()?;
            let whole = 4 + u64::from(u32::from_le_bytes(length));
            left = left.checked_sub(whole)?;
            let whole = usize::try_from(whole).ok().filter(|whole| *whole <= PIECE_BYTES)?;
            let piece = loaded.piece(whole);
            let start = piece.len();
            piece.extend(length);
            piece.resize(start + whole, 0);
            file.read_exact(&mut piece[start + 4..]).ok()?;
            sum.update(&piece[start..]);
        }
        let mut expected = [0; 4];
        file.read_exact(&mut expected).ok()?;
        (sum.sum().to_le_bytes() == expected && loaded.count_all()).then_some(loaded)
    }

    /// Counts what was read; `false` where not all of it are records.
    fn count_all(&mut self) -> bool {
        let mut copied = self.copied;
        let mut length = 0;
        for record in self.records() {
            copied.folders += u64::from(record.piece.is_folder());
            copied.files += u64::from(!record.piece.is_folder());
            copied.size_bytes += record.size_bytes;
            length += 8 + record.path.len() + FIXED + record.content.len();
        }
        self.copied = copied;
        length == self.pieces.iter().map(Vec::len).sum::<usize>()
    }

    /// Writes it to a file that is not there yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut head = MAGIC.to_vec();
        put_time(&mut head, self.top);
        let (mut file, mut sum) = (File::create_new(path)?, Crc::new());
        for piece in std::iter::once(&head).chain(&self.pieces) {
            sum.update(piece);
            file.write_all(piece)?;
        }
        file.write_all(&sum.sum().to_le_bytes())
    }

    /// When the top directory was last changed.
    pub(super) const fn top(&self) -> Timestamp {
        self.top
    }

    /// Where a record of so many bytes goes.
    fn piece(&mut self, length: usize) -> &mut Vec<u8> {
        if self.pieces.last().is_none_or(|last| last.len() + length > PIECE_BYTES) {
            self.pieces.push(Vec::with_capacity(PIECE_BYTES));
        }
        self.pieces.last_mut().expect("there is a last one")
    }

    fn put(&mut self, path: &[u8], letter: u8, metadata: &Metadata, size_bytes: u64, content: &[u8]) {
        let bytes = self.piece(8 + path.len() + FIXED + content.len());
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        bytes.extend(number(4 + path.len() + FIXED + content.len()));
        bytes.extend(number(path.len()));
        bytes.extend_from_slice(path);
        bytes.push(letter);
        for field in [metadata.mode_bits, metadata.uid, metadata.gid] {
            bytes.extend(field.to_le_bytes());
        }
        put_time(bytes, metadata.mtime);
        bytes.extend(size_bytes.to_le_bytes());
        bytes.extend_from_slice(content);
    }

    fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.pieces.iter().flat_map(|piece| Records(piece))
    }

    /// What is to be done to an earlier copy to get this one; none where copying anew is as good.
    pub(super) fn differences<'a>(&'a self, old: &'a Self) -> Option<Vec<Difference<'a>>> {
        let mut found = Vec::new();
        let mut changed_bytes = 0;
        let (mut before, mut now) = (old.records().peekable(), self.records().peekable());
        let mut gone: Option<&[u8]> = None;
        loop {
            let order = match (before.peek(), now.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(now)) => compare(before.path, now.path),
            };
            let before = if order.is_le() { before.next() } else { None };
            let now = if order.is_ge() { now.next() } else { None };
            match (before, now) {
                (Some(before), Some(now)) if before == now => {}
                (Some(before), None) => {
                    if !gone.is_some_and(|gone| is_in(before.path, gone)) {
                        gone = Some(before.path);
                        found.push(Difference::Gone(before.path));
                    }
                }
                (Some(before), Some(now))
                    if before.piece != now.piece && (before.piece.is_folder() || now.piece.is_folder()) =>
                {
                    return None;
                }
                (_, Some(now)) if now.piece.is_folder() => found.push(Difference::Folder(now)),
                (_, Some(now)) => {
                    changed_bytes += now.size_bytes;
                    found.push(Difference::Content(now));
                }
                (None, None) => break,
            }
        }
        let is_small = found.len() as u64 <= self.len() / 4 && changed_bytes <= self.copied.size_bytes / 2;
        is_small.then_some(found)
    }
}

impl Record<'_> {
    pub(super) fn metadata(&self) -> Metadata {
        let number = |at: usize| u32::from_le_bytes(self.style[at..at + 4].try_into().unwrap_or_default());
        Metadata {
            mode_bits: number(0),
            uid: number(4),
            gid: number(8),
            mtime: time_of(&self.style[12..]),
            xattrs: Vec::new(),
        }
    }
}

struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let take = |bytes: &mut &'a [u8], length: usize| -> Option<&'a [u8]> {
            let (taken, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Some(taken)
        };
        let number = |bytes: &[u8]| usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok();
        let length = number(take(&mut self.0, 4)?)?;
        let mut rest = take(&mut self.0, length)?;
        let path_length = number(take(&mut rest, 4)?)?;
        let path = take(&mut rest, path_length)?;
        let piece = match take(&mut rest, 1)? {
            b"d" => Piece::Folder,
            b"f" => Piece::File,
            b"l" => Piece::Link,
            _ => return None,
        };
        let style = take(&mut rest, 24)?;
        let size_bytes = u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
        Some(Record { path, piece, size_bytes, style, content: rest })
    }
}

fn put_time(bytes: &mut Vec<u8>, time: Timestamp) {
    bytes.extend(time.seconds.to_le_bytes());
    bytes.extend(time.nanos.to_le_bytes());
}

fn time_of(bytes: &[u8]) -> Timestamp {
    let seconds = bytes.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
    let nanos = bytes.get(8..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    Timestamp { seconds, nanos }
}

/// Depth-first order: a slash comes before everything else.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

fn is_in(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/'))
}

impl std::fmt::Debug for Inventory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inventory").field("copied", &self.copied).finish_non_exhaustive()
    }
}
