//! The verbs that carry a container's files in and out.

use crate::verb::{Arguments, Arity, Spec};
use std::path::PathBuf;

/// `cp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Copy {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    pub(crate) archive: bool,
    #[arg(short = 'L', long, help = "Always follow symbol link in SRC_PATH")]
    pub(crate) follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(required = true)]
    pub(crate) source: String,
    #[arg(required = true)]
    pub(crate) destination: String,
}

impl Arguments for Copy {
    const SPEC: Spec = Spec {
        paths: &["container cp", "cp"],
        usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tlighter cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        about: "Copy files/folders between a container and the local filesystem",
        arity: Arity::Exactly(2),
    };
}

/// `commit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Commit {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long)]
    pub(crate) author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    pub(crate) change: Vec<String>,
    /// Commit message
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) pause: bool,
    #[arg(required = true)]
    pub(crate) container: String,
    pub(crate) repository: Option<String>,
}

impl Arguments for Commit {
    const SPEC: Spec = Spec {
        paths: &["container commit", "commit"],
        usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        about: "Create a new image from a container's changes",
        arity: Arity::Between(1, 2),
    };
}

/// `export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Write to a file, instead of STDOUT
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
    #[arg(required = true)]
    pub(crate) container: String,
}

impl Arguments for Export {
    const SPEC: Spec = Spec {
        paths: &["container export", "export"],
        usage: "[OPTIONS] CONTAINER",
        about: "Export a container's filesystem as a tar archive",
        arity: Arity::Exactly(1),
    };
}
