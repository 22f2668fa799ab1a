//! `dockerfile`: formats and draws Dockerfiles.

use crate::verb::{Arguments, Arity, Spec};
use std::path::PathBuf;

/// `dockerfile fmt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Format {
    /// Change nothing, but fail if a file is not formatted
    #[arg(long)]
    pub(crate) check: bool,
    pub(crate) files: Vec<PathBuf>,
}

impl Arguments for Format {
    const SPEC: Spec = Spec {
        paths: &["dockerfile fmt"],
        usage: "[OPTIONS] [FILE...]",
        about: "Format Dockerfiles in place (\"-\": from stdin to stdout)",
        arity: Arity::AtLeast(0),
    };
}

/// `dockerfile graph`.
#[derive(Debug, clap::Args)]
pub(crate) struct Graph {
    /// Set build-time variables
    #[arg(long, value_name = "stringArray")]
    pub(crate) build_arg: Vec<String>,
    /// Form of the drawing ("text", "dot", "svg")
    #[arg(long, default_value = "text")]
    pub(crate) format: String,
    /// Set the target build stage
    #[arg(long)]
    pub(crate) target: Option<String>,
    pub(crate) file: Option<PathBuf>,
}

impl Arguments for Graph {
    const SPEC: Spec = Spec {
        paths: &["dockerfile graph"],
        usage: "[OPTIONS] [FILE]",
        about: "Draw the stages of a Dockerfile and what they need",
        arity: Arity::AtMost(1),
    };
}
