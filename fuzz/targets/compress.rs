//! Any bytes, packed at any level of any format that is written: what is read back is what there was.
#![no_main]

use std::io::{Read as _, Write as _};

use libfuzzer_sys::fuzz_target;
use lighter_layer::compress::{Decoder, Encoder, Format};

/// Enough for several blocks of each kind.
const MOST: usize = 200 << 10;

/// Short input stands for long: each piece is bytes of its own, one byte many times, or what was there before.
fn expand(input: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = input;
    while plain.len() < MOST
        && let Some((&[kind, a, b], more)) = rest.split_first_chunk()
    {
        rest = more;
        let number = usize::from(u16::from_le_bytes([a, b]));
        match kind & 3 {
            0 => {
                let (own, more) = rest.split_at(number.min(rest.len()));
                plain.extend_from_slice(own);
                rest = more;
            }
            1 => plain.extend(std::iter::repeat_n(a, usize::from(b) * usize::from(kind))),
            2 => {
                let from = plain.len().saturating_sub(number);
                let again: Vec<u8> = plain[from..].iter().copied().take(usize::from(kind) * 8).collect();
                plain.extend_from_slice(&again);
            }
            _ => {
                // without any order
                let mut state = number as u32 | 1;
                plain.extend(
                    std::iter::repeat_with(|| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 24) as u8 >> (kind >> 5)
                    })
                    .take(number),
                );
            }
        }
    }
    plain
}

fuzz_target!(|bytes: &[u8]| {
    let Some((way, input)) = bytes.split_first() else { return };
    let plain = expand(input);
    // the default level of gzip is what nearly everything is packed with
    let (format, level) = match *way {
        0..=199 => (Format::Gzip, None),
        200..=212 => (Format::Gzip, Some(i32::from(way - 200))),
        _ => (Format::Zstd, Some(i32::from(way % 8))),
    };
    let mut encoder = Encoder::new(Vec::new(), format, level, 1).expect("a level that there is");
    encoder.write_all(&plain).expect("memory takes it");
    let packed = encoder.finish().expect("memory takes it");
    let mut read = Vec::new();
    Decoder::new(packed.as_slice())
        .expect("a format that is known")
        .read_to_end(&mut read)
        .expect("it is whole");
    assert!(read == plain, "{} bytes came back as {}", plain.len(), read.len());
});
