//! Credentials: who asks, as Docker's `config.json` and its helper programs know it.

mod config_json;
mod helper;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::Secret;
use crate::cancel::{Cancel, Cancelled};
use crate::config::CredentialSources;

pub(crate) use config_json::ConfigJson;

/// The name under which Docker keeps what is for its own registry.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Somebody's name, and what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The name.
    pub username: String,
    /// What proves it.
    pub proof: Proof,
}

/// What proves a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A password.
    Password(Secret),
    /// A token that other tokens are had for.
    IdentityToken(Secret),
    /// A token that is sent as it is.
    RegistryToken(Secret),
}

impl Credential {
    /// A name and a password.
    pub fn password(username: impl Into<String>, password: Secret) -> Self {
        Self { username: username.into(), proof: Proof::Password(password) }
    }

    /// What a helper gives out: the secret is a token where the name says so.
    fn from_helper(username: String, secret: Secret) -> Self {
        if username == TOKEN_USER {
            return Self { username: String::new(), proof: Proof::IdentityToken(secret) };
        }
        Self::password(username, secret)
    }
}

/// Why credentials cannot be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read or written.
    #[error("{doing} `{path}`", path = .path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be. What stands in it is not told.
    #[error("{origin} is not valid: {reason}")]
    Invalid {
        /// The file, or where else the text came from.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// The helper program cannot be run.
    #[error("running `{program}`")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The helper program failed, or gave an answer that is none.
    #[error("`{program} {action}`: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// What it was to do.
        action: &'static str,
        /// What it said, or what is wrong.
        reason: String,
    },
    /// There is no file that could be written.
    #[error("there is no `config.json` to store credentials in")]
    NoFile,
    /// The caller wants no more of it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl CredentialError {
    /// Whether a helper program is named that is not there.
    fn is_without_program(&self) -> bool {
        matches!(self, Self::Run { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Where a credential went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Into this file, as it is: whoever can read the file can read the password.
    File(PathBuf),
    /// To this helper program.
    Helper(String),
    /// It is where it was before, as it was.
    Unchanged,
}

/// Looks up, stores and forgets credentials.
pub(crate) struct Credentials {
    sources: CredentialSources,
    patience: Duration,
    cancel: Cancel,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl Credentials {
    pub(crate) fn new(sources: CredentialSources, patience: Duration, cancel: Cancel) -> Self {
        Self { sources, patience, cancel }
    }

    /// What is known for a host, from the first place that knows something.
    pub(crate) fn lookup(&self, host: &str) -> Result<Option<Credential>, CredentialError> {
        let key = server_key(host);
        if let Some(inline) = &self.sources.inline {
            let document = ConfigJson::parse(inline.expose().as_bytes(), "the inline configuration")?;
            if let Some(found) = document.plain(&key)? {
                return Ok(Some(found));
            }
        }
        for path in self.sources.config_json.iter().chain(&self.sources.more) {
            let document = ConfigJson::read(path)?;
            if let Some(found) = self.lookup_in(&document, &key)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn lookup_in(&self, document: &ConfigJson, key: &str) -> Result<Option<Credential>, CredentialError> {
        if let Some(name) = document.helper(key) {
            match self.helper(name)?.get(key) {
                Ok(None) => {}
                Ok(Some((username, secret))) => return Ok(Some(Credential::from_helper(username, secret))),
                Err(error) if error.is_without_program() => {
                    // a configuration from another machine: what is public can be had all the same
                    tracing::warn!(%error, "leaving a credential helper out");
                }
                Err(error) => return Err(error),
            }
        }
        document.plain(key)
    }

    /// Keeps a credential where the configuration says.
    pub(crate) fn store(&self, host: &str, credential: &Credential) -> Result<Stored, CredentialError> {
        let path = self.sources.config_json.as_deref().ok_or(CredentialError::NoFile)?;
        let key = server_key(host);
        let mut document = ConfigJson::read(path)?;
        let stored = if let Some(name) = document.helper(&key).map(str::to_owned) {
            let helper = self.helper(&name)?;
            let (username, secret) = match &credential.proof {
                Proof::Password(secret) => (credential.username.as_str(), secret),
                Proof::IdentityToken(secret) | Proof::RegistryToken(secret) => (TOKEN_USER, secret),
            };
            helper.store(&key, username, secret)?;
            document.set_known(&key);
            Stored::Helper(helper.program().to_owned())
        } else if document.plain(&key).is_ok_and(|known| known.as_ref() == Some(credential)) {
            return Ok(Stored::Unchanged);
        } else {
            document.set_plain(&key, credential);
            Stored::File(path.to_owned())
        };
        document.write(path)?;
        Ok(stored)
    }

    /// Forgets what is known for a host; says whether anything was.
    pub(crate) fn erase(&self, host: &str) -> Result<bool, CredentialError> {
        let path = self.sources.config_json.as_deref().ok_or(CredentialError::NoFile)?;
        let key = server_key(host);
        let mut document = ConfigJson::read(path)?;
        let mut known = false;
        if let Some(name) = document.helper(&key) {
            let helper = self.helper(name)?;
            known = match helper.get(&key) {
                Ok(kept) => kept.is_some(),
                // nothing can be kept by a program that is not there
                Err(error) if error.is_without_program() => false,
                Err(error) => return Err(error),
            };
            if known {
                helper.erase(&key)?;
            }
            // older programs kept a server under its whole address
            for scheme in ["https://", "http://"].into_iter().filter(|_| !key.contains("://")) {
                let address = format!("{scheme}{key}");
                if helper.get(&address).is_ok_and(|kept| kept.is_some()) {
                    helper.erase(&address)?;
                    known = true;
                }
            }
        }
        if document.remove(&key) {
            document.write(path)?;
            known = true;
        }
        Ok(known)
    }

    fn helper(&self, name: &str) -> Result<helper::Helper<'_>, CredentialError> {
        helper::Helper::new(name, &self.sources.helper_directories, self.patience, &self.cancel)
    }
}

/// The key of a host: all names of Docker's own registry are one.
fn server_key(host: &str) -> String {
    let bare = bare_server(host);
    if matches!(bare, "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        return DOCKER_KEY.to_owned();
    }
    bare.to_owned()
}

/// The host in a key, which may be an address with a path.
fn bare_server(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}

#[cfg(test)]
mod tests;
