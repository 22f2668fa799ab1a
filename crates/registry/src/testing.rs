//! A registry inside the process, for tests: it keeps all in memory, remembers what it was asked, and does
//! wrong on request.
//!
//! ```
//! use lighter_registry::testing::{Fault, Registry, Trouble};
//!
//! let registry = Registry::start();
//! let image = registry.put_image("some/app", "latest", &[b"a layer"]);
//! registry.order(Fault::on("GET", "/blobs/").times(1).with(Trouble::CutAfter(3)));
//! assert!(registry.has_blob(&image.layers[0].digest));
//! ```

mod auth;
mod faults;
mod handlers;
mod http;
mod images;

use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lighter_image::Digest;

pub use auth::Auth;
pub use faults::{Fault, Trouble};
pub use http::Recorded;
pub use images::TestImage;

/// No test waits longer for the other side.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a registry is to be.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who may do what.
    pub auth: Auth,
    /// What it is secured with; plain http where nothing is given.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// How many tags it gives out at a time; all where nothing is given.
    pub tags_page: Option<usize>,
    /// The shortest piece of an upload that it takes.
    pub least_chunk_bytes: Option<u64>,
    /// Where its uploads are, if not at the host that was asked.
    pub uploads_at: Option<&'static str>,
    /// What each of its answers says in a `Warning` header.
    pub warning: Option<&'static str>,
}

/// A registry on a loopback port. It ends when it is dropped.
pub struct Registry {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// All that it knows.
pub(crate) struct State {
    options: Options,
    secure: bool,
    stop: AtomicBool,
    content: Mutex<Content>,
    faults: Mutex<Vec<Fault>>,
    requests: Mutex<Vec<Recorded>>,
    tokens: Mutex<Vec<String>>,
}

/// A media type, and bytes.
type Served = (String, Arc<Vec<u8>>);

#[derive(Default)]
struct Content {
    blobs: HashMap<Digest, Arc<Vec<u8>>>,
    /// Which repositories have which blobs.
    links: HashMap<String, Vec<Digest>>,
    /// By repository, and by tag or digest.
    manifests: HashMap<(String, String), Served>,
    tags: HashMap<String, Vec<String>>,
    uploads: HashMap<u64, Vec<u8>>,
    next_upload: u64,
}

impl Registry {
    /// A registry that anybody may use.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// A registry of this kind.
    ///
    /// # Panics
    /// Where there is no loopback port to be had.
    pub fn with(options: Options) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            secure: options.tls.is_some(),
            options,
            stop: AtomicBool::new(false),
            content: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            tokens: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || accept(&listener, &shared));
        Self { address, state, thread: Some(thread) }
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Its root.
    pub fn url(&self) -> String {
        let scheme = if self.state.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Orders something to go wrong.
    pub fn order(&self, fault: Fault) {
        lock(&self.state.faults).push(fault);
    }

    /// What it was asked, in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.state.requests).clone()
    }

    /// What it was asked, as `METHOD /path`, where the path has this in it.
    pub fn asked(&self, part: &str) -> Vec<String> {
        let requests = self.requests();
        let shown = requests.iter().map(|request| format!("{} {}", request.method, request.target));
        shown.filter(|shown| shown.contains(part)).collect()
    }

    /// Whether it has a blob, in any repository.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        lock(&self.state.content).blobs.contains_key(digest)
    }

    /// A blob's bytes.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        lock(&self.state.content).blobs.get(digest).map(|bytes| bytes.to_vec())
    }

    /// A manifest's media type and bytes, by tag or digest.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        let content = lock(&self.state.content);
        let found = content.manifests.get(&(repository.to_owned(), name.to_owned()));
        found.map(|(media_type, bytes)| (media_type.clone(), bytes.to_vec()))
    }

    /// Puts a blob into a repository.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        self.put_blob_as(repository, Digest::of(bytes), bytes)
    }

    /// Puts bytes into a repository under a digest that need not be theirs.
    pub fn put_blob_as(&self, repository: &str, digest: Digest, bytes: &[u8]) -> Digest {
        lock(&self.state.content).put_blob(repository, digest, bytes.to_vec());
        digest
    }

    /// Puts a manifest or an index under a tag, and under its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        lock(&self.state.content).put_manifest(repository, tag, media_type, bytes.to_vec())
    }
}

impl Content {
    fn put_blob(&mut self, repository: &str, digest: Digest, bytes: Vec<u8>) {
        self.blobs.insert(digest, Arc::new(bytes));
        self.link(repository, digest);
    }

    fn link(&mut self, repository: &str, digest: Digest) {
        self.links.entry(repository.to_owned()).or_default().push(digest);
    }

    fn has(&self, repository: &str, digest: &Digest) -> bool {
        self.links.get(repository).is_some_and(|links| links.contains(digest))
    }

    fn put_manifest(&mut self, repository: &str, name: &str, media_type: &str, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        let entry = (media_type.to_owned(), Arc::new(bytes));
        self.manifests.insert((repository.to_owned(), digest.to_string()), entry.clone());
        if !name.is_empty() && name != digest.to_string() {
            self.manifests.insert((repository.to_owned(), name.to_owned()), entry);
            let tags = self.tags.entry(repository.to_owned()).or_default();
            tags.retain(|tag| tag != name);
            tags.push(name.to_owned());
            tags.sort();
        }
        digest
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        // wakes the thread that waits for connections; it may be gone already
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A connection, secured or not.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((socket, _)) = listener.accept() {
        if state.stop.load(Ordering::SeqCst) {
            return;
        }
        let state = Arc::clone(state);
        thread::spawn(move || serve(socket, &state));
    }
}

fn serve(socket: TcpStream, state: &State) {
    let prepared = socket
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| socket.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| socket.set_nodelay(true));
    if prepared.is_err() {
        return;
    }
    let mut stream: Box<dyn Stream> = match &state.options.tls {
        None => Box::new(socket),
        Some(config) => match rustls::ServerConnection::new(Arc::clone(config)) {
            Ok(connection) => Box::new(rustls::StreamOwned::new(connection, socket)),
            Err(_) => return,
        },
    };
    // a connection that breaks is the test's business, which sees it from the other side
    loop {
        match http::serve_one(&mut *stream, state) {
            Ok(true) if !state.stop.load(Ordering::SeqCst) => {}
            _ => return,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
