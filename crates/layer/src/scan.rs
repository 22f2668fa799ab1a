//! Reading a build context: a parallel walk, and content digests remembered from build to build.
//!
//! A directory that the filter skips is not opened. The digest of a file comes from the stat index as long as
//! the file is the same by device, inode, size, mode and both times; else it is read, and only when asked for.

mod facts;
mod index;
mod node;
mod sketch;
mod still;
#[cfg(test)]
mod tests;
mod walk;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use lighter_image::{Digest, ImagePath};

use crate::content_digest::ContentDigest;
use crate::copy::{Filter, Verdict};
use crate::dirfd;
use crate::entry::{Entry, Kind, Timestamp};
use crate::tree_digest::{Content, DigestOptions, Recorder};
pub use facts::Fact;
use index::Index;
use node::Node;
pub use sketch::{Extent, Sketch};

/// Why a context could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The context is no directory that can be read.
    #[error("context `{}`", path.display())]
    Root {
        /// The directory on the host.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Something in it could not be read.
    #[error("reading `{path}` of the context")]
    Read {
        /// The path in the context.
        path: ImagePath,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The stat index could not be written.
    #[error("stat index `{}`", path.display())]
    Index {
        /// The file on the host.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// How many files are read for their digests between two looks at the list.
const READ_AT_ONCE: usize = 8192;

/// How a context is read.
#[derive(Clone, Copy)]
pub struct ScanOptions<'a> {
    /// Which entries belong to the context, by their path in it.
    pub filter: Option<Filter<'a>>,
    /// Where the stat index of this context is kept; without one, every file is read.
    pub index: Option<&'a Path>,
    /// The time now, by the clock that also gives files their times.
    pub now: Timestamp,
    /// How many threads read.
    pub threads: usize,
}

/// What a context holds: all entries that the filter kept, as they were at the time of the scan.
pub struct Listing {
    root: OwnedFd,
    /// In depth-first order, names sorted bytewise; the root itself is not among them.
    nodes: Vec<Node>,
    index_path: Option<PathBuf>,
    now: Timestamp,
    threads: usize,
    hashed: AtomicUsize,
    unstable: Mutex<Vec<usize>>,
}

/// Reads a context directory.
///
/// # Errors
/// [`ScanError`]; what vanishes while it is read is left out, without an error.
pub fn scan(root: &Path, options: &ScanOptions<'_>) -> Result<Listing, ScanError> {
    let root = open(root)?;
    let index = options.index.map(Index::load).unwrap_or_default();
    Listing::walk(root, index, options)
}

fn open(root: &Path) -> Result<OwnedFd, ScanError> {
    dirfd::open_root(root).map_err(|source| ScanError::Root { path: root.to_owned(), source })
}

impl Listing {
    fn walk(root: OwnedFd, index: Index, options: &ScanOptions<'_>) -> Result<Self, ScanError> {
        let folders = walk::walk(&root, options.filter, &index, options.threads)?;
        drop(index);
        Ok(Self {
            root,
            nodes: folders.assemble(),
            index_path: options.index.map(Path::to_owned),
            now: options.now,
            threads: options.threads,
            hashed: AtomicUsize::new(0),
            unstable: Mutex::default(),
        })
    }

    /// Reads the context once more: the directory that is at its place now. Files that are as they were listed keep their
    /// digests, so that a digest which reads none says that nothing was touched meanwhile.
    ///
    /// # Errors
    /// [`ScanError`].
    pub fn again(&self, root: &Path, filter: Option<Filter<'_>>) -> Result<Self, ScanError> {
        let root = open(root)?;
        let known = self.nodes.iter().filter_map(|node| Some((node.entry(), *node.digest.get()?)));
        let options = ScanOptions { filter, index: None, now: self.now, threads: self.threads };
        let mut listing = Self::walk(root, Index::of(known), &options)?;
        listing.doubt()?;
        Ok(listing)
    }

    /// Forgets the digests of files that have another content, where their times may not tell.
    fn doubt(&mut self) -> Result<(), ScanError> {
        let mut young = Vec::new();
        self.visit_indexed(0..self.nodes.len(), &mut |at, path, node| {
            if node.digest.get().is_some() && !index::is_settled(&node.entry(), self.now) {
                young.push((at, path.to_vec()));
            }
            Verdict::Keep
        });
        let mut hands = Hands::default();
        for (at, path) in young {
            let node = &self.nodes[at];
            let found = hands
                .open(&self.root, &path)
                .and_then(|file| ContentDigest::of_file(&file, node.size_bytes(), &mut hands.buffer));
            let found = found.map_err(|source| ScanError::Read { path: ImagePath::new(&path), source })?;
            if node.digest.get() != Some(&found) {
                self.nodes[at].digest.take();
            }
        }
        Ok(())
    }

    /// Whether all that the filter keeps is as it was listed, in the directory that is at the context's place now.
    /// `false` may also mean that it is not easily told: [`Listing::again`] looks closer.
    ///
    /// # Errors
    /// [`ScanError`].
    pub fn is_still(&self, root: &Path, filter: Option<Filter<'_>>) -> Result<bool, ScanError> {
        still::is_still(self, open(root)?, filter)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many files had to be read for their digests.
    pub fn files_read(&self) -> usize {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Goes through all entries in depth-first order: path without a slash at the start, and what it is.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &Entry)) {
        self.visit(0..self.nodes.len(), &mut |path, node| {
            visit(path, &node.entry());
            Verdict::Keep
        });
    }

    /// Says what is at a path, no links followed.
    pub fn entry(&self, path: &ImagePath) -> Option<Entry> {
        self.find(path).map(|at| self.nodes[at].entry())
    }

    /// How many files are in the directory at a real path, and how much is in them.
    pub fn size(&self, path: &ImagePath) -> (u64, u64) {
        let nodes = &self.nodes[self.range(path).unwrap_or_default()];
        let files = nodes.iter().filter(|node| node.kind() == Kind::File);
        files.fold((0, 0), |(files, size), node| (files + 1, size + node.size_bytes()))
    }

    /// Lists a directory, by its real path.
    pub fn children(&self, path: &ImagePath) -> Vec<(&[u8], Entry)> {
        let Some(mut range) = self.range(path) else { return Vec::new() };
        let mut children = Vec::new();
        while range.start < range.end {
            let node = &self.nodes[range.start];
            children.push((node.name(), node.entry()));
            range.start = node.end();
        }
        children
    }

    /// Follows links inside the context, the last one included, to a real path at which there is something.
    pub fn resolve(&self, path: &ImagePath) -> Option<ImagePath> {
        let mut pending: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut real = ImagePath::root();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let next = real.join(&name);
            match self.find(&next).map(|at| &self.nodes[at]) {
                Some(node) if node.kind() == Kind::Link => {
                    links += 1;
                    if links > 40 {
                        return None;
                    }
                    if node.target().first() == Some(&b'/') {
                        real = ImagePath::root();
                    }
                    pending.extend(node.target().split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => real = next,
            }
        }
        (real.is_root() || self.find(&real).is_some()).then_some(real)
    }

    /// Makes the content key of what is at a path, as [`crate::tree_digest()`] does; links to it are followed.
    ///
    /// Owners never count: what comes from a context is root's. Nor do attributes: a context has none.
    ///
    /// # Errors
    /// [`ScanError::Read`] when a file cannot be read.
    pub fn digest(&self, path: &ImagePath, options: &DigestOptions<'_>) -> Result<Option<Digest>, ScanError> {
        let Some(real) = self.resolve(path) else { return Ok(None) };
        let options = DigestOptions { owner: false, xattrs: false, ..*options };
        let top = self.find(&real);
        if let Some(at) = top
            && !self.nodes[at].is_folder()
        {
            self.read(&[(at, real.relative().to_vec())])?;
            let mut recorder = Recorder::new(options);
            recorder.entry(b"", &self.nodes[at].entry(), &Vec::new(), &self.nodes[at].content());
            return Ok(Some(recorder.finish()));
        }
        self.folder_digest(&real, top, options).map(Some)
    }

    fn folder_digest(
        &self,
        real: &ImagePath,
        top: Option<usize>,
        options: DigestOptions<'_>,
    ) -> Result<Digest, ScanError> {
        let range = self.range(real).unwrap_or_default();
        let mut recorder = Recorder::new(options);
        let verdict =
            |path: &[u8], node: &Node| options.filter.map_or(Verdict::Keep, |f| f(path, node.is_folder()));
        let (mut missing, mut done) = (Vec::new(), Ok(()));
        let base = range.start;
        self.visit_indexed(range.clone(), &mut |at, path, node| {
            let verdict = verdict(path, node);
            if verdict == Verdict::Keep && node.kind() == Kind::File && node.digest.get().is_none() {
                missing.push((at, real.join(path).relative().to_vec()));
                // not the paths of all files at once: there may be a million
                if missing.len() == READ_AT_ONCE && done.is_ok() {
                    done = self.read(&missing);
                    missing.clear();
                }
            }
            if done.is_ok() { verdict } else { Verdict::Skip }
        });
        done?;
        self.read(&missing)?;
        let top = top.map_or_else(|| dirfd::stat_fd(&self.root), |at| Ok(self.nodes[at].entry()));
        let top = top.map_err(|source| ScanError::Read { path: real.clone(), source })?;
        recorder.top_folder(&top, &Vec::new());
        let mut open: Vec<(usize, Vec<u8>)> = Vec::new();
        self.visit_indexed(base..range.end, &mut |at, path, node| {
            while open.last().is_some_and(|(end, _)| *end <= at) {
                let (_, left) = open.pop().expect("there is a last one");
                recorder.leave(&left);
            }
            let verdict = recorder.verdict(path, node.is_folder());
            if node.is_folder() && verdict != Verdict::Skip {
                recorder.folder(path, &node.entry(), Vec::new(), verdict);
                open.push((node.end(), path.to_vec()));
            } else if verdict == Verdict::Keep {
                recorder.entry(path, &node.entry(), &Vec::new(), &node.content());
            }
            verdict
        });
        Ok(recorder.finish())
    }

    /// Reads files for their digests, in several threads.
    fn read(&self, files: &[(usize, Vec<u8>)]) -> Result<(), ScanError> {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let work = || {
            let mut hands = Hands::default();
            while let Some((at, path)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(source) = self.read_one(*at, path, &mut hands) {
                    next.store(files.len(), Ordering::Relaxed);
                    let error = ScanError::Read { path: ImagePath::new(path), source };
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        let helpers = self.threads.min(files.len() / 8 + 1).saturating_sub(1);
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(work);
            }
            work();
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn read_one(&self, at: usize, path: &[u8], hands: &mut Hands) -> io::Result<()> {
        let node = &self.nodes[at];
        if node.digest.get().is_some() {
            return Ok(());
        }
        let file = hands.open(&self.root, path)?;
        let digest = ContentDigest::of_file(&file, node.size_bytes(), &mut hands.buffer)?;
        if !index::is_same(&dirfd::stat_fd(&file)?, &node.entry()) {
            // It changes under our eyes: what was read holds for this build, but not for the next.
            self.unstable.lock().unwrap_or_else(PoisonError::into_inner).push(at);
        }
        self.hashed.fetch_add(1, Ordering::Relaxed);
        node.digest.get_or_init(|| digest);
        Ok(())
    }

    /// Writes the stat index, if there is one and anything is new.
    ///
    /// # Errors
    /// [`ScanError::Index`].
    pub fn save(&self) -> Result<(), ScanError> {
        let Some(path) = &self.index_path else { return Ok(()) };
        if self.files_read() == 0 {
            return Ok(());
        }
        let unstable = self.unstable.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |at: usize| {
            let node = self.nodes.get(at)?;
            let digest = node.digest.get().filter(|_| !unstable.contains(&at))?;
            Some((node.entry(), *digest))
        };
        // what others found out meanwhile stays known
        Index::load(path)
            .save(path, (self.nodes.len(), &known), self.now)
            .map_err(|source| ScanError::Index { path: path.clone(), source })
    }

    /// The entries in a directory.
    pub(crate) fn range(&self, path: &ImagePath) -> Option<std::ops::Range<usize>> {
        if path.is_root() {
            return Some(0..self.nodes.len());
        }
        let at = self.find(path)?;
        Some(at + 1..self.nodes[at].end())
    }

    fn find(&self, path: &ImagePath) -> Option<usize> {
        let mut range = 0..self.nodes.len();
        let mut found = None;
        for name in path.components() {
            let at = loop {
                if range.start >= range.end {
                    return None;
                }
                let node = &self.nodes[range.start];
                if node.name() == name {
                    break range.start;
                }
                range.start = node.end();
            };
            found = Some(at);
            range = at + 1..self.nodes[at].end();
        }
        found
    }

    fn visit(&self, range: std::ops::Range<usize>, visit: &mut dyn FnMut(&[u8], &Node) -> Verdict) {
        self.visit_indexed(range, &mut |_, path, node| visit(path, node));
    }

    /// Goes through entries with their paths below the start; what is skipped is not entered.
    fn visit_indexed(
        &self,
        range: std::ops::Range<usize>,
        visit: &mut dyn FnMut(usize, &[u8], &Node) -> Verdict,
    ) {
        let mut path: Vec<u8> = Vec::new();
        // Where each open directory ends, and how long the path was before it.
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            while let Some((end, length)) = open.last().copied()
                && end <= at
            {
                path.truncate(length);
                open.pop();
            }
            let node = &self.nodes[at];
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(node.name());
            let verdict = visit(at, &path, node);
            if node.is_folder() && verdict != Verdict::Skip && node.end() > at + 1 {
                open.push((node.end(), length));
                at += 1;
            } else {
                path.truncate(length);
                at = node.end();
            }
        }
    }
}

/// What a thread that reads files keeps from one to the next.
#[derive(Default)]
struct Hands {
    folder: Option<(Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
}

impl Hands {
    /// Opens a file; the directory stays open, as the next one is most often in it.
    fn open(&mut self, root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
        let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let (folder, name) = (&path[..slash], path[slash..].strip_prefix(b"/").unwrap_or(&path[slash..]));
        let fd = match &self.folder {
            Some((open, fd)) if open == folder => fd,
            _ => {
                let fd = dirfd::open_folder_below(root, folder)?;
                &self.folder.insert((folder.to_vec(), fd)).1
            }
        };
        Ok(dirfd::open_file(fd, name)?)
    }
}

impl Node {
    /// What is hashed of it besides its metadata; a file must have been read.
    fn content(&self) -> Content {
        match (self.kind(), self.digest.get()) {
            (Kind::File, Some(digest)) => Content::File(*digest),
            (Kind::Link, _) => Content::Link(self.target().to_vec()),
            _ => Content::None,
        }
    }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("len", &self.len()).finish_non_exhaustive()
    }
}
