//! The files by which programs find hosts: `resolv.conf`, `hosts`, `hostname`. Texts only; the caller places them.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Where the machine says how names are resolved.
const HOST_FILE: &str = "/etc/resolv.conf";
/// Where systemd-resolved says which servers it asks itself.
const SYSTEMD_FILE: &str = "/run/systemd/resolve/resolv.conf";
/// Where systemd-resolved listens.
const SYSTEMD_STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
/// What Docker takes when the machine has no server that containers reach.
const FALLBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4))];
/// Where the responder of a user's network listens inside each namespace.
pub const EMBEDDED_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const HOSTS: &str = "127.0.0.1\tlocalhost\n\
::1\tlocalhost ip6-localhost ip6-loopback\n\
fe00::\tip6-localnet\n\
ff00::\tip6-mcastprefix\n\
ff02::1\tip6-allnodes\n\
ff02::2\tip6-allrouters\n";

/// What a `resolv.conf` says, or what the user wants it to say (`--dns`, `--dns-search`, `--dns-option`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers, in the order they are asked.
    pub nameservers: Vec<IpAddr>,
    /// The domains that short names are completed with.
    pub search: Vec<String>,
    /// The options, as `ndots:2`.
    pub options: Vec<String>,
}

/// What a container's resolver reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The machine's own network.
    Host,
    /// A network apart from the machine's loopback, IPv4 only.
    Apart,
    /// A network whose responder knows the names of its containers.
    Embedded,
}

impl ResolvConf {
    /// Reads a `resolv.conf`. What the C library would skip is skipped.
    pub fn parse(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone (`fe80::1%eth0`) means something on this machine only, so such a server is left out.
                    read.nameservers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search" | "domain") => read.search = words.map(str::to_owned).collect(),
                Some("options") => read.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        read
    }

    /// What the machine says; empty when it says nothing.
    ///
    /// Where it names systemd-resolved alone, which only listens on the machine's loopback, the servers that this asks
    /// are taken.
    pub fn of_host() -> Self {
        let read = |path: &str| fs::read_to_string(path).map(|text| Self::parse(&text)).ok();
        let host = read(HOST_FILE).unwrap_or_default();
        if host.nameservers == [SYSTEMD_STUB] {
            return read(SYSTEMD_FILE).unwrap_or(host);
        }
        host
    }

    /// The `resolv.conf` of a container: what `wish` leaves open is as on the machine.
    #[must_use]
    pub fn for_container(&self, wish: &Self, reach: Reach) -> Self {
        let or = |wished: &[String], own: &[String]| {
            if wished.is_empty() { own.to_vec() } else { wished.to_vec() }
        };
        let mut made = Self {
            nameservers: self.nameservers_for(wish, reach),
            search: or(&wish.search, &self.search),
            options: or(&wish.options, &self.options),
        };
        // `--dns-search .` means no search at all.
        made.search.retain(|domain| domain != ".");
        if reach == Reach::Embedded && !made.options.iter().any(|option| option.starts_with("ndots:")) {
            made.options.push("ndots:0".to_owned());
        }
        made
    }

    fn nameservers_for(&self, wish: &Self, reach: Reach) -> Vec<IpAddr> {
        if reach == Reach::Embedded {
            return vec![EMBEDDED_SERVER.into()];
        }
        if !wish.nameservers.is_empty() {
            return wish.nameservers.clone();
        }
        if reach == Reach::Host {
            return self.nameservers.clone();
        }
        let reachable = |server: &&IpAddr| server.is_ipv4() && !server.is_loopback();
        let own: Vec<IpAddr> = self.nameservers.iter().filter(reachable).copied().collect();
        if own.is_empty() { FALLBACK.to_vec() } else { own }
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for server in &self.nameservers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

/// The servers the machine asks, systemd-resolved seen through.
pub fn host_nameservers() -> Vec<IpAddr> {
    ResolvConf::of_host().nameservers
}

/// The host name a container has, as it stands in its `hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnName<'a> {
    /// The host name, with or without a domain.
    pub hostname: &'a str,
    /// The domain, when it was given apart.
    pub domainname: Option<&'a str>,
    /// The container's addresses, one for each network.
    pub addresses: &'a [IpAddr],
}

/// The `hosts` of a container with a network of its own: the usual names, the user's (`--add-host`), and its own.
pub fn hosts(extra: &[(String, IpAddr)], own: Option<&OwnName<'_>>) -> String {
    let mut text = HOSTS.to_owned();
    append_hosts(&mut text, extra);
    if let Some(own) = own {
        let names = names_of(own);
        for address in own.addresses {
            let _ = writeln!(text, "{address}\t{names}");
        }
    }
    text
}

/// The `hosts` of a container on the machine's own network: the machine's, and the user's.
///
/// # Errors
/// When the machine's file exists and cannot be read.
pub fn hosts_of_host(extra: &[(String, IpAddr)]) -> std::io::Result<String> {
    let mut text = match fs::read_to_string(Path::new("/etc/hosts")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => HOSTS.to_owned(),
        read => read?,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    append_hosts(&mut text, extra);
    Ok(text)
}

/// The `hosts` of a step of a build: its own name is its loopback's.
pub fn hosts_of_step(hostname: &str, extra: &[(String, IpAddr)]) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    append_hosts(&mut text, extra);
    text
}

/// The text of the `hostname` file.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

fn append_hosts(text: &mut String, extra: &[(String, IpAddr)]) {
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
}

/// `web.example web` for a name with a domain, else the name alone.
fn names_of(own: &OwnName<'_>) -> String {
    let full = match own.domainname {
        Some(domain) if !domain.is_empty() => format!("{}.{domain}", own.hostname),
        _ => own.hostname.to_owned(),
    };
    match full.split_once('.') {
        Some((short, _)) if !short.is_empty() => format!("{full} {short}"),
        _ => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ResolvConf {
        ResolvConf::parse(text)
    }

    #[test]
    fn parsing_takes_what_the_c_library_takes() {
        let read = parsed(
            "# a comment\nnameserver 10.0.0.1 # tail\nnameserver fe80::1%eth0\nnameserver bad\n\
             nameserver 2001:db8::1\ndomain old.test\nsearch a.test b.test\noptions ndots:2 rotate\n; x\noptions edns0\n",
        );
        assert_eq!(
            read.render(),
            "nameserver 10.0.0.1\nnameserver 2001:db8::1\nsearch a.test b.test\noptions ndots:2 rotate edns0\n"
        );
    }

    #[test]
    fn a_container_gets_servers_that_it_reaches() {
        let host = "nameserver 127.0.0.1\nnameserver ::1\nnameserver 10.0.0.1\nnameserver 2001:db8::1\nsearch a.test\n";
        let only_loopback = "nameserver 127.0.0.53\noptions rotate\n";
        for (host, wish, reach, expected) in [
            (host, "", Reach::Apart, "nameserver 10.0.0.1\nsearch a.test\n"),
            (host, "", Reach::Host, host),
            (host, "nameserver 9.9.9.9\nsearch .\n", Reach::Apart, "nameserver 9.9.9.9\n"),
            (
                host,
                "nameserver 9.9.9.9\noptions ndots:3\n",
                Reach::Embedded,
                "nameserver 127.0.0.11\nsearch a.test\noptions ndots:3\n",
            ),
            (only_loopback, "", Reach::Apart, "nameserver 8.8.8.8\nnameserver 8.8.4.4\noptions rotate\n"),
            (only_loopback, "", Reach::Embedded, "nameserver 127.0.0.11\noptions rotate ndots:0\n"),
            ("", "", Reach::Apart, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
            ("", "", Reach::Host, ""),
        ] {
            let made = parsed(host).for_container(&parsed(wish), reach).render();
            assert_eq!(made, expected, "{host:?} {wish:?} {reach:?}");
        }
    }

    #[test]
    fn hosts_end_with_the_own_name() {
        let address = [IpAddr::from([172, 17, 0, 2])];
        for (hostname, domainname, expected) in [
            ("web", None, "172.17.0.2\tweb\n"),
            ("web.test", None, "172.17.0.2\tweb.test web\n"),
            ("web", Some("corp.test"), "172.17.0.2\tweb.corp.test web\n"),
            ("web", Some(""), "172.17.0.2\tweb\n"),
        ] {
            let own = OwnName { hostname, domainname, addresses: &address };
            let extra = [("db".to_owned(), IpAddr::from([10, 9, 8, 7]))];
            let made = hosts(&extra, Some(&own));
            assert_eq!(made.strip_prefix(HOSTS), Some(format!("10.9.8.7\tdb\n{expected}").as_str()));
        }
    }

    #[test]
    fn a_step_finds_itself_on_loopback() {
        assert_eq!(
            hosts_of_step("buildkitsandbox", &[]),
            "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        );
    }
}
