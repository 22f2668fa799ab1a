//! Codes in which what is frequent is short.

use super::bits::Code;

/// As many bits as name a symbol.
const SYMBOL_BITS: u32 = 9;

/// How long the code of each symbol is, from how often it occurs: none has more bits than `longest`. What does not occur
/// has no code, but there are two codes at least, as some readers want.
pub(super) fn code_lengths(counts: &[u32], longest: usize) -> Vec<u8> {
    let mut lengths = vec![0; counts.len()];
    // counts and symbols in one number are sorted sooner than as two
    let mut used: Vec<u64> = counts
        .iter()
        .zip(0..)
        .filter(|(count, _)| **count > 0)
        .map(|(count, symbol)| u64::from(*count) << SYMBOL_BITS | symbol)
        .collect();
    let symbol_of = |used: u64| (used % (1 << SYMBOL_BITS)) as usize;
    if used.len() < 2 {
        let only = used.first().map_or(0, |used| symbol_of(*used));
        lengths[only] = 1;
        lengths[usize::from(only == 0)] = 1;
        return lengths;
    }
    used.sort_unstable();
    let weights: Vec<u32> = used.iter().map(|used| (used >> SYMBOL_BITS) as u32).collect();
    // the rarest get the longest codes
    let mut symbols = used.iter().map(|used| symbol_of(*used));
    for (length, number) in numbers_of_lengths(&weights, longest).into_iter().enumerate().rev() {
        for symbol in symbols.by_ref().take(number) {
            lengths[symbol] = u8::try_from(length).unwrap_or(u8::MAX);
        }
    }
    lengths
}

/// How many codes of each length there are; the weights are sorted, and two at least.
fn numbers_of_lengths(weights: &[u32], longest: usize) -> Vec<usize> {
    let mut numbers = vec![0; longest + 1];
    for depth in depths(weights) {
        numbers[depth.min(longest)] += 1;
    }
    // codes that were cut short take more room than there is: others are made longer for them
    let room = 1_usize << longest;
    let mut taken: usize =
        numbers.iter().enumerate().skip(1).map(|(length, number)| number << (longest - length)).sum();
    while taken > room {
        let Some(shorter) = (1..longest).rev().find(|length| numbers[*length] > 0) else { break };
        numbers[longest] -= 1;
        numbers[shorter] -= 1;
        numbers[shorter + 1] += 2;
        taken -= 1;
    }
    numbers
}

/// How deep in the tree each leaf is: always the two lightest nodes are joined.
fn depths(weights: &[u32]) -> Vec<usize> {
    let leaves = weights.len();
    let nodes = 2 * leaves - 1;
    let mut all: Vec<u64> = weights.iter().map(|weight| u64::from(*weight)).collect();
    let mut parents = vec![0; nodes];
    let (mut leaf, mut inner) = (0, leaves);
    while all.len() < nodes {
        let mut lightest = || {
            let takes_leaf = leaf < leaves && (inner >= all.len() || all[leaf] <= all[inner]);
            let next = if takes_leaf { &mut leaf } else { &mut inner };
            *next += 1;
            *next - 1
        };
        let (first, second) = (lightest(), lightest());
        parents[first] = all.len();
        parents[second] = all.len();
        all.push(all[first] + all[second]);
    }
    let mut depths = vec![0; nodes];
    for node in (0..nodes - 1).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    depths.truncate(leaves);
    depths
}

/// The codes that follow from their lengths.
///
/// # Source
/// RFC 1951, section 3.2.2.
pub(super) fn codes(lengths: &[u8]) -> Vec<Code> {
    let mut next = [0_u32; 17];
    for length in lengths.iter().filter(|length| **length > 0) {
        next[usize::from(*length) + 1] += 1;
    }
    for length in 1..next.len() {
        next[length] = (next[length] + next[length - 1]) << 1;
    }
    let code = |length: &u8| {
        if *length == 0 {
            return Code::NONE;
        }
        let value = &mut next[usize::from(*length)];
        *value += 1;
        // they are written from their highest bit on
        Code::new((*value - 1).reverse_bits() >> (32 - u32::from(*length)), (*length).into())
    };
    lengths.iter().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_complete_and_no_longer_than_they_may_be() {
        let fibonacci: Vec<u32> = std::iter::successors(Some((1, 1)), |(a, b)| Some((*b, a + b)))
            .map(|(a, _)| a)
            .take(30)
            .collect();
        let cases: [(&[u32], usize); 7] = [
            (&[0, 0, 0], 7),
            (&[9, 0, 0], 7),
            (&[0, 0, 9], 7),
            (&[1, 1, 1, 0, 1, 1], 7),
            (&[1000, 1, 1, 1, 1, 1, 1, 1, 1], 7),
            (&fibonacci, 7),
            (&fibonacci, 15),
        ];
        for (counts, longest) in cases {
            let lengths = code_lengths(counts, longest);
            let used = lengths.iter().filter(|length| **length > 0);
            let taken: usize = used.map(|length| 1 << (longest - usize::from(*length))).sum();
            assert_eq!(taken, 1 << longest, "{counts:?} {longest}: {lengths:?}");
            assert!(counts.iter().zip(&lengths).all(|(count, length)| *count == 0 || *length > 0));
        }
        assert_eq!(code_lengths(&[8, 4, 2, 1, 1], 15), [1, 2, 3, 4, 4]);
    }

    #[test]
    fn codes_count_up_and_are_turned_round() {
        let code = |bits: &str| {
            Code::new(
                u32::from_str_radix(bits, 2).unwrap().reverse_bits() >> (32 - bits.len()),
                bits.len().try_into().unwrap(),
            )
        };
        let made = codes(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let expected = ["010", "011", "100", "101", "110", "00", "1110", "1111"];
        assert_eq!(made, expected.map(code));
    }
}
