//! Compressed streams: told apart by their first bytes, read whatever they are, written as gzip or zstd.

mod blocks;
mod deflate;
mod encoder;
mod members;

use std::io::{self, BufRead as _, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use members::Members;

pub use blocks::Workers;
pub use encoder::{DEFAULT_GZIP_LEVEL, DEFAULT_ZSTD_LEVEL, Encoder};

/// How a stream is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Not at all.
    Plain,
    /// gzip, of one member or several.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

/// How many bytes [`detect`] wants to see.
pub const MAGIC_BYTES: usize = 6;

/// Tells by its first bytes how a stream is packed.
pub fn detect(magic: &[u8]) -> Format {
    match magic {
        [0x1f, 0x8b, 0x08, ..] => Format::Gzip,
        // A frame that programs are to skip may come first.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Format::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
        _ => Format::Plain,
    }
}

/// Reads a stream as what it was before it was packed.
///
/// Its memory is bounded by what the formats allow a decoder to need, never by the length of the stream.
pub struct Decoder<'a> {
    format: Format,
    stream: Box<dyn Read + Send + 'a>,
}

impl<'a> Decoder<'a> {
    /// Looks at the first bytes and takes the decoder that they ask for.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn new(input: impl Read + Send + 'a) -> io::Result<Self> {
        Self::open(input, true)
    }

    /// The same for a stream that its caller verifies by a digest: gzip's own checksums are not looked at, which takes
    /// a tenth of the time.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn of_verified(input: impl Read + Send + 'a) -> io::Result<Self> {
        Self::open(input, false)
    }

    fn open(input: impl Read + Send + 'a, checks: bool) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(64 * 1024, Primed::new(input)?);
        let format = detect(input.fill_buf()?);
        let stream: Box<dyn Read + Send + 'a> = match format {
            Format::Plain => Box::new(input),
            Format::Gzip if checks => Box::new(MultiGzDecoder::new(input)),
            Format::Gzip => Box::new(Members::new(input)),
            Format::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
            Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Format::Xz => Box::new(lzma_rust2::XzReader::new(input, true)),
        };
        Ok(Self { format, stream })
    }

    /// How the stream is packed.
    pub const fn format(&self) -> Format {
        self.format
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl std::fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("format", &self.format).finish_non_exhaustive()
    }
}

/// A stream whose first read gives all bytes of the magic, however a pipe hands them over.
struct Primed<R> {
    magic: [u8; MAGIC_BYTES],
    left: std::ops::Range<usize>,
    rest: R,
}

impl<R: Read> Primed<R> {
    fn new(mut rest: R) -> io::Result<Self> {
        let mut magic = [0; MAGIC_BYTES];
        let length = crate::stream::fill(&mut rest, &mut magic)?;
        Ok(Self { magic, left: 0..length, rest })
    }
}

impl<R: Read> Read for Primed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            return self.rest.read(buffer);
        }
        let length = self.left.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.magic[self.left.start..self.left.start + length]);
        self.left.start += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Decoder::new(bytes)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn encoded(plain: &[u8], format: Format, threads: usize) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), format, None, threads).unwrap();
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// Text with some repetition, longer than a few blocks.
    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * at / 7 % 97).unwrap()).collect()
    }

    #[test]
    fn what_others_packed_is_read() {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        writer.write_all(b"text").unwrap();
        let packed = writer.finish().unwrap();
        assert_eq!(Decoder::new(&*packed).unwrap().format(), Format::Bzip2);
        assert_eq!(decoded(&packed).unwrap(), b"text");
        // `printf text | xz`
        let xz = b"\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\x01\x00\x03\x74\x65\x78\
            \x74\x00\x55\xcd\xe8\x33\xff\x4a\x0c\x17\x00\x01\x1c\x04\x6f\x2c\x9c\xc1\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a";
        assert_eq!(Decoder::new(&xz[..]).unwrap().format(), Format::Xz);
        let two = [encoded(b"a", Format::Gzip, 1), encoded(b"b", Format::Gzip, 1)].concat();
        assert_eq!(decoded(&two).unwrap(), b"ab");
        assert_eq!(decoded(b"").unwrap(), b"");
        assert_eq!(decoded(b"B").unwrap(), b"B");
    }

    #[test]
    fn bytes_do_not_depend_on_the_number_of_threads() {
        let plain = sample(9 << 20);
        for format in [Format::Gzip, Format::Zstd] {
            let one = encoded(&plain, format, 1);
            assert!(one == encoded(&plain, format, 4), "{format:?}");
            assert!(one.len() < plain.len() / 2);
            assert_eq!(detect(&one), format);
            assert!(decoded(&one).unwrap() == plain, "{format:?}");
        }
        assert!(encoded(&plain, Format::Plain, 2) == plain);
    }

    fn decoded_unchecked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Decoder::of_verified(bytes)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn a_stream_that_is_cut_off_is_an_error() {
        for format in [Format::Gzip, Format::Zstd] {
            let packed = encoded(&sample(100_000), format, 1);
            for cut in [5, 8, 9, 1000, packed.len() - 3] {
                let part = &packed[..packed.len() - cut.min(packed.len())];
                assert!(decoded(part).is_err() || part.len() < MAGIC_BYTES, "{format:?} {cut}");
                assert!(decoded_unchecked(part).is_err() || part.len() < MAGIC_BYTES, "{format:?} {cut}");
            }
        }
    }

    #[test]
    fn headers_with_all_fields_are_passed_over() {
        let mut whole = flate2::GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra(b"extra".as_slice())
            .write(Vec::new(), flate2::Compression::fast());
        whole.write_all(b"text").unwrap();
        let whole = whole.finish().unwrap();
        assert_eq!(decoded_unchecked(&[whole.clone(), whole.clone()].concat()).unwrap(), b"texttext");
        assert!(decoded_unchecked(&[&whole[..], b"more"].concat()).is_err());
        let mut other = whole.clone();
        let checksum = other.len() - 8;
        other[checksum] ^= 1;
        assert_eq!(decoded_unchecked(&other).unwrap(), b"text", "digests are looked at by whoever reads");
        assert!(decoded(&other).is_err());
    }

    proptest! {
        #[test]
        fn packing_and_reading_gives_the_same(plain in proptest::collection::vec(any::<u8>(), 0..3000)) {
            for format in [Format::Gzip, Format::Zstd] {
                let packed = encoded(&plain, format, 2);
                prop_assert_eq!(decoded(&packed).unwrap(), plain.clone());
                prop_assert_eq!(decoded_unchecked(&packed).unwrap(), plain.clone());
            }
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(magic in 0_usize..4, mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let start: [&[u8]; 4] = [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0"];
            bytes.splice(0..0, start[magic].iter().copied());
            drop(decoded(&bytes));
            drop(decoded_unchecked(&bytes));
        }
    }
}
