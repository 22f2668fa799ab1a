//! Copying files, by whichever thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use lighter_image::ImagePath;

use super::content::{KERNEL_COPIES_FROM, copy_content, copy_into_piece};
use super::packing::{Ticket, head_of_file, head_of_planned};
use crate::archive::{BLOCK, padding};
use crate::content_digest::ContentDigest;
use crate::dirfd;
use crate::entry::{Entry, Metadata};
use crate::place::{self, Placer};
use crate::scan::Listing;
use crate::writer::WriteError;

/// A file to be copied.
pub(super) struct Planned {
    pub(super) name: Vec<u8>,
    pub(super) entry: Entry,
    pub(super) metadata: Metadata,
    /// Its number in the listing, if there is one.
    pub(super) node: usize,
}

/// Files of one directory, to be copied by any thread.
pub(super) struct Batch<'a> {
    pub(super) from: Arc<OwnedFd>,
    pub(super) to: Arc<OwnedFd>,
    /// The path of the destination directory, for errors.
    pub(super) path: Vec<u8>,
    pub(super) files: Vec<Planned>,
    pub(super) size_bytes: u64,
    /// What the files were listed as.
    pub(super) listing: Option<&'a Listing>,
    /// Its place in the layer's tar stream.
    pub(super) ticket: Option<Ticket>,
}

impl Batch<'_> {
    pub(super) fn copy(mut self, way: Way, buffer: &mut [u8]) -> Result<u64, WriteError> {
        if let Some(ticket) = self.ticket.take() {
            let packing = Arc::clone(&ticket.packing);
            // nobody may wait for a piece that does not come
            return self.copy_packed(ticket, way, buffer).inspect_err(|_| packing.give_up());
        }
        let (mut size_bytes, mut piece) = (0, Vec::new());
        for file in &self.files {
            if self.listing.is_none() || file.entry.size_bytes >= KERNEL_COPIES_FROM {
                size_bytes += self.copy_whole(file, way, buffer)?;
                continue;
            }
            piece.clear();
            let copied = create_copy(way, self.names(file), file, (&mut piece, buffer));
            let copied = copied.map_err(|error| self.fail(file, error))?;
            self.learn(file, &copied, &piece)?;
            size_bytes += copied.size_bytes;
        }
        Ok(size_bytes)
    }

    fn names<'b>(&'b self, file: &'b Planned) -> (Place<'b>, Place<'b>) {
        ((&self.from, &file.name), (&self.to, &file.name))
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path[..], b"/", name].concat() }
    }

    fn fail(&self, file: &Planned, error: impl Into<io::Error>) -> WriteError {
        WriteError::io(&self.path_of(&file.name), error)
    }

    /// Copies a file by itself. For its digest it is read once more.
    fn copy_whole(&self, file: &Planned, way: Way, buffer: &mut [u8]) -> Result<u64, WriteError> {
        let fail = |error| self.fail(file, error);
        let (from, to) = self.names(file);
        let Some(listing) = self.listing else {
            return copy_file(way, from, to, &file.entry, &file.metadata, buffer).map_err(fail);
        };
        let source = dirfd::open_file(from.0, from.1).map_err(|error| fail(error.into()))?;
        // a listing does not know of holes
        let entry = dirfd::stat_fd(&source).map_err(fail)?;
        let copied = copy_file(way, from, to, &entry, &file.metadata, buffer).map_err(fail)?;
        let digest = listing.digest_of(file.node).map_or_else(
            || ContentDigest::of_file(&source, entry.size_bytes, &mut Vec::new()).map_err(fail),
            Ok,
        )?;
        self.put_digest(listing, file, &source, digest)?;
        Ok(copied)
    }

    /// Takes the digest of a file that was just read.
    fn learn(&self, file: &Planned, copy: &SmallCopy, content: &[u8]) -> Result<(), WriteError> {
        let Some(listing) = self.listing else { return Ok(()) };
        if !copy.is_in_piece {
            return Err(WriteError::Changed { path: ImagePath::new(self.path_of(&file.name)) });
        }
        let digest = listing.digest_of(file.node).unwrap_or_else(|| ContentDigest::of(content));
        self.put_digest(listing, file, &copy.source, digest)
    }

    fn put_digest(
        &self,
        listing: &Listing,
        file: &Planned,
        source: &OwnedFd,
        digest: ContentDigest,
    ) -> Result<(), WriteError> {
        if listing.learn(file.node, source, digest).map_err(|error| self.fail(file, error))? {
            return Ok(());
        }
        Err(WriteError::Changed { path: ImagePath::new(self.path_of(&file.name)) })
    }

    /// What comes before a file's content if it is just what was asked for. None for a time that not every file system
    /// keeps.
    fn expected_head(&self, planned: &Planned, size_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        if !(0..1 << 31).contains(&planned.metadata.mtime.seconds) {
            return Ok(None);
        }
        head_of_planned(&planned.metadata, self.path_of(&planned.name), size_bytes).map(Some)
    }

    /// Copies the files, and brings them to the layer's tar stream.
    ///
    /// Where the first one is what was asked for, and the directory has no attributes that could reach what is made in
    /// it, the others are, too, and need no look.
    fn copy_packed(&self, ticket: Ticket, way: Way, buffer: &mut [u8]) -> Result<u64, WriteError> {
        let mut piece = ticket.piece();
        let (is_plain, mut are_as_planned) = (!way.xattrs && dirfd::has_no_xattrs(&self.to), false);
        let mut size_bytes = 0;
        for planned in &self.files {
            let fail = |error| self.fail(planned, error);
            if planned.entry.size_bytes >= KERNEL_COPIES_FROM {
                size_bytes += self.copy_whole(planned, way, buffer)?;
                let file = dirfd::open_file(&self.to, &planned.name).map_err(|error| fail(error.into()))?;
                let (head, length) = head_of_file(&file, self.path_of(&planned.name)).map_err(fail)?;
                piece.extend(head);
                ticket.put_file(piece, &file, length, buffer).map_err(fail)?;
                return Ok(size_bytes);
            }
            let start = piece.len();
            // as long as a head is but for the rarest
            piece.resize(start + BLOCK, 0);
            let file = create_copy(way, self.names(planned), planned, (&mut piece, buffer)).map_err(fail)?;
            self.learn(planned, &file, &piece[start + BLOCK..])?;
            let content = (piece.len() - start - BLOCK) as u64;
            let expected = self.expected_head(planned, content).map_err(fail)?.filter(|_| is_plain);
            let head = match expected {
                Some(expected) if are_as_planned => expected,
                expected => {
                    let (head, length) = head_of_file(&file.fd, self.path_of(&planned.name)).map_err(fail)?;
                    if content != length {
                        ticket.packing.give_up();
                    }
                    are_as_planned = expected.as_ref() == Some(&head);
                    head
                }
            };
            if !file.is_in_piece {
                ticket.packing.give_up();
            }
            size_bytes += file.size_bytes;
            if head.len() == BLOCK {
                piece[start..start + BLOCK].copy_from_slice(&head);
            } else {
                piece.splice(start..start + BLOCK, head);
            }
            piece.resize(piece.len() + padding(content), 0);
        }
        ticket.put(piece);
        Ok(size_bytes)
    }
}

/// A name in a directory.
type Place<'a> = (&'a Arc<OwnedFd>, &'a [u8]);

/// A small file that was copied.
struct SmallCopy {
    source: OwnedFd,
    fd: OwnedFd,
    size_bytes: u64,
    is_in_piece: bool,
}

/// Copies a small file into a name that is free, and into a piece of the layer's tar stream.
fn create_copy(
    way: Way,
    ((from, source), (to, name)): (Place<'_>, Place<'_>),
    Planned { entry, metadata, .. }: &Planned,
    through: (&mut Vec<u8>, &mut [u8]),
) -> io::Result<SmallCopy> {
    let source = dirfd::open_file(from, source)?;
    let fd = place::create_file(to, name, metadata.mode_bits)?;
    let (size_bytes, is_in_piece) = copy_into_piece(&source, &fd, entry.size_bytes, through)?;
    way.finish(&source, &fd, metadata)?;
    Ok(SmallCopy { source, fd, size_bytes, is_in_piece })
}

/// How a thread copies a file.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) placer: Placer,
    pub(super) xattrs: bool,
}

impl Way {
    /// Gives a copy all but its content.
    fn finish(self, source: &OwnedFd, file: &OwnedFd, metadata: &Metadata) -> io::Result<()> {
        let xattrs = if self.xattrs { dirfd::xattrs_fd(source)? } else { Vec::new() };
        if xattrs.is_empty() {
            self.placer.finish_file(file, metadata)
        } else {
            self.placer.finish_file(file, &Metadata { xattrs, ..metadata.clone() })
        }
    }
}

/// Copies one file into a name that is free.
pub(super) fn copy_file(
    way: Way,
    (from, source): Place<'_>,
    (to, name): Place<'_>,
    entry: &Entry,
    metadata: &Metadata,
    buffer: &mut [u8],
) -> io::Result<u64> {
    let source = dirfd::open_file(from, source)?;
    let file = place::create_file(to, name, metadata.mode_bits)?;
    let size = copy_content(&source, &file, entry, buffer)?;
    way.finish(&source, &file, metadata)?;
    Ok(size)
}
