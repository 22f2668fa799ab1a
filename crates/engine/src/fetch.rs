//! What a build must get from elsewhere: layers, files by their address, git repositories.

pub(crate) mod git;
pub(crate) mod http;
mod layers;

use std::sync::{Mutex, OnceLock, PoisonError};

use lighter_build::{CancelToken, Fetch, FetchError, FetchedTree, HttpFile, SharedCache, Work};
use lighter_dockerfile::plan::{GitReference, GitSource, HttpSource};
use lighter_image::{DiffId, error_chain};
use lighter_registry::{Cancel, Client, Config};
use lighter_store::{Scratch, Store};

use crate::build::{Fetched, Shared};

/// The way out: a client that is made when it is first needed.
pub(crate) struct Network {
    config: Config,
    client: OnceLock<Client>,
}

impl Network {
    pub(crate) const fn new(config: Config) -> Self {
        Self { config, client: OnceLock::new() }
    }

    /// The client, which stops with the build.
    pub(crate) fn client(&self, cancel: &CancelToken) -> &Client {
        self.client.get_or_init(|| {
            let cancel = cancel.clone();
            Client::new(self.config.clone(), Cancel::when(move || cancel.is_cancelled()))
        })
    }
}

/// Gets for one build what is elsewhere.
pub(crate) struct Fetcher<'a> {
    store: &'a Store,
    network: &'a Network,
    shared: Shared<'a>,
    kept: Mutex<Vec<Scratch>>,
    fetched: Mutex<Fetched>,
}

impl<'a> Fetcher<'a> {
    pub(crate) fn new(store: &'a Store, network: &'a Network, shared: Shared<'a>) -> Self {
        Self { store, network, shared, kept: Mutex::default(), fetched: Mutex::default() }
    }

    /// What was fetched so far, beside images.
    pub(crate) fn fetched(&self) -> Fetched {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, uri: &str, kind: &'static str, digest: String) {
        let uri = without_credentials(uri);
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).insert(uri, (kind, digest));
    }

    /// The way out.
    pub(crate) const fn network(&self) -> &Network {
        self.network
    }
}

impl Fetch for Fetcher<'_> {
    fn shared(&self) -> &dyn SharedCache {
        &self.shared
    }

    fn layers(&self, layers: &[DiffId], work: &Work<'_>, cancel: &CancelToken) -> Result<(), FetchError> {
        layers::unpack_all(self.store, self.network, layers, work, cancel)
    }

    fn http(
        &self,
        source: &HttpSource,
        work: &Work<'_>,
        cancel: &CancelToken,
    ) -> Result<HttpFile, FetchError> {
        let progress = |current, total| work.progress("downloading", current, total, false);
        let file = http::get(self.store, self.network, source, cancel, &progress)?;
        self.note(&source.url, "sha256", file.digest.hex());
        Ok(file)
    }

    fn git_commit(
        &self,
        source: &GitSource,
        _work: &Work<'_>,
        cancel: &CancelToken,
    ) -> Result<String, FetchError> {
        let commit = git::commit(source, cancel)?;
        let reference = if source.reference.is_empty() { "HEAD" } else { &source.reference };
        self.note(&format!("{}#{reference}", source.remote), "sha1", commit.clone());
        Ok(commit)
    }

    fn git_tree(
        &self,
        source: &GitSource,
        commit: &str,
        _work: &Work<'_>,
        cancel: &CancelToken,
    ) -> Result<FetchedTree, FetchError> {
        let full = |error: lighter_store::FileError| FetchError::Transfer {
            what: format!("git repository {}", source.remote),
            reason: error_chain(&error),
        };
        let scratch = self.store.new_layer().map_err(full)?;
        let root = git::check_out(source, commit, &scratch.fs(), cancel)?;
        // it goes when the build is over
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        Ok(FetchedTree { root, is_temporary: false })
    }
}

/// An address without the name and password in it.
fn without_credentials(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let authority = rest.find('/').unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}://xxxxx:xxxxx{}", &rest[at..]),
        None => uri.to_owned(),
    }
}

/// A git repository, where an address is one: `git://…`, `ssh://…`, `git@host:…`, `….git`, each with an optional
/// `?branch=…&subdir=…` or `#reference:folder`; an error where that is not understood. `keep` says whether `.git` stays.
pub(crate) fn git_address(url: &str, keep: Option<bool>) -> Option<Result<GitSource, String>> {
    let remote = url.split(['#', '?']).next().unwrap_or_default();
    let is_http = remote.starts_with("http://") || remote.starts_with("https://");
    let is_git = remote.starts_with("git://")
        || remote.starts_with("ssh://")
        || is_scp_like(remote)
        || remote.starts_with("github.com/")
        || is_http && remote.rsplit_once('.').is_some_and(|(_, last)| last == "git");
    is_git.then(|| {
        let scheme = if remote.starts_with("github.com/") { "https://" } else { "" };
        GitReference::of(&format!("{scheme}{url}"))?.into_source(keep, None)
    })
}

/// `user@host:path`.
fn is_scp_like(remote: &str) -> bool {
    let Some((before, path)) = remote.split_once(':') else { return false };
    let Some((user, host)) = before.split_once('@') else { return false };
    !user.is_empty() && !host.is_empty() && !host.contains('/') && !path.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Option<(&str, &str, &str)>) {
        let source = git_address(url, None).map(|source| source.expect("understood"));
        let found = source
            .as_ref()
            .map(|source| (source.remote.as_str(), source.reference.as_str(), source.subdirectory.as_str()));
        assert_eq!(found, expected, "{url}");
    }

    #[test]
    fn credentials_are_not_told() {
        let check = |uri: &str, expected: &str| assert_eq!(without_credentials(uri), expected);
        check("https://me:secret@host/a@b", "https://xxxxx:xxxxx@host/a@b");
        check("https://host/a@b", "https://host/a@b");
        check("git@host:r.git", "git@host:r.git");
    }

    #[test]
    fn repositories_are_told_from_files() {
        check("git://h/r", Some(("git://h/r", "", "")));
        check("https://h/r.git#v1:sub", Some(("https://h/r.git", "v1", "sub")));
        check("https://h/r.git#:sub/dir", Some(("https://h/r.git", "", "sub/dir")));
        check("git@h:r.git#main", Some(("git@h:r.git", "main", "")));
        check("github.com/a/b", Some(("https://github.com/a/b", "", "")));
        check("https://h/r.git?branch=b&subdir=sub", Some(("https://h/r.git", "refs/heads/b", "sub")));
        let kept = git_address("git://h/r", Some(true)).and_then(Result::ok);
        assert!(kept.is_some_and(|source| source.keep_git_dir));
        check("github.com/a/b?ref=r", Some(("https://github.com/a/b", "r", "")));
        assert_eq!(git_address("https://h/r.git?x=1", None), Some(Err("unexpected query \"x\"".to_owned())));
        check("https://h/archive.tar.gz", None);
        check("http://h/Dockerfile", None);
    }
}
