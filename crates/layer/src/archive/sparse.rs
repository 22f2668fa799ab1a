//! Files with holes: where their data lies.

use super::ArchiveError;

/// A piece of data in a file; around it are holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// As many pieces as a file may have: a map is kept in memory.
pub(super) const MAX_SEGMENTS: usize = 1 << 17;

/// The largest file with holes: it takes no room, but whoever reads it has to go through it.
const MAX_REAL_SIZE: u64 = 1 << 40;

/// Checks that pieces come one after the other inside the file, and are all the data there is.
pub(super) fn check(segments: &[Segment], real_size: u64, data_size: u64) -> Result<(), ArchiveError> {
    if segments.len() > MAX_SEGMENTS || real_size > MAX_REAL_SIZE {
        return Err(ArchiveError::Header("a file with holes is too large"));
    }
    let (mut end, mut data) = (0, 0_u64);
    for segment in segments {
        if segment.offset < end {
            return Err(ArchiveError::Header("the map of holes is out of order"));
        }
        end = segment.offset.checked_add(segment.length).ok_or(ArchiveError::Header("a hole overflows"))?;
        data = data.saturating_add(segment.length);
    }
    if end > real_size || data != data_size {
        return Err(ArchiveError::Header("the map of holes does not fit the file"));
    }
    Ok(())
}

/// What comes next in a file with holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Hole(u64),
    Data(u64),
    End,
}

/// Where a reader stands in a file with holes.
pub(super) struct Cursor {
    segments: Vec<Segment>,
    index: usize,
    at: u64,
    size: u64,
}

impl Cursor {
    pub(super) fn new(segments: Vec<Segment>, size: u64) -> Self {
        Self { segments, index: 0, at: 0, size }
    }

    /// A file without holes.
    pub(super) fn solid(size: u64) -> Self {
        Self::new(vec![Segment { offset: 0, length: size }], size)
    }

    /// How many bytes of what kind come next.
    pub(super) fn next(&mut self) -> Next {
        while let Some(segment) = self.segments.get(self.index) {
            let end = segment.offset + segment.length;
            if self.at < segment.offset {
                return Next::Hole(segment.offset - self.at);
            }
            if self.at < end {
                return Next::Data(end - self.at);
            }
            self.index += 1;
        }
        if self.at < self.size { Next::Hole(self.size - self.at) } else { Next::End }
    }

    pub(super) fn advance(&mut self, length: u64) {
        self.at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_checked() {
        let map = |pairs: &[(u64, u64)]| -> Vec<_> {
            pairs.iter().map(|(offset, length)| Segment { offset: *offset, length: *length }).collect()
        };
        for (segments, real, data, ok) in [
            (map(&[(0, 5), (10, 5)]), 20, 10, true),
            (map(&[(10, 5), (0, 5)]), 20, 10, false),
            (map(&[(0, 5), (4, 5)]), 20, 10, false),
            (map(&[(0, 5)]), 4, 5, false),
            (map(&[(0, 5)]), 5, 4, false),
            (map(&[(u64::MAX, 5)]), 5, 5, false),
            (map(&[]), 1 << 50, 0, false),
        ] {
            assert_eq!(check(&segments, real, data).is_ok(), ok, "{segments:?}");
        }
    }
}
