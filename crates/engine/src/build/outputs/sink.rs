//! Where an output goes: a file that has its name only when it is whole, a device or a pipe, or standard output.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::OutputError;
use crate::build::{Destination, Streams};

/// How much is written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes an output to its destination.
pub(super) fn write_to(
    destination: &Destination,
    streams: &mut Streams<'_>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    match destination {
        Destination::Path(path) if is_special(path) => {
            let fail = |source| failed(format!("`{}`", path.display()), source);
            let file = File::options().write(true).open(path).map_err(fail)?;
            let mut writer = BufWriter::with_capacity(BUFFER_BYTES, file);
            write(&mut writer)?;
            writer.flush().map_err(fail)
        }
        Destination::Path(path) => {
            // where a link leads, the file is to be
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let mut file = Unnamed::beside(&path)?;
            write(&mut file.writer)?;
            file.name(&path)
        }
        Destination::Stdout => {
            write(&mut streams.stdout)?;
            streams.stdout.flush().map_err(|source| failed("standard output", source))
        }
        Destination::Store => {
            Err(OutputError::Refused("this output needs a destination: dest=PATH".to_owned()))
        }
    }
}

/// Whether a path is a device, a pipe or a socket: nothing may take the place of such a thing.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

pub(super) fn failed(what: impl Into<String>, source: io::Error) -> OutputError {
    OutputError::Write { what: what.into(), source }
}

/// A file under a name that nobody looks for. It is removed, unless it gets its name.
struct Unnamed {
    path: PathBuf,
    writer: BufWriter<File>,
    is_named: bool,
}

impl Unnamed {
    fn beside(path: &Path) -> Result<Self, OutputError> {
        let fail = |source| failed(format!("`{}`", path.display()), source);
        let mut name = path.file_name().ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?.to_owned();
        if path.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        name.push(format!(".new-{}", std::process::id()));
        let unnamed = path.with_file_name(name);
        let file = File::create(&unnamed).map_err(fail)?;
        Ok(Self { path: unnamed, writer: BufWriter::with_capacity(BUFFER_BYTES, file), is_named: false })
    }

    fn name(mut self, path: &Path) -> Result<(), OutputError> {
        let fail = |source| failed(format!("`{}`", path.display()), source);
        self.writer.flush().map_err(fail)?;
        fs::rename(&self.path, path).map_err(fail)?;
        self.is_named = true;
        Ok(())
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.is_named
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "an unfinished output stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_written_to_and_a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, link, file] = ["pipe", "link", "file"].map(|name| folder.path().join(name));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        fs::write(&file, "old").unwrap();
        let write = |out: &mut dyn Write| out.write_all(b"new").map_err(|source| failed("x", source));
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_to(&Destination::Path(pipe.clone()), &mut streams(), write).unwrap();
        assert_eq!(reader.join().unwrap(), b"new");
        write_to(&Destination::Path(link.clone()), &mut streams(), write).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && is_special(&pipe));
    }

    fn streams() -> Streams<'static> {
        Streams { stdin: Box::new(io::empty()), stdout: Box::new(io::sink()) }
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let destination = Destination::Path(path.clone());
        let result = write_to(&destination, &mut streams(), |out| {
            out.write_all(b"half").map_err(|source| failed("x", source))?;
            Err(OutputError::Refused("no".to_owned()))
        });
        assert!(result.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let whole = |out: &mut dyn Write| out.write_all(b"whole").map_err(|source| failed("x", source));
        write_to(&destination, &mut streams(), whole).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"whole");
    }
}
