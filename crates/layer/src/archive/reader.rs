//! Reading a tar stream that may come from anyone.

use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

use super::header::{self, Header};
use super::pax::Records;
use super::sparse::{self, Cursor, Next, Segment};
use super::{ArchiveError, BLOCK, MAX_RECORDS_BYTES, Member, MemberKind};
use crate::entry::{Device, Kind, Metadata, Timestamp};

/// Reads the members of a tar stream one by one; reading from it gives the content of the last one.
///
/// It keeps one header, one block of records of at most a megabyte and one map of holes in memory, whatever
/// the stream says.
pub struct Reader<R> {
    input: BufReader<R>,
    /// What of the member's stored bytes was not read yet.
    stored: u64,
    padding: u64,
    cursor: Cursor,
    /// The length of all holes so far.
    holes_bytes: u64,
}

/// Holes that are made without a look at the disk.
const FREE_HOLES_BYTES: u64 = 64 << 20;

/// The most digits that a number of 64 bits has.
const MAX_DIGITS: usize = 20;

/// What came before a member and belongs to it.
#[derive(Default)]
struct Prelude {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Records,
}

/// What a file with holes is really called, and its real size.
struct Holes {
    name: Option<Vec<u8>>,
    size: u64,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of a stream.
    pub fn new(input: R) -> Self {
        let input = BufReader::with_capacity(64 * 1024, input);
        Self { input, stored: 0, padding: 0, cursor: Cursor::solid(0), holes_bytes: 0 }
    }

    /// Reads on to the next member, past what was not read of the last; `None` at the end of the archive.
    ///
    /// # Errors
    /// All of [`ArchiveError`].
    pub fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        self.skip_content()?;
        let mut prelude = Prelude::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            match header.0[header::TYPE] {
                b'L' => prelude.path = Some(self.long_text(&header)?),
                b'K' => prelude.link = Some(self.long_text(&header)?),
                b'x' | b'X' => prelude.records = Records::parse(&self.block_of_records(&header)?)?,
                // Records for all that follow are comments of `git archive`; Docker ignores them too.
                b'g' => drop(self.block_of_records(&header)?),
                _ => return self.member(&header, prelude).map(Some),
            }
        }
    }

    /// Reads a header; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header([0; BLOCK]);
        if !self.fill(&mut header.0)? {
            return Ok(None);
        }
        if header.is_zero() {
            let ended = !self.fill(&mut header.0)? || header.is_zero();
            return if ended { Ok(None) } else { Err(ArchiveError::Header("data after the end")) };
        }
        header.verify()?;
        Ok(Some(header))
    }

    /// Fills a block; `false` where the stream ends before it.
    fn fill(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveError> {
        let mut done = 0;
        while done < BLOCK {
            match self.input.read(&mut block[done..]) {
                Ok(0) if done == 0 => return Ok(false),
                Ok(0) => return Err(ArchiveError::Truncated),
                Ok(length) => done += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn long_text(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let mut text = self.block_of_records(header)?;
        if let Some(end) = text.iter().position(|byte| *byte == 0) {
            text.truncate(end);
        }
        Ok(text)
    }

    fn block_of_records(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size_bytes = header.count(header::SIZE)?;
        if size_bytes > MAX_RECORDS_BYTES {
            return Err(ArchiveError::TooLarge { size_bytes });
        }
        self.stored = size_bytes;
        self.padding = padding(size_bytes);
        let mut bytes = Vec::new();
        (&mut self.input).take(size_bytes).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size_bytes {
            return Err(ArchiveError::Truncated);
        }
        self.stored = 0;
        self.skip_content()?;
        Ok(bytes)
    }

    fn member(&mut self, header: &Header, prelude: Prelude) -> Result<Member, ArchiveError> {
        let Prelude { path, link, records } = prelude;
        let path = records.path.clone().or(path).unwrap_or_else(|| fixed_path(header));
        let kind = kind(header, &path)?;
        let has_content = kind == MemberKind::Entry(Kind::File);
        let stored = match records.size {
            _ if !has_content => 0,
            Some(size) => size,
            None => header.count(header::SIZE)?,
        };
        (self.stored, self.padding) = (stored, padding(stored));
        self.cursor = Cursor::solid(stored);
        let (path, size_bytes) = match self.holes(header, &records)? {
            Some(Holes { name, size }) if has_content => (name.unwrap_or(path), size),
            _ => (path, stored),
        };
        let time = Timestamp::at_second(header.number(header::MTIME)?);
        let mode = header.number(header::MODE)?;
        let metadata = Metadata {
            mode_bits: u32::try_from(mode & 0o7777).unwrap_or(0),
            uid: owner(records.uid, header, header::UID)?,
            gid: owner(records.gid, header, header::GID)?,
            mtime: records.mtime.unwrap_or(time),
            xattrs: records.xattrs,
        };
        let link = records.link.or(link).unwrap_or_else(|| header.text(header::LINK).to_vec());
        Ok(Member { path, kind, link, metadata, device: device(kind, header)?, size_bytes })
    }

    /// Reads the map of a file with holes, if it is one: perhaps another name, and the real size.
    fn holes(&mut self, header: &Header, records: &Records) -> Result<Option<Holes>, ArchiveError> {
        let sparse = &records.sparse;
        let (segments, real_size) = if header.0[header::TYPE] == b'S' {
            (self.old_map(header)?, header.count(header::GNU_REAL_SIZE)?)
        } else if sparse.used {
            let missing = ArchiveError::Header("a file with holes has no size");
            let real_size = sparse.real_size.ok_or(missing)?;
            let segments = match sparse.major {
                Some(1) => self.map_in_content()?,
                _ => sparse.segments()?,
            };
            (segments, real_size)
        } else {
            return Ok(None);
        };
        sparse::check(&segments, real_size, self.stored)?;
        self.cursor = Cursor::new(segments, real_size);
        Ok(Some(Holes { name: sparse.name.clone(), size: real_size }))
    }

    /// The map of GNU's first format: in the header, and in blocks after it.
    fn old_map(&mut self, header: &Header) -> Result<Vec<Segment>, ArchiveError> {
        let mut segments = Vec::new();
        push_segments(&header.0[header::GNU_SPARSE], &mut segments)?;
        let mut extended = header.0[header::GNU_EXTENDED] != 0;
        while extended {
            let mut block = [0; BLOCK];
            if !self.fill(&mut block)? {
                return Err(ArchiveError::Truncated);
            }
            push_segments(&block[..504], &mut segments)?;
            extended = block[504] != 0;
        }
        Ok(segments)
    }

    /// The map of GNU's last format: decimal lines at the start of the content, padded to blocks.
    fn map_in_content(&mut self) -> Result<Vec<Segment>, ArchiveError> {
        let (mut numbers, mut line, mut wanted) = (Vec::new(), Vec::new(), None);
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            let mut block = [0; BLOCK];
            let length = BLOCK as u64;
            if self.stored < length || !self.fill(&mut block)? {
                return Err(ArchiveError::Header("the map of holes is incomplete"));
            }
            self.stored -= length;
            for byte in block {
                if byte != b'\n' {
                    // a stream that never ends a line must not be kept
                    if line.len() == MAX_DIGITS {
                        return Err(ArchiveError::Header("the map of holes is malformed"));
                    }
                    line.push(byte);
                    continue;
                }
                let number = super::pax::decimal(&line)?;
                line.clear();
                match wanted {
                    None if number > sparse::MAX_SEGMENTS as u64 => {
                        return Err(ArchiveError::Header("a file with holes is too large"));
                    }
                    None => wanted = usize::try_from(number).ok().map(|pairs| pairs * 2),
                    Some(wanted) if numbers.len() < wanted => numbers.push(number),
                    Some(_) => {}
                }
                if wanted == Some(numbers.len()) {
                    break;
                }
            }
        }
        Ok(numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect())
    }

    fn skip_content(&mut self) -> Result<(), ArchiveError> {
        let left = self.stored.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.input).take(left), &mut io::sink())?;
        // Some writers leave out the padding at the very end.
        if skipped < self.stored {
            return Err(ArchiveError::Truncated);
        }
        (self.stored, self.padding) = (0, 0);
        self.cursor = Cursor::solid(0);
        Ok(())
    }

    /// Holes take no room, but whoever reads them goes through them: together they may be as long as what the disk could
    /// still hold, as if they were written.
    fn allow_hole(&mut self, to: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        self.holes_bytes = self.holes_bytes.saturating_add(length);
        if self.holes_bytes <= FREE_HOLES_BYTES {
            return Ok(());
        }
        let disk = rustix::fs::fstatvfs(to)?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        if self.holes_bytes > free_bytes { Err(rustix::io::Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// Writes the content of the last member into an empty file, holes as holes.
    ///
    /// # Errors
    /// [`ArchiveError::Truncated`], [`ArchiveError::Read`]; a failing write is the inner error.
    pub fn copy_content(&mut self, to: impl AsFd) -> Result<io::Result<()>, ArchiveError> {
        let to = to.as_fd();
        let mut buffer = vec![0; self.buffer_size()];
        let mut at = 0;
        let mut ends_in_hole = false;
        loop {
            match self.cursor.next() {
                Next::End => break,
                Next::Hole(length) => {
                    if let Err(error) = self.allow_hole(to, length) {
                        return Ok(Err(error));
                    }
                    self.cursor.advance(length);
                    at += length;
                    ends_in_hole = true;
                }
                Next::Data(length) => {
                    let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
                    let length = self.read_stored(&mut buffer[..wanted])?;
                    let mut written = 0;
                    while written < length {
                        match rustix::io::pwrite(to, &buffer[written..length], at + written as u64) {
                            Ok(more) => written += more,
                            Err(rustix::io::Errno::INTR) => {}
                            Err(error) => return Ok(Err(error.into())),
                        }
                    }
                    at += length as u64;
                    ends_in_hole = false;
                }
            }
        }
        if ends_in_hole && let Err(error) = rustix::fs::ftruncate(to, at) {
            return Ok(Err(error.into()));
        }
        Ok(Ok(()))
    }

    fn buffer_size(&self) -> usize {
        usize::try_from(self.stored).unwrap_or(usize::MAX).clamp(1, 1 << 18)
    }

    /// Reads stored bytes, at least one.
    fn read_stored(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        loop {
            match self.input.read(buffer) {
                Ok(0) => return Err(ArchiveError::Truncated),
                Ok(length) => {
                    self.stored -= length as u64;
                    self.cursor.advance(length as u64);
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads the stream to its end, so that whoever counts or hashes it sees all of it.
    ///
    /// # Errors
    /// [`ArchiveError::Read`].
    pub fn drain(&mut self) -> Result<(), ArchiveError> {
        io::copy(&mut self.input, &mut io::sink())?;
        Ok(())
    }

    /// The stream itself.
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }
}

impl<R: Read> Read for Reader<R> {
    /// Reads the content of the last member, holes as zeros.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let fits =
            |length: u64, buffer: &[u8]| usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        match self.cursor.next() {
            Next::End => Ok(0),
            _ if buffer.is_empty() => Ok(0),
            Next::Hole(length) => {
                let length = fits(length, buffer);
                buffer[..length].fill(0);
                self.cursor.advance(length as u64);
                Ok(length)
            }
            Next::Data(length) => {
                let length = fits(length, buffer);
                self.read_stored(&mut buffer[..length]).map_err(|error| match error {
                    ArchiveError::Read(error) => error,
                    other => io::Error::new(io::ErrorKind::UnexpectedEof, other),
                })
            }
        }
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn fixed_path(header: &Header) -> Vec<u8> {
    let name = header.text(header::NAME);
    let prefix = if header.is_posix() { header.text(header::PREFIX) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn kind(header: &Header, path: &[u8]) -> Result<MemberKind, ArchiveError> {
    Ok(MemberKind::Entry(match header.0[header::TYPE] {
        // Before POSIX, a directory was a file whose name ends in a slash.
        0 if path.last() == Some(&b'/') => Kind::Folder,
        0 | b'0' => Kind::File,
        b'S' if header.is_gnu() => Kind::File,
        b'1' => return Ok(MemberKind::HardLink),
        b'2' => Kind::Link,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Folder,
        b'6' => Kind::Fifo,
        flag => {
            let path = String::from_utf8_lossy(path).into_owned();
            return Err(ArchiveError::Type { path, flag: flag.escape_ascii().to_string() });
        }
    }))
}

fn owner(record: Option<i64>, header: &Header, field: header::Field) -> Result<u32, ArchiveError> {
    let id = match record {
        Some(id) => id,
        None => header.number(field)?,
    };
    u32::try_from(id).map_err(|_| ArchiveError::Header("an owner is out of range"))
}

fn device(kind: MemberKind, header: &Header) -> Result<Device, ArchiveError> {
    if !matches!(kind, MemberKind::Entry(Kind::CharDevice | Kind::BlockDevice)) {
        return Ok(Device::default());
    }
    let number = |field| -> Result<u32, ArchiveError> {
        u32::try_from(header.number(field)?).map_err(|_| ArchiveError::Header("a device is out of range"))
    };
    Ok(Device { major: number(header::MAJOR)?, minor: number(header::MINOR)? })
}

/// Reads pairs of twelve octal digits until one is empty.
fn push_segments(bytes: &[u8], segments: &mut Vec<Segment>) -> Result<(), ArchiveError> {
    for pair in bytes.chunks_exact(24).take_while(|pair| pair[0] != 0) {
        let number = |bytes: &[u8]| {
            header::parse_number(bytes).and_then(|number| {
                u64::try_from(number).map_err(|_| ArchiveError::Header("the map of holes is malformed"))
            })
        };
        segments.push(Segment { offset: number(&pair[..12])?, length: number(&pair[12..])? });
        if segments.len() > sparse::MAX_SEGMENTS {
            return Err(ArchiveError::Header("a file with holes is too large"));
        }
    }
    Ok(())
}
