//! A way out for namespaces of ordinary users: `pasta`, where it is installed and may open the tunnel device.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::namespace::NetNs;
use super::netlink::NetlinkError;
use super::route;

const PROGRAM: &str = "pasta";
/// The argument that makes the binary become `pasta`; the process it must not outlive follows.
const HIDDEN_VERB: &str = "--lighter-pasta";
const NOT_FOUND: i32 = 127;
const NOT_EXECUTED: i32 = 126;
const TUNNEL_DEVICE: &str = "/dev/net/tun";
/// The name of the link in the namespace, as containers expect it.
const INTERFACE: &str = "eth0";
/// How long it may take until the namespace has its way out.
const TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);

/// Why `pasta` gives no way out. The caller may run without one, or on the machine's own network.
#[derive(Debug, thiserror::Error)]
pub enum PastaError {
    /// It is not installed.
    #[error("`{PROGRAM}` is not installed; it gives containers of ordinary users a network of their own")]
    Missing,
    /// The device through which it would work may not be opened.
    #[error("`{TUNNEL_DEVICE}`, which `{PROGRAM}` needs, cannot be opened")]
    Tunnel(#[source] io::Error),
    /// It could not be started.
    #[error("running `{PROGRAM}`")]
    Run(#[source] io::Error),
    /// It ended at once.
    #[error("`{PROGRAM}` ended: {message}")]
    Ended {
        /// What it said.
        message: String,
    },
    /// It set nothing up in time.
    #[error("`{PROGRAM}` set up no network within {} seconds", TIMEOUT.as_secs())]
    Timeout,
    /// What it did could not be seen.
    #[error("reading the network links of a namespace")]
    Links(#[source] NetlinkError),
}

/// A running `pasta`; the way out ends when this is dropped, or when the thread that started it ends.
#[derive(Debug)]
pub struct Pasta {
    child: Child,
}

impl Pasta {
    /// Tells whether `pasta` can work here, without starting it on anything.
    ///
    /// # Errors
    /// [`PastaError::Tunnel`], [`PastaError::Missing`] or [`PastaError::Run`].
    pub fn probe() -> Result<(), PastaError> {
        File::options().read(true).write(true).open(TUNNEL_DEVICE).map_err(PastaError::Tunnel)?;
        let version = Command::new(PROGRAM)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.map(drop).map_err(run_error)
    }

    /// Gives a namespace, made inside this process's user namespace, the machine's addresses and reach.
    ///
    /// It must be started from a thread that lives as long as the namespace is used. Published ports are not its
    /// business: see [`super::Proxy`] with a namespace as its target.
    ///
    /// # Errors
    /// [`PastaError`] when it cannot, with nothing left running.
    pub fn start(namespace: &NetNs) -> Result<Self, PastaError> {
        File::options().read(true).write(true).open(TUNNEL_DEVICE).map_err(PastaError::Tunnel)?;
        // It gives up the right to look into this process, so it gets the namespace as its standard input.
        let input = namespace.as_fd().try_clone_to_owned().map_err(PastaError::Run)?;
        let child = Command::new("/proc/self/exe")
            .args([HIDDEN_VERB, &std::process::id().to_string()])
            .args(["--foreground", "--quiet", "--config-net", "--ns-ifname", INTERFACE])
            .args(["--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none"])
            .args(["--udp-ns", "none", "--no-map-gw", "--netns-only", "--netns"])
            .arg("/proc/self/fd/0")
            .stdin(Stdio::from(input))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(PastaError::Run)?;
        let mut pasta = Self { child };
        pasta.await_link(namespace)?;
        Ok(pasta)
    }

    fn await_link(&mut self, namespace: &NetNs) -> Result<(), PastaError> {
        let begun = Instant::now();
        loop {
            if has_way_out(namespace).map_err(PastaError::Links)? {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().map_err(PastaError::Run)? {
                return Err(match status.code() {
                    Some(NOT_FOUND) => PastaError::Missing,
                    _ => PastaError::Ended { message: self.last_words() },
                });
            }
            if begun.elapsed() > TIMEOUT {
                return Err(PastaError::Timeout);
            }
            thread::sleep(POLL);
        }
    }

    /// The last line that it wrote before it ended.
    fn last_words(&mut self) -> String {
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.take()
            && let Err(error) = stderr.take(64 << 10).read_to_string(&mut said)
        {
            tracing::debug!(%error, "what pasta said is not readable");
        }
        said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned()
    }
}

impl Drop for Pasta {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::warn!(%error, "pasta could not be ended");
        }
    }
}

/// Becomes `pasta`, if the arguments of this process say so; the exit status when it cannot.
///
/// This detour lets the kernel end `pasta` should its parent be killed.
pub(crate) fn run_hidden_verb(
    verb: Option<&OsStr>,
    mut arguments: impl Iterator<Item = OsString>,
) -> Option<i32> {
    if verb != Some(OsStr::new(HIDDEN_VERB)) {
        return None;
    }
    let parent = arguments.next();
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return Some(complain(&error.into()));
    }
    let still = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if still.is_none_or(|still| parent.is_none_or(|parent| parent.to_str() != Some(&still))) {
        return Some(NOT_EXECUTED);
    }
    Some(complain(&Command::new(PROGRAM).args(arguments).exec()))
}

fn complain(error: &io::Error) -> i32 {
    // The status says enough when even this cannot be written.
    let _ = writeln!(io::stderr(), "{error}");
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTED }
}

fn run_error(error: io::Error) -> PastaError {
    if error.kind() == io::ErrorKind::NotFound { PastaError::Missing } else { PastaError::Run(error) }
}

fn has_way_out(namespace: &NetNs) -> Result<bool, NetlinkError> {
    let socket = namespace.route();
    let Some(link) = route::link(socket, INTERFACE)? else {
        return Ok(false);
    };
    let leads_out =
        |route: &route::Route| route.destination.prefix_len() == 0 && route.out_link == Some(link.index);
    Ok(route::routes(socket)?.iter().any(leads_out))
}
