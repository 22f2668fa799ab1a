//! `port`, and how published ports are written.

use super::told;
use crate::args::container::look::Port;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::container::{self, Binding, Container};
use std::fmt;
use std::net::IpAddr;

impl Verb for Port {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let found = container::find(&store, &self.container).map_err(|error| told(&error))?;
        let mut bindings: Vec<Binding> =
            found.state.network.map(|network| network.bindings).unwrap_or_default();
        bindings.sort_by_key(|one| (one.container_port, one.transport, one.host.ip(), one.host.port()));
        let Some(port) = &self.port else {
            let lines = bindings
                .iter()
                .map(|one| format!("{}/{} -> {}\n", one.container_port, one.transport, one.host));
            return session.print(&lines.collect::<String>()).map(|()| 0);
        };
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        if number.parse::<u16>().is_err() {
            let text =
                format!("invalid port ({port}): strconv.ParseUint: parsing {number:?}: invalid syntax");
            return Err(Failure::new(format!("Error: {text}")));
        }
        let is_it = |one: &&Binding| {
            one.container_port.to_string() == number && one.transport.to_string() == protocol
        };
        let hosts: Vec<String> = bindings.iter().filter(is_it).map(|one| one.host.to_string()).collect();
        if hosts.is_empty() {
            let text = format!("Error: No public port '{port}' published for {}", self.container);
            return Err(Failure::new(text));
        }
        session.print(&format!("{}\n", hosts.join("\n"))).map(|()| 0)
    }
}

/// The ports of a container as `ps` shows them, see [`shown`].
pub(super) fn column(container: &Container) -> String {
    if !container.state.is_running() {
        return String::new();
    }
    let network = container.state.network.clone().unwrap_or_default();
    shown(&network.bindings, &container.state.settings.exposed_ports)
}

/// Neighbours that are published under their own number, or only exposed, joined to ranges; then the others.
fn shown(bindings: &[Binding], exposed: &[String]) -> String {
    let mut bindings = bindings.to_vec();
    bindings.sort_by_key(|one| (one.container_port, one.host.ip(), one.host.port(), one.transport));
    let (same, other): (Vec<&Binding>, Vec<&Binding>) =
        bindings.iter().partition(|one| one.host.port() == one.container_port);
    let is_published = |port: &(u16, &str)| {
        bindings.iter().any(|one| one.container_port == port.0 && one.transport.to_string() == port.1)
    };
    let mut ports: Vec<(u16, Option<IpAddr>, String)> = exposed
        .iter()
        .filter_map(|port| port.split_once('/'))
        .filter_map(|(number, transport)| Some((number.parse().ok()?, transport)))
        .filter(|port| !is_published(port))
        .map(|(number, transport)| (number, None, transport.to_owned()))
        .collect();
    ports.extend(same.iter().map(|one| (one.container_port, Some(one.host.ip()), one.transport.to_string())));
    ports.sort();
    let mut runs: Vec<Run> = Vec::new();
    let mut ended = Vec::new();
    for (number, ip, transport) in ports {
        let Some(run) = runs.iter_mut().find(|run| run.ip == ip && run.transport == transport) else {
            runs.push(Run { ip, transport, first: number, last: number });
            continue;
        };
        if run.last.checked_add(1) != Some(number) {
            ended.push(run.to_string());
            run.first = number;
        }
        run.last = number;
    }
    ended.extend(runs.iter().map(Run::to_string));
    ended.extend(other.iter().map(|one| format!("{}->{}/{}", one.host, one.container_port, one.transport)));
    ended.join(", ")
}

/// Ports in a row.
struct Run {
    /// Where they are published, if at all.
    ip: Option<IpAddr>,
    transport: String,
    first: u16,
    last: u16,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ip, transport, first, last } = self;
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match ip {
            None => write!(f, "{range}/{transport}"),
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:{range}->{range}/{transport}"),
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:{range}->{range}/{transport}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lighter_engine::container::Transport;

    #[test]
    fn neighbours_are_joined() {
        let one = |host: &str, container_port| Binding {
            host: host.parse().expect("an address"),
            container_port,
            transport: Transport::Tcp,
        };
        let check = |bindings: &[Binding], exposed: &[&str], expected: &str| {
            let exposed: Vec<String> = exposed.iter().map(|port| (*port).to_owned()).collect();
            assert_eq!(shown(bindings, &exposed), expected);
        };
        check(&[one("127.0.0.1:32768", 80)], &["80/tcp", "80/udp"], "80/udp, 127.0.0.1:32768->80/tcp");
        check(
            &[one("0.0.0.0:9000", 81), one("[::]:9000", 81), one("0.0.0.0:9001", 82)],
            &[],
            "0.0.0.0:9000->81/tcp, [::]:9000->81/tcp, 0.0.0.0:9001->82/tcp",
        );
        check(
            &[one("0.0.0.0:8001", 8001), one("0.0.0.0:8000", 8000), one("[::]:8000", 8000)],
            &["7/tcp", "9/tcp", "8/tcp", "11/tcp"],
            "7-9/tcp, 11/tcp, 0.0.0.0:8000-8001->8000-8001/tcp, [::]:8000->8000/tcp",
        );
    }
}
