//! Moving the bytes of one file.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::entry::Entry;

/// From here on the kernel copies; below, a read and a write cost less.
pub(super) const KERNEL_COPIES_FROM: u64 = 256 * 1024;

/// How much is asked of the kernel at once: a copy can be interrupted in between.
const KERNEL_CHUNK: usize = 64 << 20;

/// Copies a file's content, holes kept; returns its length.
pub(crate) fn copy_content(
    from: impl AsFd,
    to: impl AsFd,
    entry: &Entry,
    buffer: &mut [u8],
) -> io::Result<u64> {
    let (from, to) = (from.as_fd(), to.as_fd());
    if entry.size_bytes < KERNEL_COPIES_FROM {
        return copy_small(from, to, entry.size_bytes, buffer);
    }
    if entry.allocated_bytes < entry.size_bytes {
        return copy_sparse(from, to, entry.size_bytes, buffer);
    }
    copy_range(from, to, 0, u64::MAX, buffer)
}

/// Reads until the end, whatever the length was said to be; one read is enough where it was right.
fn copy_small(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64, buffer: &mut [u8]) -> io::Result<u64> {
    let mut done = 0;
    loop {
        let length = retry(|| rustix::io::read(from, &mut *buffer))?;
        write_all(to, &buffer[..length])?;
        done += length as u64;
        if length == 0 || done == size && length < buffer.len() {
            return Ok(done);
        }
    }
}

/// Copies a small file, and leaves its content at the end of `piece`. None where it is longer than it was said to be: it
/// is copied all the same.
pub(super) fn copy_into_piece(
    from: impl AsFd,
    to: impl AsFd,
    size: u64,
    (piece, buffer): (&mut Vec<u8>, &mut [u8]),
) -> io::Result<(u64, bool)> {
    let (from, to, start) = (from.as_fd(), to.as_fd(), piece.len());
    let size = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
    loop {
        // room for more than there should be shows where it ends
        piece.reserve(size + 1);
        let length = retry(|| rustix::io::read(from, spare_capacity(piece)))?;
        let read = piece.len() - start;
        if length == 0 || read > size || read == size && piece.len() < piece.capacity() {
            break;
        }
    }
    let read = (piece.len() - start) as u64;
    write_all(to, &piece[start..])?;
    if piece.len() - start <= size {
        return Ok((read, true));
    }
    Ok((read + copy_small(from, to, u64::MAX, buffer)?, false))
}

fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
    buffer: &mut [u8],
) -> io::Result<u64> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let wanted = usize::try_from(end - read_at).unwrap_or(usize::MAX).min(KERNEL_CHUNK);
        match rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), wanted) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(
                Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::TXTBSY,
            ) => {
                return copy_by_hand(from, to, read_at, end, buffer);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read_at)
}

/// The same without the kernel's help, which some file systems do not give.
fn copy_by_hand(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    mut at: u64,
    end: u64,
    buffer: &mut [u8],
) -> io::Result<u64> {
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let length = retry(|| rustix::io::pread(from, &mut buffer[..wanted], at))?;
        if length == 0 {
            break;
        }
        let mut written = 0;
        while written < length {
            written += retry(|| rustix::io::pwrite(to, &buffer[written..length], at + written as u64))?;
        }
        at += length as u64;
    }
    Ok(at)
}

fn copy_sparse(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64, buffer: &mut [u8]) -> io::Result<u64> {
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return copy_range(from, to, at, u64::MAX, buffer),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?;
        if copy_range(from, to, start, end, buffer)? < end {
            break;
        }
        at = end;
    }
    rustix::fs::ftruncate(to, size)?;
    Ok(size)
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = retry(|| rustix::io::write(to, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
