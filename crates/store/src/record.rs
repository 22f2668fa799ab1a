//! Records: small JSON documents that know when they are damaged.
//!
//! The first line names the kind, the version of the kind, and the digest of everything after that line. A
//! torn, zeroed or altered record is therefore always noticed, and never taken for another value.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lighter_image::{Digest, Hasher};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk;
use crate::error::{At as _, FileError, RecordError};
use crate::failpoint::point;

/// The version of every kind of record that this program writes and reads.
const VERSION: &str = "1";

/// The bytes of a record.
pub(crate) fn encode<T: Serialize>(kind: &'static str, value: &T) -> Result<Vec<u8>, RecordError> {
    let mut body = serde_json::to_vec(value).map_err(|source| RecordError::Encode { kind, source })?;
    body.push(b'\n');
    let mut bytes = format!("lighter-{kind} {VERSION} {}\n", Digest::of(&body).hex()).into_bytes();
    bytes.append(&mut body);
    Ok(bytes)
}

/// Writes a record into a new file, piece by piece: some are large.
pub(crate) fn write<T: Serialize>(
    kind: &'static str,
    value: &T,
    file: &File,
    path: &Path,
) -> Result<(), RecordError> {
    let head = format!("lighter-{kind} {VERSION} ").into_bytes();
    let start = head.len() + 64 + 1;
    let mut pieces =
        Pieces { file, hasher: Hasher::new(), piece: head, start, is_written: false, failure: None };
    pieces.piece.resize(start, b'\n');
    let encoded = serde_json::to_writer(&mut pieces, value);
    if let Some(error) = pieces.failure.take() {
        return Err(FileError { action: "writing", path: path.to_owned(), source: error }.into());
    }
    encoded.map_err(|source| RecordError::Encode { kind, source })?;
    Ok(pieces.finish(kind).at("writing", path)?)
}

/// So much of a record is in memory at once.
const PIECE_BYTES: usize = 1 << 16;

/// What is written of a record, and what is not yet. The digest in its head is known last.
struct Pieces<'a> {
    file: &'a File,
    hasher: Hasher,
    piece: Vec<u8>,
    /// Where the body begins in this piece.
    start: usize,
    is_written: bool,
    failure: Option<io::Error>,
}

impl Pieces<'_> {
    fn put(&mut self) -> io::Result<()> {
        point();
        self.hasher.update(&self.piece[self.start..]);
        self.file.write_all(&self.piece)?;
        (self.start, self.is_written) = (0, true);
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self, kind: &'static str) -> io::Result<()> {
        self.piece.push(b'\n');
        self.hasher.update(&self.piece[self.start..]);
        let head = format!("lighter-{kind} {VERSION} {}\n", self.hasher.finish().hex());
        point();
        if self.is_written {
            self.file.write_all(&self.piece)?;
            return self.file.write_all_at(head.as_bytes(), 0);
        }
        self.piece[..self.start].copy_from_slice(head.as_bytes());
        self.file.write_all(&self.piece)
    }
}

impl io::Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES
            && let Err(error) = self.put()
        {
            let kind = error.kind();
            self.failure = Some(error);
            return Err(kind.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The value in a record's bytes.
pub(crate) fn decode<T: DeserializeOwned>(
    kind: &'static str,
    path: &Path,
    bytes: &[u8],
) -> Result<T, RecordError> {
    let damaged = |reason: String| RecordError::Damaged { path: path.to_owned(), reason };
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (header, body) = end
        .and_then(|end| Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..])))
        .ok_or_else(|| damaged("is torn".to_owned()))?;
    let expected = format!("lighter-{kind} {VERSION} {}", Digest::of(body).hex());
    if header != expected {
        return Err(damaged(format!("is not the {kind} record that was written")));
    }
    serde_json::from_slice(body).map_err(|error| damaged(format!("is not a {kind} record: {error}")))
}

/// Reads a record; `None` where there is none.
pub(crate) fn read<T: DeserializeOwned>(kind: &'static str, path: &Path) -> Result<Option<T>, RecordError> {
    disk::read(path)?.map(|bytes| decode(kind, path, &bytes)).transpose()
}

/// Times as whole nanoseconds since 1970.
pub(crate) mod time {
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        serializer.serialize_i64(nanos)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let nanos = i64::deserialize(deserializer)?;
        let distance = Duration::from_nanos(nanos.unsigned_abs());
        let time = if nanos < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        };
        time.ok_or_else(|| serde::de::Error::custom("a time out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_noticed() {
        let path = Path::new("x");
        let bytes = encode("test", &vec!["a", "b"]).unwrap();
        assert_eq!(decode::<Vec<String>>("test", path, &bytes).unwrap(), ["a", "b"]);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(decode::<Vec<String>>("test", path, &bad).is_err(), "byte {at}");
            assert!(decode::<Vec<String>>("test", path, &bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(decode::<Vec<String>>("other", path, &bytes).is_err());
    }

    #[test]
    fn a_record_in_pieces_is_the_same() {
        for length in [0, 10, PIECE_BYTES - 80, PIECE_BYTES, 3 * PIECE_BYTES] {
            let value = vec!["a"; length / 4];
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("record");
            write("test", &value, &File::create(&path).unwrap(), &path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), encode("test", &value).unwrap(), "{length}");
        }
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        #[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
        struct At(#[serde(with = "time")] std::time::SystemTime);
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        for nanos in [0, 1, 1_700_000_000_123_456_789] {
            let distance = std::time::Duration::from_nanos(nanos);
            for at in [At(epoch + distance), At(epoch - distance)] {
                let text = serde_json::to_string(&at).unwrap();
                assert_eq!(serde_json::from_str::<At>(&text).unwrap(), at);
            }
        }
    }
}
