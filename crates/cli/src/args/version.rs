//! `version`.

use crate::verb::{Arguments, Arity, Spec};

/// What `--format` takes where one thing is shown.
pub(crate) const FORMAT_ONE: &str = "Format output using a custom template:\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.";

/// What `--format` takes where things are listed.
pub(crate) const FORMAT_LIST: &str = "Format output using a custom template:\n\
    'table':            Print output in table format with column headers (default)\n\
    'table TEMPLATE':   Print output in table format using the given Go template\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.";

/// `version`.
#[derive(Debug, clap::Args)]
pub(crate) struct Version {
    #[arg(short, long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
}

impl Arguments for Version {
    const SPEC: Spec = Spec {
        paths: &["version"],
        usage: "[OPTIONS]",
        about: "Show the lighter version information",
        arity: Arity::None,
    };
}
