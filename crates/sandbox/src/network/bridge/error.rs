//! Why a bridge does not do what was wanted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use rustix::io::Errno;

use super::super::firewall::FirewallError;
use super::super::netlink::NetlinkError;
use super::super::subnet::{Subnet, Subnet6};
use super::FORWARDING;

/// Why a bridge could not be made, joined or removed.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The lock that keeps processes apart could not be taken.
    #[error("locking `{path}`")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Links, addresses or routes could not be read.
    #[error("reading the network links of this machine")]
    Links(#[source] NetlinkError),
    /// The bridge could not be created.
    #[error("creating bridge `{bridge}`")]
    Create {
        /// Its name.
        bridge: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A link of that name exists and is no bridge.
    #[error("`{0}` exists and is not a bridge")]
    NotABridge(String),
    /// The bridge exists with another subnet.
    #[error("bridge `{bridge}` exists with subnet {found}, not {wanted}")]
    Mismatch {
        /// Its name.
        bridge: String,
        /// The subnet it has.
        found: Subnet,
        /// The subnet it should have.
        wanted: Subnet,
    },
    /// All our subnets are in use.
    #[error("no subnet is free; all candidates overlap with routes or addresses of this machine")]
    NoSubnet,
    /// The subnet asked for is in use.
    #[error("subnet {wanted} overlaps with {used}, which this machine uses already")]
    SubnetInUse {
        /// The subnet asked for.
        wanted: Subnet,
        /// What it overlaps with.
        used: Subnet,
    },
    /// The gateway or address asked for cannot be that of a host in the subnet.
    #[error("{address} is not an address for a host in {subnet}")]
    NotInSubnet {
        /// The address.
        address: Ipv4Addr,
        /// The subnet.
        subnet: Subnet,
    },
    /// Packets cannot be made to pass through this machine.
    #[error("switching on the forwarding of packets (`{FORWARDING}`)")]
    Forwarding(#[source] io::Error),
    /// The firewall could not be made to serve the bridge.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// Each address of the subnet is taken.
    #[error("all addresses of {0} are in use")]
    NoAddress(Subnet),
    /// The address asked for is taken.
    #[error("address {0} is already in use")]
    AddressInUse(IpAddr),
    /// Each address of IPv6 is taken.
    #[error("all addresses of {0} are in use")]
    NoAddress6(Subnet6),
    /// The address of IPv6 asked for is none of the network's.
    #[error("no configured subnet or ip-range contain the IP address {0}")]
    NotInSubnet6(Ipv6Addr),
    /// The subnet of IPv6 asked for is in use.
    #[error("subnet {wanted} overlaps with {used}, which this machine uses already")]
    SubnetInUse6 {
        /// The subnet asked for.
        wanted: Subnet6,
        /// What it overlaps with.
        used: Subnet6,
    },
    /// IPv6 cannot be switched on for a link.
    #[error("switching on IPv6 for `{link}`")]
    Six {
        /// The link.
        link: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Those on a bridge cannot be kept from each other.
    #[error("isolating `{link}` from others on its bridge")]
    Isolate {
        /// The link.
        link: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A namespace could not be put on the bridge.
    #[error("connecting a network namespace to bridge `{bridge}`")]
    Attach {
        /// The bridge.
        bridge: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A namespace could not be taken off its bridge.
    #[error("removing network link `{link}`")]
    Detach {
        /// The link.
        link: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
}

impl BridgeError {
    /// Tells whether the process lacks the right to change the network; another kind of network may do.
    pub fn is_not_permitted(&self) -> bool {
        match self {
            Self::Create { source, .. }
            | Self::Attach { source, .. }
            | Self::Detach { source, .. }
            | Self::Firewall(FirewallError::Read(source) | FirewallError::Write { source, .. }) => {
                source.is(Errno::PERM)
            }
            Self::Forwarding(source) => source.raw_os_error() != Some(Errno::NOENT.raw_os_error()),
            _ => false,
        }
    }
}
