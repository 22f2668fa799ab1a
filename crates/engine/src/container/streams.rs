//! The streams of a process: pipes or a terminal, read until it has ended and nothing more comes.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lighter_sandbox::{Stdio, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Our ends of the pipes of a process.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    /// Where its input is written.
    pub(super) input: Option<OwnedFd>,
    /// Where its output is read.
    pub(super) output: Option<OwnedFd>,
    /// Where its errors are read.
    pub(super) error: Option<OwnedFd>,
}

/// Pipes for a process, or none where it has a terminal.
pub(super) fn pipes(tty: bool, open_stdin: bool) -> io::Result<(Stdio, Pipes)> {
    if tty {
        return Ok((Stdio::null(), Pipes::default()));
    }
    let (output, stdout) = io::pipe()?;
    let (error, stderr) = io::pipe()?;
    let (stdin, input) = if open_stdin {
        let (stdin, input) = io::pipe()?;
        (Stream::Fd(stdin.into()), Some(input.into()))
    } else {
        (Stream::Null, None)
    };
    let ends = Stdio { stdin, stdout: Stream::Fd(stdout.into()), stderr: Stream::Fd(stderr.into()) };
    Ok((ends, Pipes { input, output: Some(output.into()), error: Some(error.into()) }))
}

/// Reads a stream until its end, or until `ended` is readable (the process is no more) and nothing is left to read:
/// another process may hold the stream open for ever.
pub(super) fn read_to_end(mut stream: &File, ended: BorrowedFd<'_>, mut take: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    let mut watch_end = true;
    loop {
        match wait(stream.as_fd(), ended, watch_end) {
            Ok(Ready::Stream) => {}
            Ok(Ready::Ended) => {
                watch_end = false;
                continue;
            }
            Ok(Ready::Nothing) | Err(_) => return,
        }
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => take(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // a terminal whose last holder is gone reads as EIO
            Ok(0) | Err(_) => return,
        }
    }
}

enum Ready {
    Stream,
    Ended,
    Nothing,
}

fn wait(stream: BorrowedFd<'_>, ended: BorrowedFd<'_>, watch_end: bool) -> Result<Ready, Errno> {
    loop {
        let mut watched = vec![PollFd::new(&stream, PollFlags::IN)];
        if watch_end {
            watched.push(PollFd::new(&ended, PollFlags::IN));
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut watched, (!watch_end).then_some(&now)) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(_) if !watched[0].revents().is_empty() => return Ok(Ready::Stream),
            Ok(_) if watch_end => return Ok(Ready::Ended),
            Ok(_) => return Ok(Ready::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_stream_that_stays_open_ends_with_the_process() {
        let (stream, mut writer) = io::pipe().expect("a pipe");
        let (ended, end) = io::pipe().expect("a pipe");
        writer.write_all(b"all of it").expect("writes");
        drop(end);
        let mut bytes = Vec::new();
        let stream = File::from(OwnedFd::from(stream));
        read_to_end(&stream, ended.as_fd(), |piece| bytes.extend_from_slice(piece));
        assert_eq!(bytes, b"all of it");
        drop(writer);
    }
}
