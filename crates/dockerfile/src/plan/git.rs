//! Git repositories as sources of ADD: `https://host/repo.git#branch:folder`.

use lighter_image::go_bool;

use super::{Checksum, GitSource};
use crate::path;

/// A repository's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitReference {
    /// The repository, without what follows `?` and `#`.
    pub remote: String,
    /// The branch, tag or commit; empty for the default.
    pub reference: String,
    /// The folder in it; empty for all.
    pub subdirectory: String,
    /// `?keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `?submodules`.
    pub submodules: Option<bool>,
    /// `?checksum`.
    pub checksum: Option<String>,
}

impl GitReference {
    /// Reads an address; `None` where it is none of a git repository.
    ///
    /// # Errors
    /// What follows the `?` is not understood.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        if text.starts_with("./") || text.starts_with("../") || text.starts_with("github.com/") {
            return None;
        }
        let remote = text.split(['#', '?']).next().unwrap_or_default();
        is_repository(remote).then(|| Self::of(text))
    }

    /// Takes an address apart that is known to be one of a repository.
    ///
    /// # Errors
    /// What follows the `?` is not understood.
    pub fn of(text: &str) -> Result<Self, String> {
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = before.split_once('?').unwrap_or((before, ""));
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let folder = path::clean(&format!("/{folder}"));
        let mut found = Self {
            remote: remote.to_owned(),
            reference: decode(reference),
            subdirectory: decode(folder.trim_start_matches('/')),
            ..Self::default()
        };
        found.query(query).map(|()| found)
    }

    fn query(&mut self, query: &str) -> Result<(), String> {
        let mut tag = None;
        let mut branch = None;
        for item in query.split('&').filter(|item| !item.is_empty()) {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            let (key, value) = (decode(key), decode(value));
            let flag = || truth(&value).ok_or_else(|| format!("invalid {key} value: {value:?}"));
            if value.is_empty() && !matches!(key.as_str(), "submodules" | "keep-git-dir" | "fetch-by-commit")
            {
                return Err(format!("query {key:?} has no value"));
            }
            match key.as_str() {
                "ref" => set("ref", &mut self.reference, value)?,
                "subdir" => set("subdir", &mut self.subdirectory, value)?,
                "tag" => tag = Some(prefixed("refs/tags/", &value)),
                "branch" => branch = Some(prefixed("refs/heads/", &value)),
                "checksum" | "commit" => self.checksum = Some(value),
                "keep-git-dir" => self.keep_git_dir = Some(flag()?),
                "submodules" => self.submodules = Some(flag()?),
                "fetch-by-commit" => {
                    flag()?;
                }
                "mtime" if matches!(value.as_str(), "checkout" | "commit") => {}
                "mtime" => {
                    return Err(format!(
                        "invalid mtime value: {value:?} (must be \"checkout\" or \"commit\")"
                    ));
                }
                _ => return Err(format!("unexpected query {key:?}")),
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err("branch conflicts with tag".to_owned());
        }
        match tag.or(branch) {
            Some(reference) => set("ref", &mut self.reference, reference),
            None => Ok(()),
        }
    }

    /// The source that ADD takes, with what its flags say.
    ///
    /// # Errors
    /// They say something else than the address.
    pub fn into_source(self, keep: Option<bool>, checksum: Option<&str>) -> Result<GitSource, String> {
        if let (Some(flag), Some(query)) = (keep, self.keep_git_dir)
            && flag != query
        {
            return Err("inconsistent keep-git-dir configuration".to_owned());
        }
        if let (Some(flag), Some(query)) = (checksum, &self.checksum)
            && flag != query
        {
            return Err(format!("checksum mismatch {flag:?} != {query:?}"));
        }
        Ok(GitSource {
            remote: self.remote,
            reference: self.reference,
            subdirectory: self.subdirectory,
            keep_git_dir: self.keep_git_dir.or(keep).unwrap_or(false),
            submodules: self.submodules.unwrap_or(true),
            checksum: self.checksum.or_else(|| checksum.map(str::to_owned)).map(Checksum),
        })
    }
}

/// Whether an address is one of a repository: web addresses must end in `.git`.
fn is_repository(remote: &str) -> bool {
    match remote.split_once("://") {
        Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => {
                rest.split_once('/').is_some_and(|(_, path)| path.strip_suffix(".git").is_some())
            }
            "git" | "ssh" => true,
            _ => false,
        },
        // user@host:path
        None => remote.split_once('@').is_some_and(|(user, rest)| {
            let word = |text: &str, more: &[char]| {
                !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
            };
            rest.split_once(':').is_some_and(|(host, _)| word(user, &['-', '_']) && word(host, &['-', '.']))
        }),
    }
}

fn set(key: &str, field: &mut String, value: String) -> Result<(), String> {
    if !field.is_empty() && *field != value {
        return Err(format!("{key} conflicts: {field:?} vs {value:?}"));
    }
    *field = value;
    Ok(())
}

fn prefixed(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

fn truth(value: &str) -> Option<bool> {
    if value.is_empty() { Some(true) } else { go_bool(value) }
}

/// A text with its `%41` replaced by characters; one that is malformed stays.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| byte == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        if let Some(code) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(code);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, remote: &str, reference: &str, folder: &str) {
        let git = GitReference::parse(text).unwrap().unwrap();
        assert_eq!(
            (&*git.remote, &*git.reference, &*git.subdirectory),
            (remote, reference, folder),
            "{text}"
        );
    }

    #[test]
    fn addresses_of_repositories() {
        check("https://h/a.git#v1:x/y", "https://h/a.git", "v1", "x/y");
        check("https://h/a.git", "https://h/a.git", "", "");
        check("git@h:a/b.git#main", "git@h:a/b.git", "main", "");
        check("git://h/a", "git://h/a", "", "");
        check("https://h/a.git?branch=b&subdir=/c", "https://h/a.git", "refs/heads/b", "/c");
        check("https://h/a.git?tag=v1", "https://h/a.git", "refs/tags/v1", "");
        for text in
            ["https://h/a", "./a.git", "a.git", "ftp://h/a.git", "github.com/a/b", "x", "https://h.git"]
        {
            assert!(GitReference::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn odd_queries() {
        for (query, expected) in [
            ("x=1", "unexpected query \"x\""),
            ("ref=", "query \"ref\" has no value"),
            ("ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("submodules=x", "invalid submodules value: \"x\""),
            ("mtime=x", "invalid mtime value: \"x\" (must be \"checkout\" or \"commit\")"),
            ("tag=a&branch=b", "branch conflicts with tag"),
        ] {
            let refused = GitReference::parse(&format!("https://h/a.git?{query}")).unwrap();
            assert_eq!(refused, Err(expected.to_owned()), "{query}");
        }
        let with = |query: &str, keep, checksum| {
            let git = GitReference::parse(&format!("https://h/a.git?{query}")).unwrap().unwrap();
            git.into_source(keep, checksum).unwrap_err()
        };
        assert_eq!(with("keep-git-dir=1", Some(false), None), "inconsistent keep-git-dir configuration");
        assert_eq!(with("checksum=a", None, Some("b")), "checksum mismatch \"b\" != \"a\"");
    }

    #[test]
    fn percent_signs() {
        assert_eq!(decode("a%20b%2"), "a b%2");
    }
}
