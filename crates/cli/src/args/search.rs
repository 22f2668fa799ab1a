//! `search`.

use crate::verb::{Arguments, Arity, Spec};

/// `search`.
#[derive(Debug, clap::Args)]
pub(crate) struct Search {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    pub(crate) filter: Vec<String>,
    /// Pretty-print search using a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Max number of search results
    #[arg(long, value_name = "int")]
    pub(crate) limit: Option<u32>,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    pub(crate) term: String,
}

impl Arguments for Search {
    const SPEC: Spec = Spec {
        paths: &["search"],
        usage: "[OPTIONS] TERM",
        about: "Search Docker Hub for images (not supported)",
        arity: Arity::Exactly(1),
    };
}
