//! Where an output goes: a file that has its name only when it is whole, or standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::OutputError;
use crate::build::{Destination, Streams};

/// Writes an output to its destination.
pub(super) fn write_to(
    destination: &Destination,
    streams: &mut Streams<'_>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    match destination {
        Destination::Path(path) => {
            let mut file = Unnamed::beside(path)?;
            write(&mut file.writer)?;
            file.name(path)
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
        Ok(Self { path: unnamed, writer: BufWriter::with_capacity(256 << 10, file), is_named: false })
    }

    fn name(mut self, path: &Path) -> Result<(), OutputError> {
        let fail = |source| failed(format!("`{}`", path.display()), source);
        self.writer.flush().map_err(fail)?;
        std::fs::rename(&self.path, path).map_err(fail)?;
        self.is_named = true;
        Ok(())
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.is_named
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "an unfinished output stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
