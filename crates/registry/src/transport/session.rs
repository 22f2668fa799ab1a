//! A session: all that is known about one host, and the requests that are made with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use ureq::http::{HeaderMap, Method};

use super::basic;
use super::challenge::{Challenge, challenges};
use super::error::TransportError;
use super::exchange::{Body, Http, Patience, Request, Response};
use super::ping;
use super::redirect::{self, Policy};
use super::retry;
use super::scope::Scopes;
use super::token::{self, Question, Token};
use super::url::Url;
use crate::Secret;
use crate::config::Source;
use crate::credential::{Credential, Credentials, Proof};
use crate::event::Events;

/// One thing to ask a registry.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body<'a>,
    pub(crate) scopes: Scopes,
    pub(crate) patience: Patience,
    /// The answers that are none of an error.
    pub(crate) expected: &'a [u16],
}

/// Where to ask.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Below the registry's root.
    Path(String),
    /// Where the registry said.
    Url(Url),
}

impl<'a> Call<'a> {
    /// A request without a body.
    pub(crate) fn new(method: Method, path: String, scopes: Scopes, expected: &'a [u16]) -> Self {
        Self {
            method,
            target: Target::Path(path),
            headers: Vec::new(),
            body: Body::None,
            scopes,
            patience: Patience::Usual,
            expected,
        }
    }
}

/// One host, as one user.
pub(crate) struct Session {
    http: Arc<Http>,
    credentials: Arc<Credentials>,
    pub(crate) host: String,
    insecure: bool,
    base: OnceLock<Url>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scheme: Option<Challenge>,
    tokens: HashMap<Scopes, Token>,
    credential: Lookup,
}

/// What is known about who asks.
#[derive(Default)]
enum Lookup {
    #[default]
    NotYet,
    Done(Option<Credential>),
}

impl Session {
    pub(crate) fn new(http: Arc<Http>, credentials: Arc<Credentials>, source: &Source) -> Self {
        if source.insecure {
            http.allow_any_certificate(&source.host);
        }
        Self {
            http,
            credentials,
            host: source.host.clone(),
            insecure: source.insecure,
            base: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// The same host, asked by somebody whose name and password are given.
    pub(crate) fn with_credential(self, credential: Credential) -> Self {
        self.state().credential = Lookup::Done(Some(credential));
        self
    }

    /// Asks until there is an answer, or none is to be hoped for. Streams are sent once.
    pub(crate) fn call(&self, call: &mut Call<'_>, events: Events<'_>) -> Result<Response, TransportError> {
        if !call.body.is_replayable() {
            return self.attempt(call);
        }
        retry::run(self.http.config.retries, &self.http.cancel, events, || self.attempt(call))
    }

    /// Asks once; where the answer is "who are you", once more with what was asked for.
    pub(crate) fn attempt(&self, call: &mut Call<'_>) -> Result<Response, TransportError> {
        let base = self.base()?.clone();
        let url = match &call.target {
            Target::Path(path) => base.join(path).map_err(|error| self.odd(error.to_string()))?,
            Target::Url(url) => url.clone(),
        };
        let ours = url.same_origin(&base);
        let authorization = if ours { self.authorization(&base, &call.scopes)? } else { None };
        let response = self.send(call, &url, authorization.clone())?;
        if response.status != 401 || !ours || !response.request.url.same_origin(&base) {
            return response.expect(call.expected);
        }
        let renewed = self.renew(&base, &response.headers, &mut call.scopes, authorization.as_ref())?;
        match renewed {
            Some(authorization) if call.body.is_replayable() => {
                response.discard();
                self.send(call, &url, Some(authorization))?.expect(call.expected)
            }
            _ => Err(response.refuse()),
        }
    }

    fn send(
        &self,
        call: &mut Call<'_>,
        url: &Url,
        authorization: Option<Secret>,
    ) -> Result<Response, TransportError> {
        let request = Request {
            method: call.method.clone(),
            url: url.clone(),
            headers: call.headers.clone(),
            authorization,
            body: call.body.reborrow(),
            patience: call.patience,
        };
        let response = redirect::follow(&self.http, request, Policy::Strict)?;
        // where a blob is fetched from in the end is no registry
        if response.request.url.same_origin(url) {
            self.http.warnings.note(&self.host, &response.headers);
        }
        Ok(response)
    }

    /// The registry's root, found out where it is not clear.
    pub(crate) fn base(&self) -> Result<&Url, TransportError> {
        if let Some(base) = self.base.get() {
            return Ok(base);
        }
        // held while asking, so that many threads ask once
        let mut state = self.state();
        if let Some(base) = self.base.get() {
            return Ok(base);
        }
        let settled = ping::settle(&self.http, &self.host, self.insecure)?;
        if let Some(headers) = settled.headers {
            state.scheme = challenges(&headers).into_iter().next();
        }
        Ok(self.base.get_or_init(|| settled.base))
    }

    /// What proves who asks, as far as it is known that the registry wants that.
    fn authorization(&self, base: &Url, scopes: &Scopes) -> Result<Option<Secret>, TransportError> {
        let mut state = self.state();
        match state.scheme.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => self.basic(&mut state).map(Some),
            Some(Challenge::Bearer { realm, service, .. }) => {
                self.bearer(&mut state, base, &realm, service.as_deref(), scopes).map(Some)
            }
        }
    }

    /// Answers a challenge; `None` where all there is has been tried.
    fn renew(
        &self,
        base: &Url,
        headers: &HeaderMap,
        scopes: &mut Scopes,
        used: Option<&Secret>,
    ) -> Result<Option<Secret>, TransportError> {
        let Some(challenge) = challenges(headers).into_iter().next() else { return Ok(None) };
        let mut state = self.state();
        state.scheme = Some(challenge.clone());
        match challenge {
            Challenge::Basic => {
                let authorization = self.basic(&mut state)?;
                // the same name and password once more will not do
                Ok(Some(authorization).filter(|new| used != Some(new)))
            }
            Challenge::Bearer { realm, service, scope } => {
                scopes.add(scope.as_deref().unwrap_or_default());
                let is_used = |token: &Token| used == Some(&bearer_header(&token.value));
                state.tokens.retain(|_, token| !is_used(token));
                self.bearer(&mut state, base, &realm, service.as_deref(), scopes).map(Some)
            }
        }
    }

    fn basic(&self, state: &mut State) -> Result<Secret, TransportError> {
        match self.credential(state)? {
            Some(Credential { username, proof: Proof::Password(password) }) => {
                Ok(basic::authorization(username, password))
            }
            _ => Err(TransportError::NoCredentials { host: self.host.clone() }),
        }
    }

    fn bearer(
        &self,
        state: &mut State,
        base: &Url,
        realm: &str,
        service: Option<&str>,
        scopes: &Scopes,
    ) -> Result<Secret, TransportError> {
        if let Some(Credential { proof: Proof::RegistryToken(token), .. }) = self.credential(state)? {
            return Ok(bearer_header(token));
        }
        if let Some(token) = state.tokens.get(scopes).filter(|token| token.good_until > Instant::now()) {
            return Ok(bearer_header(&token.value));
        }
        let credential = self.credential(state)?;
        let question = Question { registry: base, realm, service, scopes, credential, offline: false };
        let token = token::ask(&self.http, &question).map_err(|error| match error.status() {
            // nothing was shown that could have been wrong
            Some(401) if credential.is_none() => TransportError::NoCredentials { host: self.host.clone() },
            _ => error,
        })?;
        let header = bearer_header(&token.value);
        state.tokens.insert(scopes.clone(), token);
        Ok(header)
    }

    /// The identity token that a token server gives in place of the password, where it gives one.
    pub(crate) fn identity_token(&self) -> Result<Option<Secret>, TransportError> {
        let base = self.base()?.clone();
        let mut state = self.state();
        let Some(Challenge::Bearer { realm, service, .. }) = state.scheme.clone() else { return Ok(None) };
        let credential = self.credential(&mut state)?;
        let question = Question {
            registry: &base,
            realm: &realm,
            service: service.as_deref(),
            scopes: &Scopes::none(),
            credential,
            offline: true,
        };
        token::ask(&self.http, &question).map(|token| token.identity)
    }

    /// The credential for this host, looked up once and only when it is asked for.
    fn credential<'s>(&self, state: &'s mut State) -> Result<Option<&'s Credential>, TransportError> {
        if matches!(state.credential, Lookup::NotYet) {
            state.credential = Lookup::Done(self.credentials.lookup(&self.host)?);
        }
        match &state.credential {
            Lookup::Done(found) => Ok(found.as_ref()),
            Lookup::NotYet => Ok(None),
        }
    }

    fn odd(&self, reason: String) -> TransportError {
        TransportError::Host { host: self.host.clone(), reason }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer_header(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}
