//! Paths inside an image.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::text_or_bytes;

/// An absolute, clean path inside an image: bytes, without `.`, `..`, empty parts or a trailing slash.
///
/// It never names anything on the host: only code that resolves it inside a root may use it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath(Vec<u8>);

impl ImagePath {
    /// The top folder.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Cleans a path, relative to `/`; `..` at the top stays at the top.
    pub fn new(path: impl AsRef<[u8]>) -> Self {
        Self::root().join(path)
    }

    /// Cleans a path, relative to this one; an absolute one starts anew.
    #[must_use]
    pub fn join(&self, path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        let mut parts: Vec<&[u8]> = Vec::new();
        if path.first() != Some(&b'/') {
            parts.extend(self.components());
        }
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        let mut clean = Vec::with_capacity(path.len() + 1);
        for part in &parts {
            clean.push(b'/');
            clean.extend_from_slice(part);
        }
        if clean.is_empty() {
            clean.push(b'/');
        }
        Self(clean)
    }

    /// The parts between the slashes, top first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// The folder that holds it; the top has none.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|byte| *byte == b'/')?;
        match (slash, self.is_root()) {
            (_, true) => None,
            (0, false) => Some(Self::root()),
            (slash, false) => Some(Self(self.0[..slash].to_vec())),
        }
    }

    /// The last part; the top has none.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// Whether it is the top folder.
    pub fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// Whether it is `other` or below it.
    pub fn starts_with(&self, other: &Self) -> bool {
        other.is_root()
            || self.0.starts_with(&other.0) && matches!(self.0.get(other.0.len()), None | Some(b'/'))
    }

    /// The path with its leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path without its leading slash: empty for the top.
    pub fn relative(&self) -> &[u8] {
        &self.0[1..]
    }

    /// The relative path as the operating system takes it, to be resolved below an open root; `.` for the top.
    pub fn relative_os(&self) -> &Path {
        if self.is_root() { Path::new(".") } else { Path::new(OsStr::from_bytes(self.relative())) }
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for ImagePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text_or_bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ImagePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_bytes::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_inside_the_root() {
        for (text, clean) in
            [("", "/"), ("a//b/./c/", "/a/b/c"), ("/a/../../b", "/b"), ("..", "/"), ("/", "/")]
        {
            assert_eq!(ImagePath::new(text).to_string(), clean, "{text}");
        }
        assert_eq!(ImagePath::new("/a/b").join("../c").to_string(), "/a/c");
        assert_eq!(ImagePath::new("/a/b").join("/c").to_string(), "/c");
    }

    #[test]
    fn parents_and_prefixes() {
        let path = ImagePath::new("/a/b");
        assert_eq!(path.parent(), Some(ImagePath::new("/a")));
        assert_eq!(ImagePath::new("/a").parent(), Some(ImagePath::root()));
        assert_eq!(ImagePath::root().parent(), None);
        assert!(path.starts_with(&ImagePath::new("/a")));
        assert!(!ImagePath::new("/ab").starts_with(&ImagePath::new("/a")));
        assert_eq!(path.relative(), b"a/b");
    }

    #[test]
    fn bytes_survive_json() {
        let odd = ImagePath::new(b"/a\xff");
        let json = serde_json::to_string(&odd).expect("serializes");
        assert_eq!(serde_json::from_str::<ImagePath>(&json).expect("parses"), odd);
    }
}
