//! Writing gzip and zstd: blocks of a fixed size, each a member or frame of its own.

use std::cell::RefCell;
use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};

use super::Format;
use super::blocks::{Blocks, Compress, Workers};
use super::deflate::Deflate;

/// Four times as fast as what gzip itself does by default, for up to 15 % more bytes. The other levels are
/// libdeflate's: 2 takes twice as long as this one, 6 three times as long, for as many bytes as gzip's.
pub const DEFAULT_GZIP_LEVEL: i32 = 1;
/// The level that zstd itself takes.
pub const DEFAULT_ZSTD_LEVEL: i32 = 3;

/// The level that is [`Deflate`]'s.
const QUICK_GZIP_LEVEL: i32 = 1;
/// Checksum and length behind each member.
const TRAILER_BYTES: usize = 8;
/// What a quick member begins with: no time, no name, and no system that it comes from.
const QUICK_GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// The size of a gzip member before compression; changing it changes the digests of what is pushed.
const GZIP_BLOCK: usize = 1 << 20;
/// The size of a zstd frame before compression: larger, since a frame knows nothing of the one before.
const ZSTD_BLOCK: usize = 4 << 20;

/// Writes a packed stream. Its bytes do not depend on the number of threads.
pub struct Encoder<W: Write> {
    kind: EncoderKind<W>,
}

enum EncoderKind<W: Write> {
    Plain(W),
    Blocks(Blocks<W>),
}

impl<W: Write> Encoder<W> {
    /// Starts a stream with threads of its own; `None` takes the format's default level.
    ///
    /// # Errors
    /// `InvalidInput` for a level that the format does not have, `Unsupported` for a format that is only read.
    pub fn new(output: W, format: Format, level: Option<i32>, threads: usize) -> io::Result<Self> {
        Self::with_workers(output, format, level, &Workers::new(threads))
    }

    /// The same, with threads and buffers that other streams use too.
    ///
    /// # Errors
    /// As for [`Encoder::new`].
    pub fn with_workers(
        output: W,
        format: Format,
        level: Option<i32>,
        workers: &Workers,
    ) -> io::Result<Self> {
        let (size, way, level, levels) = match format {
            Format::Plain => return Ok(Self { kind: EncoderKind::Plain(output) }),
            Format::Gzip => (GZIP_BLOCK, gzip as Compress, level.unwrap_or(DEFAULT_GZIP_LEVEL), 0..=12),
            Format::Zstd => (ZSTD_BLOCK, zstd as Compress, level.unwrap_or(DEFAULT_ZSTD_LEVEL), -7..=22),
            Format::Bzip2 | Format::Xz => {
                let what = format!("{format:?} is read, but not written");
                return Err(io::Error::new(io::ErrorKind::Unsupported, what.to_lowercase()));
            }
        };
        if !levels.contains(&level) {
            let what =
                format!("compression level {level} is not between {} and {}", levels.start(), levels.end());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(Self { kind: EncoderKind::Blocks(Blocks::new(output, size, (way, level), workers.clone())) })
    }

    /// Ends the stream and gives the output back.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        match self.kind {
            EncoderKind::Plain(output) => Ok(output),
            EncoderKind::Blocks(blocks) => blocks.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.kind {
            EncoderKind::Plain(output) => output.write(bytes),
            EncoderKind::Blocks(blocks) => blocks.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            EncoderKind::Plain(output) => output.flush(),
            EncoderKind::Blocks(blocks) => blocks.flush(),
        }
    }
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

thread_local! {
    /// What the last block of this thread was compressed with; making one anew costs as much as a small block.
    static GZIP: RefCell<Option<(i32, Compressor)>> = const { RefCell::new(None) };
    static QUICK_GZIP: RefCell<Option<Deflate>> = const { RefCell::new(None) };
}

fn gzip(level: i32, block: &[u8], packed: &mut Vec<u8>) -> io::Result<usize> {
    if level == QUICK_GZIP_LEVEL {
        Ok(quick_gzip(block, packed))
    } else {
        thorough_gzip(level, block, packed)
    }
}

/// Makes a buffer longer where it is too short. What it holds is lost then: pages that nobody writes to take no memory.
fn stretch(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        *buffer = Vec::new();
        *buffer = vec![0; length];
    }
}

/// # Source
/// RFC 1952, section 2.3.
fn quick_gzip(block: &[u8], packed: &mut Vec<u8>) -> usize {
    const HEADER: usize = QUICK_GZIP_HEADER.len();
    stretch(packed, HEADER + Deflate::bound(block.len()) + TRAILER_BYTES);
    packed[..HEADER].copy_from_slice(&QUICK_GZIP_HEADER);
    let deflated = QUICK_GZIP
        .with_borrow_mut(|kept| kept.get_or_insert_with(Deflate::new).compress(block, &mut packed[HEADER..]));
    let end = HEADER + deflated;
    packed[end..end + 4].copy_from_slice(&libdeflater::crc32(block).to_le_bytes());
    let length = u32::try_from(block.len() % (1 << 32)).unwrap_or(u32::MAX);
    packed[end + 4..end + TRAILER_BYTES].copy_from_slice(&length.to_le_bytes());
    end + TRAILER_BYTES
}

fn thorough_gzip(level: i32, block: &[u8], packed: &mut Vec<u8>) -> io::Result<usize> {
    GZIP.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(kept, _)| *kept != level) {
            let valid = CompressionLvl::new(level).map_err(|_| io::ErrorKind::InvalidInput)?;
            *kept = Some((level, Compressor::new(valid)));
        }
        let Some((_, compressor)) = kept else { return Err(io::ErrorKind::InvalidInput.into()) };
        stretch(packed, compressor.gzip_compress_bound(block.len()));
        compressor
            .gzip_compress(block, packed)
            .map_err(|_| io::Error::other("the compressed block does not fit"))
    })
}

fn zstd(level: i32, block: &[u8], packed: &mut Vec<u8>) -> io::Result<usize> {
    stretch(packed, zstd::zstd_safe::compress_bound(block.len()));
    zstd::bulk::compress_to_buffer(block, packed.as_mut_slice(), level)
}
