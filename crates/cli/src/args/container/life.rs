//! The verbs that start, stop and remove containers.

use crate::verb::{Arguments, Arity, Spec};

/// `start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub(crate) detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short, long)]
    pub(crate) interactive: bool,
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Start {
    const SPEC: Spec = Spec {
        paths: &["container start", "start"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Start one or more stopped containers",
        arity: Arity::AtLeast(1),
    };
}

/// `stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    /// Signal to send to the container
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short, long, alias = "time", value_name = "int")]
    pub(crate) timeout: Option<i64>,
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Stop {
    const SPEC: Spec = Spec {
        paths: &["container stop", "stop"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Stop one or more running containers",
        arity: Arity::AtLeast(1),
    };
}

/// `restart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Restart {
    /// Signal to send to the container
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short, long, alias = "time", value_name = "int")]
    pub(crate) timeout: Option<i64>,
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Restart {
    const SPEC: Spec = Spec {
        paths: &["container restart", "restart"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Restart one or more containers",
        arity: Arity::AtLeast(1),
    };
}

/// `kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Kill {
    /// Signal to send to the container
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Kill {
    const SPEC: Spec = Spec {
        paths: &["container kill", "kill"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Kill one or more running containers",
        arity: Arity::AtLeast(1),
    };
}

/// `wait`.
#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Wait {
    const SPEC: Spec = Spec {
        paths: &["container wait", "wait"],
        usage: "CONTAINER [CONTAINER...]",
        about: "Block until one or more containers stop, then print their exit codes",
        arity: Arity::AtLeast(1),
    };
}

/// `pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Pause {
    const SPEC: Spec = Spec {
        paths: &["container pause", "pause"],
        usage: "CONTAINER [CONTAINER...]",
        about: "Pause all processes within one or more containers",
        arity: Arity::AtLeast(1),
    };
}

/// `unpause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unpause {
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Unpause {
    const SPEC: Spec = Spec {
        paths: &["container unpause", "unpause"],
        usage: "CONTAINER [CONTAINER...]",
        about: "Unpause all processes within one or more containers",
        arity: Arity::AtLeast(1),
    };
}

/// `rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    pub(crate) link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    pub(crate) volumes: bool,
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Remove {
    const SPEC: Spec = Spec {
        paths: &["container rm", "container remove", "rm"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Remove one or more containers",
        arity: Arity::AtLeast(1),
    };
}

/// `rename`.
#[derive(Debug, clap::Args)]
pub(crate) struct Rename {
    #[arg(required = true)]
    pub(crate) container: String,
    #[arg(required = true)]
    pub(crate) name: String,
}

impl Arguments for Rename {
    const SPEC: Spec = Spec {
        paths: &["container rename", "rename"],
        usage: "CONTAINER NEW_NAME",
        about: "Rename a container",
        arity: Arity::Exactly(2),
    };
}

/// `container prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}

impl Arguments for Prune {
    const SPEC: Spec = Spec {
        paths: &["container prune"],
        usage: "[OPTIONS]",
        about: "Remove all stopped containers",
        arity: Arity::None,
    };
}
