//! `info`, `system` and what removes what nothing needs.

use crate::args::version::{FORMAT_LIST, FORMAT_ONE};
use crate::verb::{Arguments, Arity, Spec};

/// `info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    #[arg(short, long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
}

impl Arguments for Info {
    const SPEC: Spec = Spec {
        paths: &["system info", "info"],
        usage: "[OPTIONS]",
        about: "Display system-wide information",
        arity: Arity::None,
    };
}

/// `system df`.
#[derive(Debug, clap::Args)]
pub(crate) struct Df {
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

impl Arguments for Df {
    const SPEC: Spec =
        Spec { paths: &["system df"], usage: "[OPTIONS]", about: "Show disk usage", arity: Arity::None };
}

/// `system check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Only look: leave what is damaged as it is
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Arguments for Check {
    const SPEC: Spec = Spec {
        paths: &["system check"],
        usage: "[OPTIONS]",
        about: "Verify every blob, layer and record of the store, and repair or remove what is damaged",
        arity: Arity::None,
    };
}

/// `system start`.
#[derive(Debug, clap::Args)]
pub(crate) struct SystemStart {}

impl Arguments for SystemStart {
    const SPEC: Spec = Spec {
        paths: &["system start"],
        usage: "",
        about: "Start the containers that a reboot has ended: those with --restart always, and those with \
                --restart unless-stopped that nobody stopped. To be called by the machine's service manager",
        arity: Arity::None,
    };
}

/// `system prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct SystemPrune {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    pub(crate) volumes: bool,
}

impl Arguments for SystemPrune {
    const SPEC: Spec = Spec {
        paths: &["system prune"],
        usage: "[OPTIONS]",
        about: "Remove unused data",
        arity: Arity::None,
    };
}

/// `image prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagePrune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}

impl Arguments for ImagePrune {
    const SPEC: Spec = Spec {
        paths: &["image prune"],
        usage: "[OPTIONS]",
        about: "Remove unused images",
        arity: Arity::None,
    };
}
