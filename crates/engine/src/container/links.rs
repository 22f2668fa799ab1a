//! `--link` on the default network: other containers by a name of one's own, and what they offer as variables.

use std::net::{IpAddr, Ipv4Addr};

use lighter_store::{FindContainerError, Store};

use super::network::DEFAULT;
use super::settings::{NetworkChoice, Settings};
use super::state::{self, Container, FindError, find};

/// Why a container is not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no such container, or no such link.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It does not run.
    #[error("Cannot link to a non running container: /{child} AS /{parent}/{alias}")]
    NotRunning {
        /// Its name.
        child: String,
        /// Who wants the link.
        parent: String,
        /// The name of the link.
        alias: String,
    },
    /// It is elsewhere.
    #[error("container {0} not attached to default bridge network")]
    Elsewhere(String),
    /// A name of a container, not of a link.
    #[error("Conflict, cannot remove the default link name of the container")]
    NoLink,
}

/// A container that another is linked to.
pub(super) struct Linked {
    alias: String,
    name: String,
    settings: Settings,
    address: Ipv4Addr,
}

/// Those that a container is linked to, where it is on the default network.
pub(super) fn linked(store: &Store, container: &Container) -> Result<Vec<Linked>, LinkError> {
    let host = &container.state.settings.host;
    if host.network != NetworkChoice::Bridge {
        return Ok(Vec::new());
    }
    host.links.iter().map(|(name, alias)| one(store, container, name, alias)).collect()
}

fn one(store: &Store, container: &Container, name: &str, alias: &str) -> Result<Linked, LinkError> {
    let other = find(store, name)?;
    let name = other.record.name;
    if !other.state.is_running() {
        let parent = container.record.name.clone();
        return Err(LinkError::NotRunning { child: name, parent, alias: alias.to_owned() });
    }
    let network = other.state.network.unwrap_or_default();
    let place = network.endpoints.get(DEFAULT);
    let place = place.ok_or_else(|| LinkError::Elsewhere(other.record.id.to_string()))?;
    let address = place.endpoint.address;
    Ok(Linked { alias: alias.to_owned(), name, settings: other.state.settings, address })
}

impl Linked {
    /// Its line in `/etc/hosts`: all its names, and the address.
    pub(super) fn host(&self) -> (String, IpAddr) {
        let mut names = format!("{} {}", self.alias, self.settings.hostname);
        if self.alias != self.name {
            names = format!("{names} {}", self.name);
        }
        (names, IpAddr::V4(self.address))
    }

    /// What it offers, as variables of the container `parent`.
    pub(super) fn variables(&self, parent: &str) -> Vec<String> {
        let prefix = self.alias.to_ascii_uppercase().replace('-', "_");
        let ports = ports(&self.settings.exposed_ports);
        let address = self.address;
        let mut variables = Vec::new();
        if let Some((protocol, port)) = ports.first() {
            variables.push(format!("{prefix}_PORT={protocol}://{address}:{port}"));
        }
        for (protocol, port) in &ports {
            let name = format!("{prefix}_PORT_{port}_{}", protocol.to_ascii_uppercase());
            variables.push(format!("{name}={protocol}://{address}:{port}"));
            variables.push(format!("{name}_ADDR={address}"));
            variables.push(format!("{name}_PORT={port}"));
            variables.push(format!("{name}_PROTO={protocol}"));
        }
        for (protocol, first, last) in ranges(&ports) {
            let name = format!("{prefix}_PORT_{first}_{}", protocol.to_ascii_uppercase());
            variables.push(format!("{name}_START={protocol}://{address}:{first}"));
            variables.push(format!("{name}_PORT_START={first}"));
            variables.push(format!("{name}_END={protocol}://{address}:{last}"));
            variables.push(format!("{name}_PORT_END={last}"));
        }
        variables.push(format!("{prefix}_NAME=/{parent}/{}", self.alias));
        for variable in &self.settings.env {
            match variable.split_once('=') {
                None | Some(("HOME" | "PATH", _)) => {}
                Some((name, value)) => variables.push(format!("{prefix}_ENV_{name}={value}")),
            }
        }
        variables
    }
}

/// The ports `5432/tcp` as protocols and numbers: those of TCP first.
fn ports(exposed: &[String]) -> Vec<(&str, u16)> {
    let mut ports: Vec<(&str, u16)> = exposed
        .iter()
        .filter_map(|text| {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            Some((protocol, port.parse().ok()?))
        })
        .collect();
    ports.sort_by_key(|(protocol, port)| (*protocol != "tcp", *protocol, *port));
    ports
}

/// Ports that follow each other: protocol, first and last.
fn ranges<'a>(ports: &[(&'a str, u16)]) -> Vec<(&'a str, u16, u16)> {
    let follows =
        |one: &(&str, u16), next: &(&str, u16)| one.0 == next.0 && one.1.checked_add(1) == Some(next.1);
    let runs = ports.chunk_by(follows).filter(|run| run.len() > 1);
    runs.filter_map(|run| Some((run.first()?.0, run.first()?.1, run.last()?.1))).collect()
}

/// The variables of all links of a container.
pub(super) fn variables(container: &Container, linked: &[Linked]) -> Vec<String> {
    linked.iter().flat_map(|linked| linked.variables(&container.record.name)).collect()
}

/// Takes a link away, which is named by its container and its own name.
///
/// # Errors
/// [`LinkError`], where there is none.
pub fn remove_link(store: &Store, text: &str) -> Result<(), LinkError> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let Some((parent, alias)) = name.rsplit_once('/') else {
        find(store, name)?;
        return Err(LinkError::NoLink);
    };
    let missing = || FindError::Find(FindContainerError::NotFound(text.to_owned()));
    let container =
        find(store, parent).map_err(|error| if error.is_missing() { missing() } else { error })?;
    let is_meant = |link: &(String, String)| link.1 == alias;
    if !container.state.settings.host.links.iter().any(is_meant) {
        return Err(missing().into());
    }
    let changed = state::change(store, &container.record.id, |state| {
        state.settings.host.links.retain(|link| !is_meant(link));
    })?;
    if changed.is_running() {
        forget_host(&store.container_paths(&container.record.id).dir.join("hosts"), alias);
    }
    Ok(())
}

/// Takes a name out of a running container's `/etc/hosts`: the file itself is mounted, so it is written in place.
fn forget_host(path: &std::path::Path, alias: &str) {
    let others = |line: &&str| line.split_whitespace().nth(1) != Some(alias);
    let written = std::fs::read_to_string(path).and_then(|text| {
        let kept: Vec<&str> = text.lines().filter(others).collect();
        std::fs::write(path, format!("{}\n", kept.join("\n")))
    });
    if let Err(error) = written {
        tracing::warn!(%error, "the container still knows the name");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_tcp_come_first_and_ranges_are_told() {
        let exposed = ["9/udp", "7001/tcp", "80/tcp", "7000/tcp"].map(str::to_owned);
        let ports = ports(&exposed);
        assert_eq!(ports, [("tcp", 80), ("tcp", 7000), ("tcp", 7001), ("udp", 9)]);
        assert_eq!(ranges(&ports), [("tcp", 7000, 7001)]);
        assert!(ranges(&[("tcp", 65535), ("udp", 0)]).is_empty());
    }
}
