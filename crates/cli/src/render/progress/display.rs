//! Writes the progress of a build to standard error.

use super::live::{self, Size};
use super::plain::Plain;
use super::raw_json::RawJson;
use super::screen::Screen;
use super::state::State;
use crate::environment;
use crate::session::{Output, Session};
use jiff::Timestamp;
use lighter_engine::build::Event;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the picture is drawn.
const TICK: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A picture where standard error is a terminal, else plain lines.
    Auto,
    /// A picture.
    Tty,
    /// Plain lines.
    Plain,
    /// Objects, one a line.
    RawJson,
    /// Nothing but failures.
    Quiet,
}

impl Mode {
    /// Reads the value of `--progress`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" | "" => Some(Self::Auto),
            "tty" => Some(Self::Tty),
            "plain" => Some(Self::Plain),
            "rawjson" => Some(Self::RawJson),
            "quiet" | "none" => Some(Self::Quiet),
            _ => None,
        }
    }
}

/// Shows a build while it goes on.
#[derive(Debug)]
pub(crate) struct Display {
    face: Face,
    stderr: Mutex<Output>,
}

#[derive(Debug)]
enum Face {
    Quiet(Mutex<State>),
    Plain(Mutex<Plain>),
    RawJson(Mutex<RawJson>),
    Live(Live),
}

impl Display {
    /// A display of that mode.
    pub(crate) fn new(mode: Mode, session: &Session) -> Self {
        let face = match mode {
            Mode::Auto if session.reports_to_terminal() => Face::Live(Live::start(session)),
            Mode::Tty => Face::Live(Live::start(session)),
            Mode::Auto | Mode::Plain => Face::Plain(Mutex::default()),
            Mode::RawJson => Face::RawJson(Mutex::new(RawJson::new(Timestamp::now()))),
            Mode::Quiet => Face::Quiet(Mutex::default()),
        };
        Self { face, stderr: Mutex::new(session.stderr()) }
    }

    /// Takes an event. A display that cannot be written to stops no build.
    pub(crate) fn take(&self, event: &Event) {
        match &self.face {
            Face::Quiet(state) => {
                lock(state).apply(event);
            }
            Face::Plain(plain) => {
                let mut plain = lock(plain);
                self.write(&plain.take(event));
            }
            Face::RawJson(raw) => {
                let mut raw = lock(raw);
                self.write(&raw.take(event));
            }
            Face::Live(live) => {
                lock(&live.shared.state).apply(event);
            }
        }
    }

    /// The build is over: writes what stands at the end of its progress.
    pub(crate) fn finish(mut self) {
        let end = match &mut self.face {
            Face::Quiet(state) => lock(state).failures(),
            Face::Plain(plain) => ending(&lock(plain).state),
            Face::RawJson(_) => String::new(),
            Face::Live(live) => {
                live.stop();
                ending(&lock(&live.shared.state))
            }
        };
        self.write(&end);
    }

    fn write(&self, text: &str) {
        let mut stderr = lock(&self.stderr);
        if let Err(error) = stderr.write_all(text.as_bytes()) {
            tracing::debug!(%error, "progress could not be written");
        }
    }
}

fn ending(state: &State) -> String {
    state.failures() + &state.remarks()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A picture, and the thread that draws it.
#[derive(Debug)]
struct Live {
    shared: Arc<Shared>,
    artist: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    over: Mutex<bool>,
    wake: Condvar,
}

impl Live {
    fn start(session: &Session) -> Self {
        let shared = Arc::new(Shared::default());
        let screen = Screen::new(session.stderr(), !environment::no_color());
        let drawn = Arc::clone(&shared);
        let artist = std::thread::spawn(move || drawn.draw(screen));
        Self { shared, artist: Some(artist) }
    }

    fn stop(&mut self) {
        *lock(&self.shared.over) = true;
        self.shared.wake.notify_all();
        if let Some(artist) = self.artist.take()
            && artist.join().is_err()
        {
            tracing::debug!("drawing progress has failed");
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Draws until the build is over, and then once more.
    fn draw(&self, mut screen: Screen<Output>) {
        let began = Instant::now();
        loop {
            let over = lock(&self.over);
            let (over, _) = match self.wake.wait_timeout_while(over, TICK, |over| !*over) {
                Ok(woken) => woken,
                Err(poisoned) => poisoned.into_inner(),
            };
            let last = *over;
            drop(over);
            let rows = live::frame(&lock(&self.state), size(), began.elapsed());
            if screen.draw(&rows).is_err() || last {
                return;
            }
        }
    }
}

fn size() -> Size {
    let window = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    let of = |cells: u16, usual: usize| if cells == 0 { usual } else { usize::from(cells) };
    match window {
        Ok(window) => Size { columns: of(window.ws_col, 80), rows: of(window.ws_row, 24) },
        Err(_) => Size { columns: 80, rows: 24 },
    }
}
