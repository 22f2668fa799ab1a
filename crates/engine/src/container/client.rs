//! The client's side of a shim: start a container, attach to it, signal it, stop it, wait for it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use lighter_store::{FindContainerError, Store};

use super::message::{self, Frame, Reply, Request};
use super::shim::{SOCKET, Streams, WaitingShim};
use super::signal as signals;
use super::state::{Container, FindError, Status, find, find_whole};

/// Why a container did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It is not running.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// There is no such signal.
    #[error("invalid signal: {0}")]
    NoSignal(String),
    /// It runs already.
    #[error("container {0} is already running")]
    Running(String),
    /// It cannot be started as it is.
    #[error("container {name} cannot be started: it is {status}")]
    NotStartable {
        /// Its name.
        name: String,
        /// What it does.
        status: &'static str,
    },
    /// Its process could not be started.
    #[error("{error}")]
    Failed {
        /// Why.
        error: String,
        /// The exit code that Docker gives.
        exit_code: i32,
    },
    /// Its shim cannot be started.
    #[error("starting the container's shim")]
    Shim(#[source] io::Error),
    /// Its shim cannot be reached, or died.
    #[error("talking to the shim of container {container}")]
    Talk {
        /// The container.
        container: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A conversation with a container's shim.
#[derive(Debug)]
pub struct Attachment {
    stream: UnixStream,
    container: String,
    /// The shim, where this process started it.
    child: Option<Child>,
    /// What could not be kept of the container's settings.
    pub warnings: Vec<String>,
    /// Why it has no network, where it should have one.
    pub no_network: Option<String>,
}

impl Attachment {
    /// The next thing the container says; `None` where its shim has gone without a word.
    ///
    /// # Errors
    /// [`ClientError::Talk`], where the connection broke.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ClientError> {
        message::receive(&mut self.stream).map_err(|source| self.talk(source))
    }

    /// A second handle, for the thread that feeds the container.
    ///
    /// # Errors
    /// [`ClientError::Talk`], where there is none to be had.
    pub fn feeder(&self) -> Result<Feeder, ClientError> {
        let stream = self.stream.try_clone().map_err(|source| self.talk(source))?;
        Ok(Feeder { stream })
    }

    fn talk(&self, source: io::Error) -> ClientError {
        ClientError::Talk { container: self.container.clone(), source }
    }

    fn reply(&mut self) -> Result<Reply, ClientError> {
        match self.next_frame()? {
            Some(Frame::Reply(Reply::Failed { error, exit_code })) => {
                Err(ClientError::Failed { error, exit_code })
            }
            Some(Frame::Reply(reply)) => Ok(reply),
            Some(_) => Err(self.talk(io::ErrorKind::InvalidData.into())),
            None => Err(self.talk(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // a shim that has ended is reaped; one that lives on is nobody's child but init's in the end
        if let Some(mut child) = self.child.take()
            && let Err(error) = child.try_wait()
        {
            tracing::debug!(%error, "the shim was not reaped");
        }
    }
}

/// The sending side of an [`Attachment`].
#[derive(Debug)]
pub struct Feeder {
    stream: UnixStream,
}

impl Feeder {
    /// Sends bytes to the container's standard input; none for its end.
    ///
    /// # Errors
    /// The connection's.
    pub fn input(&mut self, bytes: &[u8]) -> io::Result<()> {
        message::send(&mut self.stream, &Frame::Input(bytes.to_vec()))
    }

    /// Asks for something that is answered on the receiving side.
    ///
    /// # Errors
    /// The connection's.
    pub fn request(&mut self, request: Request) -> io::Result<()> {
        message::send(&mut self.stream, &Frame::Request(request))
    }

    /// Ends the conversation: the receiving side sees its end.
    ///
    /// # Errors
    /// The connection's.
    pub fn hang_up(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Both)
    }
}

/// Starts a container that is there, and attaches to the streams that are wanted.
///
/// # Errors
/// [`ClientError`], where it is running already, or cannot be started.
pub fn start(
    store: &Store,
    runtime: &Path,
    text: &str,
    attach: Option<Streams>,
) -> Result<Attachment, ClientError> {
    start_by(None, store, runtime, text, attach)
}

/// As [`start`], by a shim that waits already, where there is one.
///
/// # Errors
/// As [`start`].
pub fn start_by(
    shim: Option<WaitingShim>,
    store: &Store,
    runtime: &Path,
    text: &str,
    attach: Option<Streams>,
) -> Result<Attachment, ClientError> {
    let container = find_whole(store, text)?;
    // until it runs, it must not be taken for one that nobody uses
    if !store.hold_container(&container.record.id).map_err(|error| FindError::Record(error.into()))? {
        return Err(FindError::Find(FindContainerError::NotFound(text.to_owned())).into());
    }
    if container.state.status == Status::Running {
        return Err(ClientError::Running(container.record.name));
    }
    if !matches!(container.state.status, Status::Created | Status::Exited) {
        let (name, status) = (container.record.name, container.state.status.name());
        return Err(ClientError::NotStartable { name, status });
    }
    if attach.is_some() {
        super::events::note(store, &container, "attach", &[]);
    }
    let give = |shim: WaitingShim| shim.give(store, runtime, &container.record.id, attach);
    // one that has died while it waited has begun nothing
    let given = shim.and_then(|shim| give(shim).ok()).map_or_else(|| WaitingShim::begin().and_then(give), Ok);
    let (child, stream) = given.map_err(|error| {
        give_up(store, &container);
        ClientError::Shim(error)
    })?;
    let mut attachment = Attachment {
        stream,
        container: container.record.id.short().to_owned(),
        child,
        warnings: Vec::new(),
        no_network: None,
    };
    if let Reply::Started { warnings, no_network } = attachment.reply()? {
        attachment.warnings = warnings;
        attachment.no_network = no_network;
    }
    Ok(attachment)
}

/// Removes a container without a shim that was to be removed at its end.
fn give_up(store: &Store, container: &Container) {
    if container.state.settings.host.auto_remove
        && let Err(error) = super::remove(store, container.record.id.as_str(), false, true)
    {
        tracing::warn!(%error, container = container.record.id.short(), "a container that was not started stays");
    }
}

/// Attaches to the streams of a running container.
///
/// # Errors
/// [`ClientError::NotRunning`], or where its shim cannot be reached.
pub fn attach(store: &Store, text: &str, streams: Streams) -> Result<Attachment, ClientError> {
    let container = find(store, text)?;
    let Streams { stdin, stdout, stderr } = streams;
    connect(store, &container, Request::Attach { stdin, stdout, stderr })
}

/// Waits until a container ends; its exit code.
///
/// # Errors
/// [`ClientError`], where there is none, or its shim died.
pub fn wait(store: &Store, text: &str) -> Result<i32, ClientError> {
    let container = find(store, text)?;
    if matches!(container.state.status, Status::Exited | Status::Dead | Status::Created) {
        return Ok(container.state.exit_code);
    }
    if let Ok(mut attachment) = connect(store, &container, Request::Wait) {
        while let Ok(Some(frame)) = attachment.next_frame() {
            if let Frame::Reply(Reply::Ended { exit_code }) = frame {
                return Ok(exit_code);
            }
        }
    }
    // it ended between the look and the question, or its shim was killed
    await_end(store, &container)?;
    match find(store, container.record.id.as_str()) {
        Err(error) if error.is_missing() => Ok(KILLED),
        found => Ok(found?.state.exit_code),
    }
}

/// The exit code of what was killed.
const KILLED: i32 = 137;

/// Sends a running container's first process a signal, given by number.
///
/// # Errors
/// [`ClientError::NotRunning`], or where its shim cannot be reached.
pub fn signal(store: &Store, text: &str, signal: i32) -> Result<(), ClientError> {
    let container = find(store, text)?;
    if !container.state.is_running() {
        return Err(ClientError::NotRunning(container.record.id.to_string()));
    }
    ask(store, &container, Request::Signal(signal))
}

/// Sends a running container's first process a signal by name or number, and waits for the end of what cannot survive.
///
/// # Errors
/// [`ClientError::NoSignal`], [`ClientError::NotRunning`], or where its shim cannot be reached.
pub fn kill(store: &Store, text: &str, name: &str) -> Result<(), ClientError> {
    let number = signals::number(name).ok_or_else(|| ClientError::NoSignal(name.to_owned()))?;
    let container = find(store, text)?;
    signal(store, text, number)?;
    if number == signals::KILL { await_end(store, &container) } else { Ok(()) }
}

/// Stops a container for good; one that is down already is left alone. What is not given is the container's own.
///
/// # Errors
/// [`ClientError`], where there is none, or its shim cannot be reached.
pub fn stop(
    store: &Store,
    text: &str,
    signal: Option<&str>,
    patience: Option<i64>,
) -> Result<(), ClientError> {
    let container = find(store, text)?;
    let (signal, patience) = (stop_signal(&container, signal)?, stop_patience(&container, patience));
    if !container.state.is_running() && container.state.status != Status::Restarting {
        return Ok(());
    }
    stop_and_wait(store, &container, signal, patience)
}

fn stop_and_wait(
    store: &Store,
    container: &Container,
    signal: i32,
    patience: Option<u64>,
) -> Result<(), ClientError> {
    let asked = ask(store, container, Request::Stop { signal, patience });
    match (asked, find(store, container.record.id.as_str())) {
        (Ok(()), _) => await_end(store, container),
        // it ended meanwhile
        (Err(_), Ok(now)) if !now.state.is_running() => Ok(()),
        (Err(_), Err(error)) if error.is_missing() => Ok(()),
        (Err(error), _) => Err(error),
    }
}

/// Kills a container and waits until its shim has written that down.
pub(super) fn kill_for_good(store: &Store, container: &Container) -> Result<(), ClientError> {
    stop_and_wait(store, container, signals::KILL, None)
}

/// Waits for the shim's last word, which comes after everything is written down.
fn await_end(store: &Store, container: &Container) -> Result<(), ClientError> {
    let before = container.state.started_at;
    loop {
        match find(store, container.record.id.as_str()) {
            Ok(now) if now.state.is_running() && now.state.started_at == before => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(_) => return Ok(()),
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Stops a running container and starts it again; one that is down is started.
///
/// # Errors
/// [`ClientError`].
pub fn restart(
    store: &Store,
    runtime: &Path,
    text: &str,
    signal: Option<&str>,
    patience: Option<i64>,
) -> Result<(), ClientError> {
    let container = find(store, text)?;
    if !container.state.is_running() && container.state.status != Status::Restarting {
        start(store, runtime, text, None)?;
    } else {
        end_and_start(store, &container, signal, patience)?;
    }
    super::events::note(store, &container, "restart", &[]);
    Ok(())
}

fn end_and_start(
    store: &Store,
    container: &Container,
    signal: Option<&str>,
    patience: Option<i64>,
) -> Result<(), ClientError> {
    let (signal, patience) = (stop_signal(container, signal)?, stop_patience(container, patience));
    let before = container.state.started_at;
    ask(store, container, Request::Restart { signal, patience })?;
    loop {
        let now = find(store, container.record.id.as_str())?;
        let is_again = now.state.is_running() && now.state.started_at != before;
        match now.state.status {
            _ if is_again => return Ok(()),
            // it ran once more, and has ended already
            Status::Exited if now.state.started_at != before && now.state.error.is_empty() => return Ok(()),
            Status::Exited | Status::Dead | Status::Created => {
                let (error, exit_code) = (now.state.error, now.state.exit_code);
                return Err(ClientError::Failed { error, exit_code });
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The signal that asks a container to stop: the given one, else its own, else `SIGTERM`.
fn stop_signal(container: &Container, given: Option<&str>) -> Result<i32, ClientError> {
    let own = container.state.settings.stop_signal.as_deref();
    match given.or(own).filter(|signal| !signal.is_empty()) {
        None => Ok(signals::TERMINATE),
        Some(text) => signals::number(text).ok_or_else(|| ClientError::NoSignal(text.to_owned())),
    }
}

/// Milliseconds between that signal and the kill: as given, else its own, else ten seconds; none for never.
fn stop_patience(container: &Container, given: Option<i64>) -> Option<u64> {
    const DEFAULT_SECONDS: i64 = 10;
    let own = container.state.settings.stop_timeout_seconds.map(i64::from);
    let seconds = given.or(own).unwrap_or(DEFAULT_SECONDS);
    u64::try_from(seconds).ok().map(|seconds| seconds.saturating_mul(1000))
}

/// Tells the terminal of a container its new size.
///
/// # Errors
/// [`ClientError`], where its shim cannot be reached.
pub fn resize(store: &Store, text: &str, rows: u16, columns: u16) -> Result<(), ClientError> {
    ask(store, &find(store, text)?, Request::Resize { rows, columns })
}

/// Freezes or thaws a container.
///
/// # Errors
/// [`ClientError`], where its shim cannot be reached, or it cannot be done.
pub fn pause(store: &Store, text: &str, pause: bool) -> Result<(), ClientError> {
    ask(store, &find(store, text)?, Request::Pause(pause))
}

/// A container that is frozen until this is dropped, or its process dies.
pub(super) struct Held(Attachment);

impl Held {
    /// Thaws it, and waits until that is done.
    pub(super) fn release(mut self) -> Result<(), ClientError> {
        let ended = self.0.stream.shutdown(std::net::Shutdown::Write);
        ended.map_err(|source| self.0.talk(source))?;
        self.0.reply().map(drop)
    }
}

/// Freezes a container for the time of a look at its files.
pub(super) fn hold(store: &Store, container: &Container) -> Result<Held, ClientError> {
    connect(store, container, Request::Hold).map(Held)
}

/// Asks a container's shim for something, and waits until it is done.
pub(super) fn ask(store: &Store, container: &Container, request: Request) -> Result<(), ClientError> {
    connect(store, container, request).map(drop)
}

fn connect(store: &Store, container: &Container, request: Request) -> Result<Attachment, ClientError> {
    let short = container.record.id.short().to_owned();
    if matches!(container.state.status, Status::Created | Status::Exited | Status::Dead) {
        return Err(ClientError::NotRunning(container.record.id.to_string()));
    }
    let talk = |source| ClientError::Talk { container: short.clone(), source };
    let dir = File::open(store.container_paths(&container.record.id).dir).map_err(talk)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    let mut stream = UnixStream::connect(path).map_err(talk)?;
    message::send(&mut stream, &Frame::Request(request)).map_err(talk)?;
    let mut attachment =
        Attachment { stream, container: short.clone(), child: None, warnings: Vec::new(), no_network: None };
    attachment.reply()?;
    Ok(attachment)
}
