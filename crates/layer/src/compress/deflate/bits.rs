//! Writing bits, the lowest of a byte first.

/// Some bits to be written together: at most 24, and how many they are above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(u32);

const VALUE_BITS: u32 = 24;

impl Code {
    /// No bits at all.
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn new(value: u32, length: u32) -> Self {
        Self(value | length << VALUE_BITS)
    }

    const fn value(self) -> u32 {
        self.0 & ((1 << VALUE_BITS) - 1)
    }

    const fn length(self) -> u32 {
        self.0 >> VALUE_BITS
    }

    /// These bits, and then others.
    pub(super) const fn followed_by(self, value: u32, length: u32) -> Self {
        Self::new(self.value() | value << self.length(), self.length() + length)
    }
}

/// Writes bits into a buffer.
pub(super) struct Bits<'a> {
    bytes: &'a mut [u8],
    written: usize,
    waiting: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Begins at the buffer's beginning.
    pub(super) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, written: 0, waiting: 0, count: 0 }
    }

    /// Adds bits; [`Bits::drain`] must come before there are 64.
    #[inline]
    pub(super) const fn put(&mut self, value: u64, length: u32) {
        self.waiting |= value << self.count;
        self.count += length;
    }

    #[inline]
    pub(super) fn put_code(&mut self, code: Code) {
        self.put(code.value().into(), code.length());
    }

    /// Writes all whole bytes; fewer than eight bits are left.
    #[inline]
    pub(super) fn drain(&mut self) {
        self.bytes[self.written..self.written + 8].copy_from_slice(&self.waiting.to_le_bytes());
        self.written += self.count as usize / 8;
        self.waiting >>= self.count & !7;
        self.count &= 7;
    }

    /// Goes on at the next whole byte.
    pub(super) const fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
    }

    /// Adds bytes, where no bits wait.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes[self.written..self.written + bytes.len()].copy_from_slice(bytes);
        self.written += bytes.len();
    }

    /// How many bytes were written, the last one filled up.
    pub(super) fn finish(mut self) -> usize {
        self.align();
        self.drain();
        self.written
    }
}
