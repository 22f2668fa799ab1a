//! The files of the result: as an archive, or in a folder.

use std::io::Write;
use std::path::Path;

use lighter_layer::{ExportOptions, Timestamp, View, export_dir, export_tar, export_tar_in};

use super::OutputError;

/// Writes all files as one archive; with a folder, they are in it.
pub(super) fn archive(
    view: &View,
    epoch: Option<i64>,
    folder: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), OutputError> {
    match folder {
        None => export_tar(view, out, &dated(epoch)),
        Some(folder) => export_tar_in(view, folder.as_bytes(), out, &dated(epoch)),
    }
    .map_err(|source| OutputError::Export(Box::new(source)))?;
    Ok(())
}

/// Writes all files into a folder, which is made if need be. They belong to the caller.
pub(super) fn folder(view: &View, epoch: Option<i64>, into: &Path) -> Result<(), OutputError> {
    let what = || format!("`{}`", into.display());
    std::fs::create_dir_all(into).map_err(|source| OutputError::Write { what: what(), source })?;
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    export_dir(view, into, Some(owner), &dated(epoch))
        .map_err(|source| OutputError::Unpack(Box::new(source)))?;
    Ok(())
}

/// With an epoch, that is the time of every file, as in BuildKit.
fn dated(epoch: Option<i64>) -> ExportOptions {
    ExportOptions { mtime: epoch.map(Timestamp::at_second) }
}
