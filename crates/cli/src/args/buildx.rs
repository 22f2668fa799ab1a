//! `buildx ls`, `inspect`, `use`, `version`: the one builder there is.

use crate::args::version::FORMAT_LIST;
use crate::verb::{Arguments, Arity, Spec};

/// `buildx ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct BuilderList {
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

impl Arguments for BuilderList {
    const SPEC: Spec = Spec {
        paths: &["buildx ls"],
        usage: "[OPTIONS]",
        about: "List builder instances (lighter has one: \"default\")",
        arity: Arity::None,
    };
}

/// `buildx inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct BuilderInspect {
    /// Ensure builder has booted before inspecting (lighter needs no boot)
    #[arg(long)]
    pub(crate) bootstrap: bool,
    pub(crate) name: Option<String>,
}

impl Arguments for BuilderInspect {
    const SPEC: Spec = Spec {
        paths: &["buildx inspect"],
        usage: "[OPTIONS] [NAME]",
        about: "Inspect current builder instance",
        arity: Arity::AtMost(1),
    };
}

/// `buildx use`.
#[derive(Debug, clap::Args)]
pub(crate) struct BuilderUse {
    /// Builder persists context changes (lighter has one builder)
    #[arg(long)]
    pub(crate) default: bool,
    /// Builder will be used for all contexts (lighter has one builder)
    #[arg(long)]
    pub(crate) global: bool,
    #[arg(required = true)]
    pub(crate) name: String,
}

impl Arguments for BuilderUse {
    const SPEC: Spec = Spec {
        paths: &["buildx use"],
        usage: "[OPTIONS] NAME",
        about: "Set the current builder instance (lighter has one: \"default\")",
        arity: Arity::Exactly(1),
    };
}

/// `buildx version`.
#[derive(Debug, clap::Args)]
pub(crate) struct BuilderVersion {}

impl Arguments for BuilderVersion {
    const SPEC: Spec = Spec {
        paths: &["buildx version"],
        usage: "",
        about: "Show the lighter version information",
        arity: Arity::None,
    };
}
