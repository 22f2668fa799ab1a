//! `network create`, `ls`, `rm`, `inspect`, `connect`, `disconnect`, `prune`.

use super::{each, pools, told};
use crate::args::container::network::{
    NetworkConnect, NetworkCreate, NetworkDisconnect, NetworkInspect, NetworkList, NetworkPrune,
    NetworkRemove,
};
use crate::command::inspect::all;
use crate::environment;
use crate::failure::Failure;
use crate::render::listing::Listing;
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::container::{
    self, ContainerFilter, NetworkError, NetworkRecord, NetworkRequest, NetworkWish,
};
use serde_json::{Map, Value, json};
use std::path::Path;

const LISTING: Listing = Listing {
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    methods: &["Label"],
};
const QUESTION: &str = "WARNING! This will remove all custom networks not used by at least one container.\n\
                        Are you sure you want to continue?";
/// The networks that are always there.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];
/// How much of an id is shown.
const SHORT: usize = 12;

impl Verb for NetworkCreate {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let pools = pools::pools(&self).map_err(Failure::new)?;
        let request = NetworkRequest {
            name: self.name,
            driver: self.driver,
            ipv4: (!self.ipv4).then_some(false),
            ipv6: self.ipv6.then_some(true),
            pools,
            ipam_driver: self.ipam_driver,
            ipam_options: self.ipam_opt.into_iter().collect(),
            scope: self.scope.unwrap_or_default(),
            ingress: self.ingress,
            config_only: self.config_only,
            config_from: self.config_from,
            internal: self.internal,
            attachable: self.attachable,
            labels: self.label.into_iter().collect(),
            options: self.opt.into_iter().collect(),
        };
        let store = session.open_store()?;
        let made = container::create_network(&store, &environment::runtime(), request);
        session.print(&format!("{}\n", made.map_err(|error| told(&error))?.id)).map(|()| 0)
    }
}

impl Verb for NetworkList {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let filters: Vec<(String, String)> =
            self.filter.iter().map(|text| filter(text)).collect::<Result<_, _>>()?;
        let store = session.open_store()?;
        let mut rows = Vec::new();
        for one in container::networks(&store).map_err(|error| told(&error))? {
            if holds_all(&store, &one, &filters)? {
                rows.push(self.row(&one));
            }
        }
        session.print(&LISTING.render(self.format.as_deref(), self.quiet, &rows)?).map(|()| 0)
    }
}

impl NetworkList {
    fn row(&self, one: &NetworkRecord) -> Value {
        let labels: Vec<String> = one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        json!({
            "CreatedAt": units::time(one.created_at),
            "Driver": one.driver,
            "ID": if self.no_trunc { one.id.as_str() } else { &one.id[..SHORT] },
            "IPv4": "true",
            "IPv6": one.ipv6.to_string(),
            "Internal": one.internal.to_string(),
            "Label": one.labels,
            "Labels": labels.join(","),
            "Name": one.name,
            "Scope": one.scope,
        })
    }
}

fn filter(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some(("type", value)) if !matches!(value, "custom" | "builtin") => {
            Err(Failure::new(format!("Error: invalid filter: 'type'='{value}'")))
        }
        Some((name @ ("dangling" | "driver" | "id" | "label" | "name" | "scope" | "type"), value)) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        Some((name, _)) => Err(Failure::new(format!("Error: invalid filter '{name}'"))),
        None => Err(Failure::new(format!("Error: invalid filter '{text}'"))),
    }
}

fn holds_all(store: &Store, one: &NetworkRecord, filters: &[(String, String)]) -> Result<bool, Failure> {
    let is_predefined = PREDEFINED.contains(&one.name.as_str());
    for (name, value) in filters {
        let holds = match name.as_str() {
            "driver" => one.driver == *value,
            "id" => one.id.starts_with(value.as_str()),
            "label" => match value.split_once('=') {
                Some((key, value)) => one.labels.get(key).is_some_and(|found| found == value),
                None => one.labels.contains_key(value),
            },
            "name" => container::matcher(value)(&one.name),
            "scope" => one.scope == *value,
            "type" => (value == "custom") != is_predefined,
            _ => {
                let wanted =
                    crate::args::switch(value).map_err(|text| Failure::new(format!("Error: {text}")))?;
                let members = container::members(store, one).map_err(|error| told(&error))?;
                (members.is_empty() && !is_predefined) == wanted
            }
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Verb for NetworkRemove {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let runtime = environment::runtime();
        let is_there =
            |name: &String| !matches!(container::find_network(&store, name), Err(NetworkError::NotFound(_)));
        // nothing is said of what is not there, where that is no fault
        let names = self.names.iter().filter(|name| !self.force || is_there(name)).cloned();
        let names: Vec<String> = names.collect();
        each(session, &names, |name| match container::remove_network(&store, &runtime, name) {
            Ok(_) => Ok(()),
            Err(NetworkError::NotFound(_)) if self.force => Ok(()),
            Err(error) => Err(told(&error)),
        })
    }
}

impl Verb for NetworkInspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let runtime = environment::runtime();
        all(session, &self.names, self.format.as_deref(), |name| {
            let found = container::find_network(&store, name).map_err(|error| told(&error))?;
            described(&store, &runtime, &found)
        })
    }
}

/// A network as Docker's engine describes it.
///
/// # Errors
/// Where its containers cannot be read.
pub(super) fn described(store: &Store, runtime: &Path, one: &NetworkRecord) -> Result<Value, Failure> {
    let mut containers = Map::new();
    for member in container::members(store, one).map_err(|error| told(&error))? {
        let network = member.state.network.unwrap_or_default();
        let Some(state) = network.endpoints.get(&one.name) else { continue };
        let endpoint = &state.endpoint;
        let shown = json!({
            "Name": member.record.name,
            "EndpointID": endpoint.host_interface,
            "MacAddress": endpoint.hardware_address.map(|byte| format!("{byte:02x}")).join(":"),
            "IPv4Address": format!("{}/{}", endpoint.address, endpoint.subnet.prefix_len()),
            "IPv6Address": endpoint
                .six
                .map(|six| format!("{}/{}", six.address, six.subnet.prefix_len()))
                .unwrap_or_default(),
        });
        containers.insert(member.record.id.to_string(), shown);
    }
    let config: Vec<Value> = if one.pools.is_empty() {
        let addresses = container::addresses_of(one, runtime);
        let shown = |(subnet, gateway): &(_, _)| json!({ "Subnet": subnet, "Gateway": gateway });
        addresses.iter().map(shown).collect()
    } else {
        one.pools.iter().map(pools::shown).collect()
    };
    Ok(json!({
        "Name": one.name,
        "Id": one.id,
        "Created": one.created_at.to_string(),
        "Scope": one.scope,
        "Driver": one.driver,
        "EnableIPv4": true,
        "EnableIPv6": one.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": one.ipam_options,
            "Config": if config.is_empty() { Value::Null } else { config.into() },
        },
        "Internal": one.internal,
        "Attachable": one.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": one.config_from },
        "ConfigOnly": one.config_only,
        "Containers": containers,
        "Options": one.options,
        "Labels": one.labels,
    }))
}

impl Verb for NetworkConnect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let address = match &self.ip {
            Some(ip) => {
                Some(ip.parse().map_err(|_| Failure::new(format!("Error: invalid IPv4 address: {ip}")))?)
            }
            None => None,
        };
        let address6 = match &self.ip6 {
            Some(ip) => {
                Some(ip.parse().map_err(|_| Failure::new(format!("Error: invalid IPv6 address: {ip}")))?)
            }
            None => None,
        };
        let wish = NetworkWish {
            aliases: self.alias,
            address,
            address6,
            by_hand: true,
            gateway_priority: self.gw_priority,
            driver_options: self
                .driver_opt
                .iter()
                .map(|text| driver_option(text))
                .collect::<Result<_, _>>()?,
            links: self.link.iter().map(|text| link(text)).collect::<Result<_, _>>()?,
            ..NetworkWish::of(&self.network)
        };
        let store = session.open_store()?;
        let connected = container::connect_network(&store, &self.network, &self.container, wish);
        connected.map(|()| 0).map_err(|error| told(&error))
    }
}

/// `KEY=VALUE`.
fn driver_option(text: &str) -> Result<(String, String), Failure> {
    let option = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) =
        option.ok_or_else(|| Failure::new("invalid key/value pair format in driver options"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// `CONTAINER` or `CONTAINER:ALIAS`.
fn link(text: &str) -> Result<String, Failure> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
        return Err(Failure::new(format!("bad format for links: {text}")).with_code(125));
    }
    Ok(text.to_owned())
}

impl Verb for NetworkDisconnect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        // nothing is left behind of a container that is gone, so force has nothing to do
        let left = container::disconnect_network(&store, &self.network, &self.container);
        left.map(|()| 0).map_err(|error| told(&error))
    }
}

impl Verb for NetworkPrune {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let filters = super::prune::filters(&self.filter)?;
        if !self.force && !session.confirms(QUESTION)? {
            return Ok(0);
        }
        let text = prune(&session.open_store()?, &filters)?;
        if text.is_empty() { Ok(0) } else { session.print(&text).map(|()| 0) }
    }
}

/// Removes the networks that no container uses and that the filters pick; what is told of it.
///
/// # Errors
/// A network that cannot be removed.
pub(crate) fn prune(store: &Store, filters: &[ContainerFilter]) -> Result<String, Failure> {
    let picks = |one: &NetworkRecord, filter: &ContainerFilter| {
        let has = |key: &str, value: &Option<String>| {
            one.labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        match filter {
            ContainerFilter::Until(time) => one.created_at < *time,
            ContainerFilter::Label(key, value) => has(key, value),
            ContainerFilter::NoLabel(key, value) => !has(key, value),
            _ => false,
        }
    };
    let runtime = environment::runtime();
    let mut removed = Vec::new();
    for one in container::networks(store).map_err(|error| told(&error))? {
        let is_picked = filters.iter().all(|filter| picks(&one, filter));
        if PREDEFINED.contains(&one.name.as_str()) || !is_picked {
            continue;
        }
        match container::remove_network(store, &runtime, &one.name) {
            Ok(_) => removed.push(one.name),
            Err(NetworkError::InUse { .. }) => {}
            Err(error) => return Err(told(&error)),
        }
    }
    Ok(if removed.is_empty() {
        String::new()
    } else {
        format!("Deleted Networks:\n{}\n\n", removed.join("\n"))
    })
}
