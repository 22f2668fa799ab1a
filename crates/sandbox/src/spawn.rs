//! Starting a sandboxed process: the caller's side.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::message::{CommandFault, Host, Order, Report, Stage, Warning};
use crate::process::{Process, WaitError};
use crate::spawner::{self, Kind, Request, Started};
use crate::spec::{ExecSpec, Namespace, Network, Spec};
use crate::stdio::{Stdio, Stream};
use crate::{control, sys, userns};

/// What to add where the machine lets this process make no namespaces: who reads it needs to know what to ask for.
pub(crate) fn forbidden(error: &std::io::Error) -> &'static str {
    match error.kind() {
        // the second is what a limit of none says
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::StorageFull => {
            " (commands need namespaces, which this machine denies here; \
             `lighter info` names what an administrator can allow; in a pod: a security context that allows user \
             namespaces or CAP_SYS_ADMIN, and a seccomp profile that allows `unshare` and `mount`)"
        }
        _ => "",
    }
}

/// What to add to a part of the set-up that failed, where somebody can do something about it.
fn remedy(stage: Stage, error: &std::io::Error) -> &'static str {
    match (stage, error.kind()) {
        (Stage::Namespaces, _) => forbidden(error),
        // the kernel knows no such id here
        (Stage::User, std::io::ErrorKind::InvalidInput) if userns::is_inside() => {
            " does not exist in here: this user has too few subordinate ids; `lighter info` says how to get them"
        }
        _ => "",
    }
}

/// Why a sandboxed process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The program is not there or cannot be executed; the text is Docker's.
    #[error("{}", fault.describe(program))]
    Command {
        /// Program as it was asked for.
        program: String,
        /// Why.
        fault: CommandFault,
    },
    /// A part of the set-up failed inside.
    #[error("{stage}: {what}{}", remedy(*stage, source))]
    Setup {
        /// Which part.
        stage: Stage,
        /// On what.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel made no process or namespace.
    #[error("creating the sandbox's namespaces{}", forbidden(.0))]
    Clone(#[source] std::io::Error),
    /// A stream, socket or namespace could not be opened.
    #[error("opening {what}")]
    Open {
        /// What it is.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The spec cannot be passed on, for example because a path is not UTF-8.
    #[error("writing the sandbox's order")]
    Order(#[source] serde_json::Error),
    /// The init ended before it could tell why, or the binary does not call [`crate::run_hidden_verb`].
    #[error("the sandbox's init ended without a word (exit status {status})")]
    Silent {
        /// Its exit status, as shells say it.
        status: i32,
    },
    /// What the init said cannot be understood.
    #[error("reading the sandbox's report")]
    Report(#[source] std::io::Error),
    /// The init could not be waited for.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

impl SandboxError {
    /// The exit status Docker gives: 126 or 127 for the program's own faults, 125 for the tool's.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Command { fault, .. } => fault.exit_code(),
            Self::Setup { stage: Stage::WorkingDirectory, .. } => 126,
            _ => 125,
        }
    }
}

/// Starts a process in a sandbox and returns when its program runs.
///
/// # Errors
/// [`SandboxError::Command`] if the program cannot be started, [`SandboxError::Setup`] if a wish of the spec cannot
/// be kept; in either case nothing is left running.
pub fn spawn(spec: &Spec, stdio: Stdio) -> Result<Process, SandboxError> {
    let pid_namespace = match &spec.pid {
        Namespace::Join(path) => Some(open_namespace(path)?),
        Namespace::Private | Namespace::Host => None,
    };
    let order = Order::Run { spec: Box::new(with_reachable_paths(spec)), host: host() };
    let request = Request { kind: kind_of(spec), pid_namespace, another_follows: spec.another_follows };
    let process = start(&order, request, stdio)?;
    Ok(if spec.keeper { process.with_keeper() } else { process })
}

/// Starts what the next [`spawn`] becomes, so that it gets ready while the caller finds out the rest: of the spec, only
/// whose namespaces are its own needs to be right. Where that turns out to be wrong, it is ended.
///
/// Its mount namespace is of this moment: what is mounted later does not show in it.
pub fn expect(spec: &Spec) {
    if let Err(error) = spawner::expect(kind_of(spec)) {
        // the one who wants it is told
        tracing::debug!(%error, "nothing was made ready");
    }
}

fn kind_of(spec: &Spec) -> Kind {
    Kind { namespaces: spec.own_namespaces(), keeper: spec.keeper }
}

/// Starts a further process in the sandbox in which the process `target` runs.
///
/// It must be waited for: a sandbox that has ended is not seen to have ended before all its processes are.
///
/// # Errors
/// As [`spawn`]; [`SandboxError::Open`] if `target` is no more.
pub fn exec_in(target: i32, spec: &ExecSpec, stdio: Stdio) -> Result<Process, SandboxError> {
    let pid_namespace = open_namespace(Path::new(&format!("/proc/{target}/ns/pid")))?;
    let order = Order::Exec { spec: Box::new(spec.clone()), target };
    let kind = Kind { namespaces: 0, keeper: false };
    start(&order, Request { kind, pid_namespace: Some(pid_namespace), another_follows: false }, stdio)
}

/// Gives the end of children its usual meaning: who was started with it ignored could not wait for any.
///
/// # Errors
/// When the system refuses.
pub fn hear_of_children() -> std::io::Result<()> {
    Ok(sys::default_signal(libc::SIGCHLD)?)
}

fn host() -> Host {
    Host { in_user_namespace: userns::is_inside() }
}

/// Names what `/proc/self` means here so that the init finds it, too.
fn with_reachable_paths(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    if let Network::Namespace(path) = &mut spec.network {
        *path = reachable(path);
    }
    for namespace in [&mut spec.ipc, &mut spec.uts, &mut spec.pid] {
        if let Namespace::Join(path) = namespace {
            *path = reachable(path);
        }
    }
    spec
}

fn reachable(path: &Path) -> PathBuf {
    match path.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(std::process::id().to_string()).join(rest),
        Err(_) => path.to_owned(),
    }
}

fn open_namespace(path: &Path) -> Result<OwnedFd, SandboxError> {
    open(path, OFlags::RDONLY)
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, SandboxError> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|source| SandboxError::Open { what: path.display().to_string(), source: source.into() })
}

fn start(order: &Order, request: Request, stdio: Stdio) -> Result<Process, SandboxError> {
    let order = serde_json::to_vec(order).map_err(SandboxError::Order)?;
    let streams = [stream(stdio.stdin, 0)?, stream(stdio.stdout, 1)?, stream(stdio.stderr, 2)?];
    let started = spawner::start(request).map_err(|errno| SandboxError::Clone(errno.into()))?;
    converse(started, &order, streams)
}

/// Opens what becomes one of the standard streams.
fn stream(stream: Stream, number: RawFd) -> Result<OwnedFd, SandboxError> {
    let own = match stream {
        Stream::Fd(fd) => return Ok(fd),
        Stream::Null => return open(Path::new("/dev/null"), OFlags::RDWR),
        Stream::Inherit if number == 0 => std::io::stdin().as_fd().try_clone_to_owned(),
        Stream::Inherit if number == 1 => std::io::stdout().as_fd().try_clone_to_owned(),
        Stream::Inherit => std::io::stderr().as_fd().try_clone_to_owned(),
    };
    own.map_err(|source| SandboxError::Open { what: "a standard stream".to_owned(), source })
}

/// Gives the order to a started init and hears its reports until its program runs.
fn converse(started: Started, order: &[u8], streams: [OwnedFd; 3]) -> Result<Process, SandboxError> {
    let socket = started.socket;
    if let Err(error) = control::send_order(&socket, order, &streams) {
        tracing::debug!(%error, "the init does not take its order");
    }
    // what the process writes ends when nobody else can write it
    drop(streams);
    let mut heard = Heard::default();
    let ready = heard.listen(&socket);
    let process = Process::new(started.pid, started.pidfd, heard.terminal, heard.warnings, heard.stubs);
    match ready {
        Ok(true) => Ok(process),
        Ok(false) => Err(SandboxError::Silent { status: process.wait()?.status_code() }),
        Err(error) => {
            process.kill(libc::SIGKILL)?;
            process.wait()?;
            Err(error)
        }
    }
}

/// What an init has told so far.
#[derive(Default)]
struct Heard {
    terminal: Option<OwnedFd>,
    warnings: Vec<Warning>,
    stubs: Vec<PathBuf>,
}

impl Heard {
    /// Listens until the init is gone or has become the program; says whether it announced the latter.
    fn listen(&mut self, socket: &UnixStream) -> Result<bool, SandboxError> {
        let mut ready = false;
        let mut inbox = control::Inbox::default();
        while let Some((report, descriptor)) = inbox.next(socket).map_err(SandboxError::Report)? {
            match report {
                Report::Warning(warning) => self.warnings.push(warning),
                Report::Terminal => self.terminal = descriptor,
                Report::Stubs(stubs) => self.stubs = stubs,
                Report::Ready => ready = true,
                Report::Setup { stage, what, errno } => {
                    let source = std::io::Error::from_raw_os_error(errno);
                    return Err(SandboxError::Setup { stage, what, source });
                }
                Report::Command { program, fault } => {
                    return Err(SandboxError::Command { program, fault });
                }
            }
        }
        Ok(ready)
    }
}

/// Reads a whole small file of the kernel's.
pub(crate) fn read_small(path: &str) -> Result<String, Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    std::io::read_to_string(File::from(file))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
