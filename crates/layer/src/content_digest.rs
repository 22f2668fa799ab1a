//! What is in a file, as far as content keys go.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

/// The BLAKE3 digest of a file's content. Unlike [`lighter_image::Digest`] it names nothing that others know, so it can be
/// what is quickest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// What its text begins with; 64 hexadecimal digits follow.
    pub const PREFIX: &str = "blake3:";

    /// Hashes content that is in memory.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// Takes the 32 bytes of a digest that was made before.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes a file to its end, through a buffer that is kept from file to file. Where its length in bytes is as it was said
    /// to be, a small file takes one call.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn of_file(file: impl AsFd, size_bytes: u64, buffer: &mut Vec<u8>) -> io::Result<Self> {
        let (mut hasher, mut done) = (blake3::Hasher::new(), 0);
        buffer.resize(256 * 1024, 0);
        loop {
            let length = match rustix::io::read(&file, &mut buffer[..]) {
                Ok(length) => length,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            hasher.update(&buffer[..length]);
            done += length as u64;
            // less than was asked for, just where it should end: it does
            if length == 0 || length < buffer.len() && done == size_bytes {
                return Ok(Self(*hasher.finalize().as_bytes()));
            }
        }
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, blake3::Hash::from_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_content_whatever_its_length_was_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 1, 4096, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 1 << 20] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            let path = folder.path().join("file");
            std::fs::write(&path, &content).unwrap();
            for said in [0, length as u64, u64::MAX] {
                let file = std::fs::File::open(&path).unwrap();
                let found = ContentDigest::of_file(&file, said, &mut Vec::new()).unwrap();
                assert_eq!(found, ContentDigest::of(&content), "{length} bytes, said to be {said}");
            }
        }
    }

    #[test]
    fn it_is_shown_with_the_name_of_its_algorithm() {
        let shown = ContentDigest::of(b"").to_string();
        assert_eq!(shown, "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }
}
