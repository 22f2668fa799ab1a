//! Tar streams: a reader that trusts nothing, and a writer whose bytes depend on nothing but the entries.
//!
//! # Source
//! POSIX.1-2017 `pax`, "pax Interchange Format" and "ustar Interchange Format"; GNU tar manual, "Basic Tar
//! Format" and "Storing Sparse Files"; OCI image-spec, `layer.md`.

mod header;
mod pax;
mod reader;
mod sparse;
#[cfg(test)]
mod tests;
mod writer;

use std::io;

use crate::entry::{Device, Kind, Metadata};

pub use reader::Reader;
pub use writer::Writer;
pub(crate) use writer::{padding, write_head};

/// The most that a long name or a block of extended records may take, as in Docker.
const MAX_RECORDS_BYTES: u64 = 1 << 20;

/// Size of headers, and of what content is padded to.
pub(crate) const BLOCK: usize = 512;

/// What an archive member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// Something of its own; never a socket.
    Entry(Kind),
    /// One more name of the file that [`Member::link`] names.
    HardLink,
}

/// One member of an archive, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name as it is in the archive: not to be trusted.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Where a symbolic link points, or which file a hard link names.
    pub link: Vec<u8>,
    /// Mode, owner, time and attributes.
    pub metadata: Metadata,
    /// The number of a device node.
    pub device: Device,
    /// The length of its content, holes included.
    pub size_bytes: u64,
}

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream could not be read.
    #[error("reading the archive")]
    Read(#[source] io::Error),
    /// The stream ends in the middle of a member.
    #[error("the archive ends too early: unexpected EOF")]
    Truncated,
    /// The bytes are no tar header.
    #[error("invalid tar header: {0}")]
    Header(&'static str),
    /// A long name or a block of extended records is larger than anything sensible.
    #[error("tar header of {size_bytes} bytes is larger than the {MAX_RECORDS_BYTES} that are allowed")]
    TooLarge {
        /// How large it says to be.
        size_bytes: u64,
    },
    /// A kind of member that no file system has.
    #[error("tar member `{path}` has the unknown type `{flag}`")]
    Type {
        /// The member's name.
        path: String,
        /// The type, printable.
        flag: String,
    },
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Read(error),
        }
    }
}
