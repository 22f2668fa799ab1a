//! `images`.

use crate::args::version::FORMAT_LIST;
use crate::verb::{Arguments, Arity, Spec};

/// `images`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Images {
    /// Show all images (lighter keeps no intermediate ones)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show digests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    pub(crate) repository: Option<String>,
}

impl Arguments for Images {
    const SPEC: Spec = Spec {
        paths: &["image ls", "image list", "images"],
        usage: "[OPTIONS] [REPOSITORY[:TAG]]",
        about: "List images",
        arity: Arity::AtMost(1),
    };
}
