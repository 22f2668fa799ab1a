//! `load`.

use crate::verb::{Arguments, Arity, Spec};
use std::path::PathBuf;

/// `load`.
#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "string")]
    pub(crate) input: Option<PathBuf>,
    /// Load only the given platform(s). Formatted as a comma-separated list of "os[/arch[/variant]]"
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,
    /// Suppress the load output
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Arguments for Load {
    const SPEC: Spec = Spec {
        paths: &["image load", "load"],
        usage: "[OPTIONS]",
        about: "Load an image from a tar archive or STDIN",
        arity: Arity::None,
    };
}
