//! `manifest`: its verbs.

use crate::verb::{Arguments, Arity, Spec};

/// `manifest inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestInspect {
    /// Allow communication with an insecure registry
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Output additional info including layers and platform
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[arg(required = true, num_args = 1..=2)]
    pub(crate) names: Vec<String>,
}

impl Arguments for ManifestInspect {
    const SPEC: Spec = Spec {
        paths: &["manifest inspect"],
        usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
        about: "Display an image manifest, or manifest list",
        arity: Arity::Between(1, 2),
    };
}

/// `manifest create`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestCreate {
    /// Amend an existing manifest list
    #[arg(short, long)]
    pub(crate) amend: bool,
    /// Allow communication with an insecure registry
    #[arg(long)]
    pub(crate) insecure: bool,
    #[arg(required = true, num_args = 2..)]
    pub(crate) names: Vec<String>,
}

impl Arguments for ManifestCreate {
    const SPEC: Spec = Spec {
        paths: &["manifest create"],
        usage: "[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
        about: "Create a local manifest list for annotating and pushing to a registry",
        arity: Arity::AtLeast(2),
    };
}

/// `manifest annotate`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestAnnotate {
    /// Set architecture
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Set operating system
    #[arg(long)]
    pub(crate) os: Option<String>,
    /// Set operating system feature
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub(crate) os_features: Vec<String>,
    /// Set operating system version
    #[arg(long)]
    pub(crate) os_version: Option<String>,
    /// Set architecture variant
    #[arg(long)]
    pub(crate) variant: Option<String>,
    pub(crate) list: String,
    pub(crate) manifest: String,
}

impl Arguments for ManifestAnnotate {
    const SPEC: Spec = Spec {
        paths: &["manifest annotate"],
        usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
        about: "Add additional information to a local image manifest",
        arity: Arity::Exactly(2),
    };
}

/// `manifest push`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestPush {
    /// Allow push to an insecure registry
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Remove the local manifest list after push
    #[arg(short, long)]
    pub(crate) purge: bool,
    pub(crate) list: String,
}

impl Arguments for ManifestPush {
    const SPEC: Spec = Spec {
        paths: &["manifest push"],
        usage: "[OPTIONS] MANIFEST_LIST",
        about: "Push a manifest list to a repository",
        arity: Arity::Exactly(1),
    };
}

/// `manifest rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestRemove {
    #[arg(required = true)]
    pub(crate) lists: Vec<String>,
}

impl Arguments for ManifestRemove {
    const SPEC: Spec = Spec {
        paths: &["manifest rm"],
        usage: "MANIFEST_LIST [MANIFEST_LIST...]",
        about: "Delete one or more manifest lists from local storage",
        arity: Arity::AtLeast(1),
    };
}
