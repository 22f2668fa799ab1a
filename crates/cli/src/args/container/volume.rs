//! The verbs of volumes.

use crate::args::container::value;
use crate::args::version::{FORMAT_LIST, FORMAT_ONE};
use crate::verb::{Arguments, Arity, Spec};

/// `volume create`.
#[derive(Debug, clap::Args)]
pub(crate) struct VolumeCreate {
    /// Specify volume driver name
    #[arg(short, long, default_value = "local")]
    pub(crate) driver: String,
    /// Set metadata for a volume
    #[arg(long, value_name = "list", value_parser = value::pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Set driver specific options
    #[arg(short, long = "opt", value_name = "map", value_parser = value::pair)]
    pub(crate) opt: Vec<(String, String)>,
    /// The name, as it was given before it was an argument
    #[arg(long = "name", value_name = "string", hide = true)]
    pub(crate) named: Option<String>,
    pub(crate) name: Option<String>,
}

impl Arguments for VolumeCreate {
    const SPEC: Spec = Spec {
        paths: &["volume create"],
        usage: "[OPTIONS] [VOLUME]",
        about: "Create a volume",
        arity: Arity::AtMost(1),
    };
}

/// `volume ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct VolumeList {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Arguments for VolumeList {
    const SPEC: Spec = Spec {
        paths: &["volume ls", "volume list"],
        usage: "[OPTIONS]",
        about: "List volumes",
        arity: Arity::None,
    };
}

/// `volume rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct VolumeRemove {
    /// Force the removal of one or more volumes
    #[arg(short, long)]
    pub(crate) force: bool,
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

impl Arguments for VolumeRemove {
    const SPEC: Spec = Spec {
        paths: &["volume rm", "volume remove"],
        usage: "[OPTIONS] VOLUME [VOLUME...]",
        about: "Remove one or more volumes",
        arity: Arity::AtLeast(1),
    };
}

/// `volume inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct VolumeInspect {
    #[arg(short, long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

impl Arguments for VolumeInspect {
    const SPEC: Spec = Spec {
        paths: &["volume inspect"],
        usage: "[OPTIONS] VOLUME [VOLUME...]",
        about: "Display detailed information on one or more volumes",
        arity: Arity::AtLeast(1),
    };
}

/// `volume prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct VolumePrune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}

impl Arguments for VolumePrune {
    const SPEC: Spec = Spec {
        paths: &["volume prune"],
        usage: "[OPTIONS]",
        about: "Remove unused local volumes",
        arity: Arity::None,
    };
}
