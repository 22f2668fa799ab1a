//! Copying files, by whichever thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::content::{KERNEL_COPIES_FROM, copy_content, copy_into_piece};
use super::packing::{Ticket, head_of_file};
use crate::archive::{BLOCK, padding};
use crate::dirfd;
use crate::entry::{Entry, Metadata};
use crate::place::{self, Placer};
use crate::writer::WriteError;

/// Files of one directory, to be copied by any thread.
pub(super) struct Batch {
    pub(super) from: Arc<OwnedFd>,
    pub(super) to: Arc<OwnedFd>,
    /// The path of the destination directory, for errors.
    pub(super) path: Vec<u8>,
    pub(super) files: Vec<(Vec<u8>, Entry, Metadata)>,
    pub(super) size_bytes: u64,
    /// Its place in the layer's tar stream.
    pub(super) ticket: Option<Ticket>,
}

impl Batch {
    pub(super) fn copy(mut self, way: Way, buffer: &mut [u8]) -> Result<u64, WriteError> {
        if let Some(ticket) = self.ticket.take() {
            let packing = Arc::clone(&ticket.packing);
            // nobody may wait for a piece that does not come
            return self.copy_packed(ticket, way, buffer).inspect_err(|_| packing.give_up());
        }
        let mut size_bytes = 0;
        for (name, entry, metadata) in &self.files {
            let copied = copy_file(way, (&self.from, name), (&self.to, name), entry, metadata, buffer);
            size_bytes += copied.map_err(|error| WriteError::io(&self.path_of(name), error))?;
        }
        Ok(size_bytes)
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path[..], b"/", name].concat() }
    }

    /// Copies the files, and brings them to the layer's tar stream.
    fn copy_packed(&self, ticket: Ticket, way: Way, buffer: &mut [u8]) -> Result<u64, WriteError> {
        let mut piece = ticket.piece();
        let mut size_bytes = 0;
        for (name, entry, metadata) in &self.files {
            let fail = |error| WriteError::io(&self.path_of(name), error);
            let names = ((&self.from, &name[..]), (&self.to, &name[..]));
            if entry.size_bytes >= KERNEL_COPIES_FROM {
                size_bytes += copy_file(way, names.0, names.1, entry, metadata, buffer).map_err(fail)?;
                let file = dirfd::open_file(&self.to, name).map_err(|error| fail(error.into()))?;
                let (head, length) = head_of_file(&file, self.path_of(name)).map_err(fail)?;
                piece.extend(head);
                ticket.put_file(piece, &file, length, buffer).map_err(fail)?;
                return Ok(size_bytes);
            }
            let start = piece.len();
            // as long as a head is but for the rarest
            piece.resize(start + BLOCK, 0);
            let file = create_copy(way, names, entry, metadata, (&mut piece, buffer)).map_err(fail)?;
            let content = (piece.len() - start - BLOCK) as u64;
            let (head, length) = head_of_file(&file.fd, self.path_of(name)).map_err(fail)?;
            if !file.is_in_piece || content != length {
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
    fd: OwnedFd,
    size_bytes: u64,
    is_in_piece: bool,
}

/// Copies a small file into a name that is free, and into a piece of the layer's tar stream.
fn create_copy(
    way: Way,
    ((from, source), (to, name)): (Place<'_>, Place<'_>),
    entry: &Entry,
    metadata: &Metadata,
    through: (&mut Vec<u8>, &mut [u8]),
) -> io::Result<SmallCopy> {
    let source = dirfd::open_file(from, source)?;
    let fd = place::create_file(to, name, metadata.mode_bits)?;
    let (size_bytes, is_in_piece) = copy_into_piece(&source, &fd, entry.size_bytes, through)?;
    way.finish(&source, &fd, metadata)?;
    Ok(SmallCopy { fd, size_bytes, is_in_piece })
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
