//! `completion` and `man`: what lighter says of itself to shells and to `man`.

use std::path::PathBuf;

use crate::verb::{Arguments, Arity, Spec};

/// `completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completion {
    pub(crate) shell: clap_complete::Shell,
}

impl Arguments for Completion {
    const SPEC: Spec = Spec {
        paths: &["completion"],
        usage: "SHELL",
        about: "Generate the autocompletion script for the specified shell (bash|fish|zsh)",
        arity: Arity::Exactly(1),
    };
}

/// `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    #[arg(required = true)]
    pub(crate) folder: PathBuf,
}

impl Arguments for Man {
    const SPEC: Spec = Spec {
        paths: &["man"],
        usage: "FOLDER",
        about: "Write the manual pages of all commands into a folder",
        arity: Arity::Exactly(1),
    };
}
