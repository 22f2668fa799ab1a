//! Directory trees and layer archives: view, apply, pack, copy, compare, compress, digest.

pub mod apply;
pub mod archive;
pub mod carry;
mod changes;
pub mod chmod;
pub mod compress;
mod content_digest;
pub mod copy;
mod dirfd;
mod entry;
pub mod export;
pub mod merge;
pub mod pack;
mod plain;
mod policy;
pub mod scan;
mod stream;
pub mod tree_digest;
pub mod view;

pub use apply::{
    Applied, ApplyError, ApplyOptions, ExtractOptions, Extracted, apply, extract_archive, inherit_root,
    is_archive,
};
pub use carry::{CarryError, carry};
pub use changes::{Change, ChangeKind, changes};
pub use chmod::{ModeChange, ParseModeError};
pub use content_digest::ContentDigest;
pub use copy::{Copied, CopyOptions, Destination, Earlier, Filter, Inventory, Verdict, copy, copy_over};
pub use entry::{Device, Entry, Inode, Kind, Metadata, Timestamp, Xattrs};
pub use export::{ExportOptions, export_dir, export_path, export_tar, export_tar_in};
pub use merge::merge;
pub use pack::{PackError, PackOptions, Packed, diff_id, pack, pack_stack, stack_diff_id, stack_diff_ids};
pub use plain::PlainTree;
pub use policy::{Marks, Ownership, Policy};
pub use scan::{Extent, Fact, Listing, ScanError, ScanOptions, Sketch, scan};
pub use stream::ReadAhead;
pub use tree_digest::{DigestOptions, tree_digest};
pub use view::{OpenLayer, View, ViewError};

mod place;
pub mod writer;
pub use writer::{LayerWriter, NewFolders, WriteError, prepare_root};

#[cfg(test)]
mod trees;
