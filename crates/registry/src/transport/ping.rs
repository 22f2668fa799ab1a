//! Ping: whether a host speaks https or plain http, where that is not settled beforehand.

use ureq::http::{HeaderMap, Method};

use super::error::TransportError;
use super::exchange::{Body, Http, Patience, Request};
use super::tls::TlsError;
use super::url::{Url, is_loopback};

/// What a host turned out to be.
pub(crate) struct Settled {
    pub(crate) base: Url,
    /// The head of its answer, where it was asked.
    pub(crate) headers: Option<HeaderMap>,
}

/// Finds out how to speak to a host: https, or for loopback and configured hosts also plain http.
pub(crate) fn settle(http: &Http, host: &str, insecure: bool) -> Result<Settled, TransportError> {
    let schemes: &[&str] = match (is_loopback(host), insecure) {
        // certificates for loopback addresses are rare, and looking for them costs time
        (true, _) => &["http", "https"],
        (false, true) => &["https", "http"],
        (false, false) => &["https"],
    };
    let base = |scheme: &str| {
        Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|error| TransportError::Host { host: host.to_owned(), reason: error.to_string() })
    };
    if let [only] = schemes {
        return Ok(Settled { base: base(only)?, headers: None });
    }
    let mut first_error = None;
    for scheme in schemes {
        match ping(http, base(scheme)?) {
            Ok(Some(settled)) => return Ok(settled),
            Ok(None) => {}
            Err(error) if may_be_the_scheme(&error) => {
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first_error.unwrap_or_else(|| TransportError::Host {
        host: host.to_owned(),
        reason: "it speaks neither http nor https".to_owned(),
    }))
}

/// Asks once; `None` where the server says that it speaks the other scheme.
fn ping(http: &Http, base: Url) -> Result<Option<Settled>, TransportError> {
    let url = base.join("/v2/").map_err(|error| TransportError::Host {
        host: base.authority().to_owned(),
        reason: error.to_string(),
    })?;
    let request = Request {
        method: Method::GET,
        url,
        headers: Vec::new(),
        authorization: None,
        body: Body::None,
        patience: Patience::Usual,
    };
    let response = http.exchange(request)?;
    let (status, headers) = (response.status, response.headers.clone());
    let body = response.bytes(http.config.limits.document_bytes)?;
    let wants_https = base.scheme() == "http"
        && status == 400
        && String::from_utf8_lossy(&body).to_ascii_lowercase().contains("https");
    Ok((!wants_https).then_some(Settled { base, headers: Some(headers) }))
}

/// Whether the other scheme may work where this one did not.
fn may_be_the_scheme(error: &TransportError) -> bool {
    match error {
        TransportError::Tls { source, .. } => matches!(source, TlsError::PlainHttp),
        TransportError::Connect { .. } | TransportError::Io { .. } | TransportError::Protocol { .. } => true,
        _ => false,
    }
}
