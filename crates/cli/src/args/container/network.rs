//! The verbs of networks.

use crate::args::container::value;
use crate::args::version::{FORMAT_LIST, FORMAT_ONE};
use crate::verb::{Arguments, Arity, Spec};

/// `network create`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct NetworkCreate {
    /// Enable manual container attachment
    #[arg(long)]
    pub(crate) attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long, value_name = "map", value_parser = value::loose_pair)]
    pub(crate) aux_address: Vec<(String, String)>,
    /// The network from which to copy the configuration
    #[arg(long)]
    pub(crate) config_from: Option<String>,
    /// Create a configuration only network
    #[arg(long)]
    pub(crate) config_only: bool,
    /// Driver to manage the Network
    #[arg(short, long, default_value = "bridge")]
    pub(crate) driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_name = "strings")]
    pub(crate) gateway: Vec<String>,
    /// Create swarm routing-mesh network
    #[arg(long)]
    pub(crate) ingress: bool,
    /// Restrict external access to the network
    #[arg(long)]
    pub(crate) internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "strings")]
    pub(crate) ip_range: Vec<String>,
    /// IP Address Management Driver
    #[arg(long, default_value = "default")]
    pub(crate) ipam_driver: String,
    /// Set IPAM driver specific options
    #[arg(long, value_name = "map", value_parser = value::pair)]
    pub(crate) ipam_opt: Vec<(String, String)>,
    /// Enable or disable IPv4 address assignment
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) ipv4: bool,
    /// Enable or disable IPv6 address assignment
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// Set metadata on a network
    #[arg(long, value_name = "list", value_parser = value::pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Set driver specific options
    #[arg(short, long = "opt", value_name = "map", value_parser = value::pair)]
    pub(crate) opt: Vec<(String, String)>,
    /// Control the network's scope
    #[arg(long)]
    pub(crate) scope: Option<String>,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "strings")]
    pub(crate) subnet: Vec<String>,
    #[arg(required = true)]
    pub(crate) name: String,
}

impl Arguments for NetworkCreate {
    const SPEC: Spec = Spec {
        paths: &["network create"],
        usage: "[OPTIONS] NETWORK",
        about: "Create a network",
        arity: Arity::Exactly(1),
    };
}

/// `network ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkList {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    #[arg(long, help = FORMAT_LIST)]
    pub(crate) format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Arguments for NetworkList {
    const SPEC: Spec = Spec {
        paths: &["network ls", "network list"],
        usage: "[OPTIONS]",
        about: "List networks",
        arity: Arity::None,
    };
}

/// `network rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkRemove {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    pub(crate) force: bool,
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

impl Arguments for NetworkRemove {
    const SPEC: Spec = Spec {
        paths: &["network rm", "network remove"],
        usage: "NETWORK [NETWORK...]",
        about: "Remove one or more networks",
        arity: Arity::AtLeast(1),
    };
}

/// `network inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkInspect {
    #[arg(short, long, help = FORMAT_ONE)]
    pub(crate) format: Option<String>,
    /// Verbose output for diagnostics
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

impl Arguments for NetworkInspect {
    const SPEC: Spec = Spec {
        paths: &["network inspect"],
        usage: "[OPTIONS] NETWORK [NETWORK...]",
        about: "Display detailed information on one or more networks",
        arity: Arity::AtLeast(1),
    };
}

/// `network connect`.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkConnect {
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "strings")]
    pub(crate) alias: Vec<String>,
    /// Driver options for the network
    #[arg(long, value_name = "strings")]
    pub(crate) driver_opt: Vec<String>,
    /// Highest gw-priority provides the default gateway. Accepts positive and negative values
    #[arg(
        long,
        value_name = "int",
        default_value_t = 0,
        allow_hyphen_values = true,
        hide_default_value = true
    )]
    pub(crate) gw_priority: i64,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long)]
    pub(crate) ip: Option<String>,
    #[arg(long, help = "IPv6 address (e.g., \"2001:db8::33\")")]
    pub(crate) ip6: Option<String>,
    /// Add link to another container
    #[arg(long, value_name = "list")]
    pub(crate) link: Vec<String>,
    #[arg(required = true)]
    pub(crate) network: String,
    #[arg(required = true)]
    pub(crate) container: String,
}

impl Arguments for NetworkConnect {
    const SPEC: Spec = Spec {
        paths: &["network connect"],
        usage: "[OPTIONS] NETWORK CONTAINER",
        about: "Connect a container to a network",
        arity: Arity::Exactly(2),
    };
}

/// `network disconnect`.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkDisconnect {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    pub(crate) force: bool,
    #[arg(required = true)]
    pub(crate) network: String,
    #[arg(required = true)]
    pub(crate) container: String,
}

impl Arguments for NetworkDisconnect {
    const SPEC: Spec = Spec {
        paths: &["network disconnect"],
        usage: "[OPTIONS] NETWORK CONTAINER",
        about: "Disconnect a container from a network",
        arity: Arity::Exactly(2),
    };
}

/// `network prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkPrune {
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long, value_name = "filter", value_parser = crate::args::value::filter)]
    pub(crate) filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}

impl Arguments for NetworkPrune {
    const SPEC: Spec = Spec {
        paths: &["network prune"],
        usage: "[OPTIONS]",
        about: "Remove all unused networks",
        arity: Arity::None,
    };
}
