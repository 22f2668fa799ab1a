//! What every verb is given: the streams, and where things are.

use crate::environment;
use crate::failure::Failure;
use lighter_engine::{EnterError, Store};
use rustix::fd::AsFd;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One call of the program.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// `--config`: where `config.json` is.
    pub(crate) config: Option<PathBuf>,
    /// `--debug`.
    pub(crate) debug: bool,
    unread: Arc<AtomicBool>,
}

impl Session {
    /// The directory of the store.
    ///
    /// # Errors
    /// When neither a variable nor a home directory tells where.
    #[expect(clippy::unused_self, reason = "the session is the one door to the world outside")]
    pub(crate) fn store(&self) -> Result<PathBuf, Failure> {
        environment::store()
            .ok_or_else(|| Failure::new("Error: no place for the store: set LIGHTER_ROOT or HOME"))
    }

    /// Opens the store, inside a user namespace where the caller is not root.
    ///
    /// # Errors
    /// When there is no place for it, no user namespace, or it cannot be read.
    pub(crate) fn open_store(&self) -> Result<Store, Failure> {
        let place = self.store()?;
        environment::runtime();
        raise_file_limit();
        if !rustix::process::geteuid().is_root() {
            let neighbour = lighter_engine::container::neighbour(&place);
            match lighter_engine::enter_user_namespace(neighbour) {
                // files can be read and written all the same; what runs commands says what it lacks
                Err(EnterError::Forbidden(error)) => {
                    tracing::info!(%error, "there is no user namespace, and no command can be run");
                }
                entered => drop(entered.map_err(|error| Failure::because(&error))?),
            }
        }
        Store::open(&place).map_err(|error| Failure::because(&error))
    }

    /// The directory of Docker's client configuration, credentials among it.
    pub(crate) fn docker_config(&self) -> Option<PathBuf> {
        self.config.clone().or_else(environment::docker_config)
    }

    /// Standard output.
    pub(crate) fn stdout(&self) -> Output {
        Output { stream: Stream::Stdout(io::stdout()), unread: Arc::clone(&self.unread) }
    }

    /// Standard error.
    pub(crate) fn stderr(&self) -> Output {
        Output { stream: Stream::Stderr(io::stderr()), unread: Arc::clone(&self.unread) }
    }

    /// Writes a result to standard output, in one piece.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = self.stdout();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Writes a line to standard error: a remark, not a result.
    pub(crate) fn remark(&self, text: &str) {
        if let Err(error) = writeln!(self.stderr(), "{text}") {
            tracing::debug!(%error, "a remark could not be written");
        }
    }

    /// Whether a reader of the output has gone away.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Whether standard output is a terminal.
    #[expect(clippy::unused_self, reason = "the session is the one door to the world outside")]
    pub(crate) fn writes_to_terminal(&self) -> bool {
        rustix::termios::isatty(io::stdout().as_fd())
    }

    /// Whether standard error is a terminal.
    #[expect(clippy::unused_self, reason = "the session is the one door to the world outside")]
    pub(crate) fn reports_to_terminal(&self) -> bool {
        rustix::termios::isatty(io::stderr().as_fd())
    }

    /// Whether standard output is a terminal.
    #[expect(clippy::unused_self, reason = "the session is the one door to the world outside")]
    pub(crate) fn prints_to_terminal(&self) -> bool {
        rustix::termios::isatty(io::stdout().as_fd())
    }

    /// Whether standard input is a terminal.
    #[expect(clippy::unused_self, reason = "the session is the one door to the world outside")]
    pub(crate) fn reads_from_terminal(&self) -> bool {
        rustix::termios::isatty(io::stdin().as_fd())
    }

    /// Asks a question that is answered with `y`, as before something is removed.
    ///
    /// # Errors
    /// When the question cannot be written or no answer read.
    pub(crate) fn confirms(&self, question: &str) -> Result<bool, Failure> {
        self.print(&format!("{question} [y/N] "))?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y"))
    }
}

/// Images of many layers are many open folders; Docker's containers have the higher limit, too.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// A standard stream that notes when nobody reads it any more.
#[derive(Debug)]
pub(crate) struct Output {
    stream: Stream,
    unread: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Stream {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
}

impl Output {
    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.unread.store(true, Ordering::Relaxed);
            }
        })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.stream {
            Stream::Stdout(stream) => stream.write(bytes),
            Stream::Stderr(stream) => stream.write(bytes),
        };
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.stream {
            Stream::Stdout(stream) => stream.flush(),
            Stream::Stderr(stream) => stream.flush(),
        };
        self.noted(flushed)
    }
}
