//! Answering a shim's clients, each on a thread of its own.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lighter_image::error_chain;
use lighter_sandbox::cgroup::Cgroup;
use lighter_sandbox::{Process, Window};

use super::super::message::{self, Frame, Reply, Request};
use super::super::settings::NetworkWish;
use super::super::state::{Container, Status};
use super::super::top::processes_of;
use super::group::limits_of;
use super::run::Shim;
use super::{SOCKET, ShimError, Streams};

/// Signals that end a program unless it says otherwise: who sends one does not want it to be started again.
const ENDING: [i32; 4] = [2, 3, 9, 15];

/// What a client is told of what it asked for.
fn reply_to(done: Result<(), String>) -> Reply {
    done.map_or_else(|error| Reply::Failed { error, exit_code: 1 }, |()| Reply::Done)
}

impl Shim {
    /// Opens the socket on which clients come.
    pub(super) fn listen(self: &Arc<Self>) -> Result<(), ShimError> {
        let path = self.dir.join(SOCKET);
        let in_file = |source| ShimError::File { path: path.clone(), source };
        self.remove_socket();
        // through the open folder, as the name of a socket may be 107 bytes long at most
        let dir = File::open(&self.dir).map_err(in_file)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        let listener = listener.map_err(in_file)?;
        let shim = Arc::clone(self);
        let accept = move || {
            for stream in listener.incoming().flatten() {
                shim.converse(stream);
            }
        };
        thread::Builder::new().name("clients".into()).spawn(accept).map_err(in_file)?;
        Ok(())
    }

    /// Answers one client.
    pub(super) fn converse(self: &Arc<Self>, mut stream: UnixStream) {
        let shim = Arc::clone(self);
        let answer = move || {
            let (mut feeds, mut holds) = (false, false);
            while let Ok(Some(frame)) = message::receive(&mut stream) {
                let reply = match frame {
                    Frame::Request(Request::Hold) => {
                        let held = shim.pause(true);
                        holds |= held.is_ok();
                        Some(reply_to(held))
                    }
                    Frame::Request(request) => shim.answer(request, &stream),
                    Frame::Input(bytes) => {
                        feeds = true;
                        shim.feed(&bytes);
                        continue;
                    }
                    Frame::Reply(_) | Frame::Output(_) | Frame::Error(_) => break,
                };
                if let Some(reply) = reply
                    && message::send(&mut stream, &Frame::Reply(reply)).is_err()
                {
                    break;
                }
            }
            shim.clients.forget_gone();
            if feeds {
                shim.feeder_left();
            }
            if holds && message::send(&mut stream, &Frame::Reply(reply_to(shim.pause(false)))).is_err() {
                tracing::debug!("the one who held the container has gone");
            }
        };
        if let Err(error) = thread::Builder::new().name("client".into()).spawn(answer) {
            tracing::warn!(%error, "a client cannot be answered");
        }
    }

    /// Does what a client wants; `None` where it will hear of the container's end instead.
    fn answer(self: &Arc<Self>, request: Request, stream: &UnixStream) -> Option<Reply> {
        let done = match request {
            Request::Attach { stdin, stdout, stderr } => {
                self.note("attach", &[]);
                return self.add_client(stream, Streams { stdin, stdout, stderr });
            }
            Request::Wait => {
                return self.add_client(stream, Streams { stdin: false, stdout: false, stderr: false });
            }
            Request::Signal(signal) => self.signal(signal),
            Request::Stop { signal, patience } => self.stop(signal, patience),
            Request::Restart { signal, patience } => self.restart(signal, patience),
            Request::Pause(pause) => self.pause(pause),
            // what ends with the connection is begun where that is watched
            Request::Hold => Err("a connection can hold a container once".to_owned()),
            Request::Resize { rows, columns } => self.resize(Window { rows, columns }),
            Request::Update => self.update(),
            Request::Measure => self.group().map(drop),
            Request::Connect(wish) => self.connect_network(&wish),
            Request::Disconnect(network) => self.disconnect_network(&network),
        };
        Some(reply_to(done))
    }

    fn add_client(&self, stream: &UnixStream, streams: Streams) -> Option<Reply> {
        let added = stream.try_clone().and_then(|mut stream| {
            message::send(&mut stream, &Frame::Reply(Reply::Done))?;
            self.clients.add(stream, streams)
        });
        added.err().map(|error| Reply::Failed { error: error.to_string(), exit_code: 1 })
    }

    fn process(&self) -> Result<Arc<Process>, String> {
        self.control().process.clone().ok_or_else(|| "the container is not running".to_owned())
    }

    fn running(&self) -> Result<Container, String> {
        let container = self.container().map_err(|error| error.to_string())?;
        if container.state.is_running() {
            Ok(container)
        } else {
            Err(format!("container {} is not running", self.id))
        }
    }

    fn signal(&self, signal: i32) -> Result<(), String> {
        let process = self.process()?;
        if ENDING.contains(&signal) {
            self.stop_for_good();
        }
        process.kill(signal).map_err(|error| error.to_string())?;
        self.note("kill", &[("signal", signal.to_string())]);
        if signal == 9 { self.thaw_for_the_end() } else { Ok(()) }
    }

    /// A frozen process does not even die.
    fn thaw_for_the_end(&self) -> Result<(), String> {
        let container = self.running();
        match container {
            Ok(container) if container.state.status == Status::Paused => {
                match self.set_frozen(&container, false) {
                    // where it dies frozen, its group may be gone already
                    Err(_) if self.running().is_err() || self.process().is_err() => Ok(()),
                    done => done,
                }
            }
            _ => Ok(()),
        }
    }

    fn stop_for_good(&self) {
        self.control().stopping = true;
        self.wanted.notify_all();
        if let Err(error) = self.change(|state| state.stopped_by_hand = true) {
            tracing::warn!(%error, "it is not remembered that the container was stopped");
        }
    }

    /// Asks the container to end, and kills it when its time is over.
    fn stop(&self, signal: i32, patience: Option<u64>) -> Result<(), String> {
        self.stop_for_good();
        if let Ok(process) = self.process() {
            self.end(&process, signal, patience)?;
        }
        self.note("stop", &[]);
        Ok(())
    }

    fn restart(&self, signal: i32, patience: Option<u64>) -> Result<(), String> {
        let process = self.process();
        self.control().restarting = true;
        self.wanted.notify_all();
        if let Ok(process) = process {
            self.end(&process, signal, patience)?;
        }
        self.note("stop", &[]);
        Ok(())
    }

    fn end(&self, process: &Process, signal: i32, patience: Option<u64>) -> Result<(), String> {
        self.thaw_for_the_end()?;
        let told = |error: lighter_sandbox::WaitError| error.to_string();
        process.kill(signal).map_err(told)?;
        self.note("kill", &[("signal", signal.to_string())]);
        let limit = patience.map_or(Duration::from_hours(24 * 365), Duration::from_millis);
        if process.wait_timeout(limit).map_err(told)?.is_none() {
            process.kill(9).map_err(told)?;
            self.note("kill", &[("signal", "9".to_owned())]);
            process.wait().map_err(told)?;
        }
        Ok(())
    }

    fn pause(&self, pause: bool) -> Result<(), String> {
        let container = self.running()?;
        match (pause, container.state.status) {
            (true, Status::Paused) => return Err(format!("Container {} is already paused", self.id)),
            (false, Status::Running) => return Err(format!("Container {} is not paused", self.id)),
            _ => {}
        }
        self.set_frozen(&container, pause)?;
        self.note(if pause { "pause" } else { "unpause" }, &[]);
        Ok(())
    }

    fn set_frozen(&self, container: &Container, frozen: bool) -> Result<(), String> {
        let group = match &container.state.cgroup {
            Some(group) => group.clone(),
            None => self.group()?,
        };
        let done = if frozen { group.freeze() } else { group.thaw() };
        done.map_err(|error| error_chain(&error))?;
        self.change(|state| state.status = if frozen { Status::Paused } else { Status::Running })
            .map_err(|error| error.to_string())
    }

    /// The container's control group, made now where it has none.
    fn group(&self) -> Result<Cgroup, String> {
        let container = self.running()?;
        if let Some(group) = container.state.cgroup {
            return Ok(group);
        }
        let told = |error: &dyn std::error::Error| error.to_string();
        let limits = limits_of(&container.state.settings.host.limits);
        let (group, _) = Cgroup::create(self.id.as_str(), &limits).map_err(|error| told(&error))?;
        self.control().late_group = Some(group.clone());
        // twice, as a process may be born while they move
        for _ in 0..2 {
            let processes = processes_of(container.state.pid).map_err(|error| told(&error))?;
            for pid in processes {
                if let Err(error) = group.adopt(pid) {
                    tracing::debug!(%error, pid, "a process does not move");
                }
            }
        }
        let kept = group.clone();
        self.change(|state| state.cgroup = Some(kept)).map_err(|error| told(&error))?;
        Ok(group)
    }

    fn update(&self) -> Result<(), String> {
        let container = self.running()?;
        let group = match &container.state.cgroup {
            Some(group) => group.clone(),
            None => self.group()?,
        };
        let warnings = group.update(&limits_of(&container.state.settings.host.limits));
        match warnings.first() {
            None => Ok(()),
            Some(warning) => Err(warning.to_string()),
        }
    }

    fn connect_network(&self, wish: &NetworkWish) -> Result<(), String> {
        let container = self.running()?;
        let mut control = self.control();
        let connected = control.network.connect(&self.store, &self.runtime, &container, wish);
        self.network_changed(control.network.state(&self.runtime));
        connected.map_err(|error| error_chain(&error))
    }

    fn disconnect_network(&self, network: &str) -> Result<(), String> {
        let container = self.running()?;
        let mut control = self.control();
        let left = control.network.disconnect(&self.store, &self.runtime, &container, network);
        self.network_changed(control.network.state(&self.runtime));
        left.map_err(|error| error_chain(&error))
    }

    fn network_changed(&self, network: Option<super::super::state::NetworkState>) {
        if let Err(error) = self.change(|state| state.network = network) {
            tracing::warn!(%error, "the container's new place in the network is not remembered");
        }
    }

    fn resize(&self, window: Window) -> Result<(), String> {
        let control = self.control();
        control.terminal.as_ref().map_or(Ok(()), |terminal| {
            lighter_sandbox::resize(terminal, window).map_err(|error| error.to_string())
        })
    }

    /// Hands a client's bytes to the container; none ends its standard input.
    fn feed(&self, bytes: &[u8]) {
        let mut control = self.control();
        if bytes.is_empty() {
            if control.terminal.is_none() {
                control.input = None;
            }
            return;
        }
        let input = control.input.as_ref().and_then(|input| input.try_clone().ok());
        drop(control);
        if let Some(mut input) = input
            && let Err(error) = input.write_all(bytes)
        {
            tracing::debug!(%error, "the container does not read any more");
        }
    }

    /// Where the input was for one client only, it ends with that client.
    fn feeder_left(&self) {
        if self.container().is_ok_and(|container| container.state.settings.stdin_once) {
            self.feed(&[]);
        }
    }
}
