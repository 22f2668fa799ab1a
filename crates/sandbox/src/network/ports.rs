//! Published ports: what the user asks for (`-p`), and the sockets that are opened for it on this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use serde::{Deserialize, Serialize};

/// How many connections may wait to be accepted; the kernel lowers it to its own limit.
const BACKLOG: i32 = 4096;
/// How often a free port is looked for that is free for IPv4 and IPv6 alike.
const FREE_PORT_ATTEMPTS: usize = 64;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Single packets.
    Udp,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port of a container that shall be reachable on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The address on this machine; none means all addresses.
    pub host_address: Option<IpAddr>,
    /// The port on this machine: the first free one of the range; none takes any free port.
    pub host_ports: Option<(u16, u16)>,
    /// The port in the container.
    pub container_port: u16,
    /// The protocol.
    pub transport: Transport,
}

/// Why a text names no ports to publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicationError {
    /// The container's port is missing.
    #[error("no port specified: {0}<empty>")]
    NoPort(String),
    /// The address is none.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// The container's port or range is none.
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    /// The machine's port or range is none.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// The two ranges do not fit together.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container's range.
        container: String,
        /// The machine's range.
        host: String,
    },
    /// The protocol is unknown.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// The protocol is known and not supported.
    #[error("publishing ports of protocol sctp is not supported")]
    Sctp,
}

impl Publication {
    /// Reads `[[address:][port[-port]]:]port[-port][/protocol]`, as `-p` takes it: one publication for each port.
    ///
    /// # Errors
    /// [`PublicationError`] when the text is none of these.
    pub fn parse(text: &str) -> Result<Vec<Self>, PublicationError> {
        let (ports, transport) = split_transport(text)?;
        let (address, host, container) = split_address(ports)?;
        if container.is_empty() {
            return Err(PublicationError::NoPort(text.to_owned()));
        }
        let fault = || PublicationError::ContainerPort(container.to_owned());
        let inner = parse_range(container).ok_or_else(fault)?;
        if host.is_empty() {
            return Ok(range(inner).map(|port| Self::one(address, None, port, transport)).collect());
        }
        let fault = || PublicationError::HostPort(host.to_owned());
        let outer = parse_range(host).ok_or_else(fault)?;
        if inner.1 == inner.0 {
            return Ok(vec![Self::one(address, Some(outer), inner.0, transport)]);
        }
        if outer.1 - outer.0 != inner.1 - inner.0 {
            let (container, host) = (container.to_owned(), host.to_owned());
            return Err(PublicationError::Ranges { container, host });
        }
        let pairs = range(outer).zip(range(inner));
        Ok(pairs.map(|(outer, inner)| Self::one(address, Some((outer, outer)), inner, transport)).collect())
    }

    fn one(
        host_address: Option<IpAddr>,
        host_ports: Option<(u16, u16)>,
        container_port: u16,
        transport: Transport,
    ) -> Self {
        // Port 0 means any free port.
        let host_ports = host_ports.filter(|(first, _)| *first != 0);
        Self { host_address, host_ports, container_port, transport }
    }
}

fn range((first, last): (u16, u16)) -> impl Iterator<Item = u16> {
    first..=last
}

fn split_transport(text: &str) -> Result<(&str, Transport), PublicationError> {
    let (ports, name) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    match name.to_ascii_lowercase().as_str() {
        "tcp" | "" => Ok((ports, Transport::Tcp)),
        "udp" => Ok((ports, Transport::Udp)),
        "sctp" => Err(PublicationError::Sctp),
        _ => Err(PublicationError::Protocol(name.to_owned())),
    }
}

/// Splits `[[address:]host:]container`; an address of IPv6 may be in brackets.
fn split_address(ports: &str) -> Result<(Option<IpAddr>, &str, &str), PublicationError> {
    let Some((rest, container)) = ports.rsplit_once(':') else {
        return Ok((None, "", ports));
    };
    let Some((address, host)) = rest.rsplit_once(':') else {
        return Ok((None, rest, container));
    };
    if address.is_empty() {
        return Ok((None, host, container));
    }
    let bare = address.strip_prefix('[').and_then(|open| open.strip_suffix(']')).unwrap_or(address);
    let parsed = IpAddr::from_str(bare).map_err(|_| PublicationError::Address(address.to_owned()))?;
    Ok((Some(parsed), host, container))
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let number = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        if plain { digits.parse::<u16>().ok() } else { None }
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// A port of this machine that leads into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The address and port on this machine.
    pub host: SocketAddr,
    /// The port in the container.
    pub container_port: u16,
    /// The protocol.
    pub transport: Transport,
}

/// An open socket of a published port.
#[derive(Debug)]
pub struct Bound {
    /// What it is for.
    pub binding: Binding,
    pub(crate) socket: BoundSocket,
}

#[derive(Debug)]
pub(crate) enum BoundSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Why a port could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else has it.
    #[error("bind for {address} failed: port is already allocated")]
    InUse {
        /// The address and port on this machine.
        address: SocketAddr,
    },
    /// All ports of the range are taken.
    #[error("bind for {address} failed: all ports from {first} to {last} are already allocated")]
    RangeInUse {
        /// The address on this machine.
        address: IpAddr,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// The socket could not be opened for another reason.
    #[error("bind for {address} failed")]
    Bind {
        /// The address and port on this machine.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Opens the sockets of all publications, or none.
///
/// A publication for all addresses gets a socket for IPv4 and, where this machine has it, one for IPv6, both on the
/// same port.
///
/// # Errors
/// [`PublishError::InUse`] when a port is taken already, also by an earlier one of the publications.
pub fn publish(publications: &[Publication]) -> Result<Vec<Bound>, PublishError> {
    let mut bound = Vec::new();
    for publication in publications {
        bound.extend(publish_one(publication)?);
    }
    Ok(bound)
}

fn publish_one(publication: &Publication) -> Result<Vec<Bound>, PublishError> {
    let addresses = match publication.host_address {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    let Some((first, last)) = publication.host_ports else {
        return publish_anywhere(publication, &addresses);
    };
    for port in first..=last {
        match bind_all(publication, &addresses, port) {
            Err(PublishError::InUse { .. }) if first != last => {}
            result => return result,
        }
    }
    Err(PublishError::RangeInUse { address: addresses[0], first, last })
}

/// Lets the kernel choose a port for the first address, and takes it for the others as well.
fn publish_anywhere(publication: &Publication, addresses: &[IpAddr]) -> Result<Vec<Bound>, PublishError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match bind_all(publication, addresses, 0) {
            Err(PublishError::InUse { .. }) if attempt < FREE_PORT_ATTEMPTS => {}
            result => return result,
        }
    }
}

fn bind_all(
    publication: &Publication,
    addresses: &[IpAddr],
    mut port: u16,
) -> Result<Vec<Bound>, PublishError> {
    let mut bound: Vec<Bound> = Vec::new();
    for address in addresses {
        let wanted = SocketAddr::new(*address, port);
        let opened = open(wanted, publication.transport);
        match opened.and_then(|fd| finish(fd, publication.transport)) {
            Ok((host, socket)) => {
                port = host.port();
                let Publication { container_port, transport, .. } = *publication;
                bound.push(Bound { binding: Binding { host, container_port, transport }, socket });
            }
            // A machine without IPv6 is content with IPv4 when all addresses were meant.
            Err(error) if !bound.is_empty() && lacks_family(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(PublishError::InUse { address: wanted });
            }
            Err(source) => return Err(PublishError::Bind { address: wanted, source }),
        }
    }
    Ok(bound)
}

fn lacks_family(error: &io::Error) -> bool {
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn open(address: SocketAddr, transport: Transport) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, kind, flags, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&fd, true)?;
    }
    if transport == Transport::Tcp {
        set_socket_reuseaddr(&fd, true)?;
    }
    bind(&fd, &address)?;
    if transport == Transport::Tcp {
        listen(&fd, BACKLOG)?;
    }
    Ok(fd)
}

fn finish(fd: OwnedFd, transport: Transport) -> io::Result<(SocketAddr, BoundSocket)> {
    match transport {
        Transport::Tcp => {
            let listener = TcpListener::from(fd);
            Ok((listener.local_addr()?, BoundSocket::Tcp(listener)))
        }
        Transport::Udp => {
            let socket = UdpSocket::from(fd);
            Ok((socket.local_addr()?, BoundSocket::Udp(socket)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match Publication::parse(text) {
            Err(error) => error.to_string(),
            Ok(all) => {
                let one = |publication: &Publication| {
                    let address = publication.host_address.map_or("*".into(), |a| a.to_string());
                    let ports = publication.host_ports.map_or("*".into(), |(a, b)| format!("{a}-{b}"));
                    format!("{address} {ports} {}/{}", publication.container_port, publication.transport)
                };
                all.iter().map(one).collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn publications_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("80", "* * 80/tcp"),
            ("8080:80", "* 8080-8080 80/tcp"),
            (":80", "* * 80/tcp"),
            ("0:80", "* * 80/tcp"),
            ("8080:80/udp", "* 8080-8080 80/udp"),
            ("8080:80/UDP", "* 8080-8080 80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080-8080 80/tcp"),
            ("127.0.0.1::80", "127.0.0.1 * 80/tcp"),
            ("[::1]:8080:80", "::1 8080-8080 80/tcp"),
            ("::1:8080:80", "::1 8080-8080 80/tcp"),
            ("8000-8002:80", "* 8000-8002 80/tcp"),
            ("8000-8001:80-81", "* 8000-8000 80/tcp, * 8001-8001 81/tcp"),
            ("80-81", "* * 80/tcp, * * 81/tcp"),
            ("8000-8002:80-81", "invalid ranges specified for container and host Ports: 80-81 and 8000-8002"),
            ("", "no port specified: <empty>"),
            ("8080:", "no port specified: 8080:<empty>"),
            ("x:80", "invalid hostPort: x"),
            ("80:x", "invalid containerPort: x"),
            ("81-80", "invalid containerPort: 81-80"),
            ("70000", "invalid containerPort: 70000"),
            ("+80", "invalid containerPort: +80"),
            ("1.2.3:1:80", "invalid IP address: 1.2.3"),
            ("80/icmp", "invalid proto: icmp"),
            ("80/sctp", "publishing ports of protocol sctp is not supported"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn a_free_port_is_the_same_for_both_families() {
        for transport in ["tcp", "udp"] {
            let bound = publish(&Publication::parse(&format!("7/{transport}")).unwrap()).unwrap();
            let port = bound[0].binding.host.port();
            assert_ne!(port, 0);
            assert!(bound.iter().all(|one| one.binding.host.port() == port), "{bound:?}");
        }
    }

    #[test]
    fn a_taken_port_is_refused_and_a_range_goes_on() {
        let taken = publish(&Publication::parse("127.0.0.1::7").unwrap()).unwrap();
        let port = taken[0].binding.host.port();
        let again = Publication::parse(&format!("127.0.0.1:{port}:7")).unwrap();
        let error = publish(&again).unwrap_err();
        assert_eq!(error.to_string(), format!("bind for 127.0.0.1:{port} failed: port is already allocated"));
        let last = port.saturating_add(20);
        let range = Publication::parse(&format!("127.0.0.1:{port}-{last}:7")).unwrap();
        assert!(publish(&range).unwrap()[0].binding.host.port() > port);
    }
}
