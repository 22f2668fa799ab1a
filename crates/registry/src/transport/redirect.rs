//! Redirects: where an answer points to, and what may be told there.
//!
//! What proves who asks goes to the server it was meant for and to nobody else: it is left out as soon as the
//! scheme, the host or the port changes, and never comes back.

use ureq::http::Method;

use super::error::TransportError;
use super::exchange::{Http, Request, Response};

/// How many times an answer may point elsewhere.
const MOST: usize = 10;

/// What is allowed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// From https only to https.
    Strict,
    /// Anywhere, as for a file that anybody may have.
    Free,
}

/// Sends a request, and goes where its answers point.
pub(crate) fn follow(
    http: &Http,
    mut request: Request<'_>,
    policy: Policy,
) -> Result<Response, TransportError> {
    for _ in 0..=MOST {
        let replayable = request.body.is_replayable();
        let again = Request {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            authorization: request.authorization.clone(),
            body: request.body.reborrow(),
            patience: request.patience,
        };
        let response = http.exchange(again)?;
        let Some(location) = location(&response) else { return Ok(response) };
        let refused = |reason: &str| TransportError::Redirect {
            request: response.request.clone(),
            reason: reason.to_owned(),
        };
        let target = request
            .url
            .join(location)
            .map_err(|source| TransportError::Address { request: response.request.clone(), source })?;
        if policy == Policy::Strict && request.url.scheme() == "https" && target.scheme() == "http" {
            return Err(refused("from https to plain http"));
        }
        let keeps_method = matches!(response.status, 307 | 308);
        let reads_only = matches!(request.method, Method::GET | Method::HEAD);
        if !reads_only && !keeps_method {
            return Err(refused("a request that writes cannot become one that reads"));
        }
        if !replayable {
            return Err(refused("what was sent cannot be sent again"));
        }
        if !request.url.same_origin(&target) {
            request.authorization = None;
        }
        request.url = target;
        response.discard();
    }
    let name = super::error::RequestName { method: "GET", url: request.url };
    Err(TransportError::Redirect { request: name, reason: format!("more than {MOST} in a row") })
}

fn location(response: &Response) -> Option<&str> {
    matches!(response.status, 301 | 302 | 303 | 307 | 308).then(|| response.header("location")).flatten()
}
