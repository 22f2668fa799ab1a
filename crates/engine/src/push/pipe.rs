//! A pipe between the thread that packs a layer and the one that sends it.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How many pieces may wait in between.
const PIECES: usize = 4;

/// What is written into the one comes out of the other. The reader sees an end only if the writer says that it is one.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let (pieces, come) = sync_channel(PIECES);
    (PipeWriter { pieces }, PipeReader { come: Some(come), piece: Vec::new(), position: 0 })
}

/// Where a layer goes in.
#[derive(Debug)]
pub(super) struct PipeWriter {
    /// An empty piece is the end.
    pieces: SyncSender<Vec<u8>>,
}

impl PipeWriter {
    /// All has been written.
    pub(super) fn finish(self) -> io::Result<()> {
        self.pieces.send(Vec::new()).map_err(|_| nobody())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            self.pieces.send(bytes.to_vec()).map_err(|_| nobody())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where it comes out.
#[derive(Debug)]
pub(super) struct PipeReader {
    come: Option<Receiver<Vec<u8>>>,
    piece: Vec<u8>,
    position: usize,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.piece.len() {
            let Some(come) = &self.come else { return Ok(0) };
            match come.recv() {
                Ok(piece) if piece.is_empty() => {
                    self.come = None;
                    return Ok(0);
                }
                Ok(piece) => (self.piece, self.position) = (piece, 0),
                Err(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the layer was not packed to its end",
                    ));
                }
            }
        }
        let length = buffer.len().min(self.piece.len() - self.position);
        buffer[..length].copy_from_slice(&self.piece[self.position..self.position + length]);
        self.position += length;
        Ok(length)
    }
}

fn nobody() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody sends the layer any more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_finished_writer_is_an_end() {
        let check = |finishes: bool| {
            let (mut writer, mut reader) = pipe();
            let writing = std::thread::spawn(move || {
                for piece in [&b"some"[..], b"", b" bytes"] {
                    writer.write_all(piece).unwrap();
                }
                if finishes {
                    writer.finish().unwrap();
                }
            });
            let mut bytes = Vec::new();
            let outcome = reader.read_to_end(&mut bytes);
            writing.join().unwrap();
            assert_eq!(bytes, b"some bytes");
            assert_eq!(outcome.is_ok(), finishes);
        };
        check(true);
        check(false);
    }
}
