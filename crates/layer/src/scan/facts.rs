//! What is known of each entry of a context, for explanations.

use lighter_image::ImagePath;

use super::{Listing, Verdict};
use crate::content_digest::ContentDigest;
use crate::copy::{Collector, CopyOptions, Inventory};
use crate::dirfd;
use crate::entry::Entry;

/// What is known of an entry of a context.
#[derive(Debug, Clone)]
pub struct Fact<'a> {
    /// Its path in the context, without a slash at the start.
    pub path: &'a [u8],
    /// What it is.
    pub entry: Entry,
    /// The digest of a file's content, if it was asked for.
    pub digest: Option<ContentDigest>,
    /// Where a link points; empty for all else.
    pub target: &'a [u8],
}

impl Listing {
    /// Goes through all entries in depth-first order, with what is known of them. What the visitor skips is not
    /// entered.
    pub fn for_each_fact(&self, mut visit: impl FnMut(Fact<'_>) -> Verdict) {
        self.visit(0..self.nodes.len(), &mut |path, node| {
            visit(Fact {
                path,
                entry: node.entry(),
                digest: node.digest.get().copied(),
                target: node.target(),
            })
        });
    }

    /// What a copy of the directory at a real path puts into a layer. None where it is not listed, where the digest of
    /// some file was not asked for, and where there is more than files, links and directories.
    pub fn inventory(&self, path: &ImagePath, options: &CopyOptions<'_>) -> Option<Inventory> {
        let range = self.range(path)?;
        let top = match self.find(path) {
            Some(at) => self.nodes[at].mtime(),
            None => dirfd::stat_fd(&self.root).ok()?.mtime,
        };
        let mut collector = Collector::new(top, *options);
        self.visit(range, &mut |path, node| {
            let is_folder = node.is_folder();
            let verdict = options.filter.map_or(Verdict::Keep, |filter| filter(path, is_folder));
            match verdict {
                Verdict::Descend if is_folder => collector.way(path, &node.entry()),
                Verdict::Keep => {
                    collector.entry(path, &node.entry(), node.digest.get().copied(), node.target());
                }
                Verdict::Descend | Verdict::Skip => {}
            }
            verdict
        });
        collector.finish()
    }
}
