//! Tokens: asked for at the place that the registry names, for what is to be done.

use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::Method;

use super::basic;
use super::error::TransportError;
use super::exchange::{Body, Http, Patience, Request};
use super::redirect::{self, Policy};
use super::scope::Scopes;
use super::url::{Url, encode, is_loopback};
use crate::Secret;
use crate::credential::{Credential, Proof};

/// How long a token is good for where the server does not say.
const USUAL_LIFE: Duration = Duration::from_mins(1);
/// A token is not used any more this long before its end.
const MARGIN: Duration = Duration::from_secs(5);
/// How the client introduces itself.
const CLIENT_ID: &str = "lighter";

/// A token, and until when it is good.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    pub(crate) good_until: Instant,
    /// What new tokens can be had for later, where that was asked for.
    pub(crate) identity: Option<Secret>,
}

/// Where and for what a token is asked.
pub(crate) struct Question<'a> {
    pub(crate) registry: &'a Url,
    pub(crate) realm: &'a str,
    pub(crate) service: Option<&'a str>,
    pub(crate) scopes: &'a Scopes,
    pub(crate) credential: Option<&'a Credential>,
    /// Whether an identity token is wanted too, to be stored.
    pub(crate) offline: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    expires_in: Option<f64>,
}

/// Asks for a token.
///
/// # Source
/// distribution, "Token Authentication Specification" and "Oauth2 Token Authentication".
pub(crate) fn ask(http: &Http, question: &Question<'_>) -> Result<Token, TransportError> {
    let realm = safe_realm(question)?;
    let asked_at = Instant::now();
    let response = match question.credential.map(|credential| &credential.proof) {
        Some(Proof::IdentityToken(token)) => post(http, question, realm, token)?,
        _ => get(http, question, realm)?,
    };
    let request = response.request.clone();
    let bytes = response.expect(&[200])?.bytes(http.config.limits.document_bytes)?;
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| TransportError::Protocol {
        request: request.clone(),
        // the document itself may hold a token: only the place of the fault is told
        reason: format!("the token is not valid JSON (line {}, column {})", error.line(), error.column()),
    })?;
    let value = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if value.is_empty() || value.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return Err(TransportError::Protocol { request, reason: "the answer has no token".to_owned() });
    }
    let seconds = answer.expires_in.filter(|seconds| (1.0..1e9).contains(seconds));
    let life = seconds.map_or(USUAL_LIFE, Duration::from_secs_f64);
    Ok(Token {
        value: Secret::new(value),
        good_until: asked_at + life.saturating_sub(MARGIN),
        identity: Some(Secret::new(answer.refresh_token)).filter(|token| !token.is_empty()),
    })
}

/// The place where tokens are given out. Nothing that proves who asks goes over plain http to it, unless the
/// registry itself is spoken to like that.
fn safe_realm(question: &Question<'_>) -> Result<Url, TransportError> {
    let challenge =
        |reason: String| TransportError::Challenge { host: question.registry.authority().to_owned(), reason };
    let realm = question.registry.join(question.realm).map_err(|error| challenge(error.to_string()))?;
    let plain = realm.scheme() == "http" && !is_loopback(realm.authority());
    if plain && question.registry.scheme() == "https" {
        return Err(challenge(format!("its token server `{realm}` speaks plain http")));
    }
    Ok(realm)
}

fn get(
    http: &Http,
    question: &Question<'_>,
    realm: Url,
) -> Result<super::exchange::Response, TransportError> {
    let mut url = realm;
    if let Some(service) = question.service {
        url = url.with_query("service", service);
    }
    for scope in question.scopes.iter() {
        url = url.with_query("scope", scope);
    }
    let mut authorization = None;
    if let Some(Credential { username, proof: Proof::Password(password) }) = question.credential {
        url = url.with_query("account", username);
        authorization = Some(basic::authorization(username, password));
    }
    if question.offline {
        url = url.with_query("offline_token", "true").with_query("client_id", CLIENT_ID);
    }
    let request = Request {
        method: Method::GET,
        url,
        headers: vec![("accept", "application/json".to_owned())],
        authorization,
        body: Body::None,
        patience: Patience::Usual,
    };
    redirect::follow(http, request, Policy::Strict)
}

fn post(
    http: &Http,
    question: &Question<'_>,
    realm: Url,
    identity: &Secret,
) -> Result<super::exchange::Response, TransportError> {
    let scopes: Vec<&str> = question.scopes.iter().collect();
    let mut form = format!("grant_type=refresh_token&client_id={CLIENT_ID}");
    if let Some(service) = question.service {
        form.push_str("&service=");
        form.push_str(&encode(service));
    }
    if !scopes.is_empty() {
        form.push_str("&scope=");
        form.push_str(&encode(&scopes.join(" ")));
    }
    form.push_str("&refresh_token=");
    form.push_str(&encode(identity.expose()));
    let request = Request {
        method: Method::POST,
        url: realm,
        headers: vec![
            ("accept", "application/json".to_owned()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ],
        authorization: None,
        body: Body::Bytes(form.as_bytes()),
        patience: Patience::Usual,
    };
    // the form itself proves who asks, so it goes to this place and to no other
    http.exchange(request)
}
