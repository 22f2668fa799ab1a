//! `builder` and `buildx`: the build cache, cache mounts, and the history of builds.

use crate::args::value;
use crate::args::version::FORMAT_LIST;
use crate::verb::{Arguments, Arity, Spec};

/// `builder prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct BuilderPrune {
    /// Also remove what images were built from
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Override the configured builder instance (lighter has one: "default")
    #[arg(long)]
    pub(crate) builder: Option<String>,
    /// Provide filter values (e.g., "until=24h")
    #[arg(long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Amount of disk space to keep for cache
    #[arg(long, value_name = "bytes", value_parser = value::bytes, hide = true)]
    pub(crate) keep_storage: Option<u64>,
    /// Maximum amount of disk space allowed to keep for cache
    #[arg(long, value_name = "bytes", value_parser = value::bytes)]
    pub(crate) max_used_space: Option<u64>,
    /// Target amount of free disk space after pruning
    #[arg(long, value_name = "bytes", value_parser = value::bytes)]
    pub(crate) min_free_space: Option<u64>,
    /// Amount of disk space always allowed to keep for cache
    #[arg(long, value_name = "bytes", value_parser = value::bytes)]
    pub(crate) reserved_space: Option<u64>,
    /// Provide a more verbose output
    #[arg(long)]
    pub(crate) verbose: bool,
}

impl Arguments for BuilderPrune {
    const SPEC: Spec = Spec {
        paths: &["builder prune", "buildx prune"],
        usage: "[OPTIONS]",
        about: "Remove build cache",
        arity: Arity::None,
    };
}

/// `builder du`.
#[derive(Debug, clap::Args)]
pub(crate) struct DiskUsage {
    /// Override the configured builder instance (lighter has one: "default")
    #[arg(long)]
    pub(crate) builder: Option<String>,
    /// Provide filter values: id, type or description, with =, != or ~=, and until=24h
    #[arg(long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Everything about each record
    #[arg(long)]
    pub(crate) verbose: bool,
}

impl Arguments for DiskUsage {
    const SPEC: Spec = Spec {
        paths: &["builder du", "buildx du"],
        usage: "[OPTIONS]",
        about: "Disk usage of the build cache",
        arity: Arity::None,
    };
}

/// `builder mounts ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct MountsLs {
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Only show ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Arguments for MountsLs {
    const SPEC: Spec = Spec {
        paths: &["builder mounts ls", "buildx mounts ls"],
        usage: "[OPTIONS]",
        about: "List the cache mounts of builds",
        arity: Arity::None,
    };
}

/// `builder mounts rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct MountsRm {
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
}

impl Arguments for MountsRm {
    const SPEC: Spec = Spec {
        paths: &["builder mounts rm", "buildx mounts rm"],
        usage: "ID [ID...]",
        about: "Remove cache mounts of builds",
        arity: Arity::AtLeast(1),
    };
}

/// `builder history ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryLs {
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only show ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Arguments for HistoryLs {
    const SPEC: Spec = Spec {
        paths: &["builder history ls", "buildx history ls", "build history ls", "build history"],
        usage: "[OPTIONS]",
        about: "List builds",
        arity: Arity::None,
    };
}

/// `builder history logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryLogs {
    /// Set type of progress output ("plain", "rawjson")
    #[arg(long, default_value = "plain")]
    pub(crate) progress: String,
    pub(crate) build: Option<String>,
}

impl Arguments for HistoryLogs {
    const SPEC: Spec = Spec {
        paths: &["builder history logs", "buildx history logs", "build history logs"],
        usage: "[OPTIONS] [BUILD]",
        about: "Print the logs of a build: of the last one, unless another is named",
        arity: Arity::AtMost(1),
    };
}

/// `builder history rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryRm {
    /// Remove all builds
    #[arg(long)]
    pub(crate) all: bool,
    pub(crate) builds: Vec<String>,
}

impl Arguments for HistoryRm {
    const SPEC: Spec = Spec {
        paths: &["builder history rm", "buildx history rm", "build history rm"],
        usage: "[OPTIONS] [BUILD...]",
        about: "Remove builds from the history",
        arity: Arity::AtLeast(0),
    };
}

/// `builder explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Format the output ("text", "json")
    #[arg(long, default_value = "text")]
    pub(crate) format: String,
    pub(crate) build: Option<String>,
}

impl Arguments for Explain {
    const SPEC: Spec = Spec {
        paths: &["builder explain", "buildx explain", "build explain"],
        usage: "[OPTIONS] [BUILD]",
        about: "Tell which inputs had changed for each step that a build ran: of the last build, unless another is named",
        arity: Arity::AtMost(1),
    };
}

/// `builder debug`.
#[derive(Debug, clap::Args)]
pub(crate) struct Debug {
    /// The build whose step failed (default: the last one that kept a root)
    #[arg(long, value_name = "string")]
    pub(crate) build: Option<String>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

impl Arguments for Debug {
    const SPEC: Spec = Spec {
        paths: &["builder debug", "buildx debug", "build debug"],
        usage: "[OPTIONS] [COMMAND] [ARG...]",
        about: "Run a shell, or a command, in the root of a step that failed in a build with --on-error=keep",
        arity: Arity::AtLeast(0),
    };
}
