//! Configuration: plain values. What they are read from is the caller's choice; how files are read is here.

mod registries;
mod toml_files;

use std::path::PathBuf;
use std::time::Duration;

use crate::Secret;

pub use registries::{Mirror, NameError, PullFrom, Registries, RegistrySettings, Source};
pub use toml_files::{ConfigError, FileKind};

/// All that a [`Client`](crate::Client) needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the client calls itself.
    pub user_agent: String,
    /// Where credentials are looked for.
    pub credentials: CredentialSources,
    /// Which certificates are trusted, and which are shown.
    pub certificates: Certificates,
    /// Proxies between here and there.
    pub proxies: Proxies,
    /// Mirrors, and what registries are allowed to be.
    pub registries: Registries,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How often to try again.
    pub retries: Retries,
    /// How much is too much.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user_agent: concat!("lighter/", env!("CARGO_PKG_VERSION")).to_owned(),
            credentials: CredentialSources::default(),
            certificates: Certificates::default(),
            proxies: Proxies::default(),
            registries: Registries::default(),
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            limits: Limits::default(),
        }
    }
}

/// Where credentials are looked for, in this order.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// The content of a `config.json`, given directly (`DOCKER_AUTH_CONFIG`).
    pub inline: Option<Secret>,
    /// The `config.json` that is read, and written by login and logout.
    pub config_json: Option<PathBuf>,
    /// Further files of the same form that are only read, as `auth.json` of the containers tools.
    pub more: Vec<PathBuf>,
    /// Where helper programs are looked for before the usual places.
    pub helper_directories: Vec<PathBuf>,
}

/// Which certificates are trusted, and which are shown.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// A bundle in place of the system's (`SSL_CERT_FILE`).
    pub bundle: Option<PathBuf>,
    /// Directories of certificates in place of the system's (`SSL_CERT_DIR`).
    pub directories: Vec<PathBuf>,
    /// Directories that have one of a registry's name each, with `*.crt` for what is trusted there, and
    /// `*.cert` and `*.key` for what is shown there.
    pub per_host: Vec<PathBuf>,
}

/// Proxies between here and there, as the environment names them.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For plain http (`HTTP_PROXY`).
    pub http: Option<Secret>,
    /// For https (`HTTPS_PROXY`).
    pub https: Option<Secret>,
    /// Hosts that are reached directly (`NO_PROXY`), separated by commas.
    pub direct: String,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a name to be resolved.
    pub resolve: Duration,
    /// For a connection to stand, its encryption included.
    pub connect: Duration,
    /// For the first byte of an answer.
    pub answer: Duration,
    /// For the answer to a request after which the server may have to read all it was sent.
    pub commit: Duration,
    /// For the next byte of anything that has begun.
    pub stall: Duration,
    /// For a credential helper.
    pub helper: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(15),
            connect: Duration::from_secs(15),
            answer: Duration::from_mins(1),
            commit: Duration::from_mins(10),
            stall: Duration::from_secs(30),
            helper: Duration::from_mins(2),
        }
    }
}

/// How often to try again, and how long to wait before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How many attempts there are in all.
    pub attempts: u32,
    /// The first wait; each further one is twice as long.
    pub first_wait: Duration,
    /// The longest wait of our own choice.
    pub longest_wait: Duration,
    /// The longest wait that a server may ask for.
    pub longest_asked: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(10),
            longest_asked: Duration::from_mins(2),
        }
    }
}

/// How much is too much: nothing is read without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of a manifest or an index.
    pub manifest_bytes: u64,
    /// Of an image's configuration.
    pub config_bytes: u64,
    /// Of the headers of an answer.
    pub header_bytes: usize,
    /// Of any other document: tokens, errors, lists.
    pub document_bytes: u64,
    /// Of one layer.
    pub layer_bytes: u64,
    /// Layers in an image.
    pub layers: usize,
    /// Manifests in an index.
    pub manifests: usize,
    /// Tags in a list.
    pub tags: usize,
    /// What is held in memory of an upload that cannot be read twice.
    pub chunk_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            header_bytes: 64 << 10,
            document_bytes: 4 << 20,
            layer_bytes: 1 << 40,
            layers: 1024,
            manifests: 4096,
            tags: 1 << 20,
            chunk_bytes: 4 << 20,
        }
    }
}
