//! Names that a store gives out itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text is not an identifier of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an identifier of the store")]
pub struct ParseIdError(pub String);

/// So many random characters out of 32.
pub(crate) fn random_text(length: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    random_bytes(length).into_iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
}

/// So many random hexadecimal digits.
pub(crate) fn random_hex(length: usize) -> String {
    const LETTERS: &[u8; 16] = b"0123456789abcdef";
    random_bytes(length).into_iter().map(|byte| char::from(LETTERS[usize::from(byte & 15)])).collect()
}

fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => unreachable!("the kernel has no random bytes: {error}"),
        }
    }
    bytes
}

macro_rules! kind_of_id {
    ($(#[$doc:meta])* $name:ident, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(ParseIdError(text.to_owned())) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_letters(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

kind_of_id! {
    /// The name of a layer directory in this store; it means nothing elsewhere.
    LayerId, |text| is_letters(text, 16)
}
kind_of_id! {
    /// The name of a container: 64 hexadecimal digits.
    ContainerId, |text| is_hex(text, 64)
}
kind_of_id! {
    /// The name of a build in the history; later builds have greater names.
    BuildId, |text| is_hex(text, 20)
}

impl LayerId {
    pub(crate) fn random() -> Self {
        Self(random_text(16))
    }
}

impl ContainerId {
    /// A name that nothing else has.
    pub fn random() -> Self {
        Self(random_hex(64))
    }

    /// The first 12 digits, as listings show them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl BuildId {
    /// A name for a build that starts at this time.
    pub(crate) fn at(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = since.as_millis() & 0x0fff_ffff_ffff;
        Self(format!("{millis:011x}{}", random_hex(9)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_cannot_leave_their_directory() {
        for text in ["", "..", "../../etc/passwd", "a/b", &"A".repeat(16), &"a".repeat(17)] {
            assert!(text.parse::<LayerId>().is_err(), "{text}");
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
            assert!(text.parse::<BuildId>().is_err(), "{text}");
        }
    }

    #[test]
    fn made_identifiers_can_be_read_back() {
        let layer = LayerId::random();
        assert_eq!(layer.as_str().parse(), Ok(layer));
        let container = ContainerId::random();
        assert_eq!(container.as_str().parse(), Ok(container));
        let earlier = BuildId::at(std::time::SystemTime::UNIX_EPOCH);
        let next = BuildId::at(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 32));
        assert!(earlier < next);
        assert_eq!(next.as_str().parse(), Ok(next));
    }
}
