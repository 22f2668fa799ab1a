//! EXPOSE: ports and ranges of ports.

/// A word of EXPOSE, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// `port/protocol`.
    pub(super) list: Vec<String>,
    /// As written.
    pub(super) protocol: String,
    /// Whether an address or a port of the host was given too.
    pub(super) has_host: bool,
}

/// Reads `[[ip:]host:]port[-port][/protocol]`; the error is Docker's.
pub(super) fn parse(raw: &str) -> Result<Ports, String> {
    let (ip, host, container) = split(raw);
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Err(format!("invalid port: {raw:?}: no port specified"));
    }
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    if !["tcp", "udp", "sctp"].contains(&protocol.to_lowercase().as_str()) {
        return Err(format!("invalid port: {raw:?}: invalid proto: {protocol}"));
    }
    let address = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    let (first, last) = range(port).ok_or_else(|| format!("invalid containerPort: {port}"))?;
    if !host.is_empty() {
        let (host_first, host_last) = range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        if last - first != host_last - host_first && first != last {
            return Err(format!("invalid ranges specified for container and host Ports: {port} and {host}"));
        }
    }
    let lower = protocol.to_lowercase();
    Ok(Ports {
        list: (first..=last).map(|port| format!("{port}/{lower}")).collect(),
        protocol: protocol.to_owned(),
        has_host: !ip.is_empty() || !host.is_empty(),
    })
}

fn split(raw: &str) -> (&str, &str, &str) {
    match raw.rsplit_once(':') {
        None => ("", "", raw),
        Some((rest, container)) => match rest.rsplit_once(':') {
            None => ("", rest, container),
            Some((ip, host)) => (ip, host, container),
        },
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.strip_prefix('+').unwrap_or(text).parse::<u16>().ok();
    match text.split_once('-') {
        None => number(text).map(|port| (port, port)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: Result<&[&str], &str>) {
        let got = parse(raw).map(|ports| ports.list);
        let expected =
            expected.map(|ports| ports.iter().map(|&port| port.to_owned()).collect()).map_err(str::to_owned);
        assert_eq!(got, expected, "{raw}");
    }

    #[test]
    fn ports_ranges_and_faults() {
        check("80", Ok(&["80/tcp"]));
        check("80/UDP", Ok(&["80/udp"]));
        check("1-3/sctp", Ok(&["1/sctp", "2/sctp", "3/sctp"]));
        check("127.0.0.1:80:90", Ok(&["90/tcp"]));
        check("[::1]:80:90", Ok(&["90/tcp"]));
        check("80:90", Ok(&["90/tcp"]));
        check("http", Err("invalid containerPort: http"));
        check("", Err("invalid port: \"\": no port specified"));
        check("80/xyz", Err("invalid port: \"80/xyz\": invalid proto: xyz"));
        check("3-1", Err("invalid containerPort: 3-1"));
        check("70000", Err("invalid containerPort: 70000"));
        check("1-2:1-3", Err("invalid ranges specified for container and host Ports: 1-3 and 1-2"));
        check("x:1:2", Err("invalid IP address: x"));
        check("x:2", Err("invalid hostPort: x"));
    }
}
