//! `--detach-keys`: the keys that end the view of a container and leave it running.

/// What is taken when nothing else is asked.
const DEFAULT: &str = "ctrl-p,ctrl-q";

/// Watches what is typed for the keys.
#[derive(Debug)]
pub(super) struct DetachKeys {
    keys: Vec<u8>,
    seen: usize,
}

/// What came of some typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// What goes on to the container.
    pub(super) bytes: Vec<u8>,
    /// Whether the keys were typed; nothing behind them is kept.
    pub(super) detached: bool,
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`; none takes the default.
    ///
    /// # Errors
    /// A word that is no key.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, String> {
        let text = text.filter(|text| !text.is_empty()).unwrap_or(DEFAULT);
        let keys = text.split(',').map(key).collect::<Result<_, _>>()?;
        Ok(Self { keys, seen: 0 })
    }

    /// Watches bytes; those that may be the beginning of the keys wait for the next.
    pub(super) fn watch(&mut self, typed: &[u8]) -> Typed {
        let mut bytes = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte == self.keys[self.seen] {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    self.seen = 0;
                    return Typed { bytes, detached: true };
                }
                continue;
            }
            bytes.extend_from_slice(&self.keys[..self.seen]);
            self.seen = usize::from(*byte == self.keys[0]);
            if self.seen == 0 {
                bytes.push(*byte);
            } else if self.keys.len() == 1 {
                self.seen = 0;
                return Typed { bytes, detached: true };
            }
        }
        Typed { bytes, detached: false }
    }
}

fn key(word: &str) -> Result<u8, String> {
    let unknown = || format!("unknown character: '{word}'");
    if let [byte] = word.as_bytes() {
        return Ok(*byte);
    }
    match word.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
        Some([b'@']) => Ok(0),
        Some([b'[']) => Ok(27),
        Some([b'\\']) => Ok(28),
        Some([b']']) => Ok(29),
        Some([b'^']) => Ok(30),
        Some([b'_']) => Ok(31),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        let check = |text: &str, expected: &[u8]| {
            assert_eq!(DetachKeys::parse(Some(text)).expect("keys").keys, expected, "{text}");
        };
        check("ctrl-p,ctrl-q", &[16, 17]);
        check("a", b"a");
        check("ctrl-@,x,ctrl-]", &[0, b'x', 29]);
        assert!(DetachKeys::parse(Some("ctrl-1")).is_err() && DetachKeys::parse(Some("xx")).is_err());
    }

    #[test]
    fn keys_are_found_and_the_rest_passes() {
        let check = |pieces: &[&[u8]], bytes: &[u8], detached: bool| {
            let mut keys = DetachKeys::parse(None).expect("keys");
            let mut passed = Vec::new();
            let mut found = false;
            for piece in pieces {
                let typed = keys.watch(piece);
                passed.extend(typed.bytes);
                found |= typed.detached;
            }
            assert_eq!((passed.as_slice(), found), (bytes, detached), "{pieces:?}");
        };
        check(&[b"abc"], b"abc", false);
        check(&[b"a\x10\x11"], b"a", true);
        check(&[b"a\x10", b"\x11"], b"a", true);
        check(&[b"a\x10", b"b"], b"a\x10b", false);
        check(&[b"\x10\x10\x11"], b"\x10", true);
        check(&[b"\x10"], b"", false);
    }
}
