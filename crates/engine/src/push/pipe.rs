//! A pipe between the thread that packs a layer and the one that sends it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How many bytes may wait in between.
const ROOM: usize = 1 << 20;

/// What is written into the one comes out of the other. The reader sees an end only if the writer says that it is one.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let pipe: Arc<Pipe> = Arc::default();
    (PipeWriter { pipe: Arc::clone(&pipe) }, PipeReader { pipe })
}

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// All has been written.
    is_whole: bool,
    has_no_writer: bool,
    has_no_reader: bool,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, nothing_to_do: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.state(), nothing_to_do).unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// Where a layer goes in.
#[derive(Debug)]
pub(super) struct PipeWriter {
    pipe: Arc<Pipe>,
}

impl PipeWriter {
    /// All has been written.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut state = self.pipe.state();
        state.is_whole = true;
        // a reader that goes from here on has seen the end
        let is_read = !state.has_no_reader;
        drop(state);
        self.pipe.changed.notify_all();
        if is_read { Ok(()) } else { Err(nobody()) }
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self
            .pipe
            .wait_while(|state| !bytes.is_empty() && state.bytes.len() == ROOM && !state.has_no_reader);
        if state.has_no_reader {
            return Err(nobody());
        }
        let length = bytes.len().min(ROOM - state.bytes.len());
        state.bytes.extend(&bytes[..length]);
        drop(state);
        self.pipe.changed.notify_all();
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.pipe.change(|state| state.has_no_writer = true);
    }
}

/// Where it comes out.
#[derive(Debug)]
pub(super) struct PipeReader {
    pipe: Arc<Pipe>,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state =
            self.pipe.wait_while(|state| state.bytes.is_empty() && !state.is_whole && !state.has_no_writer);
        if state.bytes.is_empty() && !state.is_whole {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the layer was not packed to its end"));
        }
        // what waits lies in two parts at most
        let first = state.bytes.read(buffer)?;
        let length = first + state.bytes.read(&mut buffer[first..])?;
        drop(state);
        self.pipe.changed.notify_all();
        Ok(length)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.pipe.change(|state| state.has_no_reader = true);
    }
}

fn nobody() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody sends the layer any more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_may_go_as_soon_as_it_has_all() {
        for _ in 0..5000 {
            let (writer, mut reader) = pipe();
            let reading = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()).unwrap());
            writer.finish().unwrap();
            reading.join().unwrap();
        }
    }

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

    #[test]
    fn more_than_there_is_room_for_waits_until_it_is_read() {
        let (mut writer, mut reader) = pipe();
        let all: Vec<u8> = (0..=250).cycle().take(3 * ROOM + 1).collect();
        let expected = all.clone();
        let writing = std::thread::spawn(move || writer.write_all(&all).and_then(|()| writer.finish()));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert!(bytes == expected);
        writing.join().unwrap().unwrap();
    }

    #[test]
    fn a_writer_learns_that_nobody_reads() {
        let (mut writer, reader) = pipe();
        writer.write_all(&vec![0; ROOM]).unwrap();
        let writing = std::thread::spawn(move || writer.write_all(b"more"));
        drop(reader);
        assert_eq!(writing.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
