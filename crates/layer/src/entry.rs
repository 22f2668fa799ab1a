//! What a directory tree says about one of its entries.

use std::fmt;

use rustix::fs::{FileType, Statx};
use serde::{Deserialize, Serialize};

/// A point in time, as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp {
    /// Whole seconds since 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanos: u32,
}

impl Timestamp {
    /// The start of a second.
    pub const fn at_second(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }
}

impl From<Timestamp> for rustix::fs::Timespec {
    fn from(time: Timestamp) -> Self {
        Self { tv_sec: time.seconds, tv_nsec: time.nanos.into() }
    }
}

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket; it lives with its process, so no layer keeps it.
    Socket,
}

impl Kind {
    pub(crate) fn of_mode(mode: u16) -> Option<Self> {
        Some(match FileType::from_raw_mode(mode.into()) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Fifo,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Socket => Self::Socket,
            FileType::Unknown => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Folder => "directory",
            Self::Link => "symbolic link",
            Self::Fifo => "named pipe",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Socket => "socket",
        })
    }
}

/// The number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// The identity of a file on the host: equal for hard links of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Inode {
    /// The number of the file system's device.
    pub device: u64,
    /// The number of the file on it.
    pub number: u64,
}

/// What a tree says about one of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky: 07777.
    pub mode_bits: u32,
    /// The owner, as the image is to have it.
    pub uid: u32,
    /// The group, as the image is to have it.
    pub gid: u32,
    /// The length of a file, or of a link's target.
    pub size_bytes: u64,
    /// What a file takes on the disk; less than its length where it has holes.
    pub allocated_bytes: u64,
    /// When its content was last written.
    pub mtime: Timestamp,
    /// When content or metadata last changed on this host.
    pub changed_at: Timestamp,
    /// Which device a device node is.
    pub device: Device,
    /// Its identity on the host.
    pub inode: Inode,
    /// How many names it has on the host.
    pub links: u32,
}

impl Entry {
    pub(crate) fn of_stat(stat: &Statx) -> Option<Self> {
        let time = |time: rustix::fs::StatxTimestamp| Timestamp { seconds: time.tv_sec, nanos: time.tv_nsec };
        Some(Self {
            kind: Kind::of_mode(stat.stx_mode)?,
            mode_bits: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size_bytes: stat.stx_size,
            allocated_bytes: stat.stx_blocks.saturating_mul(512),
            mtime: time(stat.stx_mtime),
            changed_at: time(stat.stx_ctime),
            device: Device { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor },
            inode: Inode {
                device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
                number: stat.stx_ino,
            },
            links: stat.stx_nlink,
        })
    }

    /// Whether it is a directory.
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// Whether overlayfs takes it as "what is below is gone".
    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind == Kind::CharDevice && self.device == Device::default()
    }

    /// Whether it is a file with other names.
    pub(crate) fn is_linked_file(&self) -> bool {
        self.kind == Kind::File && self.links > 1
    }
}

/// What an entry is to be given besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permissions with setuid, setgid and sticky: 07777.
    pub mode_bits: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last write.
    pub mtime: Timestamp,
    /// Extended attributes: name and value, sorted by name.
    pub xattrs: Xattrs,
}

/// Extended attributes: name and value, sorted by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

impl Metadata {
    /// What an entry has, with these attributes.
    pub fn of(entry: &Entry, xattrs: Xattrs) -> Self {
        Self { mode_bits: entry.mode_bits, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs }
    }
}
