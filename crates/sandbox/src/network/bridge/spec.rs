//! What a bridge shall be, what a namespace wants of it, and what it got.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::super::namespace::NetNs;
use super::super::netlink::{NetlinkError, Socket};
use super::super::route;
use super::super::subnet::{Subnet, Subnet6};
use super::{BRIDGE_PREFIX, BridgeError, DEFAULT_BRIDGE, LINK_NAME_LEN};

/// What a network's bridge shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeSpec {
    /// The name of the link.
    pub interface: String,
    /// Its subnet; none takes one that nothing here uses.
    pub subnet: Option<Subnet>,
    /// The bridge's own address; none takes the subnet's first.
    pub gateway: Option<Ipv4Addr>,
    /// Where addresses are taken from that nobody asked for; none takes all of the subnet.
    pub range: Option<Subnet>,
    /// Addresses that nobody gets.
    pub reserved: Vec<IpAddr>,
    /// Its part in IPv6, where it has one.
    pub six: Option<Six>,
    /// Nothing comes in or goes out.
    pub internal: bool,
    /// Whoever is on it reaches no other that is, but the bridge itself.
    pub isolated: bool,
    /// What goes out keeps its address, and does not hide behind this machine's.
    pub keeps_senders: bool,
    /// The largest packet; none takes that of the link that leads out of this machine.
    pub mtu: Option<u32>,
}

impl BridgeSpec {
    /// The default network.
    pub fn default_network() -> Self {
        Self::named(DEFAULT_BRIDGE.to_owned())
    }

    /// A network of the user's, known by an identifier of hexadecimal digits.
    pub fn of_network(id: &str) -> Self {
        let mut interface = format!("{BRIDGE_PREFIX}{id}");
        interface.truncate(LINK_NAME_LEN);
        Self::named(interface)
    }

    fn named(interface: String) -> Self {
        Self {
            interface,
            subnet: None,
            gateway: None,
            range: None,
            reserved: Vec::new(),
            six: None,
            internal: false,
            isolated: false,
            keeps_senders: false,
            mtu: None,
        }
    }
}

/// The part of a bridge, or of a namespace on it, in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Six {
    /// The address: the bridge's own, or the namespace's.
    pub address: Ipv6Addr,
    /// The addresses of the network.
    pub subnet: Subnet6,
}

/// What a namespace wants of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The name of the link in the namespace.
    pub interface: String,
    /// The address; none takes the lowest free one.
    pub address: Option<Ipv4Addr>,
    /// The address of IPv6; none takes a free one.
    pub address6: Option<Ipv6Addr>,
    /// The hardware address; none derives it from the address.
    pub hardware_address: Option<[u8; 6]>,
    /// The bridge is the way to everywhere else.
    pub default_route: bool,
    /// It is so in IPv6.
    pub default_route6: bool,
}

impl Default for Attachment {
    fn default() -> Self {
        Self {
            interface: "eth0".to_owned(),
            address: None,
            address6: None,
            hardware_address: None,
            default_route: true,
            default_route6: true,
        }
    }
}

/// What a namespace got of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The name of the link in the namespace.
    pub interface: String,
    /// The name of the link on the bridge.
    pub host_interface: String,
    /// The address of the namespace.
    pub address: Ipv4Addr,
    /// The addresses of the network.
    pub subnet: Subnet,
    /// The address of the bridge.
    pub gateway: Ipv4Addr,
    /// The hardware address of the link in the namespace.
    pub hardware_address: [u8; 6],
    /// Its part in IPv6.
    #[serde(default)]
    pub six: Option<Six>,
    /// The address of the bridge in IPv6.
    #[serde(default)]
    pub gateway6: Option<Ipv6Addr>,
}

impl Endpoint {
    /// Tells whether the namespace is still on the bridge.
    ///
    /// # Errors
    /// [`BridgeError::Links`] when the links cannot be read.
    pub fn is_alive(&self) -> Result<bool, BridgeError> {
        let socket = Socket::route().map_err(BridgeError::Links)?;
        Ok(route::link(&socket, &self.host_interface).map_err(BridgeError::Links)?.is_some())
    }

    /// Makes this the namespace's way to everywhere else in the place of another; with `six` in IPv6.
    ///
    /// # Errors
    /// [`BridgeError::Attach`] when the kernel refuses.
    pub fn lead_out(&self, namespace: &NetNs, six: bool) -> Result<(), BridgeError> {
        let gateway = if six { self.gateway6.map(IpAddr::V6) } else { Some(IpAddr::V4(self.gateway)) };
        let Some(gateway) = gateway else { return Ok(()) };
        let lead = || {
            let socket = namespace.route();
            let link = route::link(socket, &self.interface)?.ok_or(NetlinkError::Malformed)?;
            route::replace_default_route(socket, link.index, gateway)
        };
        lead().map_err(|source| BridgeError::Attach { bridge: self.host_interface.clone(), source })
    }

    /// Takes the namespace off the bridge; that it is off already is no error.
    ///
    /// # Errors
    /// [`BridgeError::Detach`] when the kernel refuses.
    pub fn detach(&self) -> Result<(), BridgeError> {
        let detach = || route::delete_link(&Socket::route()?, &self.host_interface);
        detach().map_err(|source| BridgeError::Detach { link: self.host_interface.clone(), source })
    }
}
