//! The files that registries are configured in.
//!
//! Two forms are read. The first is `registries.conf` of the containers tools, version 2:
//! `unqualified-search-registries`, `[[registry]]` with its mirrors, and `[aliases]`. The second is lighter's
//! own `registries.toml`:
//!
//! ```toml
//! [registry."docker.io"]            # a host, a host and a path, or "*.domain"
//! mirrors = ["mirror.example:5000", "http://cache.example"]   # asked first, in this order
//! location = "other.example/path"   # what stands in the name's place when the registry is asked
//! insecure = false                  # whether plain http or any certificate will do
//! blocked = false                   # whether nothing may be fetched from there
//!
//! [aliases]
//! tool = "registry.example/the/tool"
//! ```
//!
//! A mirror written with `http://` may speak plain http; nothing else may, but for loopback addresses.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Mirror, PullFrom, Registries, RegistrySettings};

/// Which form a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `registries.conf` of the containers tools.
    Containers,
    /// lighter's own `registries.toml`.
    Own,
}

/// Why a file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("reading `{path}`", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("`{path}` is not valid", path = .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

impl Registries {
    /// Reads these files, as far as they exist; what comes later replaces what came before.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that is there and cannot be used.
    pub fn load(files: &[(FileKind, PathBuf)]) -> Result<Self, ConfigError> {
        let mut all = Self::default();
        for (kind, path) in files {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(ConfigError::Read { path: path.clone(), source }),
            };
            all.merge(Self::parse(*kind, &text, path)?);
        }
        Ok(all)
    }

    /// Reads the text of a file; the path is for messages only.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] where it is not what it should be.
    pub fn parse(kind: FileKind, text: &str, path: &Path) -> Result<Self, ConfigError> {
        let parsed = match kind {
            FileKind::Containers => toml::from_str::<ContainersFile>(text).map(Self::from),
            FileKind::Own => toml::from_str::<OwnFile>(text).map(Self::from),
        };
        parsed.map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Adds settings that win over the present ones.
    pub fn merge(&mut self, later: Self) {
        for entry in later.entries {
            self.entries.retain(|old| old.prefix != entry.prefix);
            self.entries.push(entry);
        }
        self.aliases.extend(later.aliases);
        if !later.search.is_empty() {
            self.search = later.search;
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ContainersFile {
    #[serde(default)]
    unqualified_search_registries: Vec<String>,
    #[serde(default)]
    registry: Vec<ContainersRegistry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ContainersRegistry {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<ContainersMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ContainersMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<ContainersPullFrom>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum ContainersPullFrom {
    All,
    DigestOnly,
    TagOnly,
}

impl From<ContainersFile> for Registries {
    fn from(file: ContainersFile) -> Self {
        Self {
            entries: file.registry.into_iter().filter_map(ContainersRegistry::into_settings).collect(),
            aliases: file.aliases,
            search: file.unqualified_search_registries,
        }
    }
}

impl ContainersRegistry {
    /// An entry without prefix and location is about nothing.
    fn into_settings(self) -> Option<RegistrySettings> {
        let by_digest_only = self.mirror_by_digest_only;
        let mirrors = self.mirror.into_iter().map(|mirror| Mirror {
            location: mirror.location,
            insecure: mirror.insecure,
            pull_from: match mirror.pull_from_mirror {
                Some(ContainersPullFrom::DigestOnly) => PullFrom::DigestOnly,
                Some(ContainersPullFrom::TagOnly) => PullFrom::TagOnly,
                None if by_digest_only => PullFrom::DigestOnly,
                Some(ContainersPullFrom::All) | None => PullFrom::All,
            },
        });
        let prefix = self.prefix.filter(|prefix| !prefix.is_empty()).or_else(|| self.location.clone())?;
        Some(RegistrySettings {
            location: self.location.filter(|location| !location.is_empty() && *location != prefix),
            mirrors: mirrors.collect(),
            insecure: self.insecure,
            blocked: self.blocked,
            prefix,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnFile {
    #[serde(default)]
    registry: BTreeMap<String, OwnRegistry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    search: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnRegistry {
    location: Option<String>,
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
}

impl From<OwnFile> for Registries {
    fn from(file: OwnFile) -> Self {
        let settings = |(prefix, own): (String, OwnRegistry)| RegistrySettings {
            prefix,
            location: own.location,
            mirrors: own.mirrors.iter().map(|text| own_mirror(text)).collect(),
            insecure: own.insecure,
            blocked: own.blocked,
        };
        Self {
            entries: file.registry.into_iter().map(settings).collect(),
            aliases: file.aliases,
            search: file.search,
        }
    }
}

fn own_mirror(text: &str) -> Mirror {
    let (location, insecure) = match text.strip_prefix("http://") {
        Some(location) => (location, true),
        None => (text.strip_prefix("https://").unwrap_or(text), false),
    };
    let location = location.trim_end_matches('/').to_owned();
    Mirror { location, insecure, pull_from: PullFrom::All }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containers_form_is_read() {
        let text = r#"
            unqualified-search-registries = ["docker.io"]
            short-name-mode = "enforcing"
            [[registry]]
            prefix = "docker.io"
            location = "docker.io"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "mirror.test:5000"
            insecure = true
            [[registry.mirror]]
            location = "second.test"
            pull-from-mirror = "tag-only"
            [[registry]]
            location = "bad.test"
            blocked = true
            [aliases]
            "tool" = "tools.test/tool"
        "#;
        let parsed = Registries::parse(FileKind::Containers, text, Path::new("x")).expect("valid");
        assert_eq!(parsed.entries.len(), 2);
        assert_eq!(parsed.entries[0].location, None);
        assert_eq!(parsed.entries[0].mirrors[0].pull_from, PullFrom::DigestOnly);
        assert!(parsed.entries[0].mirrors[0].insecure);
        assert_eq!(parsed.entries[0].mirrors[1].pull_from, PullFrom::TagOnly);
        assert!(parsed.entries[1].blocked);
        assert_eq!(parsed.aliases["tool"], "tools.test/tool");
    }

    #[test]
    fn our_own_form_is_read_and_wins() {
        let text = "[registry.\"docker.io\"]\nmirrors = [\"http://m.test:5000/\", \"n.test\"]\n";
        let own = Registries::parse(FileKind::Own, text, Path::new("x")).expect("valid");
        let old =
            RegistrySettings { prefix: "docker.io".into(), blocked: true, ..RegistrySettings::default() };
        let mut all = Registries { entries: vec![old], ..Registries::default() };
        all.merge(own);
        assert_eq!(all.entries.len(), 1);
        assert_eq!(all.entries[0].mirrors[0].location, "m.test:5000");
        assert!(all.entries[0].mirrors[0].insecure && !all.entries[0].mirrors[1].insecure);
    }

    #[test]
    fn a_misspelt_setting_of_ours_is_an_error() {
        let error = Registries::parse(FileKind::Own, "[registry.x]\nblokced = true\n", Path::new("r.toml"));
        assert!(error.expect_err("unknown").to_string().contains("r.toml"));
    }
}
