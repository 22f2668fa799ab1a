//! Extended headers: `LENGTH key=value` records that override the fixed fields.

use super::ArchiveError;
use super::sparse::Segment;
use crate::entry::{Timestamp, Xattrs};

/// What the extended header before a member says about it.
#[derive(Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: SparseRecords,
}

/// What it says about holes, in any of GNU's three ways.
#[derive(Default)]
pub(super) struct SparseRecords {
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) major: Option<u64>,
    /// Offsets and lengths, one after the other.
    pub(super) map: Vec<u64>,
    pub(super) used: bool,
}

const XATTR: &[u8] = b"SCHILY.xattr.";
const BAD: ArchiveError = ArchiveError::Header("an extended record is malformed");

impl Records {
    /// Reads a block of records.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, ArchiveError> {
        let mut records = Self::default();
        // Some writers pad the block with NULs.
        while bytes.first().is_some_and(|byte| *byte != 0) {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
            let length = decimal(&bytes[..space])?;
            let length = usize::try_from(length).map_err(|_| BAD)?;
            if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
                return Err(BAD);
            }
            let record = &bytes[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            records.take(&record[..equals], &record[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Ok(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        let text = || match value {
            value if value.contains(&0) => Err(BAD),
            value => Ok(Some(value.to_vec()).filter(|value| !value.is_empty())),
        };
        match key {
            b"path" => self.path = text()?,
            b"linkpath" => self.link = text()?,
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(signed(value)?),
            b"gid" => self.gid = Some(signed(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            _ if key.starts_with(XATTR) => self.take_xattr(&key[XATTR.len()..], value)?,
            _ if key.starts_with(b"GNU.sparse.") => self.sparse.take(&key[11..], value, text)?,
            _ => {}
        }
        Ok(())
    }

    fn take_xattr(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        if key.is_empty() || key.contains(&0) {
            return Err(BAD);
        }
        match self.xattrs.binary_search_by(|(known, _)| known.as_slice().cmp(key)) {
            Ok(at) => self.xattrs[at].1 = value.to_vec(),
            Err(at) => self.xattrs.insert(at, (key.to_vec(), value.to_vec())),
        }
        Ok(())
    }
}

impl SparseRecords {
    fn take(
        &mut self,
        key: &[u8],
        value: &[u8],
        text: impl Fn() -> Result<Option<Vec<u8>>, ArchiveError>,
    ) -> Result<(), ArchiveError> {
        self.used = true;
        match key {
            b"name" => self.name = text()?,
            b"realsize" | b"size" => self.real_size = Some(decimal(value)?),
            b"major" => self.major = Some(decimal(value)?),
            b"offset" | b"numbytes" => self.map.push(decimal(value)?),
            b"map" => {
                self.map = value.split(|byte| *byte == b',').map(decimal).collect::<Result<_, _>>()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The segments of the records.
    pub(super) fn segments(&self) -> Result<Vec<Segment>, ArchiveError> {
        if !self.map.len().is_multiple_of(2) {
            return Err(ArchiveError::Header("the map of holes is incomplete"));
        }
        Ok(self.map.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect())
    }
}

/// Reads decimal digits.
pub(super) fn decimal(text: &[u8]) -> Result<u64, ArchiveError> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(BAD)
}

fn signed(text: &[u8]) -> Result<i64, ArchiveError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(BAD)
}

/// Reads seconds with a decimal fraction.
fn time(text: &[u8]) -> Result<Timestamp, ArchiveError> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let negative = whole.first() == Some(&b'-');
    let seconds = signed(whole)?;
    let nanos = (0..9).fold(0_u32, |nanos, index| {
        nanos * 10 + u32::from(fraction.get(index).map_or(0, |digit| digit - b'0'))
    });
    match (negative, nanos) {
        (true, 1..) => {
            let seconds = seconds.checked_sub(1).ok_or(BAD)?;
            Ok(Timestamp { seconds, nanos: 1_000_000_000 - nanos })
        }
        _ => Ok(Timestamp { seconds, nanos }),
    }
}

/// Writes one record.
pub(super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        for length in [1, 5, 88, 89, 90, 91, 92, 985, 986, 987, 988, 989, 5000] {
            let (mut records, value) = (Vec::new(), vec![b'v'; length]);
            push(&mut records, b"path", &value);
            assert_eq!(Records::parse(&records).unwrap().path, Some(value), "{length}");
        }
    }

    #[test]
    fn times_have_fractions_on_both_sides_of_1970() {
        for (text, seconds, nanos) in [
            ("0", 0, 0),
            ("12.5", 12, 500_000_000),
            ("-1.25", -2, 750_000_000),
            ("-0.5", -1, 500_000_000),
            ("1.0000000019", 1, 1),
        ] {
            assert_eq!(time(text.as_bytes()).unwrap(), Timestamp { seconds, nanos }, "{text}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in [
            &b"11 path=abc"[..],
            b"99 path=a\n",
            b"0 path=a\n",
            b"x path=a\n",
            b"8 patha\n",
            b"10 size=-\n",
            b"12 path=a\0b\n",
        ] {
            assert!(Records::parse(text).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
    }
}
