//! Platforms: what an image runs on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePlatformError {
    /// It is empty, has too many parts, or odd characters.
    #[error("`{0}` is not a platform: expected os/architecture[/variant], as in linux/amd64")]
    Malformed(String),
    /// One word, and it is neither a known operating system nor a known architecture.
    #[error("`{0}` is not a platform: unknown operating system or architecture")]
    Unknown(String),
}

/// An operating system, an architecture, and the architecture's variant.
///
/// # Source
/// OCI image-spec, `image-index.md`, "platform"; names are Go's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The instruction set, as Go names it.
    pub architecture: String,
    /// The operating system, as Go names it.
    pub os: String,
    /// The version of the operating system, where that matters.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the operating system must have.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the architecture, as `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// A platform by its three usual parts, normalised.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = normalise(&architecture.to_ascii_lowercase(), variant);
        Self { architecture, os, os_version: None, os_features: Vec::new(), variant }
    }

    /// The platform that this program was built for.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// The same with the names that Docker writes.
    #[must_use]
    pub fn normal(self) -> Self {
        let normal = Self::new(&self.os, &self.architecture, self.variant.as_deref());
        Self { os_version: self.os_version, os_features: self.os_features, ..normal }
    }

    /// Whether an image for `self` can be used where `wanted` is asked for.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let normal = Self::new(&self.os, &self.architecture, self.variant.as_deref());
        normal.os == wanted.os
            && normal.architecture == wanted.architecture
            && match (normal.variant.as_deref(), wanted.variant.as_deref()) {
                // an older variant of the same architecture runs on a newer one
                (Some(have), Some(want)) => have <= want,
                (Some(_), None) => false,
                (None, _) => true,
            }
    }
}

/// Other names of an architecture, and the variants that say nothing.
fn normalise(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let variant = variant.map(str::to_ascii_lowercase).filter(|variant| !variant.is_empty());
    let variant = variant.as_deref();
    let (architecture, variant) = match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i686" | "x86", _) => ("386", None),
        ("aarch64" | "arm64", Some("8" | "v8")) => ("arm64", None),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        (other, variant) => (other, variant),
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

const SYSTEMS: &[&str] =
    &["linux", "windows", "darwin", "macos", "freebsd", "openbsd", "netbsd", "solaris", "wasip1"];
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "wasm", "x86_64", "x86-64", "aarch64", "armhf", "armel", "i386",
];

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParsePlatformError::Malformed(text.to_owned());
        let word = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| word(part)) {
            return Err(malformed());
        }
        match parts[..] {
            ["local"] => Ok(Self::host()),
            [one] if SYSTEMS.contains(&one.to_ascii_lowercase().as_str()) => {
                Ok(Self::new(one, std::env::consts::ARCH, None))
            }
            [one] if ARCHITECTURES.contains(&one.to_ascii_lowercase().as_str()) => {
                Ok(Self::new("linux", one, None))
            }
            [one] => Err(ParsePlatformError::Unknown(one.to_owned())),
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, normal: &str) {
        assert_eq!(text.parse::<Platform>().map(|p| p.to_string()), Ok(normal.to_owned()), "{text}");
    }

    #[test]
    fn names_are_normalised() {
        check("linux/x86_64", "linux/amd64");
        check("amd64", "linux/amd64");
        check("linux/arm64/v8", "linux/arm64");
        check("linux/arm", "linux/arm/v7");
        check("linux/arm/v6", "linux/arm/v6");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "/", "linux/", "a/b/c/d", "lin ux/amd64", "foo"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn older_variants_run_on_newer_machines() {
        let platform = |text: &str| text.parse::<Platform>().expect("a platform");
        assert!(platform("linux/arm/v6").satisfies(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm/v7").satisfies(&platform("linux/arm/v6")));
        assert!(!platform("linux/arm64").satisfies(&platform("linux/amd64")));
    }
}
