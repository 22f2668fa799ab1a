//! `pull`.

use crate::verb::{Arguments, Arity, Spec};

/// `pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pull {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Skip image verification
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) disable_content_trust: bool,
    /// Choose another platform than this machine's
    #[arg(long)]
    pub(crate) platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    pub(crate) name: String,
}

impl Arguments for Pull {
    const SPEC: Spec = Spec {
        paths: &["image pull", "pull"],
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        about: "Download an image from a registry",
        arity: Arity::Exactly(1),
    };
}
