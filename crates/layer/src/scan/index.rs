//! The stat index: digests of files by what their inodes said, in one flat file.
//!
//! # Shape
//! The eight bytes `LTRSTAT2`; records of 93 bytes, sorted by device and inode; a CRC-32 of all before it. A
//! record is device, inode, size, seconds and nanoseconds of both times, mode, age and digest; numbers are
//! little-endian. The age counts the writes since the file was last seen: what is forgotten long enough goes.
//!
//! # Trust
//! A file is written down only if both its times are older than the start of the scan by more than the clock
//! of the file system may lag. Whoever changes it later gives it another time, since that clock has moved on.
//! Times without a fraction may come from a file system that counts seconds, or two at a time.
//!
//! What lies on a file system that cannot be written is never written down: the next image that is mounted there may
//! have another file with the same number and the same times.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::content_digest::ContentDigest;
use crate::entry::{Entry, Inode, Kind, Timestamp};

const MAGIC: &[u8; 8] = b"LTRSTAT2";
const KEY: usize = 16;
/// All that has to be equal.
const STAT: usize = 60;
const AGE: usize = STAT;
const RECORD: usize = STAT + 1 + 32;
/// After so many writes a file that was not seen is forgotten.
const MAX_AGE: u8 = 16;
/// How far the clock of a file system may lag behind ours: a tick, and some more.
const LAG_NANOS: i128 = 20_000_000;
/// How much longer a time stays the same where file systems keep no fractions of it.
const COARSE_NANOS: i128 = 2_000_000_000;

/// A file and its digest, by its number among those that were seen.
pub(super) type Seen<'a> = &'a dyn Fn(usize) -> Option<(Entry, ContentDigest)>;

/// No index is larger: it has room for ten million files.
const LARGEST_BYTES: u64 = 1 << 30;

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let size_bytes = file.metadata()?.len();
    if size_bytes > LARGEST_BYTES {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or(0));
    std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST_BYTES), &mut bytes)?;
    Ok(bytes)
}

/// The records of an index, as they are in the file.
#[derive(Default)]
pub(super) struct Index {
    records: Vec<u8>,
}

impl Index {
    /// Reads an index; one that is missing or damaged is empty, and costs only time.
    pub(super) fn load(path: &Path) -> Self {
        let Ok(mut bytes) = read(path) else { return Self::default() };
        let sound = bytes.len() >= MAGIC.len() + 4 && bytes.starts_with(MAGIC) && {
            let (body, sum) = bytes.split_at(bytes.len() - 4);
            (body.len() - MAGIC.len()).is_multiple_of(RECORD) && checksum(body).to_le_bytes() == *sum
        };
        if !sound {
            tracing::warn!(path = %path.display(), "stat index is damaged: every file is read again");
            return Self::default();
        }
        bytes.truncate(bytes.len() - 4);
        bytes.drain(..MAGIC.len());
        Self { records: bytes }
    }

    /// The records of files whose digests are known.
    pub(super) fn of(known: impl Iterator<Item = (Entry, ContentDigest)>) -> Self {
        let mut records: Vec<[u8; RECORD]> = known.map(|(entry, digest)| record_of(&entry, digest)).collect();
        records.sort_unstable_by_key(|record| key(record));
        Self { records: records.into_flattened() }
    }

    fn count(&self) -> usize {
        self.records.len() / RECORD
    }

    fn record(&self, at: usize) -> &[u8] {
        &self.records[at * RECORD..(at + 1) * RECORD]
    }

    /// Finds the digest of a file that is as it was. `near` is where the last one was found: files that were
    /// made together have inodes side by side.
    pub(super) fn find(&self, entry: &Entry, near: &mut usize) -> Option<ContentDigest> {
        if self.records.is_empty() {
            return None;
        }
        let stat = stat(entry);
        let matches = |at: usize| at < self.count() && self.record(at)[..KEY] == stat[..KEY];
        let at = if matches(*near + 1) { *near + 1 } else { self.search(&stat)? };
        *near = at;
        let record = self.record(at);
        if record[..STAT] != stat {
            return None;
        }
        Some(ContentDigest::from_bytes(record[AGE + 1..].try_into().ok()?))
    }

    fn search(&self, stat: &[u8; STAT]) -> Option<usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            match key(self.record(middle)).cmp(&key(stat)) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Writes the index anew: what was seen, by number, and what was known before and may be seen again.
    pub(super) fn save(
        &self,
        path: &Path,
        (count, seen): (usize, Seen<'_>),
        now: Timestamp,
    ) -> io::Result<()> {
        let frozen = frozen_devices();
        let settled = |at: &usize| {
            seen(*at).filter(|(entry, _)| is_settled(entry, now) && !frozen.contains(&entry.inode.device))
        };
        let mut order: Vec<(Inode, usize)> =
            (0..count).filter_map(|at| Some((settled(&at)?.0.inode, at))).collect();
        order.sort_unstable();
        order.dedup_by_key(|(inode, _)| *inode);
        replace(path, |file| {
            let mut output = Summed { output: file, sum: libdeflater::Crc::new() };
            output.write_all(MAGIC)?;
            let mut old = self.records.chunks_exact(RECORD).filter(|old| old[AGE] < MAX_AGE).peekable();
            for (inode, at) in order {
                let inode = (inode.device, inode.number);
                while let Some(record) = old.next_if(|old| key(old) < inode) {
                    output.write_all(&older(record))?;
                }
                // of two records of one inode the one just seen stays
                old.next_if(|old| key(old) == inode);
                if let Some((entry, digest)) = seen(at) {
                    output.write_all(&record_of(&entry, digest))?;
                }
            }
            old.try_for_each(|record| output.write_all(&older(record)))?;
            let sum = output.sum.sum().to_le_bytes();
            output.write_all(&sum)
        })
    }
}

/// A record one write later.
fn older(record: &[u8]) -> [u8; RECORD] {
    let mut older = [0; RECORD];
    older.copy_from_slice(record);
    older[AGE] += 1;
    older
}

/// Sums up what goes by.
struct Summed<W> {
    output: W,
    sum: libdeflater::Crc,
}

impl<W: io::Write> io::Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.output.write(bytes)?;
        self.sum.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn record_of(entry: &Entry, digest: ContentDigest) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..STAT].copy_from_slice(&stat(entry));
    record[AGE + 1..].copy_from_slice(digest.as_bytes());
    record
}

/// Device and inode, to be compared as numbers.
fn key(record: &[u8]) -> (u64, u64) {
    let number =
        |at: usize| record[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (number(0), number(8))
}

fn stat(entry: &Entry) -> [u8; STAT] {
    let mut stat = [0; STAT];
    let mut rest = &mut stat[..];
    let mut put = |bytes: &[u8]| {
        let (field, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        field.copy_from_slice(bytes);
        rest = after;
    };
    put(&entry.inode.device.to_le_bytes());
    put(&entry.inode.number.to_le_bytes());
    put(&entry.size_bytes.to_le_bytes());
    for time in [entry.mtime, entry.changed_at] {
        put(&time.seconds.to_le_bytes());
        put(&time.nanos.to_le_bytes());
    }
    let kind = if entry.kind == Kind::File { 1 << 31 } else { 0 };
    put(&(entry.mode_bits | kind).to_le_bytes());
    stat
}

/// Whether nothing that a record keeps has changed.
pub(super) fn is_same(a: &Entry, b: &Entry) -> bool {
    stat(a) == stat(b)
}

/// Whether a change after this time is sure to show in a file's times.
pub(super) fn is_settled(entry: &Entry, now: Timestamp) -> bool {
    let nanos = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let latest = nanos(entry.mtime.max(entry.changed_at));
    let coarse = if entry.changed_at.nanos == 0 { COARSE_NANOS } else { 0 };
    latest < nanos(now) - LAG_NANOS - coarse
}

/// The devices of mounted file systems that cannot be written, by whatever mount.
fn frozen_devices() -> HashSet<u64> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    mounts.split(|byte| *byte == b'\n').filter_map(frozen_device).collect()
}

/// The device of a line of `mountinfo`, where the options of its file system, which come last, begin with `ro`.
fn frozen_device(line: &[u8]) -> Option<u64> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (major, minor) = words.nth(2)?.split_once(':')?;
    let is_frozen = words.next_back()?.split(',').next() == Some("ro");
    let device = major.parse::<u64>().ok()? << 32 | minor.parse::<u64>().ok()?;
    is_frozen.then_some(device)
}

fn checksum(bytes: &[u8]) -> u32 {
    libdeflater::crc32(bytes)
}

/// Writes beside the file, then takes its place: whoever reads sees the old one or the new one.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<std::fs::File>) -> io::Result<()>,
) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut beside = name.to_owned();
    beside.push(format!(".{}.new", rustix::process::getpid()));
    let beside = folder.join(beside);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let open = || rustix::fs::open(&beside, flags, Mode::from_raw_mode(0o600)).map_err(io::Error::from);
    let opened = match open() {
        // the first index of all makes the folder
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder).and_then(|()| open())
        }
        opened => opened,
    };
    let written = opened
        .map(|file| io::BufWriter::with_capacity(1 << 16, std::fs::File::from(file)))
        .and_then(|mut file| write(&mut file).and_then(|()| file.flush()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        drop(std::fs::remove_file(&beside));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Device;

    #[test]
    fn what_cannot_be_written_is_told_by_its_file_system() {
        for (line, expected) in [
            ("40 2 7:1 / /mnt ro,relatime shared:1 - squashfs /dev/loop1 ro", Some(7 << 32 | 1)),
            ("41 2 8:1 / /mnt ro,relatime - ext4 /dev/sda1 rw,errors=remount-ro", None),
            ("42 2 0:50 / /a\\040b rw shared:2 master:3 - fuse.x x ro,user_id=0", Some(50)),
            ("", None),
            ("1 2 x", None),
        ] {
            assert_eq!(frozen_device(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn whole_seconds_are_trusted_later() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        let entry = |time| Entry {
            kind: Kind::File,
            mode_bits: 0o644,
            uid: 0,
            gid: 0,
            size_bytes: 1,
            allocated_bytes: 1,
            mtime: time,
            changed_at: time,
            device: Device::default(),
            inode: Inode::default(),
            links: 1,
        };
        for (time, now, expected) in [
            (at(10, 500_000_000), at(10, 510_000_000), false),
            (at(10, 500_000_000), at(10, 530_000_000), true),
            (at(10, 0), at(10, 900_000_000), false),
            (at(10, 0), at(12, 0), false),
            (at(10, 0), at(12, 30_000_000), true),
            (at(20, 1), at(10, 0), false),
        ] {
            assert_eq!(is_settled(&entry(time), now), expected, "{time:?} at {now:?}");
        }
    }
}
