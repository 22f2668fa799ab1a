//! Network namespaces: made without a process that stays in them, and held by a descriptor.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::netlink::{NetlinkError, Socket};
use super::route;

const THREAD_NAMESPACE: &str = "/proc/thread-self/ns/net";
const LOOPBACK_INDEX: route::LinkIndex = 1;

/// What Docker sets in every network namespace: low ports and `ping` need no privilege; IPv6 only on loopback.
const SETTINGS: &[(&str, &str)] = &[
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
    ("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"),
];

/// Why a network namespace could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// No thread could be started to work in it.
    #[error("starting a thread for a network namespace")]
    Thread(#[source] io::Error),
    /// The kernel made none.
    #[error("creating a network namespace{}", crate::spawn::forbidden(.0))]
    Create(#[source] io::Error),
    /// It could not be opened.
    #[error("opening network namespace `{path}`")]
    Open {
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be entered.
    #[error("entering a network namespace")]
    Enter(#[source] io::Error),
    /// Its loopback link could not be switched on.
    #[error("preparing a network namespace")]
    Prepare(#[source] NetlinkError),
}

/// A network namespace. It lives as long as a descriptor, a process or a mount holds it.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
    /// Talks to the routing subsystem inside the namespace, from any thread.
    route: Socket,
}

impl NetNs {
    /// Creates a namespace in which only loopback exists, and is up.
    ///
    /// # Errors
    /// [`NamespaceError`], most often for want of the right to do so.
    pub fn create() -> Result<Self, NamespaceError> {
        in_thread(|| {
            unshare_network().map_err(NamespaceError::Create)?;
            let namespace = Self::of_this_thread()?;
            bring_up(&namespace.route).map_err(NamespaceError::Prepare)?;
            apply_settings();
            Ok(namespace)
        })
    }

    /// Opens a namespace by its path (`/proc/PID/ns/net`, or where one is mounted).
    ///
    /// # Errors
    /// [`NamespaceError::Open`] when there is none, [`NamespaceError::Enter`] for want of the right.
    pub fn open(path: &Path) -> Result<Self, NamespaceError> {
        let opened =
            File::open(path).map_err(|source| NamespaceError::Open { path: path.to_owned(), source })?;
        let fd = OwnedFd::from(opened);
        let route = run_in(fd.as_fd(), || Socket::route().map_err(NamespaceError::Prepare))??;
        Ok(Self { fd, route })
    }

    /// Runs `work` on a thread that is inside the namespace; sockets that it opens stay there.
    ///
    /// # Errors
    /// [`NamespaceError::Thread`] or [`NamespaceError::Enter`] when `work` was not run.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        run_in(self.fd.as_fd(), work)
    }

    /// Where other processes that may look into this one find the namespace, while it is held here.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd()).into()
    }

    /// Talks to the routing subsystem inside the namespace.
    pub(crate) fn route(&self) -> &Socket {
        &self.route
    }

    fn of_this_thread() -> Result<Self, NamespaceError> {
        let fd = File::open(THREAD_NAMESPACE)
            .map_err(|source| NamespaceError::Open { path: THREAD_NAMESPACE.into(), source })?;
        let route = Socket::route().map_err(NamespaceError::Prepare)?;
        Ok(Self { fd: fd.into(), route })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<NetNs> for OwnedFd {
    fn from(namespace: NetNs) -> Self {
        namespace.fd
    }
}

fn bring_up(socket: &Socket) -> Result<(), NetlinkError> {
    route::set_up(socket, LOOPBACK_INDEX)
}

/// Applies what can be applied: `/proc/sys` may be read-only, and a kernel may lack a setting.
fn apply_settings() {
    for (path, value) in SETTINGS {
        if let Err(error) = fs::write(path, value) {
            tracing::debug!(path, %error, "a setting of the network namespace stays as it is");
        }
    }
}

fn run_in<T: Send>(fd: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    in_thread(|| {
        move_into_link_name_space(fd, Some(LinkNameSpaceType::Network))
            .map_err(|error| NamespaceError::Enter(error.into()))?;
        Ok(work())
    })
}

/// Runs `work` on a thread of its own, whose namespaces end with it.
fn in_thread<T: Send>(work: impl FnOnce() -> Result<T, NamespaceError> + Send) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let started = thread::Builder::new().name("network namespace".into()).spawn_scoped(scope, work);
        let result = started.map_err(NamespaceError::Thread)?.join();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[expect(deprecated, reason = "deprecated for the flag FILES alone, which unshares descriptors")]
fn unshare_network() -> io::Result<()> {
    rustix::thread::unshare(UnshareFlags::NEWNET).map_err(io::Error::from)
}
