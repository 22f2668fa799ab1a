//! What a command writes: handed on as it comes, its end kept for the message of a failure.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::event::Stream;

/// How much of a command's output is kept for the message of a failure.
const TAIL_BYTES: usize = 16 << 10;

/// The end of what was written.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * TAIL_BYTES {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let start = self.bytes.len().saturating_sub(TAIL_BYTES);
        if start == 0 {
            return;
        }
        // whole lines, where there is an end of a line
        let line = self.bytes[start..].iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.bytes.drain(..start + line);
    }

    /// The last bytes, from the start of a line on.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.cut();
        self.bytes
    }
}

/// Reads both pipes until all who could write to them are gone.
pub(crate) fn pump(
    stdout: &OwnedFd,
    stderr: &OwnedFd,
    tail: &mut Tail,
    tell: &dyn Fn(Stream, Vec<u8>),
) -> io::Result<()> {
    let mut open: Vec<(BorrowedFd<'_>, Stream)> =
        vec![(stdout.as_fd(), Stream::Stdout), (stderr.as_fd(), Stream::Stderr)];
    let mut buffer = vec![0; 32 << 10];
    while !open.is_empty() {
        let mut watched: Vec<PollFd<'_>> =
            open.iter().map(|(fd, _)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut index = 0;
        let mut failure = None;
        open.retain(|(fd, stream)| {
            let is_ready = ready[index];
            index += 1;
            if !is_ready {
                return true;
            }
            match rustix::io::read(fd, &mut buffer) {
                Ok(0) => false,
                Ok(count) => {
                    tail.push(&buffer[..count]);
                    tell(*stream, buffer[..count].to_vec());
                    true
                }
                Err(Errno::INTR) => true,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            }
        });
        if let Some(error) = failure {
            return Err(error.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn both_pipes_are_read_to_their_end() {
        let (out, out_end) = rustix::pipe::pipe().unwrap();
        let (err, err_end) = rustix::pipe::pipe().unwrap();
        let writer = std::thread::spawn(move || {
            for _ in 0..100 {
                rustix::io::write(&out_end, b"out\n").unwrap();
                rustix::io::write(&err_end, b"err\n").unwrap();
            }
        });
        let seen = Mutex::new((Vec::new(), Vec::new()));
        let mut tail = Tail::default();
        pump(&out, &err, &mut tail, &|stream, bytes| match stream {
            Stream::Stdout => seen.lock().unwrap().0.extend(bytes),
            Stream::Stderr => seen.lock().unwrap().1.extend(bytes),
        })
        .unwrap();
        writer.join().unwrap();
        let (out, err) = seen.into_inner().unwrap();
        assert_eq!((out, err), (b"out\n".repeat(100), b"err\n".repeat(100)));
        assert_eq!(tail.into_bytes().len(), 800);
    }

    #[test]
    fn the_tail_is_short_and_of_whole_lines() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let bytes = tail.into_bytes();
        assert!(bytes.len() <= TAIL_BYTES && bytes.len() > TAIL_BYTES - 20);
        assert!(bytes.starts_with(b"line ") && bytes.ends_with(b"line 9999\n"));
    }
}
