//! gzip without its checksums, for streams that are verified by digests.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

/// The header's fixed part.
const HEADER_BYTES: usize = 10;
/// Checksum and length behind each member.
const TRAILER_BYTES: usize = 8;
/// The longest name, comment or extra field that is passed over.
const LONGEST_FIELD: usize = 64 << 10;

/// Reads one member after the other.
///
/// # Source
/// RFC 1952, section 2.3.
pub(super) struct Members<R> {
    input: R,
    inflate: Decompress,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Body,
    Between,
    End,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, inflate: Decompress::new(false), state: State::First }
    }

    /// Passes over a header; `false` where the stream ends instead.
    fn header(&mut self) -> io::Result<bool> {
        if self.state == State::Between && self.input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut header = [0; HEADER_BYTES];
        self.input.read_exact(&mut header)?;
        let [0x1f, 0x8b, 8, flags, ..] = header else { return Err(invalid("no gzip header")) };
        if flags & 4 != 0 {
            let mut length = [0; 2];
            self.input.read_exact(&mut length)?;
            self.skip(u16::from_le_bytes(length).into())?;
        }
        for flag in [8, 16] {
            if flags & flag != 0 {
                self.skip_text()?;
            }
        }
        if flags & 2 != 0 {
            self.skip(2)?;
        }
        Ok(true)
    }

    fn skip(&mut self, length: usize) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(length as u64), &mut io::sink())?;
        if skipped == length as u64 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn skip_text(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        self.input.by_ref().take(LONGEST_FIELD as u64).read_until(0, &mut text)?;
        if text.ends_with(&[0]) { Ok(()) } else { Err(invalid("a name in a gzip header has no end")) }
    }

    /// Unpacks some of a member; 0 where it has ended.
    fn body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let packed = self.input.fill_buf()?;
            let at_end = packed.is_empty();
            let flush = if at_end { FlushDecompress::Finish } else { FlushDecompress::None };
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(packed, buffer, flush);
            let status = status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let count = |before: u64, now: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            let (taken, given) =
                (count(before_in, self.inflate.total_in()), count(before_out, self.inflate.total_out()));
            self.input.consume(taken);
            if status == Status::StreamEnd {
                self.skip(TRAILER_BYTES)?;
                self.inflate.reset(false);
                self.state = State::Between;
                return Ok(given);
            }
            if given > 0 {
                return Ok(given);
            }
            if at_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if taken == 0 {
                return Err(invalid("the gzip stream does not go on"));
            }
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::End => return Ok(0),
                State::Body => match self.body(buffer)? {
                    0 => {}
                    length => return Ok(length),
                },
                State::First | State::Between => {
                    self.state = if self.header()? { State::Body } else { State::End };
                }
            }
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
