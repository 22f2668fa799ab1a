//! Streams with a thread beside them: one that hashes what went by, one that reads ahead.

use std::io::{self, Read, Write};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use lighter_image::{Digest, Hasher};

/// The size of the pieces that go from thread to thread.
const PIECE_BYTES: usize = 256 * 1024;
/// How many pieces may wait.
const PIECES: usize = 8;

/// Hashes pieces: in place while there is but one, in a thread of its own as soon as there are more.
struct SideHasher {
    thread: Option<Side>,
}

struct Side {
    full: Sender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    handle: JoinHandle<Hasher>,
}

impl Side {
    fn start() -> Self {
        let (full, pieces) = crossbeam_channel::bounded::<Vec<u8>>(PIECES);
        let (back, empty) = crossbeam_channel::bounded(PIECES + 2);
        let handle = std::thread::spawn(move || {
            let mut hasher = Hasher::new();
            for mut piece in pieces {
                hasher.update(&piece);
                piece.clear();
                // Whoever fills pieces may be gone.
                drop(back.try_send(piece));
            }
            hasher
        });
        Self { full, empty, handle }
    }
}

impl SideHasher {
    const fn new() -> Self {
        Self { thread: None }
    }

    /// Takes a full piece, and gives an empty one.
    fn exchange(&mut self, piece: Vec<u8>) -> io::Result<Vec<u8>> {
        let side = self.thread.get_or_insert_with(Side::start);
        side.full.send(piece).map_err(|_| io::Error::other("the hashing thread is gone"))?;
        Ok(side.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE_BYTES)))
    }

    /// Takes the last piece, and says the digest and the length of all.
    fn finish(self, last: &[u8]) -> io::Result<(Digest, u64)> {
        let mut hasher = match self.thread {
            None => Hasher::new(),
            Some(side) => {
                drop(side.full);
                side.handle.join().map_err(|_| io::Error::other("the hashing thread is gone"))?
            }
        };
        hasher.update(last);
        let size_bytes = hasher.size_bytes();
        Ok((hasher.finish(), size_bytes))
    }
}

/// Passes on what is read, and hashes it.
pub(crate) struct HashingReader<R> {
    input: R,
    hasher: SideHasher,
    piece: Vec<u8>,
    at: usize,
}

impl<R: Read> HashingReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, hasher: SideHasher::new(), piece: Vec::new(), at: 0 }
    }

    /// The digest and the length of all that was read; what is left of the stream is not.
    pub(crate) fn finish(self) -> io::Result<(Digest, u64)> {
        self.hasher.finish(&self.piece)
    }

    fn refill(&mut self) -> io::Result<()> {
        let full = std::mem::take(&mut self.piece);
        self.at = 0;
        self.piece =
            if full.is_empty() { Vec::with_capacity(PIECE_BYTES) } else { self.hasher.exchange(full)? };
        let mut piece = std::mem::take(&mut self.piece);
        piece.resize(PIECE_BYTES, 0);
        let filled = fill(&mut self.input, &mut piece);
        piece.truncate(*filled.as_ref().unwrap_or(&0));
        self.piece = piece;
        filled.map(drop)
    }
}

/// Fills as much of a buffer as there is.
pub(crate) fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match input.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(length) => done += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            self.refill()?;
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Passes on what is written, and hashes it.
pub(crate) struct HashingWriter<'w> {
    output: &'w mut dyn Write,
    hasher: SideHasher,
    piece: Vec<u8>,
}

impl<'w> HashingWriter<'w> {
    pub(crate) fn new(output: &'w mut dyn Write) -> Self {
        Self { output, hasher: SideHasher::new(), piece: Vec::with_capacity(PIECE_BYTES) }
    }

    /// Writes what waits, and says the digest and the length of all.
    pub(crate) fn finish(self) -> io::Result<(Digest, u64)> {
        self.output.write_all(&self.piece)?;
        self.output.flush()?;
        self.hasher.finish(&self.piece)
    }
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == PIECE_BYTES {
            self.output.write_all(&self.piece)?;
            let full = std::mem::take(&mut self.piece);
            self.piece = self.hasher.exchange(full)?;
        }
        let length = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a stream in a thread of its own, so that decompressing and using go on side by side.
pub struct ReadAhead {
    full: Option<Receiver<io::Result<Vec<u8>>>>,
    empty: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl ReadAhead {
    /// Starts to read; the thread ends with the stream, or when this is dropped.
    pub fn new(mut input: impl Read + Send + 'static) -> Self {
        let (send, full) = crossbeam_channel::bounded(PIECES);
        let (empty, back) = crossbeam_channel::bounded::<Vec<u8>>(PIECES + 2);
        std::thread::spawn(move || {
            loop {
                let mut piece = back.try_recv().unwrap_or_default();
                piece.resize(PIECE_BYTES, 0);
                let filled = fill(&mut input, &mut piece);
                piece.truncate(*filled.as_ref().unwrap_or(&0));
                let last = filled.is_err() || piece.is_empty();
                if send.send(filled.map(|_| piece)).is_err() || last {
                    break;
                }
            }
        });
        Self { full: Some(full), empty, piece: Vec::new(), at: 0 }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            drop(self.empty.try_send(std::mem::take(&mut self.piece)));
            self.at = 0;
            let Some(full) = &self.full else { return Ok(0) };
            match full.recv() {
                Ok(Ok(piece)) if !piece.is_empty() => self.piece = piece,
                Ok(Ok(_)) => self.full = None,
                Ok(Err(error)) => {
                    self.full = None;
                    return Err(error);
                }
                Err(_) => return Err(io::Error::other("the reading thread is gone")),
            }
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

impl std::fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadAhead").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_by_is_hashed_whatever_its_length() {
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 7] {
            let bytes: Vec<u8> = (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let expected = (Digest::of(&bytes), length as u64);

            let mut reader = HashingReader::new(ReadAhead::new(io::Cursor::new(bytes.clone())));
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert!(read == bytes);
            assert_eq!(reader.finish().unwrap(), expected, "read {length}");

            let mut written = Vec::new();
            let mut writer = HashingWriter::new(&mut written);
            writer.write_all(&bytes).unwrap();
            assert_eq!(writer.finish().unwrap(), expected, "write {length}");
            assert!(written == bytes);
        }
    }
}
