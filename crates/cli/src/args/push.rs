//! `push`.

use crate::verb::{Arguments, Arity, Spec};

/// `push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Compress layers so ("gzip", "zstd", "none"), also those that are compressed otherwise already
    #[arg(long)]
    pub(crate) compression: Option<String>,
    /// Compress so much (gzip: 0 to 12, zstd: -7 to 22)
    #[arg(long, value_name = "int", allow_hyphen_values = true)]
    pub(crate) compression_level: Option<i32>,
    /// Skip image signing
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) disable_content_trust: bool,
    /// Refuse an image that is for another platform
    #[arg(long)]
    pub(crate) platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    pub(crate) name: String,
}

impl Arguments for Push {
    const SPEC: Spec = Spec {
        paths: &["image push", "push"],
        usage: "[OPTIONS] NAME[:TAG]",
        about: "Upload an image to a registry",
        arity: Arity::Exactly(1),
    };
}
