//! Blobs that come in parts: what an attempt that was cut short has left is taken up by the next one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use lighter_image::{Digest, Hasher};

use crate::Store;
use crate::blob::PutBlobError;
use crate::disk;
use crate::error::{At as _, FileError};
use crate::failpoint::point;
use crate::lease::Pin;

/// The ending of a file that is part of a blob.
const ENDING: &str = ".part";

/// A blob that is coming; dropped unfinished, what has come stays for the next attempt.
#[derive(Debug)]
pub struct PartialBlob {
    store: Store,
    file: Arc<File>,
    path: PathBuf,
    digest: Digest,
    seen: Hasher,
    written_bytes: u64,
    is_over: bool,
}

impl Store {
    /// Begins a blob whose digest is known, or goes on with what an earlier attempt of this boot has left.
    ///
    /// The caller holds the flight of the digest: two must not write the same one.
    ///
    /// # Errors
    /// When the file cannot be made or read.
    pub fn resume_blob(&self, digest: &Digest) -> Result<PartialBlob, FileError> {
        let path = {
            let _inside = self.enter()?;
            self.lease()?.pin(Pin::Blob(digest))?;
            self.layout().pending(self.boot()).join(format!("{}{ENDING}", digest.hex()))
        };
        disk::make_dir(&self.layout().pending(self.boot()))?;
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).append(true).create(true).mode(0o600).open(&path).at("opening", &path)?;
        let mut seen = Hasher::new();
        file.seek(SeekFrom::Start(0)).at("reading", &path)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).at("reading", &path)? {
                0 => break,
                length => seen.update(&buffer[..length]),
            }
        }
        let written_bytes = seen.size_bytes();
        let file = Arc::new(file);
        Ok(PartialBlob {
            store: self.clone(),
            file,
            path,
            digest: *digest,
            seen,
            written_bytes,
            is_over: false,
        })
    }
}

impl PartialBlob {
    /// What was there already when this attempt began.
    pub const fn seen(&self) -> &Hasher {
        &self.seen
    }

    /// How many bytes are there.
    pub const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The file, to be read beside the writing, at offsets of the reader's own.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Throws away what has come: it was wrong.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard(mut self) -> Result<(), FileError> {
        self.is_over = true;
        disk::remove_file(&self.path).map(drop)
    }

    /// Gives the blob its name. The caller has verified the bytes on their way: nothing reads them once more.
    ///
    /// # Errors
    /// When it cannot be named.
    pub fn finish(mut self) -> Result<(), PutBlobError> {
        point();
        self.store.publish_blob(&self.path, &self.digest, self.written_bytes)?;
        self.is_over = true;
        Ok(())
    }
}

impl Write for PartialBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        point();
        let count = (&*self.file).write(bytes)?;
        self.written_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PartialBlob {
    fn drop(&mut self) {
        if !self.is_over
            && self.written_bytes == 0
            && let Err(error) = disk::remove_file(&self.path)
        {
            tracing::warn!(%error, "removing an empty part of a blob");
        }
    }
}

/// The blob that a file in `pending/` is, or is a part of.
pub(crate) fn pending_digest(name: &str) -> Option<Digest> {
    Digest::from_hex(name.strip_suffix(ENDING).unwrap_or(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_from_blobs() {
        let digest = Digest::of(b"x");
        assert_eq!(pending_digest(&digest.hex()), Some(digest));
        assert_eq!(pending_digest(&format!("{}.part", digest.hex())), Some(digest));
        assert_eq!(pending_digest("x.part"), None);
    }
}
