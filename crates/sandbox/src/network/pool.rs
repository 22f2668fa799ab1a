//! Namespaces on a bridge that one build uses for one step after the other.
//!
//! A step's processes are all dead when it ends, and a step cannot change its network without the capability to, so
//! what comes back is as good as new. A step that could must not give its namespace back: [`Lease::discard`].
//!
//! Making one takes a millisecond or two; giving it up is free, as the kernel takes it apart in the background.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::bridge::{Attachment, Bridge, BridgeError, Endpoint};
use super::namespace::{NamespaceError, NetNs};

/// A namespace with its place on a bridge.
#[derive(Debug)]
pub struct Connected {
    /// The namespace.
    pub namespace: NetNs,
    /// Its place.
    pub endpoint: Endpoint,
}

/// Why no namespace could be had.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// It could not be created.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// It could not be put on the bridge.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
}

impl PoolError {
    /// Tells whether the process lacks the right to have networks of its own; another kind of network may do.
    pub fn is_not_permitted(&self) -> bool {
        match self {
            Self::Bridge(error) => error.is_not_permitted(),
            Self::Namespace(NamespaceError::Create(error)) => {
                error.kind() == std::io::ErrorKind::PermissionDenied
            }
            Self::Namespace(_) => false,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connected>,
    /// How many are being made in the background.
    coming: usize,
}

#[derive(Debug)]
struct Shared {
    bridge: Bridge,
    state: Mutex<State>,
    changed: Condvar,
}

/// The namespaces of one build. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// An empty pool for a bridge; nothing is done yet.
    pub fn new(bridge: Bridge) -> Self {
        let shared = Shared { bridge, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Begins to make `count` namespaces in the background.
    ///
    /// When that goes wrong nothing is said here: whoever wants a namespace then tries again and gets the error.
    pub fn prepare(&self, count: usize) {
        self.shared.lock().coming += count;
        let shared = Arc::downgrade(&self.shared);
        // Stops by itself when the pool is gone.
        let work = move || {
            for _ in 0..count {
                let Some(shared) = shared.upgrade() else { return };
                shared.make_one();
            }
        };
        if thread::Builder::new().name("network pool".into()).spawn(work).is_err() {
            self.shared.lock().coming -= count;
            self.shared.changed.notify_all();
        }
    }

    /// Takes a namespace: one that is ready, or the next that will be, or a new one.
    ///
    /// # Errors
    /// [`PoolError`]; see [`PoolError::is_not_permitted`].
    pub fn acquire(&self) -> Result<Lease, PoolError> {
        let mut state = self.shared.lock();
        let connected = loop {
            if let Some(connected) = state.idle.pop() {
                break connected;
            }
            if state.coming == 0 {
                drop(state);
                break connect(&self.shared.bridge)?;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        Ok(Lease { connected: Some(connected), shared: Arc::clone(&self.shared) })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_one(&self) {
        let made = connect(&self.bridge);
        let mut state = self.lock();
        state.coming -= 1;
        match made {
            Ok(connected) => state.idle.push(connected),
            Err(error) => tracing::debug!(%error, "no network namespace was made ahead"),
        }
        self.changed.notify_all();
    }
}

/// A namespace that is used by one step; it goes back to its pool in the end.
#[derive(Debug)]
pub struct Lease {
    connected: Option<Connected>,
    shared: Arc<Shared>,
}

impl Lease {
    /// Ends the use without giving the namespace to the next step: for steps that could change it.
    pub fn discard(mut self) {
        self.connected = None;
    }
}

impl Deref for Lease {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        self.connected.as_ref().expect("only `discard` and `drop` take it, and both end the lease")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connected) = self.connected.take() {
            self.shared.lock().idle.push(connected);
            self.shared.changed.notify_one();
        }
    }
}

/// Makes a namespace and puts it on the bridge.
///
/// # Errors
/// [`PoolError`]; see [`PoolError::is_not_permitted`].
pub fn connect(bridge: &Bridge) -> Result<Connected, PoolError> {
    let namespace = NetNs::create()?;
    let endpoint = bridge.attach(&namespace, &Attachment::default())?;
    Ok(Connected { namespace, endpoint })
}
