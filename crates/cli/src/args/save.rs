//! `save`.

use crate::verb::{Arguments, Arity, Spec};
use std::path::PathBuf;

/// `save`.
#[derive(Debug, clap::Args)]
pub(crate) struct Save {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    pub(crate) output: Option<PathBuf>,
    /// Save only the given platform(s). Formatted as a comma-separated list of "os[/arch[/variant]]"
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

impl Arguments for Save {
    const SPEC: Spec = Spec {
        paths: &["image save", "save"],
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
        arity: Arity::AtLeast(1),
    };
}
