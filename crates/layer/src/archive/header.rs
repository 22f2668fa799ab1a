//! The fixed part of a tar header: fields at offsets, numbers in octal or base 256.

use super::{ArchiveError, BLOCK};

/// One header block.
pub(super) struct Header(pub(super) [u8; BLOCK]);

/// Where a field begins and ends.
pub(super) type Field = std::ops::Range<usize>;

pub(super) const NAME: Field = 0..100;
pub(super) const MODE: Field = 100..108;
pub(super) const UID: Field = 108..116;
pub(super) const GID: Field = 116..124;
pub(super) const SIZE: Field = 124..136;
pub(super) const MTIME: Field = 136..148;
pub(super) const CHECKSUM: Field = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Field = 157..257;
pub(super) const MAGIC: Field = 257..263;
pub(super) const VERSION: Field = 263..265;
pub(super) const MAJOR: Field = 329..337;
pub(super) const MINOR: Field = 337..345;
pub(super) const PREFIX: Field = 345..500;
pub(super) const GNU_SPARSE: Field = 386..482;
pub(super) const GNU_EXTENDED: usize = 482;
pub(super) const GNU_REAL_SIZE: Field = 483..495;

impl Header {
    /// Whether it is one of the two blocks of zeros at the end.
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// The text of a field, up to the first NUL.
    pub(super) fn text(&self, field: Field) -> &[u8] {
        let bytes = &self.0[field];
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        &bytes[..end]
    }

    /// The number in a field.
    pub(super) fn number(&self, field: Field) -> Result<i64, ArchiveError> {
        parse_number(&self.0[field])
    }

    /// A number that cannot be negative.
    pub(super) fn count(&self, field: Field) -> Result<u64, ArchiveError> {
        u64::try_from(self.number(field)?).map_err(|_| ArchiveError::Header("negative size"))
    }

    /// Whether the header is POSIX's, so that the prefix belongs to the name.
    pub(super) fn is_posix(&self) -> bool {
        self.0[MAGIC] == *b"ustar\0"
    }

    /// Whether the header is GNU's, with other fields in the prefix.
    pub(super) fn is_gnu(&self) -> bool {
        self.0[MAGIC] == *b"ustar "
    }

    /// The sum of all bytes, the checksum field itself as spaces.
    pub(super) fn sum(&self) -> u32 {
        let all: u32 = self.0.iter().copied().map(u32::from).sum();
        let field: u32 = self.0[CHECKSUM].iter().copied().map(u32::from).sum();
        all - field + 8 * u32::from(b' ')
    }

    /// The sum as some old programs made it: of signed bytes.
    fn signed_sum(&self) -> i64 {
        let signed = |bytes: &[u8]| -> i64 { bytes.iter().map(|byte| i64::from(byte.cast_signed())).sum() };
        signed(&self.0) - signed(&self.0[CHECKSUM]) + 8 * i64::from(b' ')
    }

    /// Checks the sum.
    pub(super) fn verify(&self) -> Result<(), ArchiveError> {
        let said = self.number(CHECKSUM)?;
        if said == i64::from(self.sum()) || said == self.signed_sum() {
            Ok(())
        } else {
            Err(ArchiveError::Header("the checksum is wrong"))
        }
    }

    /// Writes octal digits with leading zeros and a NUL; `false` where the number does not fit.
    pub(super) fn put_octal(&mut self, field: Field, number: u64) -> bool {
        let digits = field.len() - 1;
        let fits = number < 1 << (3 * digits).min(63);
        let mut rest = if fits { number } else { 0 };
        for at in (field.start..field.start + digits).rev() {
            self.0[at] = b'0' + u8::try_from(rest & 7).unwrap_or(0);
            rest >>= 3;
        }
        self.0[field.end - 1] = 0;
        fits
    }

    /// Writes a text that fits.
    pub(super) fn put_text(&mut self, field: Field, text: &[u8]) {
        self.0[field.start..field.start + text.len()].copy_from_slice(text);
    }

    /// Writes the sum: six digits, a NUL and a space.
    pub(super) fn seal(&mut self) {
        let sum = self.sum();
        self.put_octal(CHECKSUM.start..CHECKSUM.end - 1, sum.into());
        self.0[CHECKSUM.end - 1] = b' ';
    }
}

/// Reads octal digits with spaces around, or GNU's base 256.
pub(super) fn parse_number(bytes: &[u8]) -> Result<i64, ArchiveError> {
    const BAD: ArchiveError = ArchiveError::Header("a number is malformed");
    if let Some(first) = bytes.first()
        && first & 0x80 != 0
    {
        let negative = first & 0x40 != 0;
        let mut value: i64 = if negative { -1 } else { 0 };
        for (index, byte) in bytes.iter().enumerate() {
            let byte = if index == 0 && !negative { byte & 0x7f } else { *byte };
            value = value.checked_mul(256).ok_or(BAD)? | i64::from(byte);
        }
        return Ok(value);
    }
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    text.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8).map(|value| value | i64::from(digit - b'0')).ok_or(BAD),
        _ => Err(BAD),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_forms() {
        for (bytes, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"\x80\0\0\0\0\x20\0\0", 0x20_0000),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(parse_number(bytes).unwrap(), value, "{bytes:?}");
        }
        for bytes in [&b"0000648\0"[..], b"-1\0", b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert!(parse_number(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn octal_fields_say_when_they_overflow() {
        let mut header = Header([0; BLOCK]);
        assert!(header.put_octal(UID, 0o7_777_777));
        assert_eq!(header.0[UID], *b"7777777\0");
        assert!(!header.put_octal(UID, 0o10_000_000));
    }
}
