//! The container's place in the network, held by its shim: its namespace, its links to bridges, its published ports,
//! the names it is known by, and the name server that knows the others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use lighter_image::error_chain;
use lighter_sandbox::Network;
use lighter_sandbox::network::{
    self, Attachment, Binding, Bridge, BridgeError, Endpoint, Knowledge, NamesError, NamespaceError, NetNs,
    Pasta, PastaError, Proxy, ProxyError, Publication, PublishError, Responder, ResponderError, Target,
    Transport, resolver,
};
use lighter_store::Store;

use super::super::links::{self, LinkError, Linked};
use super::super::network::{DEFAULT, NetworkError, NetworkRecord, bridge_of, look_up};
use super::super::settings::{NetworkChoice, NetworkWish, Settings};
use super::super::state::{Container, EndpointState, NetworkState};
use super::spec::{self, Place, SpecError};

/// Why a container got no place in the network.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("failed to set up container networking")]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Spec(#[from] Box<SpecError>),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Names(#[from] NamesError),
    #[error(transparent)]
    Responder(#[from] ResponderError),
    #[error(transparent)]
    Pasta(#[from] PastaError),
    #[error(
        "invalid config for network {0}: invalid endpoint settings:\nuser specified IP address is supported only when \
         connecting to networks with user configured subnets"
    )]
    NoOwnSubnet(String),
    #[error(
        "invalid config for network {0}: invalid endpoint settings:\nunrecognised network interface sysctl '{1}'; represent \
         'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
    )]
    Switch(String, String),
    #[error("setting {name}")]
    Set { name: String, source: std::io::Error },
    #[error("invalid hardware address `{0}`")]
    HardwareAddress(String),
    #[error("container is already connected to network {0}")]
    Already(String),
    #[error("container is not connected to network {0}")]
    NotConnected(String),
    #[error("only a container with bridges can be connected to networks")]
    NoBridges,
}

/// A container's place in the network, as long as it lives.
#[derive(Default)]
pub(super) struct Joined {
    network: Option<Network>,
    namespace: Option<NetNs>,
    endpoints: BTreeMap<String, EndpointState>,
    bindings: Vec<Binding>,
    /// Where ports are published for which no address of the host is given, by the network that leads out.
    host_binding: Option<IpAddr>,
    proxy: Option<Proxy>,
    responder: Option<Responder>,
    /// Held as long as the namespace is used.
    pasta: Option<Pasta>,
    /// Why there is no network but loopback, where there should be one.
    pub(super) missing: Option<String>,
}

impl Joined {
    /// Gives a container its place.
    pub(super) fn join(store: &Store, runtime: &Path, container: &Container) -> Result<Self, JoinError> {
        let settings = &container.state.settings;
        let only = |network| Self { network: Some(network), ..Self::default() };
        match &settings.host.network {
            NetworkChoice::Host => return Ok(only(Network::Host)),
            NetworkChoice::None => return Ok(only(Network::None)),
            NetworkChoice::Container(id) => {
                let path = spec::namespace_of(store, id, "net").map_err(Box::new)?;
                return Ok(only(Network::Namespace(path)));
            }
            NetworkChoice::Bridge | NetworkChoice::Named(_) => {}
        }
        let namespace = NetNs::create()?;
        let mut joined = Self {
            network: Some(Network::Namespace(namespace.path())),
            namespace: Some(namespace),
            ..Self::default()
        };
        for wish in &settings.host.networks {
            match joined.attach(store, runtime, container, wish) {
                Err(JoinError::Bridge(error)) if error.is_not_permitted() && wish.network == DEFAULT => {
                    joined.without_bridge(error)?;
                }
                other => other?,
            }
        }
        joined.choose_way_out(store)?;
        joined.publish(settings)?;
        joined.respond(store, runtime, settings)?;
        Ok(joined)
    }

    /// What an ordinary user has in place of a bridge.
    fn without_bridge(&mut self, error: BridgeError) -> Result<(), JoinError> {
        let Some(namespace) = &self.namespace else { return Err(error.into()) };
        match Pasta::start(namespace) {
            Ok(pasta) => self.pasta = Some(pasta),
            Err(missing @ (PastaError::Missing | PastaError::Tunnel(_))) => {
                let why = error_chain(&missing);
                self.missing = Some(format!(
                    "the container has no network but loopback: {why}; `--network host` shares this machine's"
                ));
            }
            Err(other) => return Err(other.into()),
        }
        Ok(())
    }

    /// Puts the namespace on the bridge of one more network.
    fn attach(
        &mut self,
        store: &Store,
        runtime: &Path,
        container: &Container,
        wish: &NetworkWish,
    ) -> Result<(), JoinError> {
        let record = look_up(store, &wish.network)?;
        if self.endpoints.contains_key(&record.name) {
            return Err(JoinError::Already(record.name));
        }
        if record.config_only {
            return Err(NetworkError::ConfigOnly.into());
        }
        check_addresses(&record, wish)?;
        let Some(namespace) = &self.namespace else { return Err(JoinError::NoBridges) };
        let free = (0..).map(|number| format!("{}{number}", record.link_prefix()));
        let is_taken = |name: &String| self.endpoints.values().any(|one| one.endpoint.interface == *name);
        let interface = match wish.interface() {
            Some(name) => name.to_owned(),
            None => free.into_iter().find(|name| !is_taken(name)).unwrap_or_default(),
        };
        let switches =
            wish.switches(&interface).map_err(|text| JoinError::Switch(record.name.clone(), text))?;
        let has_way_out = self.endpoints.values().any(|one| one.leads_out);
        let has_way_out6 = self.endpoints.values().any(|one| one.leads_out6);
        let attachment = Attachment {
            interface,
            address: wish.address,
            address6: wish.address6,
            hardware_address: wish.hardware_address.as_deref().map(hardware_address).transpose()?,
            default_route: !has_way_out && !record.internal,
            default_route6: !has_way_out6 && !record.internal,
        };
        let bridge = bridge_of(&record, runtime);
        let endpoint = bridge.attach(namespace, &attachment)?;
        if let Err(error) = set(namespace, &switches) {
            endpoint.detach()?;
            return Err(error);
        }
        let aliases = names_of(container, wish);
        if record.name != DEFAULT {
            bridge.names(&record.name).register(&endpoint, &aliases)?;
        }
        let leads_out = attachment.default_route;
        if leads_out {
            self.host_binding = record.host_binding();
        }
        let leads_out6 = attachment.default_route6 && endpoint.six.is_some();
        let state = EndpointState {
            network_id: record.id.clone(),
            endpoint,
            aliases,
            leads_out,
            leads_out6,
            internal: record.internal,
            gateway_priority: wish.gateway_priority,
        };
        self.endpoints.insert(record.name, state);
        Ok(())
    }

    /// Of several networks, the one with the highest priority leads out; of equals, the first by name.
    fn choose_way_out(&mut self, store: &Store) -> Result<(), JoinError> {
        let Some(namespace) = &self.namespace else { return Ok(()) };
        let first = |six: bool| {
            let mut able: Vec<_> = self
                .endpoints
                .iter()
                .filter(|(_, one)| !one.internal && (!six || one.endpoint.six.is_some()))
                .collect();
            able.sort_by_key(|(_, one)| std::cmp::Reverse(one.gateway_priority));
            able.first().map(|(name, _)| (*name).clone())
        };
        let (four, six) = (first(false), first(true));
        for (name, one) in &mut self.endpoints {
            let (leads, leads6) = (four.as_ref() == Some(name), six.as_ref() == Some(name));
            if leads && !one.leads_out {
                one.endpoint.lead_out(namespace, false)?;
                self.host_binding = look_up(store, name)?.host_binding();
            }
            if leads6 && !one.leads_out6 {
                one.endpoint.lead_out(namespace, true)?;
            }
            (one.leads_out, one.leads_out6) = (leads, leads6);
        }
        Ok(())
    }

    /// Opens the published ports.
    fn publish(&mut self, settings: &Settings) -> Result<(), JoinError> {
        let mut wanted = settings.host.publications.clone();
        if settings.host.publish_all {
            let more = unpublished(settings, &wanted);
            wanted.extend(more);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        for port in &mut wanted {
            port.host_address = port.host_address.or(self.host_binding);
        }
        let address = self.address().map_or(Ipv4Addr::LOCALHOST, |address| address);
        // what has no address on a bridge is reached from within
        let within = if self.endpoints.is_empty() { self.namespace.as_ref() } else { None };
        let bound = network::publish(&wanted)?;
        self.bindings = bound.iter().map(|bound| bound.binding).collect();
        self.proxy = Some(Proxy::start(bound, Target { address: IpAddr::V4(address), namespace: within })?);
        Ok(())
    }

    /// Starts the name server, where a network has names.
    fn respond(&mut self, store: &Store, runtime: &Path, settings: &Settings) -> Result<(), JoinError> {
        self.responder = None;
        let Some(namespace) = &self.namespace else { return Ok(()) };
        let mut networks = Vec::new();
        let mut internal_only = true;
        for name in self.endpoints.keys() {
            let record = look_up(store, name)?;
            internal_only &= record.internal;
            if record.name != DEFAULT {
                networks.push(bridge_of(&record, runtime).names(&record.name));
            }
        }
        if networks.is_empty() {
            return Ok(());
        }
        let upstream = match (internal_only, settings.host.dns.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => resolver::host_nameservers(),
            (false, false) => settings.host.dns.clone(),
        };
        self.responder = Some(Responder::start(namespace, Knowledge { networks, upstream })?);
        Ok(())
    }

    /// Joins one more network, while the container runs.
    pub(super) fn connect(
        &mut self,
        store: &Store,
        runtime: &Path,
        container: &Container,
        wish: &NetworkWish,
    ) -> Result<(), JoinError> {
        self.attach(store, runtime, container, wish)?;
        self.choose_way_out(store)?;
        self.changed(store, runtime, container)?;
        let paths = store.container_paths(&container.record.id);
        Ok(spec::links_added(&links_of(store, std::slice::from_ref(wish)), &paths).map_err(Box::new)?)
    }

    fn changed(&mut self, store: &Store, runtime: &Path, container: &Container) -> Result<(), JoinError> {
        let settings = &container.state.settings;
        self.respond(store, runtime, settings)?;
        let paths = store.container_paths(&container.record.id);
        let changed = spec::network_changed(settings, self.responder.is_some(), &self.addresses(), &paths);
        Ok(changed.map_err(Box::new)?)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let of = |one: &EndpointState| {
            let six = one.endpoint.six.map(|six| IpAddr::V6(six.address));
            std::iter::once(IpAddr::V4(one.endpoint.address)).chain(six)
        };
        self.endpoints.values().flat_map(of).collect()
    }

    /// Leaves a network, while the container runs.
    pub(super) fn disconnect(
        &mut self,
        store: &Store,
        runtime: &Path,
        container: &Container,
        network: &str,
    ) -> Result<(), JoinError> {
        let not_connected = || JoinError::NotConnected(network.to_owned());
        let left = self.endpoints.remove(network).ok_or_else(not_connected)?;
        unregister(store, runtime, network, &left.endpoint);
        left.endpoint.detach()?;
        self.choose_way_out(store)?;
        self.changed(store, runtime, container)
    }

    /// Leaves all networks; the links end with the namespace.
    pub(super) fn leave(self, store: &Store, runtime: &Path) {
        for (name, state) in &self.endpoints {
            unregister(store, runtime, name, &state.endpoint);
        }
    }

    fn address(&self) -> Option<Ipv4Addr> {
        let way_out = self.endpoints.values().find(|one| one.leads_out);
        way_out.or_else(|| self.endpoints.values().next()).map(|one| one.endpoint.address)
    }

    /// What is written down of it.
    pub(super) fn state(&self, runtime: &Path) -> Option<NetworkState> {
        self.namespace.as_ref().map(|_| NetworkState {
            endpoints: self.endpoints.clone(),
            bindings: self.bindings.clone(),
            runtime: runtime.to_owned(),
        })
    }

    /// What the sandbox must know of it.
    pub(super) fn place(&self, store: &Store, container: &Container) -> Result<Place, JoinError> {
        let linked = links::linked(store, container)?;
        let mut links: Vec<_> = linked.iter().map(Linked::host).collect();
        let on_default = container.state.settings.host.network == NetworkChoice::Bridge;
        let named = container.state.settings.host.links.iter().filter(|_| !on_default);
        for (name, alias) in named {
            let other = super::super::state::find(store, name).map_err(|error| Box::new(error.into()))?;
            let network = other.state.network.unwrap_or_default();
            let shared = network.endpoints.iter().find(|(name, _)| self.endpoints.contains_key(*name));
            if let Some((_, state)) = shared {
                let address = IpAddr::V4(state.endpoint.address);
                links.push((alias.clone(), address));
                links.push((other.record.name, address));
            }
        }
        links.extend(links_of(store, &container.state.settings.host.networks));
        Ok(Place {
            network: self.network.clone().unwrap_or(Network::None),
            addresses: match self.addresses() {
                // what has no address of its own knows itself all the same
                none if none.is_empty() && self.namespace.is_some() => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                some => some,
            },
            gateway: self.endpoints.values().find(|one| one.leads_out).map(|one| one.endpoint.gateway),
            has_names: self.responder.is_some(),
            links,
            variables: links::variables(container, &linked),
        })
    }
}

/// The names that were wished for others on single networks, and where those are; who is not there has none.
fn links_of(store: &Store, wishes: &[NetworkWish]) -> Vec<(String, IpAddr)> {
    let mut links = Vec::new();
    for (wish, link) in wishes.iter().flat_map(|wish| wish.links.iter().map(move |link| (wish, link))) {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        let other = super::super::state::find(store, name).ok().and_then(|other| other.state.network);
        let place = other.and_then(|network| network.endpoints.get(&wish.network).cloned());
        links.extend(place.map(|place| (alias.to_owned(), IpAddr::V4(place.endpoint.address))));
    }
    links
}

/// Sets what is wished for a link.
fn set(namespace: &NetNs, switches: &[(String, String)]) -> Result<(), JoinError> {
    for (name, value) in switches {
        let path = Path::new("/proc/sys").join(name);
        if let Err(source) = namespace.run(|| std::fs::write(&path, value))? {
            return Err(JoinError::Set { name: name.clone(), source });
        }
    }
    Ok(())
}

/// Who wants an address must be on a network that was made with addresses.
fn check_addresses(record: &NetworkRecord, wish: &NetworkWish) -> Result<(), JoinError> {
    let is_given = |six: bool| record.pools.iter().any(|pool| pool.is_six() == six && !pool.chosen);
    // the networks that are always there keep no pools
    let has_pools = !record.pools.is_empty();
    let lacks = |wanted: bool, six: bool| wanted && has_pools && !is_given(six);
    if lacks(wish.address.is_some(), false) || lacks(wish.address6.is_some(), true) {
        return Err(JoinError::NoOwnSubnet(record.name.clone()));
    }
    Ok(())
}

/// Takes back the names of a container whose shim was killed.
pub(crate) fn forget_names(store: &Store, network: &NetworkState) {
    if network.runtime.as_os_str().is_empty() {
        return;
    }
    for (name, state) in &network.endpoints {
        unregister(store, &network.runtime, name, &state.endpoint);
    }
}

/// The bridge of a network that a container leaves keeps its name no longer.
fn unregister(store: &Store, runtime: &Path, network: &str, endpoint: &Endpoint) {
    if network == DEFAULT {
        return;
    }
    let bridge = |record: NetworkRecord| -> Bridge { bridge_of(&record, runtime) };
    let unregistered = match look_up(store, network) {
        Ok(record) => bridge(record).names(network).unregister(endpoint),
        Err(error) => {
            tracing::debug!(%error, network, "a network is gone before its containers");
            return;
        }
    };
    if let Err(error) = unregistered {
        tracing::warn!(%error, network, "a name of the container stays");
    }
}

/// All names that others on a network may call a container.
pub(crate) fn names_of(container: &Container, wish: &NetworkWish) -> Vec<String> {
    let settings = &container.state.settings;
    let short = container.record.id.short().to_owned();
    let mut names = vec![container.record.name.clone()];
    for name in wish.aliases.iter().chain([&short, &settings.hostname]) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn hardware_address(text: &str) -> Result<[u8; 6], JoinError> {
    let invalid = || JoinError::HardwareAddress(text.to_owned());
    let mut bytes = [0; 6];
    let mut words = text.split([':', '-']);
    for byte in &mut bytes {
        *byte = u8::from_str_radix(words.next().ok_or_else(invalid)?, 16).map_err(|_| invalid())?;
    }
    Ok(bytes)
}

/// The exposed ports that are not published yet.
fn unpublished(settings: &Settings, published: &[Publication]) -> Vec<Publication> {
    let mut more = Vec::new();
    for port in &settings.exposed_ports {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let Ok(container_port) = number.parse() else { continue };
        let transport = if protocol == "udp" { Transport::Udp } else { Transport::Tcp };
        let is_there =
            |known: &&Publication| known.container_port == container_port && known.transport == transport;
        if published.iter().find(is_there).is_none() {
            more.push(Publication { host_address: None, host_ports: None, container_port, transport });
        }
    }
    more
}
