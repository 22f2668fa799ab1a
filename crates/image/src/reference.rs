//! References: how people name images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";

/// Why a text does not name an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// The grammar does not allow it.
    #[error("invalid reference format: `{0}`")]
    Format(String),
    /// Its path, which is given here, has capital letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It is 64 hexadecimal digits: an image id, which cannot name a repository.
    #[error("invalid reference format: `{0}` looks like an image id, which cannot be a repository name")]
    LooksLikeId(String),
    /// It is longer than registries take.
    #[error("invalid reference format: repository name is longer than 255 characters")]
    TooLong,
}

/// The name of an image: registry, repository, and a tag, a digest, both or neither.
///
/// # Source
/// OCI distribution-spec, "Pulling manifests"; the defaults (`docker.io`, `library/`) are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host, with a port where one is named.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path in its registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, where one is named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one is named.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same name, with `latest` where neither tag nor digest is named.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The same repository under a tag.
    ///
    /// # Errors
    /// [`ParseReferenceError::Format`] where the tag's characters are not allowed.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(ParseReferenceError::Format(tag.to_owned()));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same with this digest beside the tag.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same repository at a digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The repository alone, written in full.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository alone, as people write it: without the default registry.
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        let short = self.path.strip_prefix(OFFICIAL).filter(|rest| !rest.contains('/'));
        short.unwrap_or(&self.path).to_owned()
    }

    /// The whole name, as people write it.
    pub fn familiar(&self) -> String {
        self.with_suffixes(self.familiar_repository())
    }

    fn with_suffixes(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffixes(self.repository()))
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let format = || ParseReferenceError::Format(text.to_owned());
        if text.len() == 64 && Digest::from_hex(text).is_ok() {
            return Err(ParseReferenceError::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| format())?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(format());
        }
        let (domain, path) = split_domain(name);
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(ParseReferenceError::Uppercase(path));
        }
        if !is_domain(&domain) || !path.split('/').all(is_path_component) {
            return Err(format());
        }
        if domain.len() + path.len() + 1 > 255 {
            return Err(ParseReferenceError::TooLong);
        }
        Ok(Self { domain, path, tag: tag.map(str::to_owned), digest })
    }
}

/// Tells the registry from the repository: a first part with a dot, a colon or capitals, or `localhost`, is a host.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    (domain.to_owned(), path)
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let port_ok = port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return port_ok && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    port_ok && host.split('.').all(label)
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let mut chars = component.chars();
    if !edge(chars.next()) || !edge(component.chars().next_back()) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, full: &str, familiar: &str) {
        let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.to_string(), full, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
    }

    #[test]
    fn names_get_docker_defaults() {
        check("busybox", "docker.io/library/busybox", "busybox");
        check("busybox:1", "docker.io/library/busybox:1", "busybox:1");
        check("me/app", "docker.io/me/app", "me/app");
        check("localhost/x", "localhost/x", "localhost/x");
        check("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c");
        check("index.docker.io/busybox", "docker.io/library/busybox", "busybox");
        check("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b");
        check("Host/x", "Host/x", "Host/x");
    }

    #[test]
    fn digests_are_part_of_the_name() {
        let digest = Digest::of("x");
        let text = format!("a.b/c:d@{digest}");
        check(&text, &text, &text);
        assert!(format!("a@{}", &digest.to_string()[..20]).parse::<Reference>().is_err());
    }

    #[test]
    fn odd_names_are_refused() {
        for text in [
            "",
            ":",
            "a:",
            "a:b:c",
            "-a",
            "a-",
            "a..b",
            "a///b",
            "a/",
            "/a",
            "a b",
            "a:-x",
            "a___b",
            "x@y",
            "a@sha256:00",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        let upper = |text: &str, path: &str| {
            assert_eq!(text.parse::<Reference>(), Err(ParseReferenceError::Uppercase(path.to_owned())));
        };
        upper("Abc", "library/Abc");
        upper("r.example/A/b:1", "A/b");
        let id = Digest::of("").hex();
        assert!(matches!(id.parse::<Reference>(), Err(ParseReferenceError::LooksLikeId(_))));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(text in "[a-z0-9./:@_-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().expect("full"), &reference);
                prop_assert_eq!(&reference.familiar().parse::<Reference>().expect("familiar"), &reference);
            }
        }
    }
}
