//! An entry of a context in as few bytes as will do: there may be a million.

use std::sync::OnceLock;

use crate::content_digest::ContentDigest;
use crate::entry::{Device, Entry, Inode, Kind, Timestamp};

/// An entry of a context.
pub(crate) struct Node {
    /// The name; behind it, where a link points, or the number of a device node.
    text: Box<[u8]>,
    size_bytes: u64,
    mtime_seconds: i64,
    changed_seconds: i64,
    inode: Inode,
    mtime_nanos: u32,
    changed_nanos: u32,
    /// The index after the last entry in it.
    end: u32,
    name_length: u16,
    /// The permissions, and above them the kind.
    mode: u16,
    /// How many names it has, as far as that can be told here.
    links: u8,
    pub(super) digest: OnceLock<ContentDigest>,
}

const KIND_SHIFT: u32 = 12;
const KINDS: [Kind; 7] =
    [Kind::File, Kind::Folder, Kind::Link, Kind::Fifo, Kind::CharDevice, Kind::BlockDevice, Kind::Socket];

impl Node {
    /// None where a name is longer than names are.
    pub(super) fn new(
        name: &[u8],
        entry: &Entry,
        target: &[u8],
        digest: OnceLock<ContentDigest>,
    ) -> Option<Self> {
        let device = [entry.device.major.to_le_bytes(), entry.device.minor.to_le_bytes()].concat();
        let rest = match entry.kind {
            Kind::Link => target,
            Kind::CharDevice | Kind::BlockDevice => &device,
            _ => &[],
        };
        let kind = u32::try_from(KINDS.iter().position(|kind| *kind == entry.kind)?).ok()?;
        Some(Self {
            text: [name, rest].concat().into(),
            size_bytes: entry.size_bytes,
            mtime_seconds: entry.mtime.seconds,
            changed_seconds: entry.changed_at.seconds,
            inode: entry.inode,
            mtime_nanos: entry.mtime.nanos,
            changed_nanos: entry.changed_at.nanos,
            end: 0,
            name_length: u16::try_from(name.len()).ok()?,
            mode: u16::try_from(kind << KIND_SHIFT | entry.mode_bits & 0o7777).ok()?,
            links: u8::try_from(entry.links).unwrap_or(u8::MAX),
            digest,
        })
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.text[..self.name_length.into()]
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.name_length.into()..]
    }

    pub(super) fn kind(&self) -> Kind {
        KINDS[usize::from(self.mode >> KIND_SHIFT)]
    }

    /// The permissions and the kind as one number.
    pub(super) const fn mode(&self) -> u16 {
        self.mode
    }

    /// Whether it has several names.
    pub(super) const fn is_linked(&self) -> bool {
        self.links > 1
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind() == Kind::Folder
    }

    pub(super) const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) const fn mtime(&self) -> Timestamp {
        Timestamp { seconds: self.mtime_seconds, nanos: self.mtime_nanos }
    }

    /// Where a link points; empty for all else.
    pub(super) fn target(&self) -> &[u8] {
        if self.kind() == Kind::Link { self.rest() } else { &[] }
    }

    /// The index after the last entry in it.
    pub(super) const fn end(&self) -> usize {
        self.end as usize
    }

    pub(super) fn set_end(&mut self, end: usize) {
        // so many entries as this cannot count have no room in memory
        self.end = u32::try_from(end).unwrap_or(u32::MAX);
    }

    /// What it is. It is root's, as all of a context, and it is not known what it takes on the disk.
    pub(super) fn entry(&self) -> Entry {
        let device = self
            .rest()
            .first_chunk::<8>()
            .filter(|_| matches!(self.kind(), Kind::CharDevice | Kind::BlockDevice));
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        Entry {
            kind: self.kind(),
            mode_bits: u32::from(self.mode & 0o7777),
            uid: 0,
            gid: 0,
            size_bytes: self.size_bytes,
            allocated_bytes: self.size_bytes,
            mtime: self.mtime(),
            changed_at: Timestamp { seconds: self.changed_seconds, nanos: self.changed_nanos },
            device: device.map_or_else(Device::default, |bytes| Device {
                major: number(&bytes[..4]),
                minor: number(&bytes[4..]),
            }),
            inode: self.inode,
            links: self.links.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_from_few_bytes() {
        assert!(size_of::<Node>() <= 128);
        let entry = Entry {
            kind: Kind::File,
            mode_bits: 0o7654,
            uid: 0,
            gid: 0,
            size_bytes: u64::MAX,
            allocated_bytes: u64::MAX,
            mtime: Timestamp { seconds: -5, nanos: 999_999_999 },
            changed_at: Timestamp { seconds: i64::MAX, nanos: 1 },
            device: Device::default(),
            inode: Inode { device: 1 << 40, number: u64::MAX },
            links: 2,
        };
        for kind in KINDS {
            let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
            let device = if is_device { Device { major: 1 << 19, minor: 3 } } else { Device::default() };
            let entry = Entry { kind, device, ..entry.clone() };
            let node = Node::new(b"name", &entry, b"target", OnceLock::new()).unwrap();
            assert_eq!((node.name(), node.entry()), (&b"name"[..], entry));
            assert_eq!(node.target(), if kind == Kind::Link { &b"target"[..] } else { b"" });
        }
    }
}
