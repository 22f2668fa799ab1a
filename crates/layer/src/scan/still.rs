//! Whether a context is as it was listed, told without a new list.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use lighter_image::ImagePath;
use rustix::io::Errno;

use super::{Listing, Node, ScanError, index};
use crate::content_digest::ContentDigest;
use crate::copy::{Filter, Verdict};
use crate::dirfd;
use crate::entry::{Entry, Kind};

/// A directory that is open.
struct Level {
    folder: OwnedFd,
    path: Vec<u8>,
    nodes: Range<usize>,
}

/// A directory in one that is open: its name, its path, and what was in it.
struct Inner {
    parent: Arc<Level>,
    name: Vec<u8>,
    path: Vec<u8>,
    nodes: Range<usize>,
}

/// With fewer entries than this, another thread is not worth while.
const WORTH_A_THREAD: usize = 2048;

/// Looks at every entry once more.
pub(super) fn is_still(
    listing: &Listing,
    root: OwnedFd,
    filter: Option<Filter<'_>>,
) -> Result<bool, ScanError> {
    let (nodes, threads) = (&listing.nodes, listing.threads);
    let top = Arc::new(Level { folder: root, path: Vec::new(), nodes: 0..nodes.len() });
    let Some(ahead) = inner(&top, listing, filter)? else { return Ok(false) };
    let threads = threads.min(nodes.len() / WORTH_A_THREAD + 1).max(1);
    let mut shares: Vec<Vec<Inner>> = (0..threads).map(|_| Vec::new()).collect();
    for (at, inner) in ahead.into_iter().enumerate() {
        shares[at % threads].push(inner);
    }
    std::thread::scope(|scope| {
        let mine = shares.pop().unwrap_or_default();
        let others: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || are_still(share, listing, filter))).collect();
        let mut is_still = are_still(mine, listing, filter)?;
        for other in others {
            // where a thread has not come to an end, nothing is known
            is_still &= other.join().unwrap_or(Ok(false))?;
        }
        Ok(is_still)
    })
}

/// Looks at directories and all that is in them.
fn are_still(
    mut ahead: Vec<Inner>,
    listing: &Listing,
    filter: Option<Filter<'_>>,
) -> Result<bool, ScanError> {
    while let Some(Inner { parent, name, path, nodes: range }) = ahead.pop() {
        let folder = match dirfd::open_folder(&parent.folder, &name) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(error) => return Err(failed(&path, error)),
        };
        drop(parent);
        let Some(below) = inner(&Arc::new(Level { folder, path, nodes: range }), listing, filter)? else {
            return Ok(false);
        };
        ahead.extend(below);
    }
    Ok(true)
}

/// The directories in a directory, where all of it is as it was.
fn inner(
    level: &Arc<Level>,
    listing: &Listing,
    filter: Option<Filter<'_>>,
) -> Result<Option<Vec<Inner>>, ScanError> {
    let nodes = &listing.nodes;
    let keeps = |path: &[u8], is_folder: bool| match filter.map_or(Verdict::Keep, |f| f(path, is_folder)) {
        Verdict::Keep => true,
        Verdict::Descend => is_folder,
        Verdict::Skip => false,
    };
    let was_kept = |node: &Node| keeps(&level.path_of(node.name()), node.is_folder());
    let mut names = dirfd::names(&level.folder).map_err(|error| failed(&level.path, error))?;
    names.sort_unstable();
    let (mut inner, mut at, end) = (Vec::new(), level.nodes.start, level.nodes.end);
    for name in names {
        let path = level.path_of(&name);
        let found = dirfd::stat(&level.folder, &name).map_err(|error| failed(&path, error))?;
        let Some(entry) = found.filter(|entry| keeps(&path, entry.is_folder())) else { continue };
        // what lay in between must be none of the filter's
        while at < end && nodes[at].name() < &*name {
            if was_kept(&nodes[at]) {
                return Ok(None);
            }
            at = nodes[at].end();
        }
        let Some(node) = nodes[..end].get(at).filter(|node| node.name() == name) else { return Ok(None) };
        if !level.is_same(listing, &entry, node, &path)? {
            return Ok(None);
        }
        if entry.is_folder() {
            inner.push(Inner { parent: Arc::clone(level), name, path, nodes: at + 1..node.end() });
        }
        at = node.end();
    }
    while at < end {
        if was_kept(&nodes[at]) {
            return Ok(None);
        }
        at = nodes[at].end();
    }
    Ok(Some(inner))
}

impl Level {
    /// Whether a file, whose times may not tell, has the content that was read.
    fn has_content(&self, before: &Node, path: &[u8]) -> Result<bool, ScanError> {
        let Some(digest) = before.digest.get() else { return Ok(true) };
        let file = match dirfd::open_file(&self.folder, before.name()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(false),
            Err(error) => return Err(failed(path, error)),
        };
        let found = ContentDigest::of_file(&file, before.size_bytes(), &mut Vec::new());
        Ok(found.map_err(|error| failed(path, error))? == *digest)
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path, &b"/"[..], name].concat() }
    }

    fn is_same(&self, listing: &Listing, now: &Entry, before: &Node, path: &[u8]) -> Result<bool, ScanError> {
        let known = before.entry();
        let is_same = now.kind == known.kind && now.mode_bits == known.mode_bits;
        Ok(is_same
            && match now.kind {
                Kind::File if index::is_same(now, &known) => {
                    index::is_settled(now, listing.now) || self.has_content(before, path)?
                }
                Kind::File => false,
                Kind::Link => {
                    let target = dirfd::read_link(&self.folder, before.name());
                    *target.map_err(|error| failed(path, error))? == *before.target()
                }
                Kind::CharDevice | Kind::BlockDevice => now.device == known.device,
                Kind::Folder | Kind::Fifo | Kind::Socket => true,
            })
    }
}

fn failed(path: &[u8], source: impl Into<std::io::Error>) -> ScanError {
    ScanError::Read { path: ImagePath::new(path), source: source.into() }
}
