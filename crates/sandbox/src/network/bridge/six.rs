//! The part of a bridge in IPv6.
//!
//! A namespace's address stands beside its link on the bridge, as a note: so it is taken as long as that link is there,
//! like the address of IPv4 that names the link. Unless another is asked for it has the same place in its subnet as
//! that one.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::namespace::NetNs;
use super::super::netlink::{NetlinkError, Socket};
use super::super::route;
use super::super::subnet::Subnet6;
use super::{Bridge, BridgeError, Endpoint, Six, State};

const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Switches IPv6 on or off for a link of the calling thread's network.
pub(super) fn switch(link: &str, on: bool) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), if on { "0" } else { "1" })
}

impl Bridge {
    /// Whether nothing of the bridge's part is missing.
    pub(super) fn is_ready6(&self, socket: &Socket, link: route::LinkIndex) -> Result<bool, BridgeError> {
        let Some(six) = self.spec.six else { return Ok(true) };
        let addresses = route::addresses6(socket).map_err(BridgeError::Links)?;
        let is_there = addresses.iter().any(|(of, address, _)| *of == link && *address == six.address);
        Ok(is_there && (self.spec.internal || forwards_packets()))
    }

    /// Makes the bridge's part, as far as it is missing.
    pub(super) fn make6(&self, socket: &Socket, link: route::LinkIndex) -> Result<(), BridgeError> {
        let Some(six) = self.spec.six else { return Ok(()) };
        let name = &self.spec.interface;
        let addresses = route::addresses6(socket).map_err(BridgeError::Links)?;
        let others =
            addresses.iter().filter(|(of, address, _)| *of != link && !address.is_unicast_link_local());
        for (_, address, prefix_len) in others {
            let used = Subnet6::new(*address, *prefix_len);
            if used.overlaps(six.subnet) {
                return Err(BridgeError::SubnetInUse6 { wanted: six.subnet, used });
            }
        }
        let fail = |source| BridgeError::Six { link: name.clone(), source };
        switch(name, true).map_err(fail)?;
        // the bridge leads somewhere: nobody on it tells it where
        if let Err(error) = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0") {
            tracing::debug!(bridge = name, %error, "who advertises a router is heard");
        }
        route::add_address6(socket, link, six.address, six.subnet.prefix_len())
            .map_err(|source| BridgeError::Create { bridge: name.clone(), source })?;
        if !self.spec.internal && !forwards_packets() {
            fs::write(FORWARDING, "1").map_err(fail)?;
        }
        Ok(())
    }

    /// The address of a namespace; none where the bridge has no part in IPv6.
    pub(super) fn choose_address6(
        &self,
        socket: &Socket,
        state: State,
        own: Ipv4Addr,
        wish: Option<Ipv6Addr>,
    ) -> Result<Option<Six>, BridgeError> {
        let Some(six) = self.spec.six else {
            return wish.map_or(Ok(None), |address| Err(BridgeError::NotInSubnet6(address)));
        };
        let links = route::links_of(socket, state.link).map_err(BridgeError::Links)?;
        let taken: Vec<Ipv6Addr> =
            links.iter().filter_map(|link| link.alias.as_ref()?.parse().ok()).collect();
        let is_free = |address: &Ipv6Addr| {
            *address != six.address
                && !taken.contains(address)
                && !self.spec.reserved.contains(&(*address).into())
        };
        let address = match wish {
            Some(address) if !six.subnet.contains(address) => return Err(BridgeError::NotInSubnet6(address)),
            Some(address) if !is_free(&address) => return Err(BridgeError::AddressInUse(address.into())),
            Some(address) => address,
            None => {
                let place = u128::from(own.to_bits() - state.subnet.network().to_bits());
                let candidates = std::iter::once(place).chain(1..=1 << 16);
                let free = candidates.filter_map(|offset| six.subnet.nth(offset)).find(is_free);
                free.ok_or(BridgeError::NoAddress6(six.subnet))?
            }
        };
        Ok(Some(Six { address, subnet: six.subnet }))
    }
}

/// Gives the link inside the namespace its address and makes it the way out.
pub(super) fn configure(
    endpoint: &Endpoint,
    namespace: &NetNs,
    default_route: bool,
) -> Result<(), BridgeError> {
    let (Some(six), Some(gateway)) = (endpoint.six, endpoint.gateway6) else { return Ok(()) };
    let bridge = || endpoint.host_interface.clone();
    let fail = |source: NetlinkError| BridgeError::Attach { bridge: bridge(), source };
    let outside = Socket::route().map_err(BridgeError::Links)?;
    route::set_alias(&outside, &endpoint.host_interface, &six.address.to_string()).map_err(fail)?;
    let switched = namespace.run(|| switch(&endpoint.interface, true));
    let switched = switched.map_err(|error| io::Error::other(error.to_string())).flatten();
    switched.map_err(|source| BridgeError::Six { link: endpoint.interface.clone(), source })?;
    let socket = namespace.route();
    let link = route::link(socket, &endpoint.interface).map_err(fail)?.ok_or(NetlinkError::Malformed);
    let link = link.map_err(fail)?.index;
    route::add_address6(socket, link, six.address, six.subnet.prefix_len()).map_err(fail)?;
    if default_route {
        route::add_default_route(socket, link, gateway.into()).map_err(fail)?;
    }
    Ok(())
}

fn forwards_packets() -> bool {
    fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() != "0")
}
