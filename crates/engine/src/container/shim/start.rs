//! Starting the container's process: its place in the network, its control group, its streams, its sandbox.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use lighter_build::plain::{self, PlainError, PlainRoot};
use lighter_sandbox::cgroup::Cgroup;
use lighter_sandbox::{Process, SandboxError};
use lighter_store::FileError;

use super::super::settings::Settings;
use super::super::state::{Container, Status};
use super::super::streams::{self, Pipes};
use super::copies;
use super::group::{self, GroupError};
use super::network::{JoinError, Joined};
use super::run::Shim;
use super::spec::{self, SpecError};

/// Why a container could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Copy(#[from] PlainError),
    #[error(transparent)]
    Store(#[from] FileError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("preparing the container's streams")]
    Streams(#[source] io::Error),
}

impl StartError {
    pub(super) fn exit_code(&self) -> i32 {
        match self {
            Self::Sandbox(error) => error.exit_code(),
            Self::Spec(SpecError::WorkingDirectory(_)) => 126,
            // as Docker has it for whatever is not there
            Self::Group(GroupError::NoDevice(_))
            | Self::Spec(SpecError::NoDevice(_) | SpecError::NotInImage { .. }) => 127,
            Self::Spec(SpecError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => 127,
            _ => 125,
        }
    }
}

/// Where the container's output is read, and what each stream is called.
type Output = Vec<(File, &'static str)>;

/// A process that has just started.
struct Started {
    process: Arc<Process>,
    output: Output,
    copy: Option<PlainRoot>,
}

/// What is there while a container runs.
pub(super) struct Running {
    pub(super) process: Arc<Process>,
    pub(super) output: Output,
    pub(super) cgroup: Option<Cgroup>,
    /// What it works on, where its layers cannot be mounted.
    pub(super) copy: Option<PlainRoot>,
    pub(super) warnings: Vec<String>,
    /// Why it has no network, where it should have one.
    pub(super) no_network: Option<String>,
}

impl Running {
    /// Whether the kernel killed one of its processes for want of memory.
    pub(super) fn was_out_of_memory(&self) -> bool {
        self.cgroup.as_ref().is_some_and(|group| group.was_out_of_memory().unwrap_or(false))
    }

    /// Takes away what the kernel does not, and keeps what was changed.
    pub(super) fn clean_up(self, late_group: Option<Cgroup>, dir: &Path) {
        if let Some(copy) = self.copy
            && let Err(error) = copies::gather(&copy, dir)
        {
            tracing::warn!(%error, "what the container changed is gathered when it starts again");
        }
        for cgroup in self.cgroup.into_iter().chain(late_group) {
            remove(&cgroup);
        }
    }
}

impl Shim {
    /// Starts the container's process.
    pub(super) fn start(&self) -> Result<Running, StartError> {
        let container = self.container().map_err(SpecError::from)?;
        let container = spec::named_as_its_network(&self.store, container)?;
        let mut joined = Joined::join(&self.store, &self.runtime, &container)?;
        let no_network = joined.missing.take();
        let (cgroup, mut warnings) = group::make(&container)?;
        match self.start_in(&container, &joined, cgroup.as_ref()) {
            Ok(Started { process, output, copy }) => {
                warnings.extend(process.warnings().iter().map(ToString::to_string));
                let running = Running { process, output, cgroup, copy, warnings, no_network };
                self.is_up(&running, joined, container.state.settings).map_err(SpecError::from)?;
                Ok(running)
            }
            Err(error) => {
                joined.leave(&self.store, &self.runtime);
                cgroup.iter().for_each(remove);
                Err(error)
            }
        }
    }

    fn start_in(
        &self,
        container: &Container,
        joined: &Joined,
        cgroup: Option<&Cgroup>,
    ) -> Result<Started, StartError> {
        let settings = &container.state.settings;
        let mut spec = spec::describe(&self.store, container, joined.place(&self.store, container)?)?;
        spec.devices_by_group = !settings.host.limits.device_rules.is_empty() && !spec.privileged;
        spec.cgroup = cgroup.cloned();
        copies::gather_left_behind(&spec, &self.dir)?;
        let pipes = || streams::pipes(settings.tty, settings.open_stdin).map_err(StartError::Streams);
        let (stdio, mut ends) = pipes()?;
        let is_asked_for = plain::is_asked_for(&self.store);
        let mut copy = if is_asked_for { copies::make(&mut spec, &self.dir)? } else { None };
        let mut process = match lighter_sandbox::spawn(&spec, stdio) {
            Err(error) if !is_asked_for && plain::refusal_behind(&error, &self.store)?.is_some() => {
                copy = copies::make(&mut spec, &self.dir)?;
                let stdio;
                (stdio, ends) = pipes()?;
                lighter_sandbox::spawn(&spec, stdio)?
            }
            other => other?,
        };
        let terminal = process.take_terminal();
        let process = Arc::new(process);
        let output = self.connect(&process, terminal, ends).map_err(StartError::Streams)?;
        Ok(Started { process, output, copy })
    }

    /// Writes down that the container runs.
    fn is_up(
        &self,
        running: &Running,
        joined: Joined,
        settings: Settings,
    ) -> Result<(), super::super::state::FindError> {
        let (pid, network, cgroup) =
            (running.process.pid(), joined.state(&self.runtime), running.cgroup.clone());
        self.control().network = joined;
        // what others tell of a container that they see running comes after this
        self.note("start", &[]);
        self.change(move |state| {
            state.status = Status::Running;
            state.error.clear();
            state.oom_killed = false;
            state.pid = pid;
            state.exit_code = 0;
            state.started_at = Some(Timestamp::now());
            state.stopped_by_hand = false;
            state.network = network;
            state.cgroup = cgroup;
            state.health = None;
            state.settings.hostname = settings.hostname;
            state.settings.domainname = settings.domainname;
        })
    }

    /// Remembers where input goes; what the container's output comes from.
    fn connect(&self, process: &Arc<Process>, terminal: Option<OwnedFd>, pipes: Pipes) -> io::Result<Output> {
        let mut control = self.control();
        control.process = Some(Arc::clone(process));
        if let Some(terminal) = terminal {
            let terminal = File::from(terminal);
            control.input = Some(terminal.try_clone()?);
            control.terminal = Some(terminal.try_clone()?);
            return Ok(vec![(terminal, "stdout")]);
        }
        control.input = pipes.input.map(File::from);
        let mut output = Vec::new();
        output.extend(pipes.output.map(|fd| (File::from(fd), "stdout")));
        output.extend(pipes.error.map(|fd| (File::from(fd), "stderr")));
        Ok(output)
    }
}

fn remove(cgroup: &Cgroup) {
    if let Err(error) = cgroup.remove() {
        tracing::warn!(%error, "a control group stays");
    }
}
