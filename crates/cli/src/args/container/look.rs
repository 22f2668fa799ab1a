//! The verbs that look at containers.

use crate::args::version::{FORMAT_LIST, FORMAT_ONE};
use crate::verb::{Arguments, Arity, Spec};

/// `ps`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct List {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", default_value_t = -1)]
    pub(crate) last: i64,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    pub(crate) size: bool,
}

impl Arguments for List {
    const SPEC: Spec = Spec {
        paths: &["container ls", "container list", "container ps", "ps"],
        usage: "[OPTIONS]",
        about: "List containers",
        arity: Arity::None,
    };
}

/// `container inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    #[arg(short, long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    pub(crate) size: bool,
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Inspect {
    const SPEC: Spec = Spec {
        paths: &["container inspect"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Display detailed information on one or more containers",
        arity: Arity::AtLeast(1),
    };
}

/// `logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// Show extra details provided to logs
    #[arg(long)]
    pub(crate) details: bool,
    /// Follow log output
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, default_value = "all")]
    pub(crate) tail: String,
    /// Show timestamps
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long)]
    pub(crate) until: Option<String>,
    #[arg(required = true)]
    pub(crate) container: String,
}

impl Arguments for Logs {
    const SPEC: Spec = Spec {
        paths: &["container logs", "logs"],
        usage: "[OPTIONS] CONTAINER",
        about: "Fetch the logs of a container",
        arity: Arity::Exactly(1),
    };
}

/// `top`.
#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// The container, and what `ps` is given.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

impl Arguments for Top {
    const SPEC: Spec = Spec {
        paths: &["container top", "top"],
        usage: "CONTAINER [ps OPTIONS]",
        about: "Display the running processes of a container",
        arity: Arity::AtLeast(1),
    };
}

/// `stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    pub(crate) containers: Vec<String>,
}

impl Arguments for Stats {
    const SPEC: Spec = Spec {
        paths: &["container stats", "stats"],
        usage: "[OPTIONS] [CONTAINER...]",
        about: "Display a live stream of container(s) resource usage statistics",
        arity: Arity::AtLeast(0),
    };
}

/// `port`.
#[derive(Debug, clap::Args)]
pub(crate) struct Port {
    #[arg(required = true)]
    pub(crate) container: String,
    pub(crate) port: Option<String>,
}

impl Arguments for Port {
    const SPEC: Spec = Spec {
        paths: &["container port", "port"],
        usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
        about: "List port mappings or a specific mapping for the container",
        arity: Arity::Between(1, 2),
    };
}

/// `diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    #[arg(required = true)]
    pub(crate) container: String,
}

impl Arguments for Diff {
    const SPEC: Spec = Spec {
        paths: &["container diff", "diff"],
        usage: "CONTAINER",
        about: "Inspect changes to files or directories on a container's filesystem",
        arity: Arity::Exactly(1),
    };
}

/// `events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    #[arg(long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long)]
    pub(crate) until: Option<String>,
}

impl Arguments for Events {
    const SPEC: Spec = Spec {
        paths: &["system events", "events"],
        usage: "[OPTIONS]",
        about: "Get real time events",
        arity: Arity::None,
    };
}
