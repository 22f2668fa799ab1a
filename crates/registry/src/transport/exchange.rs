//! One exchange: a request goes out, an answer comes back. Nothing is followed, renewed or repeated here.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use ureq::http::{self, HeaderMap, Method};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, SocksConnector};
use ureq::{Agent, BodyReader, SendBody, Timeout};

use super::dial::{Dial, DialError, Names};
use super::error::{Refusal, RequestName, ServerError, TransportError, read_errors};
use super::tls::{Tls, TlsConnector, TlsError};
use super::url::{Url, is_loopback};
use super::warning::Warnings;
use super::{proxy, retry};
use crate::Secret;
use crate::cancel::{Cancel, Cancelled};
use crate::config::Config;

/// How many connections to one host are kept for the next request.
const IDLE_CONNECTIONS: usize = 16;
/// How much of a refusal's body is read.
const LONGEST_REFUSAL: u64 = 64 << 10;

/// What all requests share.
pub(crate) struct Http {
    agent: Agent,
    insecure: Arc<Mutex<HashSet<String>>>,
    pub(crate) config: Config,
    pub(crate) cancel: Cancel,
    pub(crate) warnings: Warnings,
}

/// A request, in full.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) authorization: Option<Secret>,
    pub(crate) body: Body<'a>,
    pub(crate) patience: Patience,
}

/// What a request carries.
pub(crate) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    Stream { reader: &'a mut dyn Read, size_bytes: u64 },
}

/// How long the answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Usual,
    /// The server may have to read all it was sent before it answers.
    Commit,
}

impl Body<'_> {
    /// The same body for another request.
    pub(crate) fn reborrow(&mut self) -> Body<'_> {
        match self {
            Self::None => Body::None,
            Self::Bytes(bytes) => Body::Bytes(bytes),
            Self::Stream { reader, size_bytes } => Body::Stream { reader: *reader, size_bytes: *size_bytes },
        }
    }

    /// Whether it can be sent a second time.
    pub(crate) const fn is_replayable(&self) -> bool {
        !matches!(self, Self::Stream { .. })
    }
}

impl Http {
    pub(crate) fn new(config: Config, cancel: Cancel) -> Self {
        let insecure: Arc<Mutex<HashSet<String>>> = Arc::default();
        let hosts = Arc::clone(&insecure);
        let tls = TlsConnector {
            tls: Arc::new(Tls::new(config.certificates.clone())),
            any_certificate: Arc::new(move |host| {
                is_loopback(host) || hosts.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
            }),
        };
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(Dial::new(cancel.clone()))
                .chain(tls);
        let timeouts = config.timeouts;
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(config.user_agent.clone())
            .accept_encoding("identity")
            .max_response_header_size(config.limits.header_bytes)
            .max_idle_connections(4 * IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .timeout_resolve(Some(timeouts.resolve))
            .timeout_connect(Some(timeouts.connect))
            .timeout_recv_response(Some(timeouts.answer))
            .timeout_per_read(Some(timeouts.stall))
            .timeout_per_write(Some(timeouts.stall))
            .build();
        let agent = Agent::with_parts(settings, connector, Names::default());
        Self { agent, insecure, config, cancel, warnings: Warnings::default() }
    }

    /// From here on, any certificate will do for this host.
    pub(crate) fn allow_any_certificate(&self, host: &str) {
        self.insecure.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    /// Sends a request and reads the head of its answer, whatever it says.
    pub(crate) fn exchange(&self, request: Request<'_>) -> Result<Response, TransportError> {
        self.cancel.check()?;
        let name = RequestName { method: static_name(&request.method), url: request.url.clone() };
        tracing::debug!(method = name.method, url = %name.url, "request");
        let sent = self.prepare(&request, &name)?;
        let outcome = match request.body {
            Body::None => self.agent.run(sent.map(|()| SendBody::none())),
            Body::Bytes(mut bytes) => self.agent.run(sent.map(|()| SendBody::from_reader(&mut bytes))),
            Body::Stream { reader, size_bytes } => {
                let mut whole = Whole { reader, left_bytes: size_bytes };
                self.agent.run(sent.map(|()| SendBody::from_reader(&mut whole)))
            }
        };
        let answer = outcome.map_err(|error| failure(&name, error))?;
        let (parts, body) = answer.into_parts();
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, request: name, body })
    }

    /// The head of a request, with the timeouts and the proxy that are right for it.
    fn prepare(
        &self,
        request: &Request<'_>,
        name: &RequestName,
    ) -> Result<http::Request<()>, TransportError> {
        let mut head = http::Request::builder().method(request.method.clone()).uri(request.url.uri());
        for (header, value) in &request.headers {
            head = head.header(*header, value);
        }
        if let Some(authorization) = &request.authorization {
            head = head.header("authorization", authorization.expose());
        }
        let size_bytes = match &request.body {
            Body::None if matches!(request.method, Method::GET | Method::HEAD) => None,
            Body::None => Some(0),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Stream { size_bytes, .. } => Some(*size_bytes),
        };
        if let Some(size_bytes) = size_bytes {
            head = head.header("content-length", size_bytes);
        }
        let proxy = proxy::choose(&self.config.proxies, &request.url)?;
        let head = head.body(()).map_err(|error| TransportError::Protocol {
            request: name.clone(),
            reason: format!("it cannot be sent: {error}"),
        })?;
        if proxy.is_none() && request.patience == Patience::Usual {
            return Ok(head);
        }
        let answer = match request.patience {
            Patience::Usual => self.config.timeouts.answer,
            Patience::Commit => self.config.timeouts.commit,
        };
        let configured = self.agent.configure_request(head).proxy(proxy);
        Ok(configured.timeout_recv_response(Some(answer)).build())
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A body that has as many bytes as were announced, or is an error.
struct Whole<'a> {
    reader: &'a mut dyn Read,
    left_bytes: u64,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what is to be sent ended too early"));
        }
        self.left_bytes -= count as u64;
        Ok(count)
    }
}

/// An answer, whose body is still to be read.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// What was asked last, after all redirects.
    pub(crate) request: RequestName,
    body: ureq::Body,
}

impl Response {
    /// A header's value, where it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type, without parameters.
    pub(crate) fn media_type(&self) -> Option<&str> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or(value).trim()).filter(|value| !value.is_empty())
    }

    /// How many bytes the body is said to have.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// Reads the whole body, which may not be longer than this.
    pub(crate) fn bytes(self, limit_bytes: u64) -> Result<Vec<u8>, TransportError> {
        let Self { request, body, .. } = self;
        let mut bytes = Vec::new();
        let mut limited = body.into_reader().take(limit_bytes + 1);
        limited.read_to_end(&mut bytes).map_err(|error| failure(&request, error.into()))?;
        if bytes.len() as u64 > limit_bytes {
            return Err(TransportError::TooLarge { request, limit_bytes });
        }
        Ok(bytes)
    }

    /// The body as a stream.
    pub(crate) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_reader()
    }

    /// Reads a short body to its end, so that the connection can be used again.
    pub(crate) fn discard(self) {
        if let Err(error) = self.bytes(LONGEST_REFUSAL) {
            tracing::debug!(%error, "the rest of an answer was not read");
        }
    }

    /// Passes an answer on where its status is one of these; makes an error of any other.
    pub(crate) fn expect(self, statuses: &[u16]) -> Result<Self, TransportError> {
        if statuses.contains(&self.status) { Ok(self) } else { Err(self.refuse()) }
    }

    /// Makes an error of an answer, with the server's own words.
    pub(crate) fn refuse(self) -> TransportError {
        let retry_after = retry::retry_after(&self.headers);
        let content_type = self.header("content-type").unwrap_or_default().to_owned();
        let (request, status) = (self.request.clone(), self.status);
        // what the server has to say is welcome, and not needed
        let body = self.bytes(LONGEST_REFUSAL).unwrap_or_default();
        let mut errors = read_errors(&content_type, &body);
        if errors.is_empty() && status == 401 {
            // the answer to a HEAD has no words
            let (code, message) = ("UNAUTHORIZED".to_owned(), "authentication required".to_owned());
            errors.push(ServerError { code, message });
        }
        TransportError::Refused(Box::new(Refusal { request, status, errors, retry_after }))
    }
}

/// What went wrong, in our words: which host, which request, and the cause.
pub(crate) fn failure(request: &RequestName, error: ureq::Error) -> TransportError {
    let request = request.clone();
    let host = || request.url.authority().to_owned();
    match error {
        ureq::Error::Io(source) => io_failure(request, source),
        ureq::Error::Other(source) => match source.downcast::<DialError>() {
            Ok(dial) => match *dial {
                DialError::Resolve { host, source } => TransportError::Resolve { host, source },
                DialError::Connect { host, source } => TransportError::Connect { host, source },
            },
            Err(source) => match source.downcast::<TlsError>() {
                Ok(source) => tls_failure(request, *source),
                Err(source) if source.is::<Cancelled>() => TransportError::Cancelled(Cancelled),
                Err(source) => TransportError::Protocol { request, reason: source.to_string() },
            },
        },
        ureq::Error::Timeout(phase) => timeout(request, phase),
        ureq::Error::HostNotFound => {
            TransportError::Resolve { host: host(), source: io::Error::other("no such host") }
        }
        ureq::Error::ConnectProxyFailed(reason) => TransportError::Proxy { proxy: host(), reason },
        other => TransportError::Protocol { request, reason: other.to_string() },
    }
}

/// A broken connection may have any of the other errors inside.
fn io_failure(request: RequestName, source: io::Error) -> TransportError {
    match source.downcast::<ureq::Error>() {
        Ok(ureq::Error::Io(source)) => TransportError::Io { request, source },
        Ok(inner) => failure(&request, inner),
        Err(source) => match source.downcast::<rustls::Error>() {
            Ok(error) => {
                let host = request.url.authority().to_owned();
                TransportError::Tls { host, source: TlsError::Protocol(error) }
            }
            Err(source) => match source.downcast::<Cancelled>() {
                Ok(cancelled) => TransportError::Cancelled(cancelled),
                Err(source) => TransportError::Io { request, source },
            },
        },
    }
}

/// A handshake that broke or was cancelled is no fault of the certificates.
fn tls_failure(request: RequestName, source: TlsError) -> TransportError {
    match source {
        TlsError::Io(source) => match io_failure(request, source) {
            TransportError::Io { request, source } => {
                let host = request.url.authority().to_owned();
                TransportError::Connect { host, source }
            }
            other => other,
        },
        source => TransportError::Tls { host: request.url.authority().to_owned(), source },
    }
}

fn timeout(request: RequestName, phase: Timeout) -> TransportError {
    let phase = match phase {
        Timeout::Resolve | Timeout::Connect => {
            let source = io::Error::new(io::ErrorKind::TimedOut, "timed out");
            return TransportError::Connect { host: request.url.authority().to_owned(), source };
        }
        Timeout::RecvResponse => "waiting for the answer",
        Timeout::PerWrite | Timeout::SendBody | Timeout::SendRequest => "sending",
        _ => "waiting for more",
    };
    TransportError::Timeout { request, phase }
}

fn static_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "request",
    }
}
