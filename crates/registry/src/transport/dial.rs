//! Dialling: names to addresses to connections, each failure saying which host it was about.

use std::io;
use std::time::Duration;

use ureq::Timeout;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration as UreqDuration;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};

use crate::cancel::{Cancel, Cancelled};

/// How long a connection waits before it asks whether it should go on.
const SLICE: Duration = Duration::from_millis(250);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("looking up `{host}`")]
    Resolve { host: String, source: io::Error },
    #[error("connecting to `{host}`")]
    Connect { host: String, source: io::Error },
}

/// The system's resolver, whose failures name the host.
#[derive(Debug, Default)]
pub(super) struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, timeout).map_err(|error| {
            let source = match error {
                ureq::Error::Io(source) if is_unknown(&source) => io::Error::other("no such host"),
                ureq::Error::Io(source) => source,
                ureq::Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
                ureq::Error::HostNotFound => io::Error::other("no such host"),
                other => return other,
            };
            other(DialError::Resolve { host: shown(uri), source })
        })
    }
}

/// Whether the system says that there is no such name, in the words of one C library or the other.
fn is_unknown(error: &io::Error) -> bool {
    let said = error.to_string();
    ["Name or service not known", "Name does not resolve"].iter().any(|words| said.ends_with(words))
}

/// Opens connections that can be cancelled.
#[derive(Debug)]
pub(super) struct Dial {
    tcp: TcpConnector,
    cancel: Cancel,
}

impl Dial {
    pub(super) fn new(cancel: Cancel) -> Self {
        Self { tcp: TcpConnector::default(), cancel }
    }
}

impl<In: Transport> Connector<In> for Dial {
    type Out = Watched<<TcpConnector as Connector<In>>::Out>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        check(&self.cancel)?;
        let connected = self.tcp.connect(details, chained).map_err(|error| {
            let source = match error {
                ureq::Error::Io(source) if is_unknown(&source) => io::Error::other("no such host"),
                ureq::Error::Io(source) => source,
                ureq::Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "timed out"),
                other => return other,
            };
            other(DialError::Connect { host: shown(details.uri), source })
        })?;
        Ok(connected.map(|inner| Watched { inner, cancel: self.cancel.clone() }))
    }
}

/// A connection that looks up from waiting now and then.
#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    cancel: Cancel,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        check(&self.cancel)?;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // the first byte of an answer has a time of its own
        let answer = timeout.reason == Timeout::RecvResponse;
        let whole = if answer { timeout } else { timeout.for_read() };
        let mut left = match whole.after {
            UreqDuration::Exact(left) => left,
            UreqDuration::NotHappening => Duration::MAX,
        };
        loop {
            check(&self.cancel)?;
            let slice = left.min(SLICE);
            let slice_timeout = NextTimeout { after: slice.into(), per_read: None, ..whole };
            match self.inner.await_input(slice_timeout) {
                Err(ureq::Error::Timeout(_)) if left > slice => left -= slice,
                outcome => return outcome,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

fn check(cancel: &Cancel) -> Result<(), ureq::Error> {
    cancel.check().map_err(other::<Cancelled>)
}

fn other<E: std::error::Error + Send + Sync + 'static>(error: E) -> ureq::Error {
    ureq::Error::Other(Box::new(error))
}

/// A host and port, never with the user and password that an address may have.
fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
}
