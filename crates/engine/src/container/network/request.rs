//! What is asked of a new network, and whether that makes one.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use jiff::Timestamp;
use lighter_image::go_bool;
use lighter_sandbox::network::{BridgeSpec, Six, Subnet, Subnet6};
use lighter_store::ContainerId;

use super::{AddressPool, NetworkRecord, local};

/// The name of the bridge.
pub(super) const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// Whether those on the bridge reach each other.
const AMONG_EACH_OTHER: &str = "com.docker.network.bridge.enable_icc";
/// Whether senders hide behind the machine's address.
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// The address of the host that ports are published on where none is given.
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
/// The largest packet.
const MTU: &str = "com.docker.network.driver.mtu";
/// What the names of the links in containers begin with.
const LINK_PREFIX: &str = "com.docker.network.container_iface_prefix";
/// Whether there is IPv4, IPv6.
const ENABLE: [&str; 2] = ["com.docker.network.enable_ipv4", "com.docker.network.enable_ipv6"];
/// How packets from outside come in.
const GATEWAY_MODES: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];
/// What is not done here, with the values that ask for nothing.
const NOT_DONE: [(&str, &str); 2] = [
    ("com.docker.network.bridge.inhibit_ipv4", "false"),
    ("com.docker.network.bridge.trusted_host_interfaces", ""),
];
/// The longest name of a link.
const LINK_NAME_LEN: usize = 15;

/// What is asked of a new network.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// `--driver`.
    pub driver: String,
    /// `--ipv4`, where it is given.
    pub ipv4: Option<bool>,
    /// `--ipv6`, where it is given.
    pub ipv6: Option<bool>,
    /// `--subnet`, `--gateway`, `--ip-range`, `--aux-address`.
    pub pools: Vec<AddressPool>,
    /// `--ipam-driver`.
    pub ipam_driver: String,
    /// `--ipam-opt`.
    pub ipam_options: BTreeMap<String, String>,
    /// `--scope`.
    pub scope: String,
    /// `--ingress`.
    pub ingress: bool,
    /// `--config-only`.
    pub config_only: bool,
    /// `--config-from`.
    pub config_from: Option<String>,
    /// `--internal`.
    pub internal: bool,
    /// `--attachable`.
    pub attachable: bool,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--opt`.
    pub options: BTreeMap<String, String>,
}

/// Why what is asked for makes no network. The words are Docker's, where it knows the case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkRequestError {
    /// The driver is unknown.
    #[error("plugin {0:?} not found")]
    Driver(String),
    /// There is one of that kind, and no other.
    #[error("only one instance of {0:?} network is allowed")]
    OnlyOne(String),
    /// There is no swarm.
    #[error("{0}")]
    NoSwarm(&'static str),
    /// A configuration says what no configuration can.
    #[error(
        "configuration network can only contain network specific fields. Network operator fields like [ ingress | \
         internal | attachable | scope ] are not supported."
    )]
    OperatorFields,
    /// A configuration is made after another.
    #[error("a configuration network cannot depend on another configuration network")]
    ConfigOfConfig,
    /// There is no such configuration.
    #[error("configuration network {0:?} does not exist")]
    NoConfig(String),
    /// Something is asked for that the configuration says.
    #[error("{0} are not supported if the network depends on a configuration network")]
    BesideConfig(&'static str),
    /// It would have no addresses.
    #[error("IPv4 or IPv6 must be enabled")]
    NoFamily,
    /// It would have no addresses of IPv4.
    #[error("networks without IPv4 are not supported")]
    OnlySix,
    /// There are several subnets of a family.
    #[error("bridge driver doesn't support multiple subnets")]
    SeveralSubnets,
    /// The addresses make no sense.
    #[error("invalid network config:\n{}", .0.join("\n"))]
    Pools(Vec<String>),
    /// The driver of addresses has none.
    #[error("ipv4 pool is empty")]
    NoPool,
    /// An option's value makes no sense.
    #[error("failed to parse {name} value: {value} ({why})")]
    Value {
        /// The option.
        name: String,
        /// Its value.
        value: String,
        /// Why not.
        why: String,
    },
    /// The size of a packet is none.
    #[error("invalid MTU number: {0}")]
    Mtu(i64),
    /// The name is too long for a link.
    #[error("numerical result out of range")]
    LongName,
    /// A way in that only a network without one has.
    #[error("gateway mode 'isolated' can only be used for an internal network")]
    Isolated,
    /// It is not done here.
    #[error("option {0}={1} is not supported")]
    NotDone(String, String),
}

type Result<T> = std::result::Result<T, NetworkRequestError>;

impl NetworkRequest {
    /// The network that is asked for; `found` is the one of the name that it is to be made after.
    pub(super) fn into_record(mut self, found: Option<NetworkRecord>) -> Result<NetworkRecord> {
        self.check_scope()?;
        let from = self.take_configuration(found)?;
        if !self.config_only {
            check_driver(&self.driver)?;
        }
        let (ipv4, ipv6) = (self.family(0, self.ipv4, true)?, self.family(1, self.ipv6, false)?);
        match (ipv4, ipv6) {
            (false, false) => return Err(NetworkRequestError::NoFamily),
            (false, true) => return Err(NetworkRequestError::OnlySix),
            _ => {}
        }
        self.check_pools()?;
        check_options(&self.options, self.internal)?;
        let four = self.pools.iter().find(|pool| !pool.is_six());
        let mut pools = self.pools.clone();
        pools.sort_by_key(AddressPool::is_six);
        Ok(NetworkRecord {
            id: ContainerId::random().to_string(),
            name: self.name,
            driver: if self.config_only { "null" } else { "bridge" }.to_owned(),
            ipv6: from.as_ref().map_or(ipv6, |from| from.ipv6),
            subnet: four.and_then(|pool| pool.subnet.parse().ok()),
            gateway: four.and_then(|pool| pool.gateway.as_ref()?.parse().ok()),
            pools,
            ipam_options: self.ipam_options,
            scope: if self.scope.is_empty() { local() } else { self.scope },
            config_only: self.config_only,
            config_from: self.config_from.unwrap_or_default(),
            internal: self.internal,
            attachable: self.attachable,
            labels: self.labels,
            options: self.options,
            created_at: Timestamp::now(),
        })
    }

    fn check_scope(&self) -> Result<()> {
        if self.config_only && (self.ingress || self.internal || self.attachable || !self.scope.is_empty()) {
            return Err(NetworkRequestError::OperatorFields);
        }
        if self.ingress {
            return Err(NetworkRequestError::NoSwarm("Ingress network can only be global scope network"));
        }
        if self.scope == "swarm" {
            let fault = "cannot create a swarm scoped network when swarm is not active";
            return Err(NetworkRequestError::NoSwarm(fault));
        }
        Ok(())
    }

    /// Takes over what the configuration says that it is made after.
    fn take_configuration(&mut self, found: Option<NetworkRecord>) -> Result<Option<NetworkRecord>> {
        let Some(name) = self.config_from.clone().filter(|name| !name.is_empty()) else { return Ok(None) };
        if self.config_only {
            return Err(NetworkRequestError::ConfigOfConfig);
        }
        let missing = || NetworkRequestError::NoConfig(name.clone());
        let from = found.filter(|one| one.config_only).ok_or_else(missing)?;
        let has_own = !self.pools.is_empty()
            || !self.labels.is_empty()
            || !self.ipam_options.is_empty()
            || self.ipv6 == Some(true);
        if has_own {
            return Err(NetworkRequestError::BesideConfig("user specified configurations"));
        }
        if !self.options.is_empty() {
            return Err(NetworkRequestError::BesideConfig("network driver options"));
        }
        self.pools.clone_from(&from.pools);
        self.labels.clone_from(&from.labels);
        self.options.clone_from(&from.options);
        self.ipam_options.clone_from(&from.ipam_options);
        Ok(Some(from))
    }

    /// Whether a family of addresses is on: by its flag, else by its option.
    fn family(&self, number: usize, flag: Option<bool>, usual: bool) -> Result<bool> {
        let by_option = match self.options.get(ENABLE[number]) {
            Some(value) => Some(switch(ENABLE[number], value)?),
            None => None,
        };
        Ok(flag.or(by_option).unwrap_or(usual))
    }

    fn check_pools(&self) -> Result<()> {
        match self.ipam_driver.as_str() {
            "" | "default" => {}
            "null" => return Err(NetworkRequestError::NoPool),
            other => return Err(NetworkRequestError::Driver(other.to_owned())),
        }
        let faults: Vec<String> = self.pools.iter().flat_map(AddressPool::faults).collect();
        if !faults.is_empty() {
            return Err(NetworkRequestError::Pools(faults));
        }
        let sixes = self.pools.iter().filter(|pool| pool.is_six()).count();
        if sixes > 1 || self.pools.len() - sixes > 1 {
            return Err(NetworkRequestError::SeveralSubnets);
        }
        Ok(())
    }
}

fn check_driver(driver: &str) -> Result<()> {
    match driver {
        "bridge" | "" => Ok(()),
        "host" | "null" => Err(NetworkRequestError::OnlyOne(driver.to_owned())),
        "overlay" => Err(NetworkRequestError::NoSwarm(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to \
             swarm and try again.",
        )),
        other => Err(NetworkRequestError::Driver(other.to_owned())),
    }
}

fn check_options(options: &BTreeMap<String, String>, internal: bool) -> Result<()> {
    for name in [AMONG_EACH_OTHER, MASQUERADE] {
        options.get(name).map_or(Ok(true), |value| switch(name, value))?;
    }
    let fault = |name: &str, value: &String, why: String| NetworkRequestError::Value {
        name: name.to_owned(),
        value: value.clone(),
        why,
    };
    if let Some(value) = options.get(MTU) {
        let why = || format!("strconv.Atoi: parsing {value:?}: invalid syntax");
        let size: i64 = value.parse().map_err(|_| fault(MTU, value, why()))?;
        if size < 0 {
            return Err(NetworkRequestError::Mtu(size));
        }
    }
    if let Some(value) = options.get(HOST_BINDING)
        && value.parse::<std::net::Ipv4Addr>().is_err()
    {
        return Err(fault(HOST_BINDING, value, "nil ip".to_owned()));
    }
    if options.get(BRIDGE_NAME).is_some_and(|name| name.len() > LINK_NAME_LEN) {
        return Err(NetworkRequestError::LongName);
    }
    for name in GATEWAY_MODES {
        match options.get(name).map(String::as_str) {
            None | Some("nat" | "") => {}
            Some("isolated") if !internal => return Err(NetworkRequestError::Isolated),
            Some(mode @ ("isolated" | "routed" | "nat-unprotected")) => {
                return Err(NetworkRequestError::NotDone(name.to_owned(), mode.to_owned()));
            }
            Some(mode) => return Err(fault(name, &mode.to_owned(), format!("unknown gateway mode {mode}"))),
        }
    }
    for (name, nothing) in NOT_DONE {
        match options.get(name) {
            Some(value) if value != nothing => {
                return Err(NetworkRequestError::NotDone(name.to_owned(), value.clone()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A switch as Go reads it.
fn switch(name: &str, value: &str) -> Result<bool> {
    go_bool(value).ok_or_else(|| NetworkRequestError::Value {
        name: name.to_owned(),
        value: value.to_owned(),
        why: format!("strconv.ParseBool: parsing {value:?}: invalid syntax"),
    })
}

impl NetworkRecord {
    /// The bridge that it is.
    pub(super) fn bridge_spec(&self) -> BridgeSpec {
        let four = self.pools.iter().find(|pool| !pool.is_six());
        let is_off =
            |name: &str| self.options.get(name).is_some_and(|value| switch(name, value) == Ok(false));
        let mut spec = BridgeSpec::of_network(&self.id);
        if let Some(name) = self.options.get(BRIDGE_NAME).filter(|name| !name.is_empty()) {
            spec.interface.clone_from(name);
        }
        spec.subnet = self.subnet;
        spec.gateway = self.gateway;
        spec.range = four.and_then(|pool| pool.range.as_ref()?.parse::<Subnet>().ok());
        spec.reserved = self.pools.iter().flat_map(AddressPool::reserved).collect();
        spec.six = self.ipv6.then(|| self.six());
        spec.internal = self.internal;
        spec.isolated = is_off(AMONG_EACH_OTHER);
        spec.keeps_senders = is_off(MASQUERADE);
        spec.mtu = self.options.get(MTU).and_then(|mtu| mtu.parse().ok()).filter(|mtu| *mtu > 0);
        spec
    }

    fn six(&self) -> Six {
        let pool = self.pools.iter().find(|pool| pool.is_six());
        let subnet =
            pool.and_then(|pool| pool.subnet.parse().ok()).unwrap_or_else(|| Subnet6::local(&self.id));
        let given = pool.and_then(|pool| pool.gateway.as_ref()?.parse().ok());
        let first = || subnet.nth(1).unwrap_or(Ipv6Addr::UNSPECIFIED);
        Six { address: given.unwrap_or_else(first), subnet }
    }

    /// What the names of its links in containers begin with.
    pub(crate) fn link_prefix(&self) -> &str {
        self.options.get(LINK_PREFIX).map_or("eth", String::as_str)
    }

    /// The address of the host that ports are published on where none is given.
    pub(crate) fn host_binding(&self) -> Option<std::net::IpAddr> {
        let address: std::net::Ipv4Addr = self.options.get(HOST_BINDING)?.parse().ok()?;
        (!address.is_unspecified()).then(|| address.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut NetworkRequest)) -> Result<NetworkRecord> {
        let mut request = NetworkRequest { name: "n".to_owned(), ..NetworkRequest::default() };
        change(&mut request);
        let config = NetworkRequest {
            name: "c".to_owned(),
            config_only: true,
            pools: vec![AddressPool { subnet: "10.7.0.0/24".to_owned(), ..AddressPool::default() }],
            ..NetworkRequest::default()
        };
        let found = match request.config_from.as_deref() {
            Some("c") => Some(config.into_record(None)?),
            _ => None,
        };
        request.into_record(found)
    }

    fn with_option(name: &str, value: &str) -> Result<NetworkRecord> {
        asked(|request| drop(request.options.insert(name.to_owned(), value.to_owned())))
    }

    #[test]
    fn what_makes_no_network() {
        let check = |made: Result<NetworkRecord>, expected: &str| {
            assert_eq!(made.map_err(|error| error.to_string()), Err(expected.to_owned()));
        };
        check(asked(|request| request.ipv4 = Some(false)), "IPv4 or IPv6 must be enabled");
        check(asked(|request| request.driver = "x".to_owned()), "plugin \"x\" not found");
        check(
            asked(|request| request.driver = "host".to_owned()),
            "only one instance of \"host\" network is allowed",
        );
        check(asked(|request| request.ipam_driver = "null".to_owned()), "ipv4 pool is empty");
        check(
            with_option(MTU, "x"),
            "failed to parse com.docker.network.driver.mtu value: x (strconv.Atoi: parsing \"x\": invalid syntax)",
        );
        check(with_option(MTU, "-1"), "invalid MTU number: -1");
        check(with_option(BRIDGE_NAME, "averyverylongname"), "numerical result out of range");
        check(
            with_option(AMONG_EACH_OTHER, "x"),
            "failed to parse com.docker.network.bridge.enable_icc value: x (strconv.ParseBool: parsing \"x\": invalid \
             syntax)",
        );
        check(
            with_option(GATEWAY_MODES[0], "isolated"),
            "gateway mode 'isolated' can only be used for an internal network",
        );
        check(
            with_option(NOT_DONE[0].0, "true"),
            "option com.docker.network.bridge.inhibit_ipv4=true is not supported",
        );
        assert!(with_option("other", "x").is_ok());
    }

    #[test]
    fn networks_after_a_configuration() {
        let made = asked(|request| request.config_from = Some("c".to_owned())).expect("is made");
        assert_eq!(made.subnet.map(|subnet| subnet.to_string()).as_deref(), Some("10.7.0.0/24"));
        assert_eq!(made.config_from, "c");
        let missing = asked(|request| request.config_from = Some("x".to_owned()));
        assert_eq!(missing, Err(NetworkRequestError::NoConfig("x".to_owned())));
        let both = asked(|request| {
            request.config_from = Some("c".to_owned());
            request.options.insert("a".to_owned(), "b".to_owned());
        });
        assert_eq!(both, Err(NetworkRequestError::BesideConfig("network driver options")));
        let fields = asked(|request| (request.config_only, request.internal) = (true, true));
        assert_eq!(fields, Err(NetworkRequestError::OperatorFields));
    }

    #[test]
    fn a_record_says_what_its_bridge_is() {
        let record = asked(|request| {
            request.ipv6 = Some(true);
            let six = AddressPool { subnet: "fd00:5::/64".to_owned(), ..AddressPool::default() };
            let four = AddressPool {
                subnet: "10.5.0.0/24".to_owned(),
                range: Some("10.5.0.128/25".to_owned()),
                auxiliary: BTreeMap::from([("a".to_owned(), "10.5.0.130".to_owned())]),
                ..AddressPool::default()
            };
            request.pools = vec![six, four];
            request.options.insert(AMONG_EACH_OTHER.to_owned(), "false".to_owned());
            request.options.insert(BRIDGE_NAME.to_owned(), "own0".to_owned());
        });
        let spec = record.expect("is made").bridge_spec();
        assert_eq!(spec.six.map(|six| six.address.to_string()).as_deref(), Some("fd00:5::1"));
        assert_eq!(spec.range.map(|range| range.to_string()).as_deref(), Some("10.5.0.128/25"));
        assert_eq!(spec.reserved.len(), 1);
        assert_eq!((spec.interface.as_str(), spec.isolated, spec.keeps_senders), ("own0", true, false));
    }
}
