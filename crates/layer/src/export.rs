//! Flattened trees: what a view shows, as an archive or as plain files.

use std::io::{self, Write};
use std::path::Path;

use lighter_image::ImagePath;

use crate::copy::{Copied, CopyOptions, Destination, copy};
use crate::entry::Timestamp;
use crate::pack::{PackError, Packer, Times};
use crate::view::View;
use crate::writer::{LayerWriter, WriteError};

/// How a flattened tree is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    /// The time of every entry; `None` keeps what each has.
    pub mtime: Option<Timestamp>,
}

/// Writes all that a view shows as an uncompressed tar stream, and says how many members it has.
///
/// # Shape
/// As [`crate::pack()`] writes it, but without removals: there are none in a whole tree.
/// # Errors
/// As for [`crate::pack()`].
pub fn export_tar(view: &View, out: &mut dyn Write, options: &ExportOptions) -> Result<u64, PackError> {
    let mut buffered = io::BufWriter::with_capacity(256 * 1024, out);
    let mut packer = Packer::new(&mut buffered, options.mtime.map_or(Times::Kept, Times::All));
    packer.folder(view.root(), &mut Vec::new())?;
    let members = packer.finish()?;
    buffered.flush().map_err(PackError::Write)?;
    Ok(members)
}

/// Writes all that a view shows as an uncompressed tar stream, in a folder of this name.
///
/// # Errors
/// As for [`crate::pack()`].
pub fn export_tar_in(
    view: &View,
    folder: &[u8],
    out: &mut dyn Write,
    options: &ExportOptions,
) -> Result<u64, PackError> {
    let mut buffered = io::BufWriter::with_capacity(256 * 1024, out);
    let mut packer = Packer::new(&mut buffered, options.mtime.map_or(Times::Kept, Times::All));
    packer.named(view, &ImagePath::root(), folder)?;
    let members = packer.finish()?;
    buffered.flush().map_err(PackError::Write)?;
    Ok(members)
}

/// Writes one entry of a view, and what is in it, as an uncompressed tar stream under the name `name`.
///
/// A link is written as a link; whoever wants what it leads to resolves it first.
///
/// # Errors
/// As for [`crate::pack()`]; [`crate::ViewError::Missing`] when there is nothing at the path.
pub fn export_path(
    view: &View,
    path: &ImagePath,
    name: &[u8],
    out: &mut dyn Write,
) -> Result<u64, PackError> {
    let mut buffered = io::BufWriter::with_capacity(256 * 1024, out);
    let mut packer = Packer::new(&mut buffered, Times::Kept);
    packer.named(view, path, name)?;
    let members = packer.finish()?;
    buffered.flush().map_err(PackError::Write)?;
    Ok(members)
}

/// Writes all that a view shows as plain files into a directory, merged into what is there; what is of another kind there
/// gives way.
///
/// `owner` is who everything is to belong to: the caller, where a build puts out files.
///
/// # Errors
/// As for [`copy`].
pub fn export_dir(
    view: &View,
    into: &Path,
    owner: Option<(u32, u32)>,
    exported: &ExportOptions,
) -> Result<Copied, WriteError> {
    let writer = LayerWriter::plain(into)?;
    let destination = Destination { path: ImagePath::root(), is_folder: true };
    let (folder_owner, mtime) = (owner, exported.mtime);
    let options = CopyOptions { owner, folder_owner, mtime, replaces: true, ..CopyOptions::default() };
    let copied = copy(view, &ImagePath::root(), &writer, &destination, &options)?;
    writer.finish()?;
    Ok(copied)
}
