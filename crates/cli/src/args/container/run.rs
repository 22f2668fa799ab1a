//! `run`.

use crate::args::container::options::Options;
use crate::verb::{Arguments, Arity, Spec};

/// `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Run container in background and print container ID
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub(crate) detach_keys: Option<String>,
    /// Proxy received signals to the process
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) sig_proxy: bool,
    #[command(flatten)]
    pub(crate) options: Options,
}

impl Arguments for Run {
    const SPEC: Spec = Spec {
        paths: &["container run", "run"],
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create and run a new container from an image",
        arity: Arity::AtLeast(1),
    };
}
