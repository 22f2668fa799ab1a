//! `inspect` and `image inspect`.

use crate::args::version::FORMAT_ONE;
use crate::verb::{Arguments, Arity, Spec};

/// `inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    #[arg(short, long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Only inspect objects of the given type
    #[arg(long)]
    pub(crate) r#type: Option<String>,
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

impl Arguments for Inspect {
    const SPEC: Spec = Spec {
        paths: &["inspect"],
        usage: "[OPTIONS] NAME|ID [NAME|ID...]",
        about: "Return low-level information on objects",
        arity: Arity::AtLeast(1),
    };
}

/// `image inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImageInspect {
    #[arg(short, long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
    /// Inspect a specific platform of the multi-platform image
    #[arg(long)]
    pub(crate) platform: Option<String>,
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

impl Arguments for ImageInspect {
    const SPEC: Spec = Spec {
        paths: &["image inspect"],
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Display detailed information on one or more images",
        arity: Arity::AtLeast(1),
    };
}
