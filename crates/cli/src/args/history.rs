//! `history`.

use crate::args::version::FORMAT_LIST;
use crate::verb::{Arguments, Arity, Spec};

/// `history`.
#[derive(Debug, clap::Args)]
pub(crate) struct History {
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) human: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long)]
    pub(crate) platform: Option<String>,
    /// Only show image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    pub(crate) image: String,
}

impl Arguments for History {
    const SPEC: Spec = Spec {
        paths: &["image history", "history"],
        usage: "[OPTIONS] IMAGE",
        about: "Show the history of an image",
        arity: Arity::Exactly(1),
    };
}
