//! The view of a running container: its streams on the caller's, its signals, its terminal.

use super::keys::DetachKeys;
use super::terminal::{self, RawTerminal};
use crate::failure::Failure;
use crate::session::Session;
use lighter_engine::Store;
use lighter_engine::container::{self, Attachment, Feeder, Frame, Reply};
use signal_hook::consts::signal as number;
use signal_hook::iterator::Signals;
use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// What is passed on to a container; the others mean something to the program itself, or cannot be caught.
const PASSED_ON: [i32; 13] = [
    number::SIGHUP,
    number::SIGINT,
    number::SIGQUIT,
    number::SIGUSR1,
    number::SIGUSR2,
    number::SIGALRM,
    number::SIGTERM,
    number::SIGCONT,
    number::SIGTSTP,
    number::SIGTTIN,
    number::SIGTTOU,
    number::SIGIO,
    number::SIGWINCH,
];

/// What ends the program while the terminal is raw.
const ENDING: [i32; 6] =
    [number::SIGHUP, number::SIGINT, number::SIGQUIT, number::SIGTERM, number::SIGCONT, number::SIGWINCH];

/// How a container is to be viewed.
pub(super) struct View {
    /// Whether standard input goes to it.
    pub(super) stdin: bool,
    /// Whether it has a terminal.
    pub(super) tty: bool,
    /// The keys that end the view.
    pub(super) keys: DetachKeys,
    /// Whether signals go on to it.
    pub(super) sig_proxy: bool,
}

/// How a view ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The container ended, with this exit code.
    Ended(i32),
    /// The keys were typed.
    Detached,
}

/// Signals caught from before the container is there, so that none is lost.
pub(super) struct Caught {
    signals: Option<Signals>,
    aim: Arc<Aim>,
}

/// Where caught signals go.
#[derive(Default)]
struct Aim {
    container: OnceLock<(Store, String)>,
    terminal: OnceLock<RawTerminal>,
    feeder: OnceLock<Feeder>,
    ended_by: AtomicI32,
    ended: AtomicU8,
}

const VIEWED: u8 = 0;
const DETACHED: u8 = 1;

impl Caught {
    /// Begins to catch what the view will pass on.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn begin(view: &View) -> io::Result<Self> {
        let signals = match (view.tty, view.sig_proxy) {
            (true, _) => Some(Signals::new(ENDING)?),
            (false, true) => Some(Signals::new(PASSED_ON)?),
            (false, false) => None,
        };
        Ok(Self { signals, aim: Arc::default() })
    }

    /// Passes on what was caught already, and what will be.
    fn pass_on(self, tty: bool) {
        let Some(mut signals) = self.signals else { return };
        let aim = self.aim;
        let passing = move || {
            for signal in signals.forever() {
                match signal {
                    number::SIGWINCH if tty => aim.resize(),
                    number::SIGCONT if tty => aim.take_terminal_again(),
                    _ if tty => aim.end(signal),
                    _ => aim.signal(signal),
                }
            }
        };
        // it ends with the program
        drop(thread::spawn(passing));
    }
}

impl Aim {
    fn resize(&self) {
        if let Some((store, id)) = self.container.get()
            && let Some((rows, columns)) = terminal::window()
            && let Err(error) = container::resize(store, id, rows, columns)
        {
            tracing::debug!(%error, "the container's terminal keeps its size");
        }
    }

    fn take_terminal_again(&self) {
        if let Some(terminal) = self.terminal.get()
            && let Err(error) = terminal.make_raw()
        {
            tracing::debug!(%error, "the terminal stays as it is");
        }
        self.resize();
    }

    fn signal(&self, signal: i32) {
        if let Some((store, id)) = self.container.get()
            && let Err(error) = container::signal(store, id, signal)
        {
            tracing::debug!(%error, signal, "a signal was not passed on");
        }
    }

    /// Ends the view because of a signal.
    fn end(&self, signal: i32) {
        self.ended_by.store(signal, Ordering::SeqCst);
        self.hang_up();
    }

    fn hang_up(&self) {
        if let Some(feeder) = self.feeder.get()
            && let Err(error) = feeder.hang_up()
        {
            tracing::debug!(%error, "the conversation has ended already");
        }
    }
}

/// Shows a container until it ends or the keys are typed.
///
/// # Errors
/// Where the terminal, the streams or the shim fail; nothing to tell where a signal ended the program.
pub(super) fn show(
    session: &Session,
    store: &Store,
    id: &str,
    attachment: &mut Attachment,
    view: View,
    caught: Caught,
) -> Result<Outcome, Failure> {
    let aim = Arc::clone(&caught.aim);
    let feeder = || attachment.feeder().map_err(|error| Failure::because(&error));
    // each is set once only: an aim belongs to one view
    drop(aim.feeder.set(feeder()?));
    drop(aim.container.set((store.clone(), id.to_owned())));
    if view.tty && view.stdin {
        aim.terminal.get_or_init_raw()?;
    }
    if view.tty {
        aim.resize();
    }
    if view.stdin {
        let (feeder, aim) = (feeder()?, Arc::clone(&aim));
        let keys = view.tty.then_some(view.keys);
        // it ends with the program: a read of standard input cannot be broken off
        drop(thread::spawn(move || feed(feeder, keys, &aim)));
    }
    caught.pass_on(view.tty);
    let outcome = listen(session, store, id, attachment, &aim);
    if let Some(terminal) = aim.terminal.get() {
        terminal.restore();
    }
    outcome
}

/// Sets the terminal raw once.
trait GetOrInitRaw {
    fn get_or_init_raw(&self) -> io::Result<()>;
}

impl GetOrInitRaw for OnceLock<RawTerminal> {
    fn get_or_init_raw(&self) -> io::Result<()> {
        if let Some(terminal) = RawTerminal::enter()? {
            drop(self.set(terminal));
        }
        Ok(())
    }
}

/// Hands standard input to the container.
fn feed(mut feeder: Feeder, mut keys: Option<DetachKeys>, aim: &Aim) {
    let mut buffer = vec![0; 32 << 10];
    let mut input = io::stdin().lock();
    loop {
        let bytes = match input.read(&mut buffer) {
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => &[][..],
        };
        let sent = match keys.as_mut().filter(|_| !bytes.is_empty()) {
            None => feeder.input(bytes),
            Some(keys) => {
                let typed = keys.watch(bytes);
                if typed.detached {
                    aim.ended.store(DETACHED, Ordering::SeqCst);
                    aim.hang_up();
                    return;
                }
                if typed.bytes.is_empty() { Ok(()) } else { feeder.input(&typed.bytes) }
            }
        };
        if bytes.is_empty() || sent.is_err() {
            return;
        }
    }
}

/// Shows what the container says until it has nothing more to say.
fn listen(
    session: &Session,
    store: &Store,
    id: &str,
    attachment: &mut Attachment,
    aim: &Aim,
) -> Result<Outcome, Failure> {
    let (mut stdout, mut stderr) = (session.stdout(), session.stderr());
    loop {
        let frame = attachment.next_frame();
        if aim.ended.load(Ordering::SeqCst) != VIEWED {
            return Ok(Outcome::Detached);
        }
        match aim.ended_by.load(Ordering::SeqCst) {
            0 => {}
            signal => return Err(Failure::silent(u8::try_from(128 + signal).unwrap_or(u8::MAX))),
        }
        match frame.map_err(|error| Failure::because(&error))? {
            Some(Frame::Output(bytes)) => {
                stdout.write_all(&bytes)?;
                stdout.flush()?;
            }
            Some(Frame::Error(bytes)) => stderr.write_all(&bytes)?,
            Some(Frame::Reply(Reply::Ended { exit_code })) => return Ok(Outcome::Ended(exit_code)),
            Some(Frame::Reply(Reply::Failed { error, exit_code })) => {
                let code = u8::try_from(exit_code).unwrap_or(u8::MAX);
                return Err(Failure::new(format!("Error: {error}")).with_code(code));
            }
            Some(_) => {}
            None => return Ok(Outcome::Ended(exit_of_the_dead(store, id)?)),
        }
    }
}

/// The exit code of a container whose shim was killed.
fn exit_of_the_dead(store: &Store, id: &str) -> Result<i32, Failure> {
    const KILLED: i32 = 137;
    const PATIENCE: Duration = Duration::from_secs(5);
    let began = Instant::now();
    loop {
        match container::find(store, id) {
            // the kernel has closed its connections, and will let go of its locks
            Ok(found) if found.state.is_running() && began.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(2));
            }
            Ok(found) => return Ok(found.state.exit_code),
            Err(error) if error.is_missing() => return Ok(KILLED),
            Err(error) => return Err(Failure::because(&error)),
        }
    }
}
