//! Content keys: the digest of a file or a tree, equal exactly when a copy of it would be.
//!
//! # Shape
//! The digest is SHA-256 over one record for each entry, in depth-first order with names sorted bytewise.
//! Lengths and numbers are little-endian; a text is its length in 8 bytes, then its bytes.
//!
//! | part of a record | form | left out |
//! | --- | --- | --- |
//! | path below the top; empty for the top | text | |
//! | kind | 1 byte: `f d l p c b` | |
//! | mode | 4 bytes | when `mode` is off, and for links |
//! | uid, gid | 8 bytes | when `owner` is off |
//! | device | 8 bytes | unless it is a device node |
//! | target | text | unless it is a link |
//! | attributes | their number in 8 bytes, then name and value as texts | when `xattrs` is off |
//! | BLAKE3 digest of the content | 32 bytes | unless it is a file |
//!
//! Times, link counts and which names share a file are in none of it. Of a directory that stands for its
//! content, only that it is a directory counts.

use std::io;

use lighter_image::{Digest, Hasher, ImagePath};

use crate::content_digest::ContentDigest;
use crate::copy::{Filter, Verdict};
use crate::dirfd;
use crate::entry::{Entry, Kind, Xattrs};
use crate::view::{Folder, Found, Item, View, ViewError};

/// What counts for a content key.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether one part of an entry counts")]
pub struct DigestOptions<'a> {
    /// Whether permissions count: not where an octal `--chmod` decides.
    pub mode: bool,
    /// Whether owners count: not where `--chown` decides, or where the source is a context.
    pub owner: bool,
    /// Whether extended attributes count.
    pub xattrs: bool,
    /// Whether a directory stands for its content, so that its own metadata does not count.
    pub contents: bool,
    /// Which entries of a directory count, by their path below it.
    pub filter: Option<Filter<'a>>,
}

impl Default for DigestOptions<'_> {
    /// As `COPY --from` without flags.
    fn default() -> Self {
        Self { mode: true, owner: true, xattrs: true, contents: true, filter: None }
    }
}

/// Makes the content key of what is at a path; links to it are followed. Nothing there is `None`.
///
/// # Errors
/// [`ViewError`].
pub fn tree_digest(
    view: &View,
    path: &ImagePath,
    options: &DigestOptions<'_>,
) -> Result<Option<Digest>, ViewError> {
    let Some((real, entry)) = view.resolve(path)? else { return Ok(None) };
    let fail = |error| ViewError::io(path, error);
    let mut recorder = Recorder::new(*options);
    if entry.is_folder() {
        let folder = view.folder(&real)?;
        let xattrs = if options.xattrs && !options.contents { folder.own_xattrs() } else { Ok(Vec::new()) };
        recorder.top_folder(&entry, &xattrs.map_err(fail)?);
        walk(&mut recorder, folder).map_err(fail)?;
    } else {
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else { return Ok(None) };
        let folder = view.folder(&parent)?;
        let Some(found) = folder.find(name).map_err(fail)? else { return Ok(None) };
        record(&mut recorder, &folder, (name, &found), b"").map_err(fail)?;
    }
    Ok(Some(recorder.finish()))
}

/// A directory that is being recorded.
struct Level {
    folder: Folder,
    items: std::vec::IntoIter<Item>,
    /// How long the path is, without a slash at its end.
    length: usize,
}

impl Level {
    fn open(folder: Folder, path: &[u8]) -> io::Result<Self> {
        dirfd::check_length(path)?;
        let items = folder.items()?.into_iter();
        Ok(Self { folder, items, length: path.len() })
    }
}

/// Records all that is in a directory, without recursion.
fn walk(recorder: &mut Recorder<'_>, top: Folder) -> io::Result<()> {
    let mut path = Vec::new();
    let mut levels = vec![Level::open(top, &path)?];
    while let Some(level) = levels.last_mut() {
        path.truncate(level.length);
        let Some(item) = level.items.next() else {
            recorder.leave(&path);
            levels.pop();
            continue;
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&item.name);
        let entry = &item.found.entry;
        let verdict = recorder.verdict(&path, entry.is_folder());
        if verdict != Verdict::Skip && entry.is_folder() {
            let inner = level.folder.open_folder(&item.name, &item.found)?;
            let xattrs = if recorder.options.xattrs { inner.own_xattrs()? } else { Vec::new() };
            recorder.folder(&path, entry, xattrs, verdict);
            levels.push(Level::open(inner, &path)?);
        } else if verdict == Verdict::Keep {
            record(recorder, &level.folder, (&item.name, &item.found), &path)?;
        }
    }
    Ok(())
}

fn record(
    recorder: &mut Recorder<'_>,
    folder: &Folder,
    (name, found): (&[u8], &Found),
    path: &[u8],
) -> io::Result<()> {
    let wanted = recorder.options.xattrs;
    let (content, xattrs) = match found.entry.kind {
        Kind::File => {
            let file = folder.open_file(name, found)?;
            let xattrs = if wanted { dirfd::xattrs_fd(&file)? } else { Vec::new() };
            (
                Content::File(ContentDigest::of_file(file, found.entry.size_bytes, &mut recorder.buffer)?),
                xattrs,
            )
        }
        kind => {
            let xattrs = if wanted { folder.xattrs(name, found)? } else { Vec::new() };
            let is_link = kind == Kind::Link;
            (if is_link { Content::Link(folder.read_link(name, found)?) } else { Content::None }, xattrs)
        }
    };
    recorder.entry(path, &found.entry, &xattrs, &content);
    Ok(())
}

/// What of an entry is not metadata.
pub(crate) enum Content {
    File(ContentDigest),
    Link(Vec<u8>),
    None,
}

/// Hashes records as entries come, directories before what is in them.
pub(crate) struct Recorder<'a> {
    hasher: Hasher,
    options: DigestOptions<'a>,
    /// Directories that count only if something in them does: their paths and records.
    owed: Vec<(Vec<u8>, Entry, Xattrs)>,
    record: Vec<u8>,
    /// What contents are read through.
    buffer: Vec<u8>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(options: DigestOptions<'a>) -> Self {
        Self { hasher: Hasher::new(), options, owed: Vec::new(), record: Vec::new(), buffer: Vec::new() }
    }

    pub(crate) fn verdict(&self, path: &[u8], is_folder: bool) -> Verdict {
        self.options.filter.map_or(Verdict::Keep, |filter| filter(path, is_folder))
    }

    pub(crate) fn top_folder(&mut self, entry: &Entry, xattrs: &Xattrs) {
        if self.options.contents {
            self.hasher.update(&[0; 8]);
            self.hasher.update(b"d");
        } else {
            self.entry(b"", entry, xattrs, &Content::None);
        }
    }

    pub(crate) fn folder(&mut self, path: &[u8], entry: &Entry, xattrs: Xattrs, verdict: Verdict) {
        if verdict == Verdict::Descend {
            self.owed.push((path.to_vec(), entry.clone(), xattrs));
        } else {
            self.entry(path, entry, &xattrs, &Content::None);
        }
    }

    /// Forgets a directory in which nothing turned up.
    pub(crate) fn leave(&mut self, path: &[u8]) {
        if self.owed.last().is_some_and(|(owed, ..)| owed == path) {
            self.owed.pop();
        }
    }

    pub(crate) fn entry(&mut self, path: &[u8], entry: &Entry, xattrs: &Xattrs, content: &Content) {
        // Sockets are not copied, so they do not count.
        if entry.kind == Kind::Socket {
            return;
        }
        for (path, entry, xattrs) in std::mem::take(&mut self.owed) {
            self.put(&path, &entry, &xattrs, &Content::None);
        }
        self.put(path, entry, xattrs, content);
    }

    fn put(&mut self, path: &[u8], entry: &Entry, xattrs: &Xattrs, content: &Content) {
        let record = &mut self.record;
        record.clear();
        put_text(record, path);
        record.push(match entry.kind {
            Kind::File => b'f',
            Kind::Folder => b'd',
            Kind::Link => b'l',
            Kind::CharDevice => b'c',
            Kind::BlockDevice => b'b',
            Kind::Fifo | Kind::Socket => b'p',
        });
        if self.options.mode && entry.kind != Kind::Link {
            record.extend_from_slice(&entry.mode_bits.to_le_bytes());
        }
        if self.options.owner {
            record.extend_from_slice(&entry.uid.to_le_bytes());
            record.extend_from_slice(&entry.gid.to_le_bytes());
        }
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            record.extend_from_slice(&entry.device.major.to_le_bytes());
            record.extend_from_slice(&entry.device.minor.to_le_bytes());
        }
        if let Content::Link(target) = content {
            put_text(record, target);
        }
        if self.options.xattrs {
            record.extend_from_slice(&(xattrs.len() as u64).to_le_bytes());
            for (key, value) in xattrs {
                put_text(record, key);
                put_text(record, value);
            }
        }
        if let Content::File(digest) = content {
            record.extend_from_slice(digest.as_bytes());
        }
        self.hasher.update(record);
    }

    pub(crate) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

fn put_text(record: &mut Vec<u8>, text: &[u8]) {
    record.extend_from_slice(&(text.len() as u64).to_le_bytes());
    record.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::layer;

    fn digest(notation: &[&str], options: &DigestOptions<'_>) -> Digest {
        let dir = layer(notation);
        let view = View::open(&[dir.path()]).unwrap();
        tree_digest(&view, &ImagePath::new("/t"), options).unwrap().unwrap()
    }

    #[test]
    fn what_counts_changes_the_digest_and_nothing_else_does() {
        let all = DigestOptions::default();
        let no_mode = DigestOptions { mode: false, ..all };
        let base = &["t/a=1", "t/d/b=2", "t/l>a"][..];
        for (other, options, equal) in [
            (base, &all, true),
            (&["t@700/", "t/a=1", "t/d/b=2", "t/l>a"], &all, true),
            (&["t/a=2", "t/d/b=2", "t/l>a"], &all, false),
            (&["t/a@600=1", "t/d/b=2", "t/l>a"], &all, false),
            (&["t/a@600=1", "t/d/b=2", "t/l>a"], &no_mode, true),
            (&["t/a=1", "t/d/b=2", "t/l>b"], &all, false),
            (&["t/a=1", "t/d/c=2", "t/l>a"], &all, false),
            (&["t/a=1", "t/d/b=2", "t/l>a", "t/e/"], &all, false),
            (&["t/a=1", "t/d>b", "t/l>a"], &all, false),
        ] {
            assert_eq!(digest(base, options) == digest(other, options), equal, "{other:?}");
        }
        let top = DigestOptions { contents: false, ..all };
        assert_ne!(digest(&["t@700/", "t/a=1"], &top), digest(&["t/a=1"], &top));
    }

    #[test]
    fn what_a_filter_leaves_out_does_not_count() {
        let filter = |path: &[u8], is_folder: bool| match path {
            b"d/keep" | b"a" => Verdict::Keep,
            _ if is_folder => Verdict::Descend,
            _ => Verdict::Skip,
        };
        let options = DigestOptions { filter: Some(&filter), ..DigestOptions::default() };
        let base = digest(&["t/a=1", "t/d/keep=2", "t/e/f/no=1"], &options);
        assert_eq!(base, digest(&["t/a=1", "t/d/keep=2", "t/d/no=1"], &options));
        assert_eq!(base, digest(&["t/a=1", "t/d/keep=2"], &DigestOptions::default()));
        assert_ne!(base, digest(&["t/a=1", "t/d/no=2"], &options));
    }

    #[test]
    fn nothing_there_is_no_error() {
        let found = tree_digest(&View::empty(), &ImagePath::new("/x"), &DigestOptions::default());
        assert_eq!(found.unwrap(), None);
    }
}
