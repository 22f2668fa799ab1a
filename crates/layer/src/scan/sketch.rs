//! What can be said of a directory before its files are read, and copying it without reading them twice.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use lighter_image::{Digest, Hasher, ImagePath};

use super::{Listing, Node, ScanError, Verdict, index};
use crate::content_digest::ContentDigest;
use crate::dirfd;
use crate::entry::Kind;
use crate::tree_digest::DigestOptions;
use crate::view::{Found, Item};

/// So many files are read for a sketch.
const SAMPLES: usize = 8;
/// Files of these sizes are worth reading for one: smaller ones are often the same everywhere.
const SAMPLED: Range<u64> = 64..1 << 16;

/// A digest of a directory for which next to nothing of it is read: the same where [`Listing::digest`] is the same, but
/// seldom where it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    /// The digest: of names, kinds, modes, sizes and links, and of what is in some of the files.
    pub digest: Digest,
    /// The files that were read, by path below the directory, and their digests.
    pub samples: Vec<(Vec<u8>, ContentDigest)>,
}

/// How much is in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// How many files there are.
    pub files: u64,
    /// What is in them.
    pub size_bytes: u64,
    /// How many would have to be read for their digests.
    pub unread: u64,
}

impl Extent {
    fn of(nodes: &[Node]) -> Self {
        let mut extent = Self::default();
        nodes.iter().filter(|node| node.kind() == Kind::File).for_each(|node| extent.add(node));
        extent
    }

    fn add(&mut self, file: &Node) {
        self.files += 1;
        self.size_bytes += file.size_bytes();
        self.unread += u64::from(file.digest.get().is_none());
    }
}

impl Listing {
    /// Makes a sketch of the directory at a real path, if that is worth while for all that is in it and for what the
    /// options leave.
    ///
    /// None where it is not, where there is no such directory, and where there is more in it than files with one name,
    /// links, directories and sockets.
    ///
    /// # Errors
    /// [`ScanError::Read`] when a file cannot be read.
    pub fn sketch(
        &self,
        path: &ImagePath,
        options: &DigestOptions<'_>,
        is_worth_while: impl Fn(Extent) -> bool,
    ) -> Result<Option<Sketch>, ScanError> {
        let Some(range) = self.range(path) else { return Ok(None) };
        // a build with nothing to do must not pay for more than this
        if !is_worth_while(Extent::of(&self.nodes[range.clone()])) {
            return Ok(None);
        }
        let (mut hasher, mut extent) = (Hasher::new(), Extent::default());
        let (mut is_plain, mut eligible, mut record) = (true, Vec::new(), Vec::new());
        self.visit_indexed(range.clone(), &mut |at, path, node| {
            let kind = node.kind();
            let verdict = options.filter.map_or(Verdict::Keep, |filter| filter(path, node.is_folder()));
            if verdict != Verdict::Keep || kind == Kind::Socket {
                return verdict;
            }
            record.clear();
            for text in [path, node.target()] {
                record.extend_from_slice(&(text.len() as u64).to_le_bytes());
                record.extend_from_slice(text);
            }
            match kind {
                Kind::File => {
                    is_plain &= !node.is_linked();
                    extent.add(node);
                    if SAMPLED.contains(&node.size_bytes()) {
                        eligible.push(at);
                    }
                }
                Kind::Folder | Kind::Link => {}
                _ => is_plain = false,
            }
            let mode = if options.mode && kind != Kind::Link { node.mode() } else { kind as u16 };
            let size_bytes = if kind == Kind::File { node.size_bytes() } else { 0 };
            record.extend_from_slice(&mode.to_le_bytes());
            record.extend_from_slice(&size_bytes.to_le_bytes());
            hasher.update(&record);
            verdict
        });
        if !is_plain || !is_worth_while(extent) {
            return Ok(None);
        }
        let samples = self.samples((path, range), &eligible)?;
        for (_, digest) in &samples {
            hasher.update(digest.as_bytes());
        }
        Ok(Some(Sketch { digest: hasher.finish(), samples }))
    }

    /// Reads some of the files that could be, spread evenly.
    fn samples(
        &self,
        (folder, range): (&ImagePath, Range<usize>),
        from: &[usize],
    ) -> Result<Vec<(Vec<u8>, ContentDigest)>, ScanError> {
        let count = SAMPLES.min(from.len());
        let wanted: Vec<usize> = (0..count).map(|number| from[number * from.len() / count]).collect();
        let mut paths: Vec<(usize, Vec<u8>)> = Vec::with_capacity(count);
        self.visit_indexed(range, &mut |at, path, node| {
            if wanted.binary_search(&at).is_ok() {
                paths.push((at, path.to_vec()));
            }
            // what has none of them in it need not be entered
            let next = wanted.partition_point(|wanted| *wanted <= at);
            let leads = wanted.get(next).is_some_and(|wanted| *wanted < node.end());
            if leads { Verdict::Keep } else { Verdict::Skip }
        });
        let whole: Vec<_> =
            paths.iter().map(|(at, path)| (*at, folder.join(path).relative().to_vec())).collect();
        self.read(&whole)?;
        let known = |(at, path): (usize, Vec<u8>)| Some((path, *self.nodes[at].digest.get()?));
        Ok(paths.into_iter().filter_map(known).collect())
    }

    /// What is in a directory, by its number.
    pub(crate) fn inside(&self, node: usize) -> Range<usize> {
        node + 1..self.nodes[node].end()
    }

    /// The entries of a directory, as if it had been read, each with its number.
    pub(crate) fn items(&self, mut range: Range<usize>) -> Vec<(Item, usize)> {
        let mut items = Vec::new();
        while range.start < range.end {
            let node = &self.nodes[range.start];
            let found = Found::listed(node.entry());
            items.push((Item { name: node.name().to_vec(), found }, range.start));
            range.start = node.end();
        }
        items
    }

    /// Where a link points, by its number.
    pub(crate) fn target(&self, node: usize) -> &[u8] {
        self.nodes[node].target()
    }

    /// The digest of a file, by its number, if it is known for as long as the file has these times.
    pub(crate) fn digest_of(&self, node: usize) -> Option<ContentDigest> {
        let node = &self.nodes[node];
        node.digest.get().filter(|_| index::is_settled(&node.entry(), self.now)).copied()
    }

    /// Takes the digest of a file that was read for another reason. `false` where it is no longer what was listed: then
    /// the digest is not taken.
    pub(crate) fn learn(&self, node: usize, file: impl AsFd, digest: ContentDigest) -> io::Result<bool> {
        let known = &self.nodes[node];
        let is_other = known.digest.get().is_some_and(|known| *known != digest);
        if is_other || !index::is_same(&dirfd::stat_fd(file)?, &known.entry()) {
            let mut unstable = self.unstable.lock().unwrap_or_else(PoisonError::into_inner);
            unstable.push(node);
            return Ok(false);
        }
        if known.digest.set(digest).is_ok() {
            self.hashed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(known.digest.get() == Some(&digest))
    }
}
