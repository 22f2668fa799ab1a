//! Proxies: which host is reached through which.

use std::net::IpAddr;

use ureq::Proxy;

use super::error::TransportError;
use super::url::{Url, is_loopback};
use crate::config::Proxies;

/// The proxy for an address; `None` where it is reached directly.
pub(super) fn choose(proxies: &Proxies, url: &Url) -> Result<Option<Proxy>, TransportError> {
    let proxy = if url.scheme() == "https" { &proxies.https } else { &proxies.http };
    let Some(proxy) = proxy.as_ref().filter(|proxy| !proxy.is_empty()) else { return Ok(None) };
    if is_direct(&proxies.direct, url) {
        return Ok(None);
    }
    Proxy::new(proxy.expose()).map(Some).map_err(|_| {
        let shown = proxy.expose().rsplit_once('@').map_or(proxy.expose(), |(_, host)| host).to_owned();
        TransportError::Proxy { proxy: shown, reason: "it is not an http, https or socks address".to_owned() }
    })
}

/// Whether a host is reached directly: this machine always, and what the list names.
///
/// An entry is `*`, an address, a range of addresses, or a domain, which stands for all below it too; with a
/// port it is about that port only.
fn is_direct(list: &str, url: &Url) -> bool {
    let host = url.host().to_ascii_lowercase();
    is_loopback(url.authority())
        || list.split(',').map(str::trim).any(|entry| covers(entry, &host, url.port()))
}

fn covers(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return in_network(network, bits, host);
    }
    let (domain, wanted_port) = match entry.rsplit_once(':') {
        Some((domain, port)) if !domain.contains(':') || domain.ends_with(']') => (domain, Some(port)),
        _ => (entry, None),
    };
    if wanted_port.is_some_and(|wanted| wanted.parse() != Ok(port)) {
        return false;
    }
    let domain = domain.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let only_below = domain.starts_with('.') || domain.starts_with("*.");
    let domain = domain.trim_start_matches('*').trim_start_matches('.');
    if domain.is_empty() {
        return false;
    }
    let below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    below || (host == domain && !only_below)
}

fn in_network(network: &str, bits: &str, host: &str) -> bool {
    let bits_of = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32_u32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let (Ok(network), Ok(bits), Ok(host)) =
        (network.parse::<IpAddr>(), bits.parse::<u32>(), host.parse::<IpAddr>())
    else {
        return false;
    };
    let ((network, width), (host, host_width)) = (bits_of(network), bits_of(host));
    if width != host_width || bits > width {
        return false;
    }
    let free = width - bits;
    network.checked_shr(free).unwrap_or(0) == host.checked_shr(free).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn check(list: &str, url: &str, direct: bool) {
        let url = Url::parse(url).expect("an address");
        assert_eq!(is_direct(list, &url), direct, "{list} {url}");
    }

    #[test]
    fn listed_hosts_are_reached_directly() {
        check("", "http://127.0.0.1:5000/", true);
        check("", "http://r.test/", false);
        check("*", "http://r.test/", true);
        check("a.test, r.test", "http://r.test/", true);
        check("r.test", "http://sub.r.test/", true);
        check("r.test", "http://other.test/", false);
        check(".r.test", "http://r.test/", false);
        check(".r.test", "http://x.r.test/", true);
        check("*.r.test", "http://x.r.test/", true);
        check("r.test:5000", "http://r.test:5000/", true);
        check("r.test:5000", "http://r.test/", false);
        check("10.0.0.0/8", "http://10.1.2.3/", true);
        check("10.0.0.0/8", "http://11.1.2.3/", false);
        check("10.0.0.0/33", "http://10.1.2.3/", false);
        check("0.0.0.0/0", "http://11.1.2.3/", true);
        check("fd00::/8", "http://[fd12::1]:5000/", true);
        check("test", "http://latest/", false);
    }

    #[test]
    fn a_bad_proxy_is_said_without_its_password() {
        let proxies = Proxies { http: Some(Secret::new("gopher://me:secret@p.test")), ..Proxies::default() };
        let error = choose(&proxies, &Url::parse("http://r.test/").expect("an address")).expect_err("gopher");
        assert!(!error.to_string().contains("secret") && error.to_string().contains("p.test"));
    }
}
