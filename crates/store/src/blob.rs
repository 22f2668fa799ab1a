//! Blobs: bytes by their digest.
//!
//! A new blob is whole and verified, but not durable: it stands in `pending/`, under the boot that wrote
//! it, until a [`crate::Batch`] that needs it makes it durable. Blobs of an earlier boot that nobody made
//! durable are garbage.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

use lighter_image::{Digest, Hasher};

use crate::Store;
use crate::disk;
use crate::error::{At as _, FileError, if_there};
use crate::failpoint::point;
use crate::lease::Pin;

/// What a blob must turn out to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// The digest, where it is known beforehand.
    pub digest: Option<Digest>,
    /// The size, where it is known beforehand.
    pub size_bytes: Option<u64>,
}

impl Expected {
    /// What a descriptor promises.
    pub fn by(descriptor: &lighter_image::Descriptor) -> Self {
        Self { digest: Some(descriptor.digest), size_bytes: Some(descriptor.size) }
    }
}

/// Why a blob was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutBlobError {
    /// The bytes could not be had.
    #[error("reading the bytes of the blob")]
    Source(#[source] io::Error),
    /// Other bytes came.
    #[error("the blob has digest {found}, but {expected} was expected")]
    Digest {
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// Fewer or more bytes came.
    #[error("the blob has {found} bytes, but {expected} were expected")]
    Size {
        /// The size that was promised.
        expected: u64,
        /// How many came before it was given up.
        found: u64,
    },
    /// The store could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a blob could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadBlobError {
    /// It is not in the store.
    #[error("blob {0} is not in the store")]
    Missing(Digest),
    /// It is there, but its bytes are not those that were stored; it has been removed.
    #[error("the store is damaged: blob {0} has other bytes than its digest says")]
    Damaged(Digest),
    /// It is larger than the caller takes into memory.
    #[error("blob {digest} has {size_bytes} bytes, more than the {limit_bytes} allowed here")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
        /// The largest size allowed.
        limit_bytes: u64,
    },
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A blob that is being written; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: File,
    path: PathBuf,
    hasher: Hasher,
}

impl Store {
    /// Begins a blob.
    ///
    /// # Errors
    /// When the scratch file cannot be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, FileError> {
        let path = self.lease()?.fresh_path()?;
        let file = disk::create_file(&path)?;
        Ok(BlobWriter { store: self.clone(), file, path, hasher: Hasher::new() })
    }

    /// Stores what a reader gives, and returns its digest and size in bytes.
    ///
    /// # Errors
    /// When the bytes are not what was expected, cannot be read, or cannot be written.
    pub fn put_blob(&self, mut bytes: impl Read, expected: Expected) -> Result<(Digest, u64), PutBlobError> {
        let mut writer = self.blob_writer()?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match bytes.read(&mut buffer) {
                Ok(0) => return writer.finish(expected),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PutBlobError::Source(error)),
            };
            writer.add(&buffer[..count])?;
            if let Some(size) = expected.size_bytes
                && writer.size_bytes() > size
            {
                return Err(PutBlobError::Size { expected: size, found: writer.size_bytes() });
            }
        }
    }

    /// Stores bytes that are in memory.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_blob_bytes(&self, bytes: &[u8]) -> Result<Digest, PutBlobError> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest)? {
            return Ok(digest);
        }
        let mut writer = self.blob_writer()?;
        writer.add(bytes)?;
        writer.finish(Expected::default()).map(|(digest, _)| digest)
    }

    /// Whether the store has a blob; if so, it is kept until this process ends.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, FileError> {
        Ok(self.blob_path(digest)?.is_some())
    }

    /// The file of a blob; `None` where the store does not have it. The file must not be written, and another
    /// process may move it when it makes it durable: [`Store::open_blob`] is for reading.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn blob_path(&self, digest: &Digest) -> Result<Option<PathBuf>, FileError> {
        self.look_up(&[Pin::Blob(digest)], || self.find_blob(digest))
    }

    /// Opens a blob for streaming. Its bytes are not verified: whoever streams them hashes them, and calls
    /// [`Store::discard_blob`] where they are wrong.
    ///
    /// # Errors
    /// [`ReadBlobError::Missing`] where the store does not have it.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, ReadBlobError> {
        Ok(self.open_with_path(digest)?.0)
    }

    /// Opens a blob for streaming after all of it was verified; `None` where the store does not have it, or no longer
    /// has it because it was damaged.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open_intact_blob(&self, digest: &Digest) -> Result<Option<File>, ReadBlobError> {
        let (mut file, path) = match self.open_with_path(digest) {
            Err(ReadBlobError::Missing(_)) => return Ok(None),
            opened => opened?,
        };
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer).at("reading", &path)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        if hasher.finish() != *digest {
            self.discard_blob(digest)?;
            return Ok(None);
        }
        file.rewind().at("reading", &path)?;
        Ok(Some(file))
    }

    /// Writes a blob's bytes, and verifies them on their way; what was written is worthless unless that succeeds.
    ///
    /// # Errors
    /// [`ReadBlobError::Missing`], and [`ReadBlobError::Damaged`] where the bytes are wrong: the blob is then removed. A
    /// failing write is the outer error.
    pub fn copy_blob(&self, digest: &Digest, out: &mut dyn Write) -> io::Result<Result<(), ReadBlobError>> {
        let (mut file, path) = match self.open_with_path(digest) {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer).at("reading", &path) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    out.write_all(&buffer[..count])?;
                }
                Err(error) => return Ok(Err(error.into())),
            }
        }
        if hasher.finish() == *digest {
            return Ok(Ok(()));
        }
        let removed = self.discard_blob(digest).map_err(ReadBlobError::from);
        Ok(removed.and(Err(ReadBlobError::Damaged(*digest))))
    }

    fn open_with_path(&self, digest: &Digest) -> Result<(File, PathBuf), ReadBlobError> {
        let open = |path: &Path, _| Ok((File::open(path).at("opening", path)?, path.to_owned()));
        let opened = self.look_up(&[Pin::Blob(digest)], || self.at_blob(digest, open));
        opened?.ok_or(ReadBlobError::Missing(*digest))
    }

    /// Reads a whole small blob, and verifies it.
    ///
    /// # Errors
    /// [`ReadBlobError::Damaged`] where the bytes are wrong; the blob is then removed, so that it can be
    /// stored again.
    pub fn read_blob(&self, digest: &Digest, limit_bytes: u64) -> Result<Vec<u8>, ReadBlobError> {
        let (file, path) = self.open_with_path(digest)?;
        let size_bytes = file.metadata().at("reading", &path)?.len();
        if size_bytes > limit_bytes {
            return Err(ReadBlobError::TooLarge { digest: *digest, size_bytes, limit_bytes });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or(0));
        file.take(limit_bytes).read_to_end(&mut bytes).at("reading", &path)?;
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        self.discard_blob(digest)?;
        Err(ReadBlobError::Damaged(*digest))
    }

    /// Removes a blob whose bytes turned out wrong.
    ///
    /// # Errors
    /// When it cannot be moved away.
    pub fn discard_blob(&self, digest: &Digest) -> Result<(), FileError> {
        tracing::warn!(%digest, "removing a damaged blob");
        while let Some(path) = self.find_blob(digest)? {
            self.throw_away(&path)?;
        }
        Ok(())
    }

    /// Where a blob is, durable or pending.
    pub(crate) fn find_blob(&self, digest: &Digest) -> Result<Option<PathBuf>, FileError> {
        self.at_blob(digest, |path, _| Ok(path.to_owned()))
    }

    /// Moves away what stands in the place of a blob and is no file; whether there was such a thing.
    pub(crate) fn discard_no_blob(&self, digest: &Digest, repair: bool) -> Result<bool, FileError> {
        let mut found = false;
        for path in [self.layout().blob(digest), self.pending_blob(digest)] {
            let there = if_there(std::fs::metadata(&path).at("reading", &path))?;
            if there.is_some_and(|there| !there.is_file()) {
                found = true;
                if repair {
                    self.throw_away(&path)?;
                }
            }
        }
        Ok(found)
    }

    /// Does something with the file of a blob and its size where it is, durable or pending; `None` where it is neither.
    /// What is no file is no blob.
    fn at_blob<T>(
        &self,
        digest: &Digest,
        act: impl Fn(&Path, u64) -> Result<T, FileError>,
    ) -> Result<Option<T>, FileError> {
        let durable = self.layout().blob(digest);
        // it may become durable between the looks at the two places
        for path in [&durable, &self.pending_blob(digest), &durable] {
            let there = if_there(std::fs::metadata(path).at("reading", path))?;
            if let Some(there) = there.filter(std::fs::Metadata::is_file)
                && let Some(done) = if_there(act(path, there.len()))?
            {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// Where a blob is while it is not durable.
    pub(crate) fn pending_blob(&self, digest: &Digest) -> PathBuf {
        self.layout().pending(self.boot()).join(digest.hex())
    }

    /// Gives a whole, verified scratch file its name.
    pub(crate) fn publish_blob(
        &self,
        from: &Path,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<(), FileError> {
        let _inside = self.enter()?;
        self.lease()?.pin(Pin::Blob(digest))?;
        if let Some(path) = self.find_blob(digest)? {
            let there = if_there(std::fs::metadata(&path).at("reading", &path))?;
            if there.is_some_and(|there| there.len() == size_bytes) {
                disk::remove_file(from)?;
                return Ok(());
            }
            // a truncated one: ours replaces it
            self.throw_away(&path)?;
        }
        self.replace(from, &self.pending_blob(digest))
    }
}

impl BlobWriter {
    /// How many bytes were written.
    pub const fn size_bytes(&self) -> u64 {
        self.hasher.size_bytes()
    }

    /// Ends the blob, and gives it its name: its digest and size in bytes are returned.
    ///
    /// # Errors
    /// When the bytes are not what was expected.
    pub fn finish(mut self, expected: Expected) -> Result<(Digest, u64), PutBlobError> {
        let size_bytes = self.hasher.size_bytes();
        let digest = std::mem::take(&mut self.hasher).finish();
        if let Some(size) = expected.size_bytes
            && size != size_bytes
        {
            return Err(PutBlobError::Size { expected: size, found: size_bytes });
        }
        if let Some(expected) = expected.digest
            && expected != digest
        {
            return Err(PutBlobError::Digest { expected, found: digest });
        }
        self.store.publish_blob(&self.path, &digest, size_bytes)?;
        Ok((digest, size_bytes))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let Self { file, path, hasher, .. } = self;
        point();
        file.write_all(bytes).at("writing", path)?;
        hasher.update(bytes);
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        point();
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // published, it is no longer there
        if let Err(error) = disk::remove_file(&self.path) {
            tracing::warn!(%error, "removing an unfinished blob");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_blob_that_becomes_durable_is_there_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digests: Vec<Digest> =
            (0..1500).map(|n: u32| store.put_blob_bytes(&n.to_le_bytes()).unwrap()).collect();
        for digest in &digests {
            assert!(store.has_blob(digest).unwrap());
            disk::make_dir(store.layout().blob(digest).parent().unwrap()).unwrap();
        }
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for digest in &digests {
                    next.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    std::fs::rename(store.pending_blob(digest), store.layout().blob(digest)).unwrap();
                }
            });
            loop {
                let seen = next.load(Ordering::SeqCst);
                let Some(digest) = digests.get(seen) else { break };
                assert!(store.has_blob(digest).unwrap(), "blob {seen} is not there");
                drop(store.open_blob(digest).unwrap());
                assert_eq!(store.read_blob(digest, 4).unwrap(), u32::try_from(seen).unwrap().to_le_bytes());
            }
        });
    }
}
