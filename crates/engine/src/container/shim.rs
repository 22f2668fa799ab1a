//! The shim: the small process that owns a running container, and outlives the command that started it.
//!
//! It is this same binary, executed again with a hidden argument. It holds a lock as long as it lives, so that everybody
//! can tell; it owns the container's pipes or terminal, writes the log, publishes the ports, answers clients on a socket
//! in the container's folder, waits, writes down how the container ended, and starts it again where its policy says so.
//! When it is killed, the kernel kills the container with it.

mod answer;
mod clients;
pub(super) mod copies;
mod group;
mod health;
mod log;
pub(super) mod network;
mod run;
pub(super) mod spec;
mod start;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lighter_image::error_chain;
use lighter_store::{ContainerId, FindContainerError, OpenError, Store};
use serde::{Deserialize, Serialize};

use super::message::{self, Frame, Reply};
use super::state::{self, FindError};

pub use log::{LogLine, LogReader};
pub(super) use network::forget_names;
pub use spec::SpecError;

/// The argument that makes the binary a shim.
const HIDDEN_VERB: &str = "--lighter-shim";

/// The name of a shim's socket in its container's folder.
pub(super) const SOCKET: &str = "socket";

/// Where a shim finds the system's programs, whoever starts it.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a shim is told on its standard input, before anything else.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    /// The store.
    root: PathBuf,
    /// Where what a reboot clears is kept.
    runtime: PathBuf,
    /// The container.
    container: ContainerId,
    /// What the one who starts it wants to see of its streams; none where nothing.
    attach: Option<Streams>,
}

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Whether input will come.
    pub stdin: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
}

/// Why a shim could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShimError {
    /// Its order makes no sense.
    #[error("reading the shim's order")]
    Order(#[source] io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The container is not there, or damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Another shim owns it.
    #[error("container {0} is already running")]
    Running(String),
    /// A file of its folder cannot be made.
    #[error("preparing `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A shim that has no container yet: it waits for its order, and goes without a word where none comes.
#[derive(Debug)]
pub struct WaitingShim {
    child: Option<Child>,
    stream: UnixStream,
}

impl WaitingShim {
    /// Starts one, beside whatever is to be done before its container is there.
    ///
    /// # Errors
    /// The system's, where no process can be started.
    pub fn begin() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(HIDDEN_VERB)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        #[cfg(feature = "failpoints")]
        command.envs(lighter_store::failpoint::Order::for_shim().map(|order| ("LIGHTER_FAILPOINT", order)));
        Ok(Self { child: Some(command.spawn()?), stream: ours })
    }

    /// Gives it its container. What it says comes over the returned stream: first whether the container runs, then,
    /// where `attach` asks for them, the container's streams.
    pub(super) fn give(
        mut self,
        store: &Store,
        runtime: &Path,
        container: &ContainerId,
        attach: Option<Streams>,
    ) -> io::Result<(Option<Child>, UnixStream)> {
        let mut stream = self.stream.try_clone()?;
        let order = Order {
            root: store.root().to_owned(),
            runtime: runtime.to_owned(),
            container: container.clone(),
            attach,
        };
        let order = serde_json::to_vec(&order)?;
        let length = u32::try_from(order.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&order)?;
        Ok((self.child.take(), stream))
    }
}

impl Drop for WaitingShim {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // its order ends here, and it with that
        let ended = self.stream.shutdown(std::net::Shutdown::Both).and_then(|()| child.wait());
        if let Err(error) = ended {
            tracing::debug!(%error, "a shim without a container was not reaped");
        }
    }
}

/// Where the log of a container is.
pub fn log_path(store: &Store, container: &ContainerId) -> PathBuf {
    store.container_paths(container).log
}

/// Becomes a shim, or what a sandbox begins as, if the arguments of this process say so; the exit code of its life.
///
/// To be called before anything else: a sandbox must begin with a single thread.
pub fn run_hidden_verb() -> Option<i32> {
    lighter_sandbox::run_hidden_verb();
    let mut args = std::env::args_os();
    if args.nth(1).is_none_or(|verb| verb != HIDDEN_VERB) {
        return None;
    }
    Some(live())
}

/// A shim's life.
fn live() -> i32 {
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "the shim has no session of its own");
    }
    let Ok(descriptor) = rustix::io::dup(std::io::stdin()) else { return 1 };
    let starter = UnixStream::from(descriptor);
    let Ok(mut telling) = starter.try_clone() else { return 1 };
    match own(starter) {
        Ok(()) => 0,
        Err(error) => {
            let error = error_chain(&error);
            let reply = Frame::Reply(Reply::Failed { error, exit_code: 125 });
            // where nobody listens any more, the container's state says it
            i32::from(message::send(&mut telling, &reply).is_err()) + 1
        }
    }
}

fn own(mut starter: UnixStream) -> Result<(), ShimError> {
    let order = read_order(&mut starter).map_err(ShimError::Order)?;
    let store = Store::open(&order.root)?;
    let path = state::held_by_shim(&store, &order.container);
    let in_file = |source| ShimError::File { path: path.clone(), source };
    let alive = File::open(&path).map_err(in_file)?;
    take_over(&store, &order.container, &alive)?;
    // whoever removes it looks for our lock: it must still be there now that we have that
    if !store.hold_container(&order.container).map_err(|error| FindError::Record(error.into()))? {
        let missing = FindContainerError::NotFound(order.container.to_string());
        return Err(FindError::Find(missing).into());
    }
    run::Shim::new(store, order.runtime, order.container).live(starter, order.attach)
}

/// How long the shim before may take to go, when its container has ended already.
const PATIENCE_WITH_PREDECESSOR: Duration = Duration::from_secs(30);

/// Becomes the one shim of a container. That it has ended is said before its last shim has gone, and who only looks at it
/// holds the lock for a moment, too: neither is a reason to refuse.
fn take_over(store: &Store, container: &ContainerId, alive: &File) -> Result<(), ShimError> {
    let began = Instant::now();
    while rustix::fs::flock(alive, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let state = store.container_state::<state::State>(container).map_err(FindError::from)?;
        let is_down =
            state.is_some_and(|state| !state.is_running() && state.status != state::Status::Restarting);
        if !is_down || began.elapsed() > PATIENCE_WITH_PREDECESSOR {
            return Err(ShimError::Running(container.short().to_owned()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn read_order(starter: &mut UnixStream) -> io::Result<Order> {
    let mut length = [0; 4];
    starter.read_exact(&mut length)?;
    let mut order = vec![0; u32::from_be_bytes(length) as usize];
    starter.read_exact(&mut order)?;
    Ok(serde_json::from_slice(&order)?)
}
