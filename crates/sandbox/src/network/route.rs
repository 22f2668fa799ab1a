//! Links, addresses and routes (rtnetlink).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::netlink::{Answer, Attributes, Intent, Message, NetlinkError, Socket};
use super::subnet::Subnet;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;

const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_MASTER: u16 = 10;
const LINK_ALIAS: u16 = 20;
const LINK_INFO: u16 = 18;
const LINK_NAMESPACE_FD: u16 = 28;
const LINK_EXTENSION_MASK: u16 = 29;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
/// Leaves the counters out of a listing.
const SKIP_STATISTICS: u32 = 1 << 3;

const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_BROADCAST: u16 = 4;

const ROUTE_DESTINATION: u16 = 1;
const ROUTE_OUT_LINK: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_PRIORITY: u16 = 6;
const MAIN_TABLE: u8 = 254;
const LOCAL_TABLE: u8 = 255;
const PROTOCOL_BOOT: u8 = 3;
const UNICAST: u8 = 1;

const INET: u8 = 2;
const INET6: u8 = 10;
/// The address is used at once, without asking the neighbours for another that has it.
const NO_DUPLICATE_DETECTION: u8 = 2;
const UP: u32 = 1;

const LINK_FIXED_LEN: usize = 16;
const ADDRESS_FIXED_LEN: usize = 8;
const ROUTE_FIXED_LEN: usize = 12;

/// The index of a link within its namespace.
pub(crate) type LinkIndex = u32;

/// The address of an Ethernet link.
pub(crate) type HardwareAddress = [u8; 6];

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number in its namespace.
    pub(crate) index: LinkIndex,
    /// Its name.
    pub(crate) name: String,
    /// The largest packet it takes.
    pub(crate) mtu: u32,
    /// What kind of virtual link it is; empty for hardware.
    pub(crate) kind: String,
    /// What somebody has noted on it.
    pub(crate) alias: Option<String>,
}

/// A pair of links: one on a bridge here, the other inside a namespace.
#[derive(Debug)]
pub(crate) struct Veth<'a> {
    /// The name of the link that stays here.
    pub(crate) name: &'a str,
    /// The bridge it is put on.
    pub(crate) bridge: LinkIndex,
    /// The name of the link in the namespace.
    pub(crate) peer_name: &'a str,
    /// The hardware address of the link in the namespace.
    pub(crate) peer_address: HardwareAddress,
    /// The namespace.
    pub(crate) namespace: BorrowedFd<'a>,
    /// The largest packet of both.
    pub(crate) mtu: u32,
}

/// Finds a link by its name.
pub(crate) fn link(socket: &Socket, name: &str) -> Result<Option<Link>, NetlinkError> {
    let question = Message::new(GET_LINK, Intent::Plain, &link_header(0, 0))
        .string(LINK_NAME, name)
        .host_u32(LINK_EXTENSION_MASK, SKIP_STATISTICS);
    match socket.ask(question) {
        Ok(answer) => read_link(&answer).map(Some),
        Err(error) if error.is(Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists the links that sit on a bridge.
pub(crate) fn links_of(socket: &Socket, bridge: LinkIndex) -> Result<Vec<Link>, NetlinkError> {
    let question = Message::new(GET_LINK, Intent::Plain, &link_header(0, 0))
        .host_u32(LINK_MASTER, bridge)
        .host_u32(LINK_EXTENSION_MASK, SKIP_STATISTICS);
    let of_bridge =
        |answer: &&Answer| answer.attributes(LINK_FIXED_LEN).host_u32(LINK_MASTER) == Some(bridge);
    // Kernels before 4.6 do not filter; so the answers are filtered here as well.
    socket.list(&question)?.iter().filter(of_bridge).map(read_link).collect()
}

/// Creates a bridge that is up.
pub(crate) fn add_bridge(
    socket: &Socket,
    name: &str,
    address: HardwareAddress,
    mtu: u32,
) -> Result<(), NetlinkError> {
    let message = Message::new(NEW_LINK, Intent::Create, &link_header(0, UP))
        .string(LINK_NAME, name)
        .host_u32(LINK_MTU, mtu)
        .attribute(LINK_ADDRESS, &address)
        .nested(LINK_INFO, |info| info.string(INFO_KIND, "bridge"));
    socket.request(message)
}

/// Creates a pair of links: one on a bridge and up, the other in a namespace from the start.
pub(crate) fn add_veth(socket: &Socket, veth: &Veth<'_>) -> Result<(), NetlinkError> {
    let namespace = u32::try_from(veth.namespace.as_raw_fd()).map_err(|_| NetlinkError::Malformed)?;
    // The far end cannot be up from the start: it is made before it has a near end.
    let peer = |message: Message| {
        message
            .raw(&link_header(0, 0))
            .string(LINK_NAME, veth.peer_name)
            .attribute(LINK_ADDRESS, &veth.peer_address)
            .host_u32(LINK_MTU, veth.mtu)
            .host_u32(LINK_NAMESPACE_FD, namespace)
    };
    let message = Message::new(NEW_LINK, Intent::Create, &link_header(0, UP))
        .string(LINK_NAME, veth.name)
        .host_u32(LINK_MTU, veth.mtu)
        .host_u32(LINK_MASTER, veth.bridge)
        .nested(LINK_INFO, |info| {
            info.string(INFO_KIND, "veth").nested(INFO_DATA, |data| data.nested(VETH_PEER, peer))
        });
    socket.request(message)
}

/// Removes a link; that it is gone already is no error.
pub(crate) fn delete_link(socket: &Socket, name: &str) -> Result<(), NetlinkError> {
    let message = Message::new(DELETE_LINK, Intent::Plain, &link_header(0, 0)).string(LINK_NAME, name);
    match socket.request(message) {
        Err(error) if !error.is(Errno::NODEV) => Err(error),
        _ => Ok(()),
    }
}

/// Switches a link on.
pub(crate) fn set_up(socket: &Socket, index: LinkIndex) -> Result<(), NetlinkError> {
    socket.request(Message::new(NEW_LINK, Intent::Plain, &link_header(index, UP)))
}

/// Gives a link an address; that it has it already is no error.
pub(crate) fn add_address(
    socket: &Socket,
    index: LinkIndex,
    address: Ipv4Addr,
    subnet: Subnet,
) -> Result<(), NetlinkError> {
    let mut fixed = vec![INET, subnet.prefix_len(), 0, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let message = Message::new(NEW_ADDRESS, Intent::Create, &fixed)
        .attribute(ADDRESS_LOCAL, &address.octets())
        .attribute(ADDRESS_ADDRESS, &address.octets())
        .attribute(ADDRESS_BROADCAST, &subnet.broadcast().octets());
    match socket.request(message) {
        Err(error) if !error.is(Errno::EXIST) => Err(error),
        _ => Ok(()),
    }
}

/// Notes something on a link.
pub(crate) fn set_alias(socket: &Socket, name: &str, alias: &str) -> Result<(), NetlinkError> {
    let message = Message::new(NEW_LINK, Intent::Plain, &link_header(0, 0));
    socket.request(message.string(LINK_NAME, name).attribute(LINK_ALIAS, alias.as_bytes()))
}

/// Gives a link an IPv6 address; that it has it already is no error.
pub(crate) fn add_address6(
    socket: &Socket,
    index: LinkIndex,
    address: Ipv6Addr,
    prefix_len: u8,
) -> Result<(), NetlinkError> {
    let mut fixed = vec![INET6, prefix_len, NO_DUPLICATE_DETECTION, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let message = Message::new(NEW_ADDRESS, Intent::Create, &fixed)
        .attribute(ADDRESS_LOCAL, &address.octets())
        .attribute(ADDRESS_ADDRESS, &address.octets());
    match socket.request(message) {
        Err(error) if !error.is(Errno::EXIST) => Err(error),
        _ => Ok(()),
    }
}

/// Lists the IPv6 addresses of all links, each with its link and the length of its prefix.
pub(crate) fn addresses6(socket: &Socket) -> Result<Vec<(LinkIndex, Ipv6Addr, u8)>, NetlinkError> {
    let question = Message::new(GET_ADDRESS, Intent::Plain, &[INET6, 0, 0, 0, 0, 0, 0, 0]);
    let read = |answer: &Answer| {
        let index = u32::from_ne_bytes(*answer.body.get(4..8)?.first_chunk::<4>()?);
        let octets = *answer.attributes(ADDRESS_FIXED_LEN).find(ADDRESS_ADDRESS)?.first_chunk::<16>()?;
        Some((index, Ipv6Addr::from(octets), *answer.body.get(1)?))
    };
    Ok(socket.list(&question)?.iter().filter_map(read).collect())
}

/// Lists the IPv4 addresses of a link, or of all links, each with its subnet.
pub(crate) fn addresses(
    socket: &Socket,
    of: Option<LinkIndex>,
) -> Result<Vec<(Ipv4Addr, Subnet)>, NetlinkError> {
    let question = Message::new(GET_ADDRESS, Intent::Plain, &[INET, 0, 0, 0, 0, 0, 0, 0]);
    let answers = socket.list(&question)?;
    Ok(answers.iter().filter_map(|answer| read_address(answer, of)).collect())
}

/// Makes a link lead to everywhere of the gateway's family; that a default route exists already is no error.
pub(crate) fn add_default_route(
    socket: &Socket,
    index: LinkIndex,
    gateway: IpAddr,
) -> Result<(), NetlinkError> {
    match socket.request(default_route(Intent::Create, index, gateway)) {
        Err(error) if !error.is(Errno::EXIST) => Err(error),
        _ => Ok(()),
    }
}

/// Makes a link lead to everywhere of the gateway's family, and no other link any more.
pub(crate) fn replace_default_route(
    socket: &Socket,
    index: LinkIndex,
    gateway: IpAddr,
) -> Result<(), NetlinkError> {
    socket.request(default_route(Intent::Replace, index, gateway)).map(drop)
}

fn default_route(intent: Intent, index: LinkIndex, gateway: IpAddr) -> Message {
    let (family, octets) = match gateway {
        IpAddr::V4(address) => (INET, address.octets().to_vec()),
        IpAddr::V6(address) => (INET6, address.octets().to_vec()),
    };
    let fixed = [family, 0, 0, 0, MAIN_TABLE, PROTOCOL_BOOT, 0, UNICAST, 0, 0, 0, 0];
    Message::new(NEW_ROUTE, intent, &fixed).attribute(ROUTE_GATEWAY, &octets).host_u32(ROUTE_OUT_LINK, index)
}

/// One IPv4 route outside the kernel's own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where it leads.
    pub(crate) destination: Subnet,
    /// The link it leads through, when it names one.
    pub(crate) out_link: Option<LinkIndex>,
    /// Lower is chosen first.
    pub(crate) priority: u32,
}

/// Lists the IPv4 routes.
pub(crate) fn routes(socket: &Socket) -> Result<Vec<Route>, NetlinkError> {
    let question = Message::new(GET_ROUTE, Intent::Plain, &[INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Ok(socket.list(&question)?.iter().filter_map(read_route).collect())
}

/// The largest packet of the link that leads out of this machine, when there is one.
pub(crate) fn outward_mtu(socket: &Socket, routes: &[Route]) -> Result<Option<u32>, NetlinkError> {
    let outward =
        routes.iter().filter(|route| route.destination.prefix_len() == 0).min_by_key(|route| route.priority);
    let Some(index) = outward.and_then(|route| route.out_link) else {
        return Ok(None);
    };
    let question = Message::new(GET_LINK, Intent::Plain, &link_header(index, 0));
    match socket.ask(question) {
        Ok(answer) => Ok(Some(read_link(&answer)?.mtu)),
        Err(error) if error.is(Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn link_header(index: LinkIndex, up: u32) -> [u8; LINK_FIXED_LEN] {
    let mut header = [0; LINK_FIXED_LEN];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&up.to_ne_bytes());
    header[12..16].copy_from_slice(&up.to_ne_bytes());
    header
}

fn read_link(answer: &Answer) -> Result<Link, NetlinkError> {
    let index = answer.body.get(4..8).and_then(<[u8]>::first_chunk::<4>);
    let attributes = answer.attributes(LINK_FIXED_LEN);
    let kind = attributes.find(LINK_INFO).and_then(|info| Attributes::new(info).string(INFO_KIND));
    Ok(Link {
        index: u32::from_ne_bytes(*index.ok_or(NetlinkError::Malformed)?),
        name: attributes.string(LINK_NAME).ok_or(NetlinkError::Malformed)?,
        mtu: attributes.host_u32(LINK_MTU).unwrap_or(1500),
        kind: kind.unwrap_or_default(),
        alias: attributes.string(LINK_ALIAS),
    })
}

fn read_address(answer: &Answer, of: Option<LinkIndex>) -> Option<(Ipv4Addr, Subnet)> {
    let prefix_len = *answer.body.get(1)?;
    let index = u32::from_ne_bytes(*answer.body.get(4..8)?.first_chunk::<4>()?);
    if of.is_some_and(|wanted| wanted != index) {
        return None;
    }
    let address = ipv4(answer.attributes(ADDRESS_FIXED_LEN).find(ADDRESS_LOCAL)?)?;
    Some((address, Subnet::new(address, prefix_len)))
}

fn read_route(answer: &Answer) -> Option<Route> {
    let (prefix_len, table) = (*answer.body.get(1)?, *answer.body.get(4)?);
    if table == LOCAL_TABLE {
        return None;
    }
    let attributes = answer.attributes(ROUTE_FIXED_LEN);
    let destination = match attributes.find(ROUTE_DESTINATION) {
        Some(bytes) => ipv4(bytes)?,
        None => Ipv4Addr::UNSPECIFIED,
    };
    Some(Route {
        destination: Subnet::new(destination, prefix_len),
        out_link: attributes.host_u32(ROUTE_OUT_LINK),
        priority: attributes.host_u32(ROUTE_PRIORITY).unwrap_or(0),
    })
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_is_known_to_every_namespace() {
        let socket = Socket::route().unwrap();
        let found = link(&socket, "lo").unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.index), ("lo", 1));
        assert_eq!(link(&socket, "no-such-link").unwrap(), None);
    }

    #[test]
    fn addresses_are_read_with_their_subnet() {
        let socket = Socket::route().unwrap();
        let all = addresses(&socket, Some(1)).unwrap();
        assert!(all.contains(&(Ipv4Addr::LOCALHOST, "127.0.0.0/8".parse().unwrap())), "{all:?}");
    }

    #[test]
    fn removing_a_link_that_is_gone_is_no_error() {
        let socket = Socket::route().unwrap();
        let result = delete_link(&socket, "no-such-link");
        // An ordinary user is refused before the link is looked for.
        assert!(result.is_ok() || result.is_err_and(|error| error.is(Errno::PERM)));
    }
}
