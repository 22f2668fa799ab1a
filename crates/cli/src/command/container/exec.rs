//! `exec`: a further process in a running container, its streams on the caller's.

use super::keys::DetachKeys;
use super::request::environment_of;
use super::terminal::{self, RawTerminal};
use super::{exit_code, told};
use crate::args::container::exec::Exec;
use crate::failure::Failure;
use crate::session::{Output, Session};
use crate::verb::Verb;
use lighter_engine::container::{self, ExecHandle, ExecRequest};
use signal_hook::consts::signal as number;
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The exit code of the docker command line where it lets a process go.
const DETACHED: u8 = 1;

impl Verb for Exec {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let stdin = self.interactive && !self.detach;
        if self.tty && stdin && !session.reads_from_terminal() {
            return Err(Failure::new("the input device is not a TTY"));
        }
        let keys = DetachKeys::parse(self.detach_keys.as_deref()).map_err(Failure::new)?;
        let store = session.open_store()?;
        let (detach, tty) = (self.detach, self.tty);
        let mut words = self.words.into_iter();
        let name = words.next().unwrap_or_default();
        let request = ExecRequest {
            args: words.collect(),
            env: environment_of(&self.env_file, self.env)
                .map_err(|fault| Failure::new(format!("Error: {fault}")))?,
            user: self.user,
            working_dir: self.workdir,
            tty,
            window: if tty { terminal::window() } else { None },
            stdin,
            privileged: self.privileged,
            detach,
        };
        let started = container::exec(&store, &name, &request);
        let process = started.map_err(|error| {
            let code = exit_code(error.exit_code());
            match code {
                // who does not wait for it is told nothing of how it ended
                126..=128 if detach => told(&error),
                // the program itself is at fault
                126..=128 => {
                    let text = told(&error).text;
                    let text = text.trim_start_matches("Error: ");
                    Failure::new(format!(
                        "OCI runtime exec failed: exec failed: unable to start container process: {text}"
                    ))
                    .with_code(code)
                }
                _ => told(&error).with_code(code),
            }
        })?;
        if detach { Ok(0) } else { watch(session, process, stdin, tty.then_some(keys)) }
    }
}

/// Stays with a process until it ends.
fn watch(
    session: &Session,
    mut process: container::Exec,
    stdin: bool,
    keys: Option<DetachKeys>,
) -> Result<u8, Failure> {
    let handle = Arc::new(process.handle()?);
    let raw = if keys.is_some() && stdin { RawTerminal::enter()?.map(Arc::new) } else { None };
    if keys.is_some() {
        follow_size(Arc::clone(&handle))?;
    }
    if let Some(input) = process.take_input() {
        let (raw, stderr) = (raw.clone(), session.stderr());
        // it ends with the program: a read of standard input cannot be broken off
        drop(thread::spawn(move || feed(input, keys, raw.as_deref(), stderr)));
    }
    let (stdout, stderr) = (Mutex::new(session.stdout()), Mutex::new(session.stderr()));
    let unwritten = Mutex::new(None);
    let ended = process.run(&|bytes, is_error| {
        let stream = if is_error { &stderr } else { &stdout };
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = stream.write_all(bytes).and_then(|()| stream.flush()) {
            *unwritten.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            drop(handle.signal(number::SIGHUP));
        }
    });
    if let Some(raw) = raw {
        // the thread that reads the input holds it, too
        raw.restore();
    }
    if let Some(error) = unwritten.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    ended.map(exit_code).map_err(|error| told(&error))
}

/// Tells the process's terminal whenever the caller's changes its size.
fn follow_size(handle: Arc<ExecHandle>) -> Result<(), Failure> {
    let mut signals = Signals::new([number::SIGWINCH])?;
    // it ends with the program
    drop(thread::spawn(move || {
        for _ in signals.forever() {
            if let Some((rows, columns)) = terminal::window()
                && let Err(error) = handle.resize(rows, columns)
            {
                tracing::debug!(%error, "the process's terminal keeps its size");
            }
        }
    }));
    Ok(())
}

/// Hands standard input to the process; the keys end the program and leave the process.
#[expect(clippy::exit, reason = "the process lives on, and so do the threads that show it")]
fn feed(mut input: File, mut keys: Option<DetachKeys>, raw: Option<&RawTerminal>, mut stderr: Output) {
    let mut buffer = vec![0; 32 << 10];
    let mut stdin = io::stdin().lock();
    loop {
        let bytes = match stdin.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let sent = match keys.as_mut() {
            None => input.write_all(bytes),
            Some(keys) => {
                let typed = keys.watch(bytes);
                if typed.detached {
                    if let Some(raw) = raw {
                        raw.restore();
                    }
                    // the program ends here: nobody could be told that it was not written
                    drop(writeln!(stderr, "read escape sequence"));
                    std::process::exit(DETACHED.into());
                }
                input.write_all(&typed.bytes)
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
