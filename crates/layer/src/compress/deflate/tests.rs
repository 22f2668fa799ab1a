use std::io::Read as _;

use proptest::prelude::*;

use super::*;

fn compressed(plain: &[u8]) -> Vec<u8> {
    compressed_with(&mut Deflate::new(), plain)
}

fn compressed_with(deflate: &mut Deflate, plain: &[u8]) -> Vec<u8> {
    // what a buffer held before does not matter
    let mut packed = vec![0xa5; Deflate::bound(plain.len())];
    let length = deflate.compress(plain, &mut packed);
    packed.truncate(length);
    packed
}

/// Checks that others read what was written; how long it is.
fn check(plain: &[u8]) -> usize {
    let packed = compressed(plain);
    assert!(packed.len() <= Deflate::bound(plain.len()));
    let mut read = vec![0; plain.len()];
    let length = libdeflater::Decompressor::new().deflate_decompress(&packed, &mut read).unwrap();
    assert!(length == plain.len() && read == plain, "libdeflate");
    let mut read = Vec::new();
    flate2::read::DeflateDecoder::new(&packed[..]).read_to_end(&mut read).unwrap();
    assert!(read == plain, "zlib");
    packed.len()
}

/// Bytes without any order.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn text(length: usize) -> Vec<u8> {
    (0..).flat_map(|line| format!("line {line} of {}\n", line * 7 % 1000).into_bytes()).take(length).collect()
}

#[test]
fn others_read_it_whatever_the_length() {
    let lengths = (0..40).chain([255, 258, 259, 1000, 32_767, 32_768, 32_769, 65_534]);
    let lengths = lengths.chain([65_535, 65_536, 65_537, 65_548, 131_072, 300_000, 1 << 20]);
    for length in lengths {
        check(&vec![b'a'; length]);
        check(&text(length));
        let stored = check(&noise(length));
        assert!(stored <= length + 16 * (length / BLOCK_BYTES + 1), "{length} bytes of noise are {stored}");
    }
}

#[test]
fn it_is_shorter_where_it_can_be() {
    assert!(check(&vec![0; 1 << 20]) < 2_000);
    assert!(check(&text(1 << 20)) < 250_000);
    let twice = noise(20_000).repeat(2);
    assert!(check(&twice) < 20_800);
    let too_far = noise(40_000).repeat(2);
    assert!(check(&too_far) >= 80_000);
}

#[test]
fn all_lengths_and_distances_can_be_written() {
    let start = noise(FARTHEST + 300);
    let mut plain = start.clone();
    for length in 5..=LONGEST + 2 {
        plain.extend_from_slice(&start[start.len() - length..]);
        plain.extend_from_slice(&[b'-', length as u8]);
    }
    for distance in (1..FARTHEST).step_by(97).chain([FARTHEST - 1, FARTHEST, FARTHEST + 1]) {
        let from = plain.len() - distance;
        let again: Vec<u8> = plain[from..].iter().copied().take(9).collect();
        plain.extend_from_slice(&again);
        plain.extend_from_slice(&(distance as u16).to_be_bytes());
    }
    check(&plain);
}

#[test]
fn symbols_of_very_different_frequency_get_codes_that_fit() {
    let counts =
        std::iter::successors(Some((1_usize, 1_usize)), |(a, b)| Some((*b, a + b))).map(|(count, _)| count);
    // without any order among them, so that they are literals
    let mut plain: Vec<u8> =
        counts.take(22).zip(0..).flat_map(|(count, byte)| std::iter::repeat_n(byte, count)).collect();
    let (length, order) = (plain.len(), noise(8 * plain.len()));
    for (at, by) in order.as_chunks::<8>().0.iter().enumerate() {
        plain.swap(at, u64::from_le_bytes(*by) as usize % length);
    }
    check(&plain);
}

#[test]
fn nothing_is_kept_from_one_input_to_the_next() {
    let mut used = Deflate::new();
    compressed_with(&mut used, &text(100_000));
    let plain = text(70_000);
    assert!(compressed_with(&mut used, &plain) == compressed(&plain));
}

#[test]
fn distances_have_the_symbols_of_the_format() {
    let cases = [
        (1, (0, 0, 1)),
        (4, (3, 0, 4)),
        (5, (4, 1, 5)),
        (6, (4, 1, 5)),
        (7, (5, 1, 7)),
        (24_577, (29, 13, 24_577)),
    ];
    for (distance, expected) in cases.into_iter().chain([(32_768, (29, 13, 24_577))]) {
        assert_eq!(distance_symbol(distance), expected, "{distance}");
    }
}

proptest! {
    #[test]
    fn pieces_of_all_kinds_are_read_as_they_were(
        pieces in proptest::collection::vec((0_usize..4, 0_usize..5000, 0_usize..60_000), 0..40),
    ) {
        let (noise, text) = (noise(65_000), text(65_000));
        let mut plain = Vec::new();
        for (kind, length, from) in pieces {
            match kind {
                0 => plain.extend_from_slice(&noise[from..from + length]),
                1 => plain.extend_from_slice(&text[from..from + length]),
                2 => plain.extend(std::iter::repeat_n(from as u8, length)),
                _ => {
                    let from = from % (plain.len() + 1);
                    let again: Vec<u8> = plain[from..].iter().copied().take(length).collect();
                    plain.extend_from_slice(&again);
                }
            }
        }
        check(&plain);
    }
}
