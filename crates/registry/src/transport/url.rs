//! URLs: where a request goes, and how that may be shown.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use ureq::http::Uri;

/// A text is no URL that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an http address")]
pub struct UrlError(String);

/// An absolute http or https address.
///
/// It is shown without its query, because that is where signatures and tokens are.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Arc<Uri>);

impl Url {
    /// Reads an absolute address.
    ///
    /// # Errors
    /// [`UrlError`] for anything but `http://` or `https://` and a host; user information is refused.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let error = || UrlError(without_query(text).to_owned());
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| error())?;
        let http = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.authority().is_some_and(|a| !a.host().is_empty() && !a.as_str().contains('@'));
        if http && host { Ok(Self(Arc::new(uri))) } else { Err(error()) }
    }

    /// Reads an address that may leave out what it shares with this one, as `Location` does.
    ///
    /// # Errors
    /// [`UrlError`] where the outcome is no address.
    /// # Source
    /// RFC 3986, section 5.2.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        if reference.contains("://") && !reference.starts_with(['/', '?']) {
            return Self::parse(reference);
        }
        let scheme = self.scheme();
        let authority = self.authority();
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let path = self.0.path();
        let joined = if reference.starts_with('/') {
            reference.to_owned()
        } else if reference.starts_with('?') {
            format!("{path}{reference}")
        } else {
            let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
            format!("{folder}{reference}")
        };
        Self::parse(&format!("{scheme}://{authority}{joined}"))
    }

    /// The same address with one more query parameter.
    #[must_use]
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let separator = if self.0.query().is_some() { '&' } else { '?' };
        let text = format!("{}{separator}{name}={}", self.0, encode(value));
        // an address stays one when an encoded parameter is added
        Self::parse(&text).unwrap_or_else(|_| self.clone())
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.0.scheme_str().unwrap_or("https")
    }

    /// The host, with a port where one is named.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// The host without port and brackets.
    pub fn host(&self) -> &str {
        bare_host(self.authority())
    }

    /// The port, named or usual.
    pub fn port(&self) -> u16 {
        let usual = if self.scheme() == "http" { 80 } else { 443 };
        self.0.port_u16().unwrap_or(usual)
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Whether both are answered by the same server, so that what one may see the other may see too.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.scheme() == other.scheme()
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The host in `host`, `host:port` or `[address]:port`.
pub(crate) fn bare_host(authority: &str) -> &str {
    if let Some((host, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.contains(':') => host,
        _ => authority,
    }
}

/// Whether a host is this machine itself.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = bare_host(authority);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Writes a value so that it can stand in a query.
pub(crate) fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b',') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    encoded
}

fn without_query(text: &str) -> &str {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let text = &text[..end];
    // user information is not shown either
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: &str, reference: &str, expected: &str) {
        let joined = Url::parse(base).expect("a base").join(reference).expect("an address");
        assert_eq!(joined.0.to_string(), expected, "{base} + {reference}");
    }

    #[test]
    fn references_are_joined() {
        let base = "https://r.test:5000/v2/a/blobs/uploads/?x=1";
        check(base, "https://s.test/b?k=v", "https://s.test/b?k=v");
        check(base, "//s.test/b", "https://s.test/b");
        check(base, "/v2/b?state=a%2Fb", "https://r.test:5000/v2/b?state=a%2Fb");
        check(base, "id", "https://r.test:5000/v2/a/blobs/uploads/id");
        check(base, "?y=2", "https://r.test:5000/v2/a/blobs/uploads/?y=2");
        check(base, "/b?next=http://x.test/", "https://r.test:5000/b?next=http://x.test/");
    }

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for text in ["", "ftp://x/", "http:///x", "/v2/", "http://user:pw@host/", "file:///etc/passwd"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_in_the_query_are_not_shown() {
        let url = Url::parse("https://s.test/b?signature=secret").expect("an address");
        assert_eq!(format!("{url} {url:?}"), "https://s.test/b https://s.test/b");
        let error = Url::parse("ftp://me:secret@s.test/?token=secret").expect_err("ftp");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn origins_are_compared_with_their_ports() {
        let url = |text| Url::parse(text).expect("an address");
        assert!(url("https://a.test/x").same_origin(&url("https://A.test:443/y")));
        assert!(!url("https://a.test/").same_origin(&url("http://a.test/")));
        assert!(!url("https://a.test/").same_origin(&url("https://a.test:8443/")));
        assert!(!url("https://a.test/").same_origin(&url("https://b.a.test/")));
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for host in ["127.0.0.1:5000", "localhost", "LOCALHOST:1", "[::1]:5000", "127.8.9.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["128.0.0.1", "localhost.test", "10.0.0.1:5000", "127.0.0.1.test"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        let url = Url::parse("http://r.test/v2/?a=1").expect("an address");
        assert_eq!(url.with_query("m", "a b&c").0.to_string(), "http://r.test/v2/?a=1&m=a%20b%26c");
    }
}
