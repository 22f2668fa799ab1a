//! Digests: the names of bytes, and the kinds of bytes they name.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// Why a text is not a digest that lighter can verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// There is no `algorithm:hex` in it.
    #[error("`{0}` is not a digest: expected `sha256:` and 64 hexadecimal digits")]
    Malformed(String),
    /// The algorithm is a registered one, but not one that lighter verifies.
    #[error("digest algorithm `{0}` is not supported: only sha256 is")]
    Algorithm(String),
}

/// A SHA-256 digest of some bytes.
///
/// # Source
/// OCI image-spec, `descriptor.md`, "Digests".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes bytes that are already in memory.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes.as_ref()).into())
    }

    /// Takes the 32 bytes that some other hasher made.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
            .collect()
    }

    /// The first 12 hexadecimal digits, as listings show them.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }

    /// Reads 64 hexadecimal digits without an algorithm.
    ///
    /// # Errors
    /// [`ParseDigestError::Malformed`] for anything else.
    pub fn from_hex(hex: &str) -> Result<Self, ParseDigestError> {
        let malformed = || ParseDigestError::Malformed(hex.to_owned());
        if hex.len() != 64 {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let high = nibble(pair[0]).ok_or_else(malformed)?;
            let low = nibble(pair[1]).ok_or_else(malformed)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

/// The value of a lower-case hexadecimal digit; the specification allows no upper case.
const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("sha256", hex)) => {
                Self::from_hex(hex).map_err(|_| ParseDigestError::Malformed(text.to_owned()))
            }
            Some((algorithm @ ("sha512" | "blake3"), _)) => {
                Err(ParseDigestError::Algorithm(algorithm.to_owned()))
            }
            _ => Err(ParseDigestError::Malformed(text.to_owned())),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes a stream: everything written to it, in pieces of any size.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    size_bytes: u64,
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    /// How many bytes it has seen.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The digest of all the bytes seen.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! kind_of_digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

kind_of_digest! {
    /// The digest of a layer's uncompressed tar stream.
    ///
    /// # Source
    /// OCI image-spec, `config.md`, "Layer `DiffID`".
    DiffId
}
kind_of_digest! {
    /// The digest that names a stack of layers.
    ///
    /// # Source
    /// OCI image-spec, `config.md`, "Layer `ChainID`".
    ChainId
}
kind_of_digest! {
    /// The digest of an image's configuration.
    ///
    /// # Source
    /// OCI image-spec, `config.md`, "`ImageID`".
    ImageId
}

impl ChainId {
    /// Names the stack of these layers, bottom first; an empty stack has no name.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        Some(rest.iter().fold(Self(first.0), |chain, layer| chain.with(*layer)))
    }

    /// Names the stack that has one more layer on top.
    #[must_use]
    pub fn with(self, layer: DiffId) -> Self {
        Self(Digest::of(format!("{} {}", self.0, layer.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_round_trip() {
        assert_eq!(Digest::of("").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of("")));
        assert_eq!(Digest::of("").short(), "e3b0c44298fc");
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in ["", "sha256:", "sha256:abc", &EMPTY.to_uppercase(), &EMPTY[7..], "md5:00"] {
            assert!(matches!(text.parse::<Digest>(), Err(ParseDigestError::Malformed(_))), "{text}");
        }
        assert_eq!("sha512:00".parse::<Digest>(), Err(ParseDigestError::Algorithm("sha512".into())));
    }

    #[test]
    fn chain_of_one_is_the_layer_itself() {
        let (a, b) = (DiffId(Digest::of("a")), DiffId(Digest::of("b")));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]), Some(ChainId(a.0)));
        let joined = Digest::of(format!("{a} {b}"));
        assert_eq!(ChainId::of(&[a, b]), Some(ChainId(joined)));
    }
}
