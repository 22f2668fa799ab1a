//! Bridges: one per network, with a subnet, a way out, and a pair of links for each namespace on it.
//!
//! The kernel holds all state. A bridge's subnet is its address; an address is taken when the link named after it
//! exists, and that link vanishes with the namespace at its other end, however that ends. So there is nothing to
//! repair after a crash, and any number of processes agree without talking to each other. A file lock only keeps
//! two of them from making the same bridge differently, and one from removing it while another joins.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::firewall::{self, Passage, Warning};
use super::names::Names;
use super::namespace::NetNs;
use super::netlink::{NetlinkError, Socket};
use super::resolver;
use super::route::{self, HardwareAddress, Link, Veth};
use super::subnet::{Subnet, free_subnet};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::os::fd::AsFd;

mod error;
mod six;
mod spec;

pub use error::BridgeError;
pub use spec::{Attachment, BridgeSpec, Endpoint, Six};

/// The bridge of the default network.
pub const DEFAULT_BRIDGE: &str = "lighter0";
/// What the names of the bridges of other networks begin with.
const BRIDGE_PREFIX: &str = "lt-";
/// What the names of our ends of the pairs begin with; the address follows in hexadecimal.
const VETH_PREFIX: &str = "lv";
/// The longest name of a link.
const LINK_NAME_LEN: usize = 15;
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const DEFAULT_MTU: u32 = 1500;
/// Routes shorter than this say "all the rest", and do not mean that the addresses are in use.
const SHORTEST_USED_PREFIX: u8 = 8;
/// How often joining a bridge is tried when others remove it or take the address meanwhile.
const ATTEMPTS: usize = 50;

/// A bridge that exists, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    link: route::LinkIndex,
    subnet: Subnet,
    gateway: Ipv4Addr,
    mtu: u32,
}

/// The bridge of one network.
#[derive(Debug, Clone)]
pub struct Bridge {
    spec: BridgeSpec,
    lock: PathBuf,
}

impl Bridge {
    /// Names a bridge; nothing is done yet.
    ///
    /// `runtime_dir` holds the lock. All processes on this machine should name the same directory, best one that a
    /// reboot clears, as it clears the bridges.
    pub fn new(spec: BridgeSpec, runtime_dir: &Path) -> Self {
        Self { spec, lock: runtime_dir.join("network.lock") }
    }

    /// The names of the containers on the bridge; `network` is what users call it.
    pub fn names(&self, network: &str) -> Names {
        Names::new(network, &self.names_dir())
    }

    /// What the bridge shall be.
    pub fn spec(&self) -> &BridgeSpec {
        &self.spec
    }

    /// Tells whether a link of its name is there.
    ///
    /// # Errors
    /// [`BridgeError::Links`] when the links cannot be read.
    pub fn exists(&self) -> Result<bool, BridgeError> {
        let socket = Socket::route().map_err(BridgeError::Links)?;
        Ok(route::link(&socket, &self.spec.interface).map_err(BridgeError::Links)?.is_some())
    }

    /// Makes the bridge, its address, its firewall rules and the forwarding of packets, as far as they are missing.
    /// Returns its subnet and its own address, and what the user should know.
    ///
    /// # Errors
    /// [`BridgeError`]; see [`BridgeError::is_not_permitted`].
    pub fn ensure(&self) -> Result<(Subnet, Ipv4Addr, Vec<Warning>), BridgeError> {
        let socket = Socket::route().map_err(BridgeError::Links)?;
        {
            let _shared = self.lock(FlockOperation::LockShared)?;
            if let Some(state) = self.ready(&socket)? {
                return Ok((state.subnet, state.gateway, Vec::new()));
            }
        }
        let _alone = self.lock(FlockOperation::LockExclusive)?;
        let (state, warnings) = self.make(&socket)?;
        Ok((state.subnet, state.gateway, warnings))
    }

    /// Puts a namespace on the bridge, which is made when it does not exist.
    ///
    /// # Errors
    /// [`BridgeError::AddressInUse`], [`BridgeError::NoAddress`], and whatever else keeps the bridge from being made.
    pub fn attach(&self, namespace: &NetNs, wish: &Attachment) -> Result<Endpoint, BridgeError> {
        let socket = Socket::route().map_err(BridgeError::Links)?;
        for _ in 0..ATTEMPTS {
            // addresses of IPv6 are noted on a link only when it is there
            let kind = match self.spec.six {
                Some(_) => FlockOperation::LockExclusive,
                None => FlockOperation::LockShared,
            };
            let held = self.lock(kind)?;
            let Some(state) = self.ready(&socket)? else {
                drop(held);
                let _alone = self.lock(FlockOperation::LockExclusive)?;
                self.make(&socket)?;
                continue;
            };
            if let Some(endpoint) = self.join(&socket, state, namespace, wish)? {
                return Ok(endpoint);
            }
        }
        Err(BridgeError::NoAddress(self.spec.subnet.unwrap_or(Subnet::new(Ipv4Addr::UNSPECIFIED, 0))))
    }

    /// The addresses that are taken on the bridge, its own left out.
    ///
    /// # Errors
    /// [`BridgeError::Links`] when the links cannot be read.
    pub fn addresses(&self) -> Result<Vec<Ipv4Addr>, BridgeError> {
        let socket = Socket::route().map_err(BridgeError::Links)?;
        match self.existing(&socket)? {
            Some(state) => taken(&socket, state.link),
            None => Ok(Vec::new()),
        }
    }

    /// Removes the bridge and its firewall rules when no namespace is on it. Tells whether none is left.
    ///
    /// # Errors
    /// [`BridgeError::Detach`] or [`BridgeError::Firewall`] when the kernel refuses.
    pub fn remove_if_unused(&self) -> Result<bool, BridgeError> {
        let _alone = self.lock(FlockOperation::LockExclusive)?;
        let socket = Socket::route().map_err(BridgeError::Links)?;
        // names may stay where the bridge went without us
        if let Some(state) = self.existing(&socket)? {
            if !route::links_of(&socket, state.link).map_err(BridgeError::Links)?.is_empty() {
                return Ok(false);
            }
            firewall::remove(self.passage(state.subnet))?;
            route::delete_link(&socket, &self.spec.interface)
                .map_err(|source| BridgeError::Detach { link: self.spec.interface.clone(), source })?;
        }
        match fs::remove_dir_all(self.names_dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the names of a network that is gone stay");
            }
            _ => {}
        }
        Ok(true)
    }

    fn names_dir(&self) -> PathBuf {
        self.lock.with_file_name("names").join(&self.spec.interface)
    }

    fn lock(&self, kind: FlockOperation) -> Result<File, BridgeError> {
        let fail = |source| BridgeError::Lock { path: self.lock.clone(), source };
        if let Some(parent) = self.lock.parent() {
            fs::create_dir_all(parent).map_err(fail)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(&self.lock).map_err(fail)?;
        loop {
            match rustix::fs::flock(&file, kind) {
                Ok(()) => return Ok(file),
                Err(Errno::INTR) => {}
                Err(error) => return Err(fail(error.into())),
            }
        }
    }

    fn passage(&self, subnet: Subnet) -> Passage<'_> {
        Passage {
            bridge: &self.spec.interface,
            subnet,
            subnet6: self.spec.six.map(|six| six.subnet),
            internal: self.spec.internal,
            masquerade: !self.spec.keeps_senders,
        }
    }

    /// The bridge with its address, when it exists.
    fn existing(&self, socket: &Socket) -> Result<Option<State>, BridgeError> {
        let Some(link) = route::link(socket, &self.spec.interface).map_err(BridgeError::Links)? else {
            return Ok(None);
        };
        let Link { index, mtu, kind, .. } = link;
        if kind != "bridge" {
            return Err(BridgeError::NotABridge(self.spec.interface.clone()));
        }
        let addresses = route::addresses(socket, Some(index)).map_err(BridgeError::Links)?;
        let Some((gateway, subnet)) = addresses.first().copied() else {
            return Ok(None);
        };
        match self.spec.subnet {
            Some(wanted) if wanted != subnet => {
                Err(BridgeError::Mismatch { bridge: self.spec.interface.clone(), found: subnet, wanted })
            }
            _ => Ok(Some(State { link: index, subnet, gateway, mtu })),
        }
    }

    /// The bridge, when nothing about it is missing.
    fn ready(&self, socket: &Socket) -> Result<Option<State>, BridgeError> {
        let Some(state) = self.existing(socket)? else {
            return Ok(None);
        };
        let complete = (self.spec.internal || forwards_packets())
            && self.is_ready6(socket, state.link)?
            && firewall::is_ready(self.passage(state.subnet))?;
        Ok(complete.then_some(state))
    }

    fn make(&self, socket: &Socket) -> Result<(State, Vec<Warning>), BridgeError> {
        let state = match self.existing(socket)? {
            Some(state) => state,
            None => self.create(socket)?,
        };
        if !self.spec.internal && !forwards_packets() {
            fs::write(FORWARDING, "1").map_err(BridgeError::Forwarding)?;
        }
        self.make6(socket, state.link)?;
        let warnings = firewall::ensure(self.passage(state.subnet))?;
        Ok((state, warnings))
    }

    fn create(&self, socket: &Socket) -> Result<State, BridgeError> {
        let name = &self.spec.interface;
        let fail = |source| BridgeError::Create { bridge: name.clone(), source };
        let routes = route::routes(socket).map_err(BridgeError::Links)?;
        let subnet = self.choose_subnet(socket, &routes)?;
        let first =
            self.spec.range.map_or(subnet.first_host(), |range| range.network().max(subnet.first_host()));
        let gateway = self.spec.gateway.unwrap_or(first);
        if !subnet.is_host(gateway) {
            return Err(BridgeError::NotInSubnet { address: gateway, subnet });
        }
        let outward = route::outward_mtu(socket, &routes).map_err(BridgeError::Links)?;
        let mtu = self.spec.mtu.or(outward).unwrap_or(DEFAULT_MTU);
        match route::add_bridge(socket, name, hardware_address(gateway), mtu) {
            // Left without an address by a process that died just then.
            Err(error) if error.is(Errno::EXIST) => {}
            made => made.map_err(fail)?,
        }
        if let Err(error) = six::switch(name, false) {
            tracing::debug!(bridge = name, %error, "IPv6 is as the kernel has it");
        }
        let link = route::link(socket, name).map_err(fail)?.ok_or(NetlinkError::Malformed);
        let link = link.map_err(fail)?.index;
        route::add_address(socket, link, gateway, subnet).map_err(fail)?;
        Ok(State { link, subnet, gateway, mtu })
    }

    fn choose_subnet(&self, socket: &Socket, routes: &[route::Route]) -> Result<Subnet, BridgeError> {
        let addresses = route::addresses(socket, None).map_err(BridgeError::Links)?;
        let mut used: Vec<Subnet> = addresses.into_iter().map(|(_, subnet)| subnet).collect();
        used.extend(routes.iter().map(|route| route.destination));
        used.retain(|subnet| subnet.prefix_len() >= SHORTEST_USED_PREFIX);
        let Some(wanted) = self.spec.subnet else {
            used.extend(resolver::host_nameservers().into_iter().filter_map(|server| match server {
                IpAddr::V4(address) => Some(Subnet::new(address, 32)),
                IpAddr::V6(_) => None,
            }));
            return free_subnet(&used).ok_or(BridgeError::NoSubnet);
        };
        match used.into_iter().find(|used| used.overlaps(wanted)) {
            Some(used) => Err(BridgeError::SubnetInUse { wanted, used }),
            None => Ok(wanted),
        }
    }

    /// Joins the namespace to the bridge; none when another process was faster and it must be looked again.
    fn join(
        &self,
        socket: &Socket,
        state: State,
        namespace: &NetNs,
        wish: &Attachment,
    ) -> Result<Option<Endpoint>, BridgeError> {
        let address = self.choose_address(socket, state, wish)?;
        let own6 = self.choose_address6(socket, state, address, wish.address6)?;
        let fail = |source| BridgeError::Attach { bridge: self.spec.interface.clone(), source };
        let host_interface = link_name(address);
        let hardware_address = wish.hardware_address.unwrap_or(hardware_address(address));
        let veth = Veth {
            name: &host_interface,
            bridge: state.link,
            peer_name: &wish.interface,
            peer_address: hardware_address,
            namespace: namespace.as_fd(),
            mtu: state.mtu,
        };
        match route::add_veth(socket, &veth) {
            Err(error) if error.is(Errno::EXIST) => {
                return match wish.address {
                    Some(address) => Err(BridgeError::AddressInUse(address.into())),
                    None => Ok(None),
                };
            }
            made => made.map_err(fail)?,
        }
        let endpoint = Endpoint {
            interface: wish.interface.clone(),
            host_interface,
            address,
            subnet: state.subnet,
            gateway: state.gateway,
            hardware_address,
            six: own6,
            gateway6: self.spec.six.map(|six| six.address),
        };
        let configured = configure(&endpoint, namespace, wish.default_route && !self.spec.internal)
            .map_err(fail)
            .and_then(|()| six::configure(&endpoint, namespace, wish.default_route6 && !self.spec.internal))
            .and_then(|()| self.isolate(&endpoint));
        if let Err(error) = configured {
            endpoint.detach()?;
            return Err(error);
        }
        Ok(Some(endpoint))
    }

    /// Keeps an endpoint from the others on the bridge, where that is wanted.
    fn isolate(&self, endpoint: &Endpoint) -> Result<(), BridgeError> {
        let link = &endpoint.host_interface;
        if !self.spec.isolated {
            return Ok(());
        }
        fs::write(format!("/sys/class/net/{link}/brport/isolated"), "1")
            .map_err(|source| BridgeError::Isolate { link: link.clone(), source })
    }

    fn choose_address(
        &self,
        socket: &Socket,
        state: State,
        wish: &Attachment,
    ) -> Result<Ipv4Addr, BridgeError> {
        if let Some(address) = wish.address {
            if !state.subnet.is_host(address) {
                return Err(BridgeError::NotInSubnet { address, subnet: state.subnet });
            }
            if address == state.gateway || self.spec.reserved.contains(&address.into()) {
                return Err(BridgeError::AddressInUse(address.into()));
            }
            return Ok(address);
        }
        let mut taken = taken(socket, state.link)?;
        taken.push(state.gateway);
        taken.sort_unstable();
        let range = self.spec.range.unwrap_or(state.subnet);
        let is_free = |host: &Ipv4Addr| {
            taken.binary_search(host).is_err() && !self.spec.reserved.contains(&IpAddr::V4(*host))
        };
        let free = range.all().find(|host| state.subnet.is_host(*host) && is_free(host));
        free.ok_or(BridgeError::NoAddress(range))
    }
}

/// Gives the link inside the namespace its address and makes it the way out.
fn configure(endpoint: &Endpoint, namespace: &NetNs, default_route: bool) -> Result<(), NetlinkError> {
    let socket = namespace.route();
    let link = route::link(socket, &endpoint.interface)?.ok_or(NetlinkError::Malformed)?;
    route::add_address(socket, link.index, endpoint.address, endpoint.subnet)?;
    route::set_up(socket, link.index)?;
    if default_route {
        route::add_default_route(socket, link.index, endpoint.gateway.into())?;
    }
    Ok(())
}

fn forwards_packets() -> bool {
    fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() != "0")
}

fn taken(socket: &Socket, bridge: route::LinkIndex) -> Result<Vec<Ipv4Addr>, BridgeError> {
    let links = route::links_of(socket, bridge).map_err(BridgeError::Links)?;
    Ok(links.iter().filter_map(|link| address_of(&link.name)).collect())
}

/// The name of the link on the bridge, which says whose address it is.
fn link_name(address: Ipv4Addr) -> String {
    format!("{VETH_PREFIX}{:08x}", address.to_bits())
}

fn address_of(link_name: &str) -> Option<Ipv4Addr> {
    let digits = link_name.strip_prefix(VETH_PREFIX).filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().map(Ipv4Addr::from_bits)
}

/// A locally administered hardware address that is as unique as the address, so that what neighbours remember stays
/// true when an address is used again.
fn hardware_address(address: Ipv4Addr) -> HardwareAddress {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_whose_address_it_is() {
        let address = Ipv4Addr::new(10, 88, 0, 2);
        assert_eq!(link_name(address), "lv0a580002");
        assert_eq!(address_of("lv0a580002"), Some(address));
        for other in ["eth0", "lv", "lv0a58000", "lv0a58000g", "lv0a5800021", "veth0a580002"] {
            assert_eq!(address_of(other), None, "{other}");
        }
    }

    #[test]
    fn names_of_bridges_fit_the_kernel() {
        let spec = BridgeSpec::of_network("0123456789abcdef0123456789abcdef");
        assert_eq!(spec.interface, "lt-0123456789ab");
        assert_eq!(spec.interface.len(), LINK_NAME_LEN);
    }
}
