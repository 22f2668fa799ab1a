//! `context ls`, `inspect`, `show`, `use`: the one context there is.

use crate::args::version::{FORMAT_LIST, FORMAT_ONE};
use crate::verb::{Arguments, Arity, Spec};

/// `context ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct ContextList {
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Only show context names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Arguments for ContextList {
    const SPEC: Spec = Spec {
        paths: &["context ls", "context list"],
        usage: "[OPTIONS]",
        about: "List contexts (lighter has one: \"default\")",
        arity: Arity::None,
    };
}

/// `context inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct ContextInspect {
    #[arg(short, long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
    pub(crate) names: Vec<String>,
}

impl Arguments for ContextInspect {
    const SPEC: Spec = Spec {
        paths: &["context inspect"],
        usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
        about: "Display detailed information on one or more contexts",
        arity: Arity::AtLeast(0),
    };
}

/// `context show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ContextShow {}

impl Arguments for ContextShow {
    const SPEC: Spec = Spec {
        paths: &["context show"],
        usage: "",
        about: "Print the name of the current context",
        arity: Arity::None,
    };
}

/// `context use`.
#[derive(Debug, clap::Args)]
pub(crate) struct ContextUse {
    #[arg(required = true)]
    pub(crate) name: String,
}

impl Arguments for ContextUse {
    const SPEC: Spec = Spec {
        paths: &["context use"],
        usage: "CONTEXT",
        about: "Set the current context (lighter has one: \"default\")",
        arity: Arity::Exactly(1),
    };
}
