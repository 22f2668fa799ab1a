//! `buildx imagetools`: its verbs.

use crate::verb::{Arguments, Arity, Spec};
use std::path::PathBuf;

/// `buildx imagetools inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagetoolsInspect {
    /// Override the configured builder instance (lighter has one: "default")
    #[arg(long)]
    pub(crate) builder: Option<String>,
    /// Format the output using the given Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Show original, unformatted JSON manifest
    #[arg(long)]
    pub(crate) raw: bool,
    pub(crate) name: String,
}

impl Arguments for ImagetoolsInspect {
    const SPEC: Spec = Spec {
        paths: &["buildx imagetools inspect"],
        usage: "[OPTIONS] NAME",
        about: "Show details of an image in the registry",
        arity: Arity::Exactly(1),
    };
}

/// `buildx imagetools create`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagetoolsCreate {
    /// Add annotation to the image
    #[arg(long, value_name = "stringArray")]
    pub(crate) annotation: Vec<String>,
    /// Append to existing manifest
    #[arg(long)]
    pub(crate) append: bool,
    /// Override the configured builder instance (lighter has one: "default")
    #[arg(long)]
    pub(crate) builder: Option<String>,
    /// Show final image instead of pushing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read source descriptor from file
    #[arg(short, long, value_name = "stringArray")]
    pub(crate) file: Vec<PathBuf>,
    /// Filter specified platforms of target image
    #[arg(short, long, value_name = "stringArray", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,
    /// When only a single source is specified, prefer outputting an image index or manifest list instead of performing
    /// a carbon copy
    #[arg(long, default_value = "true")]
    pub(crate) prefer_index: bool,
    /// Set type of progress output ("auto", "none", "plain", "rawjson", "tty")
    #[arg(long, default_value = "auto")]
    pub(crate) progress: String,
    /// Set reference for new image
    #[arg(short, long, value_name = "stringArray")]
    pub(crate) tag: Vec<String>,
    pub(crate) sources: Vec<String>,
}

impl Arguments for ImagetoolsCreate {
    const SPEC: Spec = Spec {
        paths: &["buildx imagetools create"],
        usage: "[OPTIONS] [SOURCE...]",
        about: "Create a new image based on source images",
        arity: Arity::AtLeast(0),
    };
}
