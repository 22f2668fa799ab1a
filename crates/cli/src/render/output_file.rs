//! Files that are there in whole or not at all.

use crate::failure::Failure;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How much is written at once.
const BUFFER_BYTES: usize = 1 << 18;

/// The mode of what may hold something that is nobody else's business, as an image may.
pub(crate) const PRIVATE: u32 = 0o600;

/// Writes a file beside its place and puts it there when it is complete; a device or a pipe is written to as it is.
///
/// # Errors
/// When the place cannot be written to, or the writer fails.
pub(crate) fn whole(
    path: &Path,
    mode_bits: u32,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let fault = |error: io::Error| Failure::new(format!("Error: writing {}: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Err(Failure::new(format!(
            "Error: invalid output path: {:?} is a directory",
            path.display().to_string()
        )));
    }
    if is_special(path) {
        let file = OpenOptions::new().write(true).open(path).map_err(fault)?;
        return flushed(file, write, fault);
    }
    let beside = beside(path);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode_bits).open(&beside);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(format!(
            "Error: invalid output path: directory of {:?} does not exist",
            path.display().to_string()
        )),
        _ => fault(error),
    })?;
    let written = flushed(file, write, fault).and_then(|()| fs::rename(&beside, path).map_err(fault));
    if written.is_err()
        && let Err(error) = fs::remove_file(&beside)
    {
        tracing::debug!(%error, "the unfinished file stays");
    }
    written
}

/// Whether a path is a device, a pipe or a socket: nothing may take the place of such a thing.
pub(crate) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn flushed(
    file: File,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
    fault: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    write(&mut out)?;
    out.flush().map_err(fault)
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.lighter-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_there_in_whole_or_not_at_all() {
        let place = std::env::temp_dir().join(format!("lighter-output-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a directory");
        let path = place.join("x");
        assert!(whole(&path, PRIVATE, |out| Ok(out.write_all(b"a")?)).is_ok());
        assert_eq!(fs::read(&path).expect("it is there"), b"a");
        let mode_bits = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode_bits & 0o777, PRIVATE);
        let failed = whole(&path, PRIVATE, |out| {
            out.write_all(b"b")?;
            Err(Failure::new("no"))
        });
        assert_eq!(failed, Err(Failure::new("no")));
        assert_eq!(fs::read(&path).expect("it is still there"), b"a");
        assert_eq!(fs::read_dir(&place).expect("readable").count(), 1);
        assert!(
            whole(&place, PRIVATE, |_| Ok(())).is_err()
                && whole(&place.join("a/b"), PRIVATE, |_| Ok(())).is_err()
        );
        fs::remove_dir_all(&place).expect("removable");
    }
}
