//! `login` and `logout`.

use crate::verb::{Arguments, Arity, Spec};

/// `login`.
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long)]
    pub(crate) password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Username
    #[arg(short, long)]
    pub(crate) username: Option<String>,
    pub(crate) server: Option<String>,
}

impl Arguments for Login {
    const SPEC: Spec = Spec {
        paths: &["login"],
        usage: "[OPTIONS] [SERVER]",
        about: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
        arity: Arity::AtMost(1),
    };
}

/// `logout`.
#[derive(Debug, clap::Args)]
pub(crate) struct Logout {
    pub(crate) server: Option<String>,
}

impl Arguments for Logout {
    const SPEC: Spec = Spec {
        paths: &["logout"],
        usage: "[SERVER]",
        about: "Log out from a registry.\nDefaults to Docker Hub if no server is specified.",
        arity: Arity::AtMost(1),
    };
}
