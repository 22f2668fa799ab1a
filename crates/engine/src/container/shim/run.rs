//! One life of a shim: start the container, serve its clients, wait, and start it again where its policy says so.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lighter_image::error_chain;
use lighter_sandbox::Process;
use lighter_store::{ContainerId, Store};

use super::super::message::{self, Frame, Reply};
use super::super::state::{self, Container, FindError, State, Status};
use super::super::{events, streams};
use super::clients::Clients;
use super::log::{LogStream, LogWriter};
use super::start::Running;
use super::{ShimError, Streams, spec};

/// How long a container must have run for its restarts to count from the beginning again.
const STEADY: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How long clients may take nothing of what an ended container wrote.
const PATIENCE_WITH_CLIENTS: Duration = Duration::from_secs(10);

/// What the threads of a shim share about the running container.
#[derive(Default)]
pub(super) struct Control {
    pub(super) process: Option<Arc<Process>>,
    pub(super) input: Option<File>,
    pub(super) terminal: Option<File>,
    pub(super) network: super::network::Joined,
    /// A control group that was made while the container ran.
    pub(super) late_group: Option<lighter_sandbox::cgroup::Cgroup>,
    /// Whether somebody wants it to stay down.
    pub(super) stopping: bool,
    /// Whether somebody wants it to come again at once.
    pub(super) restarting: bool,
}

pub(super) struct Shim {
    pub(super) store: Store,
    pub(super) runtime: PathBuf,
    pub(super) id: ContainerId,
    pub(super) dir: PathBuf,
    pub(super) clients: Clients,
    control: Mutex<Control>,
    /// Told when somebody wants the container stopped.
    pub(super) wanted: Condvar,
}

impl Shim {
    pub(super) fn new(store: Store, runtime: PathBuf, id: ContainerId) -> Arc<Self> {
        let dir = store.container_paths(&id).dir;
        let (clients, control, wanted) = (Clients::default(), Mutex::default(), Condvar::new());
        Arc::new(Self { store, runtime, id, dir, clients, control, wanted })
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the container until it is down for good.
    pub(super) fn live(
        self: Arc<Self>,
        mut starter: UnixStream,
        attach: Option<Streams>,
    ) -> Result<(), ShimError> {
        let log_path = self.store.container_paths(&self.id).log;
        let in_file = |source| ShimError::File { path: log_path.clone(), source };
        let settings = self.container()?.state.settings;
        spec::expect(&settings);
        let log = match settings.host.log.rotation() {
            _ if settings.host.log.is_nowhere() => LogWriter::nowhere(),
            rotation => {
                let attributes = settings.host.log.attributes(&settings);
                LogWriter::open(&log_path, rotation.unwrap_or_default(), attributes).map_err(in_file)?
            }
        };
        self.listen()?;
        let mut attach = Some(attach);
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let running = match self.start() {
                Ok(running) => running,
                Err(error) => {
                    let text = error_chain(&error);
                    let starter = attach.is_some().then_some(&mut starter);
                    return self.give_up(starter, &text, error.exit_code());
                }
            };
            // who is told that it runs may look at its health at once
            let health = self.watch_health(&running);
            if let Some(attach) = attach.take() {
                self.welcome(&mut starter, attach, &running);
            }
            let exit_code = self.serve(running, &log);
            drop(health);
            if began.elapsed() >= STEADY {
                pause = FIRST_PAUSE;
            }
            if !self.comes_again(exit_code, began.elapsed())? {
                return self.finish(exit_code);
            }
            self.clients.dismiss(&Frame::Reply(Reply::Ended { exit_code }));
            if self.rest(pause) {
                self.down(exit_code, None)?;
                return self.finish(exit_code);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits before the next start; whether the container is not wanted any more.
    fn rest(&self, pause: Duration) -> bool {
        let mut control = self.control();
        if !control.restarting {
            let idle = |control: &mut Control| !control.stopping && !control.restarting;
            let waited = self.wanted.wait_timeout_while(control, pause, idle);
            control = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        control.restarting = false;
        control.stopping
    }

    /// Tells the one who started the shim that the container runs, and makes it a client if it wants to see more.
    fn welcome(self: &Arc<Self>, starter: &mut UnixStream, attach: Option<Streams>, running: &Running) {
        let (warnings, no_network) = (running.warnings.clone(), running.no_network.clone());
        let told = message::send(starter, &Frame::Reply(Reply::Started { warnings, no_network }));
        let (Ok(()), Some(streams), Ok(stream)) = (told, attach, starter.try_clone()) else {
            // nobody is to wait for the end of a connection that says nothing more
            drop(starter.shutdown(std::net::Shutdown::Both));
            return;
        };
        if let Ok(reading) = starter.try_clone()
            && self.clients.add(stream, streams).is_ok()
        {
            self.converse(reading);
        }
    }

    /// Says that the container could not be started.
    fn give_up(
        &self,
        starter: Option<&mut UnixStream>,
        error: &str,
        exit_code: i32,
    ) -> Result<(), ShimError> {
        // as Docker has it where nothing of the container's own has failed
        self.down(if exit_code == 125 { 128 } else { exit_code }, Some(error))?;
        let removed = if starter.is_some() {
            self.remove_if_wanted()
        } else {
            self.remove_socket();
            Ok(())
        };
        let failed = Frame::Reply(Reply::Failed { error: error.to_owned(), exit_code });
        if let Some(starter) = starter
            && let Err(error) = message::send(starter, &failed)
        {
            tracing::debug!(%error, "the one who started the container does not listen any more");
        }
        self.clients.dismiss(&failed);
        removed
    }

    /// Passes the container's streams on until it ends; its exit code.
    fn serve(&self, running: Running, log: &LogWriter) -> i32 {
        let process = &running.process;
        let exit_code = thread::scope(|scope| {
            let mut readers = Vec::new();
            for (stream, name) in &running.output {
                readers.push(scope.spawn(move || self.pass_on(stream, process, log.stream(name), name)));
            }
            let exit = process.wait();
            self.see_readers_off(&readers);
            exit.map_or(255, lighter_sandbox::Exit::status_code)
        });
        if running.was_out_of_memory() {
            self.note_out_of_memory();
        }
        let mut control = self.control();
        control.process = None;
        control.input = None;
        control.terminal = None;
        let network = std::mem::take(&mut control.network);
        drop(control);
        network.leave(&self.store, &self.runtime);
        let late = self.control().late_group.take();
        running.clean_up(late, &self.dir);
        exit_code
    }

    /// Waits for those who read the container's streams, unless their clients do not take anything for long.
    fn see_readers_off<T>(&self, readers: &[thread::ScopedJoinHandle<'_, T>]) {
        let mut progress = self.clients.progress();
        let mut since = Instant::now();
        let mut pause = Duration::from_micros(50);
        while readers.iter().any(|reader| !reader.is_finished()) {
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
            let now = self.clients.progress();
            if now != progress {
                (progress, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE_WITH_CLIENTS {
                self.clients.drop_all();
            }
        }
    }

    fn note_out_of_memory(&self) {
        if let Err(error) = self.change(|state| state.oom_killed = true) {
            tracing::warn!(%error, "it is not remembered that the container ran out of memory");
        }
        self.note("oom", &[]);
    }

    /// Reads one stream of the container to its end.
    fn pass_on(&self, stream: &File, process: &Process, mut log: LogStream<'_>, name: &str) {
        let warn = |result: io::Result<()>| {
            if let Err(error) = result {
                tracing::warn!(%error, "the container's log cannot be written");
            }
        };
        streams::read_to_end(stream, process.pidfd(), |bytes| {
            warn(log.take(bytes));
            let bytes = bytes.to_vec();
            self.clients.tell(&if name == "stderr" { Frame::Error(bytes) } else { Frame::Output(bytes) });
        });
        warn(log.finish());
    }

    /// Whether the container is started again, after it ended.
    fn comes_again(&self, exit_code: i32, ran: Duration) -> Result<bool, FindError> {
        let state = self.container()?.state;
        let restarting = self.control().restarting;
        let by_hand = !restarting && (state.stopped_by_hand || self.control().stopping);
        let policy = state.settings.host.restart;
        let more = [("exitCode", exit_code.to_string()), ("execDuration", ran.as_secs().to_string())];
        if !restarting && (by_hand || !policy.restarts(exit_code, state.restart_count)) {
            if !state.settings.host.auto_remove {
                self.down(exit_code, None)?;
            }
            self.note("die", &more);
            return Ok(false);
        }
        self.change(|state| {
            state.status = Status::Restarting;
            state.exit_code = exit_code;
            state.finished_at = Some(Timestamp::now());
            state.restart_count += u32::from(!restarting);
        })?;
        self.note("die", &more);
        Ok(true)
    }

    /// Writes down that the container has ended.
    fn down(&self, exit_code: i32, error: Option<&str>) -> Result<(), FindError> {
        let error = error.unwrap_or_default().to_owned();
        self.change(move |state| {
            let never_ran = !error.is_empty() && state.started_at.is_none();
            state.status = if never_ran { Status::Created } else { Status::Exited };
            state.exit_code = exit_code;
            state.error = error;
            state.pid = 0;
            state.network = None;
            state.cgroup = None;
            state.no_longer_healthy();
            if !never_ran {
                state.finished_at = Some(Timestamp::now());
            }
        })
    }

    /// Says the last word, and removes the container where it was only wanted for once.
    fn finish(&self, exit_code: i32) -> Result<(), ShimError> {
        let removed = self.remove_if_wanted();
        self.clients.dismiss(&Frame::Reply(Reply::Ended { exit_code }));
        // nobody waits any more: what the container held is deleted now
        if let Err(error) = self.store.empty_trash() {
            tracing::warn!(%error, "what was thrown away stays until the next collection");
        }
        removed
    }

    /// Removes a container that was only wanted for once, else the socket alone.
    fn remove_if_wanted(&self) -> Result<(), ShimError> {
        self.remove_socket();
        let container = self.container()?;
        if container.state.settings.host.auto_remove {
            super::super::remove::remove_files(&self.store, &container, true)
                .map_err(|error| ShimError::Find(error.into()))?;
        }
        Ok(())
    }

    pub(super) fn remove_socket(&self) {
        let path = self.dir.join(super::SOCKET);
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the shim's socket stays");
        }
    }

    pub(super) fn container(&self) -> Result<Container, FindError> {
        let missing = || lighter_store::FindContainerError::NotFound(self.id.to_string());
        let record = self.store.container(&self.id)?.ok_or_else(missing)?;
        let state = self.store.container_state::<State>(&self.id)?.ok_or_else(missing)?;
        Ok(Container { record, state })
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), FindError> {
        state::change(&self.store, &self.id, change).map(drop)
    }

    /// Notes what happened to the container in the journal.
    pub(super) fn note(&self, action: &str, more: &[(&str, String)]) {
        match self.container() {
            Ok(container) => events::note(&self.store, &container, action, more),
            Err(error) => tracing::debug!(%error, action, "an event was not noted"),
        }
    }
}
