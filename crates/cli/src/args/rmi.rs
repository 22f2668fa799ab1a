//! `rmi`.

use crate::verb::{Arguments, Arity, Spec};

/// `rmi`.
#[derive(Debug, clap::Args)]
pub(crate) struct Rmi {
    /// Force removal of the image
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Do not delete untagged parents (lighter keeps none)
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

impl Arguments for Rmi {
    const SPEC: Spec = Spec {
        paths: &["image rm", "image remove", "rmi"],
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Remove one or more images",
        arity: Arity::AtLeast(1),
    };
}
