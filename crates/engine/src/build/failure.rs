//! Why a build does not succeed: all that a front needs to show it.

use std::path::PathBuf;

use lighter_build::{FetchError, StepFailure, StoreError};
use lighter_dockerfile::Diagnostic;

use super::outputs::OutputError;
use super::shared::SharedError;
use crate::context::ContextError;

/// A Dockerfile, for the messages about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, as `Dockerfile` or `build/Dockerfile.prod`.
    pub name: String,
    /// Its bytes: spans are about these.
    pub text: Vec<u8>,
}

/// Why a build does not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BuildFailure {
    /// The Dockerfile has faults.
    #[error("{} has {}", .file.name, count(.diagnostics))]
    Faults {
        /// The Dockerfile.
        file: SourceFile,
        /// All that is wrong, warnings too.
        diagnostics: Vec<Diagnostic>,
    },
    /// A step failed.
    #[error("building {}", .file.name)]
    Step {
        /// The Dockerfile.
        file: SourceFile,
        /// The step, and why.
        #[source]
        failure: Box<StepFailure>,
    },
    /// Somebody asked to stop.
    #[error("the build was cancelled")]
    Cancelled,
    /// The Dockerfile cannot be read.
    #[error("failed to read dockerfile: open {}", path.display())]
    ReadDockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// No agent can be started for the key files of `--ssh`.
    #[error(
        "--ssh with key files needs ssh-agent: install OpenSSH's client, or name the socket of a running agent"
    )]
    SshAgent {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A key file of `--ssh` cannot be used.
    #[error("--ssh {id}={}: {reason}", path.display())]
    SshKey {
        /// The id of the mount.
        id: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A secret cannot be read.
    #[error("reading secret `{id}` from `{}`", path.display())]
    Secret {
        /// Its id.
        id: String,
        /// Its file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Something cannot be had from elsewhere.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that belongs to a step cannot be done.
    #[error(transparent)]
    Build(lighter_build::BuildError),
    /// The cache between machines cannot be used.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// The result cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// What was asked for is not possible.
    #[error("{0}")]
    Refused(String),
}

fn count(diagnostics: &[Diagnostic]) -> String {
    match diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count() {
        1 => "an error".to_owned(),
        count => format!("{count} errors"),
    }
}
