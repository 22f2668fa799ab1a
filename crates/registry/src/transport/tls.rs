//! TLS: which certificates are believed, and which are shown. Built only when https is used.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::url::bare_host;
use crate::config::Certificates;

/// Where systems keep their bundles of certificates.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
];

/// Why a connection cannot be a secure one.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The other side or the protocol is at fault.
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
    /// The other side does not speak TLS.
    #[error("the server answers in plain http, which is allowed for loopback and configured hosts only")]
    PlainHttp,
    /// The host's name cannot be in a certificate.
    #[error("`{0}` cannot be verified as a host name")]
    Name(String),
    /// A file of certificates or keys cannot be read.
    #[error("reading `{path}`", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of certificates or keys is not what it should be.
    #[error("`{path}`: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection broke while it was being secured.
    #[error("handshake")]
    Io(#[source] io::Error),
}

/// Makes the settings of connections, once for each host.
pub(crate) struct Tls {
    certificates: Certificates,
    provider: OnceLock<Arc<CryptoProvider>>,
    roots: OnceLock<Vec<CertificateDer<'static>>>,
    configs: Mutex<HashMap<(String, bool), Arc<ClientConfig>>>,
}

impl Tls {
    pub(crate) fn new(certificates: Certificates) -> Self {
        Self {
            certificates,
            provider: OnceLock::new(),
            roots: OnceLock::new(),
            configs: Mutex::new(HashMap::new()),
        }
    }

    /// The settings for a host; `verified` says whether its certificate must be one that is trusted.
    pub(crate) fn config(&self, authority: &str, verified: bool) -> Result<Arc<ClientConfig>, TlsError> {
        let key = (authority.to_owned(), verified);
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(authority, verified)?);
        configs.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn build(&self, authority: &str, verified: bool) -> Result<ClientConfig, TlsError> {
        let provider =
            Arc::clone(self.provider.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let host_files = HostFiles::find(&self.certificates.per_host, authority)?;
        let builder = if verified {
            let mut store = RootCertStore::empty();
            // a system's bundle may have certificates of kinds that are not known: those vouch for nobody
            store.add_parsable_certificates(self.roots()?.iter().cloned());
            store.add_parsable_certificates(host_files.trusted);
            builder.with_root_certificates(store)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        };
        Ok(match host_files.shown {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        })
    }

    /// The certificates that everybody is verified against, read once.
    fn roots(&self) -> Result<&[CertificateDer<'static>], TlsError> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots);
        }
        let roots = read_roots(&self.certificates)?;
        tracing::debug!(count = roots.len(), "read trusted certificates");
        Ok(self.roots.get_or_init(|| roots))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn read_roots(certificates: &Certificates) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut roots = Vec::new();
    if let Some(bundle) = &certificates.bundle {
        roots.extend(read_certificates(bundle)?);
    }
    for directory in &certificates.directories {
        for path in files_in(directory)? {
            // such directories hold links to nowhere, keys and notes too
            if let Ok(found) = read_certificates(&path) {
                roots.extend(found);
            }
        }
    }
    if certificates.bundle.is_some() || !certificates.directories.is_empty() {
        return Ok(roots);
    }
    match BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
        Some(path) => read_certificates(path),
        None => Ok(roots),
    }
}

/// What is kept for one host.
#[derive(Default)]
struct HostFiles {
    trusted: Vec<CertificateDer<'static>>,
    shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl HostFiles {
    /// Looks for a directory of the host's name, with its port first, in each of these directories.
    fn find(directories: &[PathBuf], authority: &str) -> Result<Self, TlsError> {
        let mut found = Self::default();
        for directory in directories {
            let with_port = directory.join(authority);
            let without = directory.join(bare_host(authority));
            let Some(own) = [with_port, without].into_iter().find(|path| path.is_dir()) else { continue };
            for path in files_in(&own)? {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => found.trusted.extend(read_certificates(&path)?),
                    Some("cert") if found.shown.is_none() => {
                        let chain = read_certificates(&path)?;
                        found.shown = Some((chain, read_key(&path.with_extension("key"))?));
                    }
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

/// The files of a directory, sorted; none where there is no such directory.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let error = |source| TlsError::Read { path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error(source)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(error)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    parsed.map_err(|error| not_pem(path, &error))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| not_pem(path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn not_pem(path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => "there is no key or certificate in it".to_owned(),
        // the other errors carry parts of the text, which may be parts of a key
        _ => "it is not valid PEM".to_owned(),
    };
    TlsError::File { path: path.to_owned(), reason }
}

/// Takes any certificate, for hosts that were configured so.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Secures connections to https addresses.
pub(super) struct TlsConnector {
    pub(super) tls: Arc<Tls>,
    /// Whether a host's certificate need not be trusted.
    pub(super) any_certificate: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let authority = details.uri.authority().map_or("", |authority| authority.as_str());
        let secured = self.secure(authority, transport, details);
        secured
            .map(|transport| Some(Either::B(transport)))
            .map_err(|error| ureq::Error::Other(Box::new(error)))
    }
}

impl TlsConnector {
    fn secure<In: Transport>(
        &self,
        authority: &str,
        transport: In,
        details: &ConnectionDetails<'_>,
    ) -> Result<TlsTransport, TlsError> {
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let config = self.tls.config(authority, !(self.any_certificate)(authority))?;
        let host = bare_host(authority);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        let mut connection = ClientConnection::new(config, name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(handshake_error)?;
        }
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(TlsTransport { buffers, stream: StreamOwned { conn: connection, sock: socket } })
    }
}

fn handshake_error(error: io::Error) -> TlsError {
    match error.downcast::<rustls::Error>() {
        Ok(rustls::Error::InvalidMessage(_)) => TlsError::PlainHttp,
        Ok(other) => TlsError::Protocol(other),
        Err(error) => TlsError::Io(error),
    }
}

/// A secured connection.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}
