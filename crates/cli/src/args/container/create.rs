//! `create`.

use crate::args::container::options::Options;
use crate::verb::{Arguments, Arity, Spec};

/// `create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) options: Options,
}

impl Arguments for Create {
    const SPEC: Spec = Spec {
        paths: &["container create", "create"],
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create a new container",
        arity: Arity::AtLeast(1),
    };
}
