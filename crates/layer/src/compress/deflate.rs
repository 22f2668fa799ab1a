//! deflate in one quick pass, for what is compressed while somebody waits.
//!
//! Each position has one candidate: where the same five bytes were met last. It is taken if it matches, and few of the
//! positions inside a match are remembered. Everything else is there so that the processor need not guess: whether a
//! candidate is too far away is computed along with whether its bytes differ, a match of up to sixteen bytes is
//! measured without asking whether it ends in the first eight, literals are counted where they are found to be such,
//! and eight of them at a time are written without asking how many they are. Half of the time would be spent on wrong
//! guesses otherwise.
//!
//! The bytes are a function of the input. Changing a rule here changes the digests of what is pushed.

#![expect(
    clippy::cast_possible_truncation,
    reason = "positions are told apart modulo 64 KiB, and symbols are small"
)]

mod bits;
mod huffman;

use bits::{Bits, Code};
use huffman::{code_lengths, codes};

/// How many positions are remembered, as a power of two.
const HASH_BITS: u32 = 16;
/// How far back a match may be.
const FARTHEST: usize = 32 << 10;
/// What is remembered of bytes that were not met: too far away from wherever such a position could still be reached.
const NEVER: u16 = FARTHEST as u16;
/// The shortest match that can be written, and the longest.
const SHORTEST: usize = 3;
const LONGEST: usize = 258;
/// So many bytes, or so many matches, have one code.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_MATCHES: usize = 8 << 10;
/// Within so many bytes of the end no match begins: whole words are read without asking.
const TAIL: usize = 20;
/// After each 2^5 positions in a row without a match one more is passed over, up to this many: noise stays noise.
const PATIENCE: u32 = 5;
const MOST_PASSED: usize = 15;

/// How many symbols stand for literals, lengths and the end of a block.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;
/// The longest codes; four literals and what waits fit a word.
const LONGEST_LITERAL_CODE: usize = 14;
const LONGEST_DISTANCE_CODE: usize = 15;
const LONGEST_HEADER_CODE: usize = 7;
/// In which order the lengths of the header's codes are written.
const HEADER_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// The largest block that is stored as it is.
const STORED_BYTES: usize = 65535;

/// The shortest length that each symbol stands for, and how many more bits say which.
const LENGTHS: [(usize, u32); 29] = {
    let mut table = [(0, 0); 29];
    let (mut symbol, mut base) = (0, 3);
    while symbol < 28 {
        let extra = if symbol < 8 { 0 } else { (symbol as u32 - 4) / 4 };
        table[symbol] = (base, extra);
        base += 1 << extra;
        symbol += 1;
    }
    table[28] = (LONGEST, 0);
    table
};
/// The symbol of each length.
const LENGTH_SYMBOLS: [u8; LONGEST + 1] = {
    let mut table = [0; LONGEST + 1];
    let mut length = 3;
    while length <= LONGEST {
        let mut symbol = 28;
        while LENGTHS[symbol].0 > length {
            symbol -= 1;
        }
        table[length] = symbol as u8;
        length += 1;
    }
    table
};

/// Some bytes as they are, and then some that were there before.
#[derive(Clone, Copy)]
struct Match {
    literals: u32,
    length: u16,
    distance: u16,
}

/// Compresses; what it holds in memory is used again.
pub(super) struct Deflate {
    latest: Box<[u16; 1 << HASH_BITS]>,
    matches: Vec<Match>,
    /// How often each symbol occurs in a block. As many as a byte and a length can name, so that nobody need check.
    literals: [u32; 512],
    distances: [u32; 32],
}

/// Part of the input, and how many literals follow its last match.
struct Block {
    begin: usize,
    end: usize,
    trailing: usize,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            latest: vec![0; 1 << HASH_BITS].try_into().expect("it has as many elements as it was made with"),
            matches: Vec::with_capacity(BLOCK_MATCHES),
            literals: [0; 512],
            distances: [0; 32],
        }
    }

    /// How long the result can be at most.
    pub(super) const fn bound(length: usize) -> usize {
        // what is stored in place of being compressed has ten bytes more, and a block has 32 KiB at least
        length + (length / (BLOCK_MATCHES * 4) + 2) * 10 + 64
    }

    /// Compresses all of the input into the beginning of a buffer that has room for [`Deflate::bound`] bytes; how many it
    /// has become.
    ///
    /// # Source
    /// RFC 1951.
    pub(super) fn compress(&mut self, input: &[u8], output: &mut [u8]) -> usize {
        let mut bits = Bits::new(output);
        self.latest.fill(NEVER);
        let mut begin = 0;
        loop {
            let block = self.find_matches(input, begin);
            begin = block.end;
            self.write(input, &block, &mut bits);
            if begin == input.len() {
                return bits.finish();
            }
        }
    }

    fn find_matches(&mut self, input: &[u8], begin: usize) -> Block {
        let Self { latest, matches, literals, distances } = self;
        matches.clear();
        literals.fill(0);
        distances.fill(0);
        let block_end = (begin + BLOCK_BYTES).min(input.len());
        let limit = block_end.min(input.len().saturating_sub(TAIL));
        let (mut at, mut matched_to, mut misses) = (begin, begin, 1_usize << PATIENCE);
        if at == 0 && limit > 0 {
            // the one position from which what was never met would seem near enough
            count(literals, &input[..1]);
            at = 1;
        }
        let mut stop = limit.min(at + misses);
        loop {
            if at >= stop {
                if at < limit {
                    let to = (at + (misses >> PATIENCE).min(MOST_PASSED)).min(block_end);
                    misses += 1;
                    count(literals, &input[at..to]);
                    (at, stop) = (to, to + 1);
                }
                if at >= limit {
                    break;
                }
            }
            let word = word(input, at);
            let candidate = &mut latest[hash(word)];
            let distance = (at as u16).wrapping_sub(*candidate);
            *candidate = at as u16;
            // a position of long ago may seem near; what counts is that the bytes there are the same
            let is_far = distance.wrapping_sub(1) >> 15;
            let distance = usize::from(distance & is_far.wrapping_sub(1));
            let before = at.wrapping_sub(distance);
            let unlike = self::word(input, before) ^ word;
            if unlike as u32 | u32::from(is_far) != 0 {
                literals[usize::from(word as u8)] += 1;
                at += 1;
                continue;
            }
            let (start, length) = (at, like(input, before, at, unlike));
            at += record(matches, (literals, distances), (at - matched_to) as u32, length, distance);
            (matched_to, misses) = (at, 1 << PATIENCE);
            stop = limit.min(at + misses);
            if at < limit {
                for within in [start + 1, at - 2] {
                    latest[hash(self::word(input, within))] = within as u16;
                }
            }
            if matches.len() >= BLOCK_MATCHES {
                return Block { begin, end: at, trailing: 0 };
            }
        }
        let end = if limit == block_end { at } else { input.len() };
        count(literals, &input[at..end]);
        Block { begin, end, trailing: end - matched_to }
    }

    fn write(&mut self, input: &[u8], block: &Block, bits: &mut Bits<'_>) {
        self.literals[END_OF_BLOCK] = 1;
        let is_last = u64::from(block.end == input.len());
        let literal_lengths = code_lengths(&self.literals[..LITERALS], LONGEST_LITERAL_CODE);
        let distance_lengths = code_lengths(&self.distances[..DISTANCES], LONGEST_DISTANCE_CODE);
        let header = Header::new(&literal_lengths, &distance_lengths);
        let plain = &input[block.begin..block.end];
        let stored_cost = plain.len() as u64 * 8 + 40 * (plain.len() / STORED_BYTES + 1) as u64;
        if !plain.is_empty() && stored_cost <= header.cost + self.cost(&literal_lengths, &distance_lengths) {
            store(plain, is_last, bits);
            return;
        }
        bits.put(is_last | 2 << 1, 3);
        header.write(bits);
        self.write_symbols(input, block, &Codes::new(&literal_lengths, &distance_lengths), bits);
    }

    /// How many bits the symbols of a block take.
    fn cost(&self, literal_lengths: &[u8], distance_lengths: &[u8]) -> u64 {
        let extra_of_literal = |symbol: usize| symbol.checked_sub(257).map_or(0, |length| LENGTHS[length].1);
        let literals = literal_lengths.iter().zip(&self.literals).enumerate();
        let literals = literals.map(|(symbol, (bits, count))| {
            u64::from(*count) * u64::from(u32::from(*bits) + extra_of_literal(symbol))
        });
        let distances = distance_lengths.iter().zip(&self.distances).enumerate();
        let distances = distances.map(|(symbol, (bits, count))| {
            u64::from(*count) * (u64::from(*bits) + (symbol as u64 / 2).saturating_sub(1))
        });
        literals.sum::<u64>() + distances.sum::<u64>()
    }

    fn write_symbols(&self, input: &[u8], block: &Block, codes: &Codes, bits: &mut Bits<'_>) {
        let mut at = block.begin;
        for found in &self.matches {
            let mut left = found.literals as usize;
            // where there are not eight more bytes, a match has been cut into several and no literals are between them
            while let Some(eight) = input[at..].first_chunk::<8>() {
                let mut places = 0..;
                for four in eight.as_chunks::<4>().0 {
                    for (literal, place) in four.iter().zip(&mut places) {
                        let code = codes.literals[usize::from(*literal)];
                        bits.put_code(if place < left { code } else { Code::NONE });
                    }
                    bits.drain();
                }
                if left <= 8 {
                    break;
                }
                (at, left) = (at + 8, left - 8);
            }
            at += left + usize::from(found.length);
            bits.put_code(codes.lengths[usize::from(found.length)]);
            let (symbol, extra, nearest) = distance_symbol(found.distance.into());
            bits.put_code(codes.distances[symbol]);
            bits.put(u64::from(found.distance) - nearest, extra);
            bits.drain();
        }
        write_literals(&input[at..at + block.trailing], codes, bits);
        bits.put_code(codes.literals[END_OF_BLOCK]);
        bits.drain();
    }
}

/// What each symbol is written as.
struct Codes {
    literals: [Code; LITERALS],
    /// For each length its symbol, and the bits behind it.
    lengths: [Code; LONGEST + 1],
    distances: [Code; 32],
}

impl Codes {
    fn new(literal_lengths: &[u8], distance_lengths: &[u8]) -> Self {
        let mut made = Self {
            literals: [Code::NONE; LITERALS],
            lengths: [Code::NONE; LONGEST + 1],
            distances: [Code::NONE; 32],
        };
        made.literals.copy_from_slice(&codes(literal_lengths));
        made.distances[..DISTANCES].copy_from_slice(&codes(distance_lengths));
        for (length, code) in made.lengths.iter_mut().enumerate().skip(3) {
            let symbol = usize::from(LENGTH_SYMBOLS[length]);
            let (shortest, extra) = LENGTHS[symbol];
            *code = made.literals[257 + symbol].followed_by((length - shortest) as u32, extra);
        }
        made
    }
}

/// Says which codes a block has.
struct Header {
    literal_count: usize,
    distance_count: usize,
    lengths: Vec<u8>,
    order_count: usize,
    /// Symbol, what follows it, and how many bits that has.
    symbols: Vec<(u8, u8, u32)>,
    cost: u64,
}

impl Header {
    fn new(literal_lengths: &[u8], distance_lengths: &[u8]) -> Self {
        let used = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
        let (literal_count, distance_count) = (used(literal_lengths).max(257), used(distance_lengths).max(1));
        let symbols =
            run_lengths(&[&literal_lengths[..literal_count], &distance_lengths[..distance_count]].concat());
        let mut counts = [0; HEADER_ORDER.len()];
        for (symbol, ..) in &symbols {
            counts[usize::from(*symbol)] += 1;
        }
        let lengths = code_lengths(&counts, LONGEST_HEADER_CODE);
        let last = HEADER_ORDER.iter().rposition(|symbol| lengths[*symbol] > 0).unwrap_or(0);
        let order_count = (last + 1).max(4);
        let cost = symbols
            .iter()
            .map(|(symbol, _, extra)| u64::from(lengths[usize::from(*symbol)]) + u64::from(*extra));
        let cost = 17 + 3 * order_count as u64 + cost.sum::<u64>();
        Self { literal_count, distance_count, lengths, order_count, symbols, cost }
    }

    fn write(&self, bits: &mut Bits<'_>) {
        bits.put(self.literal_count as u64 - 257, 5);
        bits.put(self.distance_count as u64 - 1, 5);
        bits.put(self.order_count as u64 - 4, 4);
        bits.drain();
        for symbol in &HEADER_ORDER[..self.order_count] {
            bits.put(self.lengths[*symbol].into(), 3);
            bits.drain();
        }
        let codes = codes(&self.lengths);
        for (symbol, value, extra) in &self.symbols {
            bits.put_code(codes[usize::from(*symbol)]);
            bits.put((*value).into(), *extra);
            bits.drain();
        }
    }
}

/// The lengths of codes as the header's symbols: 16 says the last once more, 17 and 18 say zero, several times.
fn run_lengths(lengths: &[u8]) -> Vec<(u8, u8, u32)> {
    let mut symbols = Vec::new();
    for run in lengths.chunk_by(|a, b| a == b) {
        let (value, mut left) = (run[0], run.len());
        if value > 0 {
            symbols.push((value, 0, 0));
            left -= 1;
        }
        while left >= 3 {
            let (symbol, least, most, extra) = match (value, left) {
                (1.., _) => (16, 3, 6, 2),
                (0, ..=10) => (17, 3, 10, 3),
                (0, _) => (18, 11, 138, 7),
            };
            let taken = left.min(most);
            symbols.push((symbol, (taken - least) as u8, extra));
            left -= taken;
        }
        symbols.extend(std::iter::repeat_n((value, 0, 0), left));
    }
    symbols
}

/// Writes bytes that cannot be compressed.
fn store(plain: &[u8], is_last: u64, bits: &mut Bits<'_>) {
    let mut parts = plain.chunks(STORED_BYTES).peekable();
    while let Some(part) = parts.next() {
        bits.put(if parts.peek().is_none() { is_last } else { 0 }, 3);
        bits.align();
        let length = part.len() as u16;
        bits.put(length.into(), 16);
        bits.put((!length).into(), 16);
        bits.drain();
        bits.append(part);
    }
}

#[inline]
fn write_literals(literals: &[u8], codes: &Codes, bits: &mut Bits<'_>) {
    let (fours, rest) = literals.as_chunks::<4>();
    for four in fours {
        for literal in four {
            bits.put_code(codes.literals[usize::from(*literal)]);
        }
        bits.drain();
    }
    for literal in rest {
        bits.put_code(codes.literals[usize::from(*literal)]);
    }
    bits.drain();
}

/// Writes down a match, and how many literals come before it; how long it has become. One that is longer than the format
/// has lengths for is several; one or two bytes that are left over are none.
#[inline]
fn record(
    matches: &mut Vec<Match>,
    (lengths, distances): (&mut [u32; 512], &mut [u32; 32]),
    mut literals: u32,
    length: usize,
    distance: usize,
) -> usize {
    let mut left = length;
    while left >= SHORTEST {
        let part = left.min(LONGEST);
        matches.push(Match { literals, length: part as u16, distance: distance as u16 });
        lengths[257 + usize::from(LENGTH_SYMBOLS[part])] += 1;
        distances[distance_symbol(distance).0] += 1;
        literals = 0;
        left -= part;
    }
    length - left
}

/// The eight bytes at a position.
#[inline]
fn word(input: &[u8], at: usize) -> u64 {
    input[at..at + 8].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Where five bytes are remembered.
#[inline]
const fn hash(word: u64) -> usize {
    ((word << 24).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - HASH_BITS)) as usize
}

fn count(counts: &mut [u32; 512], literals: &[u8]) {
    for literal in literals {
        counts[usize::from(*literal)] += 1;
    }
}

/// How many bytes are the same at two positions, of which the first four are; `unlike` says where the first eight differ.
#[inline]
fn like(input: &[u8], before: usize, at: usize, unlike: u64) -> usize {
    let further = word(input, before + 8) ^ word(input, at + 8);
    let same_bits = if unlike == 0 { 64 + further.trailing_zeros() } else { unlike.trailing_zeros() };
    if same_bits < 128 { same_bits as usize / 8 } else { like_for_long(input, before, at) }
}

/// The same where the first sixteen are.
fn like_for_long(input: &[u8], before: usize, at: usize) -> usize {
    let most = input.len() - at;
    let mut length = 16;
    while length + 8 <= most {
        let unlike = word(input, before + length) ^ word(input, at + length);
        if unlike != 0 {
            return length + unlike.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    while length < most && input[before + length] == input[at + length] {
        length += 1;
    }
    length
}

/// The symbol of a distance, how many bits follow it, and the least distance that it stands for.
#[inline]
const fn distance_symbol(distance: usize) -> (usize, u32, u64) {
    let beyond = (distance as u32).wrapping_sub(1) & 0x7fff;
    if beyond < 4 {
        return (beyond as usize, 0, distance as u64);
    }
    let extra = 30 - beyond.leading_zeros();
    let nearest = beyond >> extra << extra;
    ((2 * extra + (beyond >> extra)) as usize & 31, extra, nearest as u64 + 1)
}

#[cfg(test)]
mod tests;
