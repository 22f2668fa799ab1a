//! Registries: what a name leads to, through mirrors, other locations and short names.

use std::collections::BTreeMap;

use lighter_image::{ParseReferenceError, Reference};

/// Docker's registry: the host behind the name.
const DOCKER_DOMAIN: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";

/// Settings of registries, mirrors and short names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// Settings by prefix of the name.
    pub entries: Vec<RegistrySettings>,
    /// Short names that mean a name in full.
    pub aliases: BTreeMap<String, String>,
    /// Registries that names without one are looked for in. As long as Docker's is among them, or there are
    /// none, such a name means Docker's.
    pub search: Vec<String>,
}

/// What is known about the names that begin with a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// A host, a host and a path, or `*.domain`.
    pub prefix: String,
    /// What stands in the prefix's place when the registry is asked.
    pub location: Option<String>,
    /// Where to ask first, in this order.
    pub mirrors: Vec<Mirror>,
    /// Whether plain http, or a certificate that nobody vouches for, will do.
    pub insecure: bool,
    /// Whether nothing may be fetched from there.
    pub blocked: bool,
}

/// Another place that has the same content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    /// Its host, and perhaps a path.
    pub location: String,
    /// Whether plain http, or a certificate that nobody vouches for, will do.
    pub insecure: bool,
    /// Which names it is asked for.
    pub pull_from: PullFrom,
}

/// Which names a mirror is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullFrom {
    /// All of them.
    #[default]
    All,
    /// Only those that name a digest.
    DigestOnly,
    /// Only those that name a tag.
    TagOnly,
}

/// One place to ask for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The host to connect to, with a port where one is named.
    pub host: String,
    /// The repository's path there.
    pub repository: String,
    /// Whether plain http, or a certificate that nobody vouches for, will do.
    pub insecure: bool,
    /// Whether this is only a copy of the place that the name says.
    pub is_mirror: bool,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is no name.
    #[error(transparent)]
    Parse(#[from] ParseReferenceError),
    /// The configuration forbids it.
    #[error("registry `{prefix}` is blocked by the configuration of registries")]
    Blocked {
        /// The prefix that is blocked.
        prefix: String,
    },
    /// The configuration makes it something that is no name.
    #[error("short name `{name}` stands for `{target}`")]
    Alias {
        /// What was to be replaced.
        name: String,
        /// What it was replaced with.
        target: String,
        /// Why that is no name.
        source: ParseReferenceError,
    },
}

impl Registries {
    /// Reads a name as a person typed it: short names are looked up, all else is as Docker reads it.
    ///
    /// # Errors
    /// [`NameError::Parse`] where the text is no name, [`NameError::Alias`] where a configured one is none.
    pub fn read_name(&self, text: &str) -> Result<Reference, NameError> {
        let parsed: Reference = text.parse()?;
        let name_end = text.find('@').unwrap_or(text.len());
        let (bare, _) = split_tag(&text[..name_end]);
        let has_host =
            bare.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost");
        if has_host {
            return Ok(parsed);
        }
        let suffix = &text[bare.len()..];
        let target = match self.aliases.get(bare) {
            Some(target) => target.clone(),
            None => match self.search.first() {
                Some(first) if !self.search.iter().any(|host| host == DOCKER_DOMAIN) => {
                    format!("{first}/{bare}")
                }
                _ => return Ok(parsed),
            },
        };
        let text = format!("{target}{suffix}");
        let alias = |source| NameError::Alias { name: bare.to_owned(), target: text.clone(), source };
        text.parse().map_err(alias)
    }

    /// Says where to ask for a name, in this order: mirrors first, then the place itself.
    ///
    /// # Errors
    /// [`NameError::Blocked`] where it must not be asked for.
    pub fn sources(&self, reference: &Reference) -> Result<Vec<Source>, NameError> {
        let Some((entry, matched)) = self.entry(reference) else {
            return Ok(vec![own_source(reference, false)]);
        };
        if entry.blocked {
            return Err(NameError::Blocked { prefix: entry.prefix.clone() });
        }
        let full = reference.repository();
        let rest = &full[matched..];
        let by_digest = reference.digest().is_some();
        let mut sources: Vec<Source> = entry
            .mirrors
            .iter()
            .filter(|mirror| match mirror.pull_from {
                PullFrom::All => true,
                PullFrom::DigestOnly => by_digest,
                PullFrom::TagOnly => !by_digest,
            })
            .filter_map(|mirror| located(&mirror.location, rest, mirror.insecure, true))
            .collect();
        let own = match &entry.location {
            Some(location) => located(location, rest, entry.insecure, false),
            None => None,
        };
        sources.push(own.unwrap_or_else(|| own_source(reference, entry.insecure)));
        Ok(sources)
    }

    /// The place that a name is pushed to: never a mirror.
    ///
    /// # Errors
    /// [`NameError::Blocked`] where nothing may be sent there.
    pub fn destination(&self, reference: &Reference) -> Result<Source, NameError> {
        let last = self.sources(reference)?.pop();
        Ok(last.unwrap_or_else(|| own_source(reference, false)))
    }

    /// The place that answers for a host alone, as login names it.
    pub fn host(&self, domain: &str) -> Source {
        let entry = self
            .entries
            .iter()
            .filter_map(|entry| covered(&entry.prefix, domain).map(|length| (entry, length)))
            .max_by_key(|(_, length)| *length);
        let insecure = entry.is_some_and(|(entry, _)| entry.insecure);
        let host = real_host(domain).to_owned();
        Source { host, repository: String::new(), insecure, is_mirror: false }
    }

    /// The settings with the longest prefix that fits, and how much of the name it covers.
    fn entry(&self, reference: &Reference) -> Option<(&RegistrySettings, usize)> {
        let full = reference.repository();
        self.entries
            .iter()
            .filter_map(|entry| covered(&entry.prefix, &full).map(|length| (entry, length)))
            .max_by_key(|(_, length)| *length)
    }
}

/// How many bytes of a full name a prefix covers, whole components only.
fn covered(prefix: &str, full: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = full.split('/').next()?;
        return host.ends_with(domain).then_some(host.len());
    }
    let rest = full.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
}

fn own_source(reference: &Reference, insecure: bool) -> Source {
    Source {
        host: real_host(reference.domain()).to_owned(),
        repository: reference.path().to_owned(),
        insecure,
        is_mirror: false,
    }
}

fn located(location: &str, rest: &str, insecure: bool, is_mirror: bool) -> Option<Source> {
    let full = format!("{}{rest}", location.trim_end_matches('/'));
    let (host, repository) = full.split_once('/')?;
    let host = real_host(host).to_owned();
    Some(Source { host, repository: repository.to_owned(), insecure, is_mirror })
}

/// The host that answers for a name's domain.
fn real_host(domain: &str) -> &str {
    if matches!(domain, DOCKER_DOMAIN | "index.docker.io") { DOCKER_HOST } else { domain }
}

fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((bare, tag)) if !tag.contains('/') => (bare, Some(tag)),
        _ => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(registries: &Registries, name: &str, expected: &[&str]) {
        let reference: Reference = name.parse().expect("a name");
        let sources = registries.sources(&reference).expect("not blocked");
        let shown: Vec<String> =
            sources.iter().map(|source| format!("{} {}", source.host, source.repository)).collect();
        assert_eq!(shown, expected, "{name}");
    }

    fn settings() -> Registries {
        let mirror =
            |location: &str, pull_from| Mirror { location: location.into(), insecure: false, pull_from };
        let entry = |prefix: &str| RegistrySettings { prefix: prefix.into(), ..RegistrySettings::default() };
        Registries {
            entries: vec![
                RegistrySettings {
                    mirrors: vec![
                        mirror("mirror.test:5000", PullFrom::All),
                        mirror("digests.test/cache", PullFrom::DigestOnly),
                    ],
                    ..entry("docker.io")
                },
                RegistrySettings { location: Some("real.test/deep".into()), ..entry("alias.test/team") },
                RegistrySettings { blocked: true, ..entry("bad.test") },
                RegistrySettings { insecure: true, ..entry("*.lab.test") },
            ],
            aliases: BTreeMap::from([("tool".to_owned(), "tools.test/the/tool".to_owned())]),
            search: Vec::new(),
        }
    }

    #[test]
    fn names_lead_to_places() {
        let none = Registries::default();
        check(&none, "busybox", &["registry-1.docker.io library/busybox"]);
        check(&none, "127.0.0.1:5000/a/b", &["127.0.0.1:5000 a/b"]);
        let settings = settings();
        check(
            &settings,
            "busybox",
            &["mirror.test:5000 library/busybox", "registry-1.docker.io library/busybox"],
        );
        let digest = lighter_image::Digest::of("x");
        check(
            &settings,
            &format!("me/app@{digest}"),
            &["mirror.test:5000 me/app", "digests.test cache/me/app", "registry-1.docker.io me/app"],
        );
        check(&settings, "alias.test/team/app", &["real.test deep/app"]);
        check(&settings, "alias.test/teams/app", &["alias.test teams/app"]);
    }

    #[test]
    fn blocked_registries_are_not_asked() {
        let reference: Reference = "bad.test/x".parse().expect("a name");
        let error = settings().sources(&reference);
        assert_eq!(error, Err(NameError::Blocked { prefix: "bad.test".into() }));
    }

    #[test]
    fn insecurity_is_only_what_was_configured() {
        let reference: Reference = "a.lab.test/x".parse().expect("a name");
        assert!(settings().sources(&reference).expect("sources")[0].insecure);
        assert!(settings().host("b.lab.test").insecure);
        assert!(!settings().host("docker.io").insecure);
    }

    #[test]
    fn short_names_are_looked_up() {
        let read =
            |registries: &Registries, text: &str| registries.read_name(text).expect("a name").to_string();
        let mut settings = settings();
        assert_eq!(read(&settings, "tool:1"), "tools.test/the/tool:1");
        assert_eq!(read(&settings, "busybox:1"), "docker.io/library/busybox:1");
        settings.search = vec!["first.test".into(), "docker.io".into()];
        assert_eq!(read(&settings, "busybox"), "docker.io/library/busybox");
        settings.search = vec!["first.test".into()];
        assert_eq!(read(&settings, "busybox:1"), "first.test/busybox:1");
        assert_eq!(read(&settings, "localhost/x"), "localhost/x");
    }
}
