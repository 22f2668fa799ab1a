//! `exec`: a further process in a running container. It belongs to the process that starts it, not to the shim.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use lighter_layer::ViewError;
use lighter_sandbox::{Capabilities, ExecSpec, Process, SandboxError, Seccomp, Stage, Window};
use lighter_store::{ContainerId, Store};

use super::settings::Settings;
use super::shim::spec::{self, SpecError};
use super::state::{Container, FindError, Status, find};
use super::{events, exec_ids, links, streams};

/// Why a process was not started in a container.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It is not running.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// It is paused.
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    /// What is asked for cannot be kept.
    #[error(transparent)]
    Spec(#[from] Box<SpecError>),
    /// The process cannot be started.
    #[error(transparent)]
    Sandbox(#[from] Box<SandboxError>),
    /// It cannot be waited for.
    #[error(transparent)]
    Wait(#[from] lighter_sandbox::WaitError),
    /// Its streams cannot be made.
    #[error("preparing the streams of the process")]
    Streams(#[source] io::Error),
}

impl ExecError {
    /// The exit code that Docker gives.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Sandbox(error) => match &**error {
                SandboxError::Setup { stage: Stage::WorkingDirectory, .. } => 127,
                error if error.exit_code() == 125 => 1,
                error => error.exit_code(),
            },
            Self::Spec(error) if matches!(**error, SpecError::WorkingDirectory(_)) => 128,
            _ => 1,
        }
    }
}

/// What is asked of a further process.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct ExecRequest {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `-e`: `NAME=value`, or `NAME` alone to take one away.
    pub env: Vec<String>,
    /// `-u`.
    pub user: Option<String>,
    /// `-w`.
    pub working_dir: Option<String>,
    /// `-t`, with the size of the terminal.
    pub tty: bool,
    /// Lines and columns of the terminal.
    pub window: Option<(u16, u16)>,
    /// `-i`.
    pub stdin: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// `-d`: it outlives the one who starts it, and its streams lead nowhere.
    pub detach: bool,
}

/// A process that runs in a container.
#[derive(Debug)]
pub struct Exec {
    process: Arc<Process>,
    input: Option<File>,
    terminal: Option<File>,
    output: Vec<(File, bool)>,
    /// Where its end is noted.
    journal: Journal,
    /// Where it is written down that it runs.
    note: Option<PathBuf>,
}

/// Where what becomes of a process is noted, under its own name.
#[derive(Debug)]
struct Journal {
    store: Store,
    container: Box<Container>,
    id: ContainerId,
}

impl Journal {
    fn note(&self, action: &str, more: &[(&str, String)]) {
        let id = [("execID", self.id.to_string())];
        let more: Vec<_> = id.iter().chain(more).cloned().collect();
        events::note(&self.store, &self.container, action, &more);
    }
}

/// Starts a process in a running container.
///
/// # Errors
/// [`ExecError`].
pub fn exec(store: &Store, text: &str, request: &ExecRequest) -> Result<Exec, ExecError> {
    let container = find(store, text)?;
    check(&container)?;
    let spec = describe(store, &container, request).map_err(Box::new)?;
    let stdin = request.stdin && !request.detach;
    let (ends, pipes) = if request.detach {
        (lighter_sandbox::Stdio::null(), streams::Pipes::default())
    } else {
        streams::pipes(request.tty, stdin).map_err(ExecError::Streams)?
    };
    let (program, args) =
        request.args.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let command = format!("{program} {}", args.join(" "));
    let pid = container.state.pid;
    let journal = Journal { store: store.clone(), container: Box::new(container), id: ContainerId::random() };
    journal.note(&format!("exec_create: {command}"), &[]);
    let mut process = lighter_sandbox::exec_in(pid, &spec, ends).map_err(Box::new)?;
    journal.note(&format!("exec_start: {command}"), &[]);
    let terminal = process.take_terminal();
    let dir = journal.store.container_paths(&journal.container.record.id).dir;
    let note = exec_ids::note(&dir, &journal.id, process.pid());
    let note = note.map_err(|error| tracing::warn!(%error, "a process is not written down")).ok();
    Exec::new(process, terminal, pipes, stdin, journal)
        .map(|exec| Exec { note, ..exec })
        .map_err(ExecError::Streams)
}

fn check(container: &Container) -> Result<(), ExecError> {
    match container.state.status {
        Status::Running => Ok(()),
        Status::Paused => Err(ExecError::Paused(container.record.name.clone())),
        _ => Err(ExecError::NotRunning(container.record.id.to_string())),
    }
}

/// The process as the sandbox is told of it.
fn describe(store: &Store, container: &Container, request: &ExecRequest) -> Result<ExecSpec, SpecError> {
    let settings = &container.state.settings;
    let mut spec = spec_of(store, container, request.args.clone(), request.user.as_deref())?;
    let wished = Settings { tty: request.tty, ..settings.clone() };
    let (accounts, linked) = (accounts_of(container)?, linked(store, container));
    spec.env = spec::environment(&wished, &accounts, spec.user.uid, &linked, &request.env);
    if let Some(folder) = request.working_dir.as_deref().filter(|folder| !folder.is_empty()) {
        if !folder.starts_with('/') {
            return Err(SpecError::WorkingDirectory(folder.to_owned()));
        }
        folder.clone_into(&mut spec.cwd);
    }
    spec.tty = request.tty && !request.detach;
    spec.window = request.window.map(|(rows, columns)| Window { rows, columns });
    spec.die_with_parent = !request.detach;
    if request.privileged {
        spec.capabilities = Capabilities::all();
        spec.seccomp = Seccomp::Unconfined;
    }
    Ok(spec)
}

/// A process that is confined as the container's own is.
pub(super) fn spec_of(
    store: &Store,
    container: &Container,
    args: Vec<String>,
    user: Option<&str>,
) -> Result<ExecSpec, SpecError> {
    let settings = &container.state.settings;
    let accounts = accounts_of(container)?;
    let settings_of_user = match user {
        Some(user) => Settings { user: user.to_owned(), ..settings.clone() },
        None => settings.clone(),
    };
    let mut spec = ExecSpec::new(args);
    spec.user = spec::user(&accounts, &settings_of_user)?;
    spec.env = spec::environment(settings, &accounts, spec.user.uid, &linked(store, container), &[]);
    spec.cwd = if settings.working_dir.is_empty() { "/".to_owned() } else { settings.working_dir.clone() };
    let confined = spec::confinement(settings)?;
    spec.capabilities = confined.capabilities;
    spec.seccomp = confined.seccomp;
    spec.no_new_privileges = confined.no_new_privileges;
    spec.rlimits.clone_from(&settings.host.rlimits);
    spec.oom_score_adj = settings.host.oom_score_adj;
    Ok(spec)
}

/// The variables of its links; of what they lead to, something may have ended.
fn linked(store: &Store, container: &Container) -> Vec<String> {
    links::linked(store, container).map(|linked| links::variables(container, &linked)).unwrap_or_default()
}

/// The accounts as the running container sees them.
fn accounts_of(container: &Container) -> Result<lighter_build::Accounts, ViewError> {
    let root = format!("/proc/{}/root", container.state.pid);
    spec::accounts(&lighter_layer::View::open_directory(root.as_ref())?)
}

impl Exec {
    fn new(
        process: Process,
        terminal: Option<OwnedFd>,
        pipes: streams::Pipes,
        stdin: bool,
        journal: Journal,
    ) -> io::Result<Self> {
        let process = Arc::new(process);
        if let Some(terminal) = terminal.map(File::from) {
            let input = if stdin { Some(terminal.try_clone()?) } else { None };
            let output = vec![(terminal.try_clone()?, false)];
            return Ok(Self { process, input, terminal: Some(terminal), output, journal, note: None });
        }
        let mut output = Vec::new();
        output.extend(pipes.output.map(|fd| (File::from(fd), false)));
        output.extend(pipes.error.map(|fd| (File::from(fd), true)));
        Ok(Self { process, input: pipes.input.map(File::from), terminal: None, output, journal, note: None })
    }

    /// Where its input is written; to be had once, and closed to end it.
    pub fn take_input(&mut self) -> Option<File> {
        self.input.take()
    }

    /// A handle to tell it signals and sizes, from another thread.
    ///
    /// # Errors
    /// The system's.
    pub fn handle(&self) -> io::Result<ExecHandle> {
        let terminal = self.terminal.as_ref().map(File::try_clone).transpose()?;
        Ok(ExecHandle { process: Arc::clone(&self.process), terminal })
    }

    /// Passes on what it writes until it ends: the flag says whether it is on standard error. Its exit code.
    ///
    /// # Errors
    /// [`ExecError::Wait`].
    pub fn run(self, take: &(dyn Fn(&[u8], bool) + Sync)) -> Result<i32, ExecError> {
        let process = &self.process;
        let exit = thread::scope(|scope| {
            for (stream, is_error) in &self.output {
                scope.spawn(move || {
                    streams::read_to_end(stream, process.pidfd(), |bytes| take(bytes, *is_error));
                });
            }
            process.wait()
        })?;
        if let Some(note) = &self.note {
            exec_ids::remove(note);
        }
        let code = exit.status_code();
        self.journal.note("exec_die", &[("exitCode", code.to_string())]);
        Ok(code)
    }
}

/// What another thread may tell a process in a container.
#[derive(Debug)]
pub struct ExecHandle {
    process: Arc<Process>,
    terminal: Option<File>,
}

impl ExecHandle {
    /// Tells its terminal a new size.
    ///
    /// # Errors
    /// The system's.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        match &self.terminal {
            Some(terminal) => lighter_sandbox::resize(terminal, Window { rows, columns }),
            None => Ok(()),
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`ExecError::Wait`].
    pub fn signal(&self, signal: i32) -> Result<(), ExecError> {
        Ok(self.process.kill(signal)?)
    }
}
