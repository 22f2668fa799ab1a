//! Writing a tar stream whose bytes are a function of the entries.
//!
//! A header is plain ustar; extended records come before it only where a value does not fit. Changing a rule
//! here changes every diff id that lighter makes.

use std::io::{self, Write};

use super::header::{self, Header};
use super::{BLOCK, Member, MemberKind, pax};
use crate::entry::Kind;

/// Writes members to a tar stream; writing to it gives content to the last one.
pub struct Writer<W> {
    output: W,
    /// What of the last member's content is still owed.
    owed: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub const fn new(output: W) -> Self {
        Self { output, owed: 0, padding: 0 }
    }

    /// Writes the header of a member; its content, if it is a file, has to follow.
    ///
    /// # Errors
    /// Those of the stream; `InvalidInput` when content of the member before is missing.
    pub fn begin(&mut self, member: &Member) -> io::Result<()> {
        self.end_member()?;
        write_head(member, &mut self.output)?;
        self.owed = content_size(member);
        self.padding = padding(self.owed);
        Ok(())
    }

    fn end_member(&mut self) -> io::Result<()> {
        if self.owed > 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "content of an archive member is missing",
            ));
        }
        self.output.write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)])
    }

    /// Ends the archive and gives the stream back.
    ///
    /// # Errors
    /// As for [`Writer::begin`].
    pub fn finish(mut self) -> io::Result<W> {
        self.end_member()?;
        self.output.write_all(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }
}

impl<W: Write> Write for Writer<W> {
    /// Writes content of the last member; what is more than its header said is refused.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.owed {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an archive member has too much content",
            ));
        }
        let length = self.output.write(bytes)?;
        self.owed -= length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Writes what comes before the content of a member.
pub(crate) fn write_head(member: &Member, output: &mut impl Write) -> io::Result<()> {
    let (header, records) = encode(member);
    if !records.is_empty() {
        output.write_all(&records_header(&member.path, records.len()).0)?;
        output.write_all(&records)?;
        output.write_all(&[0; BLOCK][..padding(records.len() as u64)])?;
    }
    output.write_all(&header.0)
}

/// How many zeros come after content of this length.
pub(crate) fn padding(size_bytes: u64) -> usize {
    usize::try_from(size_bytes.wrapping_neg() % BLOCK as u64).unwrap_or(0)
}

fn content_size(member: &Member) -> u64 {
    if member.kind == MemberKind::Entry(Kind::File) { member.size_bytes } else { 0 }
}

/// The header, and the records that have to come before it.
fn encode(member: &Member) -> (Header, Vec<u8>) {
    let mut header = Header([0; BLOCK]);
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut record = |key: &str, value: String| records.push((key.into(), value.into_bytes()));
    let metadata = &member.metadata;
    header.put_octal(header::MODE, u64::from(metadata.mode_bits & 0o7777));
    for (field, key, id) in [(header::UID, "uid", metadata.uid), (header::GID, "gid", metadata.gid)] {
        if !header.put_octal(field, id.into()) {
            record(key, id.to_string());
        }
    }
    let size = content_size(member);
    if !header.put_octal(header::SIZE, size) {
        record("size", size.to_string());
    }
    let seconds = metadata.mtime.seconds;
    if !u64::try_from(seconds).is_ok_and(|seconds| header.put_octal(header::MTIME, seconds)) {
        header.put_octal(header::MTIME, 0);
        record("mtime", seconds.to_string());
    }
    header.put_octal(header::MAJOR, member.device.major.into());
    header.put_octal(header::MINOR, member.device.minor.into());
    header.0[header::TYPE] = type_flag(member.kind);
    header.put_text(header::MAGIC, b"ustar\0");
    header.put_text(header::VERSION, b"00");
    if let Some((prefix, name)) = split_path(&member.path) {
        header.put_text(header::PREFIX, prefix);
        header.put_text(header::NAME, name);
    } else {
        header.put_text(header::NAME, &abridged(&member.path));
        records.push((b"path".to_vec(), member.path.clone()));
    }
    if member.link.is_ascii() && member.link.len() <= header::LINK.len() {
        header.put_text(header::LINK, &member.link);
    } else {
        header.put_text(header::LINK, &abridged(&member.link));
        records.push((b"linkpath".to_vec(), member.link.clone()));
    }
    for (key, value) in &metadata.xattrs {
        records.push(([b"SCHILY.xattr.", &key[..]].concat(), value.clone()));
    }
    header.seal();
    records.sort();
    let mut bytes = Vec::new();
    for (key, value) in &records {
        pax::push(&mut bytes, key, value);
    }
    (header, bytes)
}

const fn type_flag(kind: MemberKind) -> u8 {
    match kind {
        MemberKind::HardLink => b'1',
        MemberKind::Entry(Kind::Link) => b'2',
        MemberKind::Entry(Kind::CharDevice) => b'3',
        MemberKind::Entry(Kind::BlockDevice) => b'4',
        MemberKind::Entry(Kind::Folder) => b'5',
        MemberKind::Entry(Kind::Fifo) => b'6',
        MemberKind::Entry(Kind::File | Kind::Socket) => b'0',
    }
}

/// Splits a path at a slash so that both parts fit their fields, if it has to and can be.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= header::NAME.len() {
        return Some((b"", path));
    }
    let searched = &path[..path.len().min(header::PREFIX.len() + 1)];
    let searched = if searched.last() == Some(&b'/') && searched.len() == path.len() {
        &searched[..searched.len() - 1]
    } else {
        searched
    };
    let slash = searched.iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (slash > 0 && !name.is_empty() && name.len() <= header::NAME.len()).then_some((prefix, name))
}

/// As much of a text as old programs can be shown.
fn abridged(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii).take(header::NAME.len()).collect()
}

/// The header of a block of records, named after the member as Go's library does.
fn records_header(path: &[u8], length: usize) -> Header {
    let mut header = Header([0; BLOCK]);
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let slash = trimmed.iter().rposition(|byte| *byte == b'/');
    let (folder, file) = slash.map_or((&b""[..], trimmed), |at| trimmed.split_at(at + 1));
    let name = abridged(&[folder, b"PaxHeaders.0/", file.strip_prefix(b"/").unwrap_or(file)].concat());
    header.put_text(header::NAME, &name);
    for field in [header::MODE, header::UID, header::GID, header::MTIME] {
        header.put_octal(field, 0);
    }
    header.put_octal(header::SIZE, length as u64);
    header.0[header::TYPE] = b'x';
    header.put_text(header::MAGIC, b"ustar\0");
    header.put_text(header::VERSION, b"00");
    header.seal();
    header
}
