//! A socket of our own that leads to the caller's SSH agent: it may have another owner and mode than the agent's.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A socket that leads to an agent, for as long as this lives.
pub(crate) struct Agent {
    socket: PathBuf,
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Agent {
    /// Makes the socket, and a thread that serves it.
    pub(crate) fn forward(socket: &Path, agent: &Path) -> io::Result<Self> {
        // said here and now, not when somebody uses it
        drop(connect(agent)?);
        let listener = near(socket, UnixListener::bind)?;
        let ended = Arc::new(AtomicBool::new(false));
        let (agent, seen) = (agent.to_owned(), Arc::clone(&ended));
        let thread = thread::Builder::new().name("ssh agent".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    break;
                }
                if let Err(error) = client.and_then(|client| serve(client, &agent)) {
                    tracing::debug!(%error, "an SSH agent request was not forwarded");
                }
            }
        })?;
        Ok(Self { socket: socket.to_owned(), ended, thread: Some(thread) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // wakes the thread up; a socket that is gone has no thread to wake
        let woken = connect(&self.socket).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    near(socket, UnixStream::connect)
}

/// Gives `act` a path of a socket that is short enough for the kernel (`sun_path`, unix(7)), however deep its folder
/// lies.
fn near<T>(socket: &Path, act: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return act(socket.to_owned());
    };
    let folder = File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    act(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

/// Serves one client, in two threads of its own.
fn serve(client: UnixStream, agent: &Path) -> io::Result<()> {
    let server = connect(agent)?;
    let (client_again, server_again) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pass(client, server));
    thread::spawn(move || pass(server_again, client_again));
    Ok(())
}

/// Hands on what comes, until it ends.
fn pass(mut from: UnixStream, mut to: UnixStream) {
    // either end may go away at any time
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn what_is_asked_reaches_the_agent_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (agent, socket) = (folder.path().join("agent"), folder.path().join("socket"));
        let listener = UnixListener::bind(&agent).unwrap();
        let answering = thread::spawn(move || {
            // the first is the look whether it is there
            drop(listener.accept().unwrap());
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 4];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(&question).unwrap();
        });
        let forwarded = Agent::forward(&socket, &agent).unwrap();
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"ping").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "ping");
        answering.join().unwrap();
        drop(forwarded);
    }

    #[test]
    fn a_socket_may_lie_deep() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let (agent, socket) = (deep.join("agent"), deep.join("socket"));
        let _listener = near(&agent, UnixListener::bind).unwrap();
        let forwarded = Agent::forward(&socket, &agent).unwrap();
        assert!(connect(&socket).is_ok());
        drop(forwarded);
    }

    #[test]
    fn an_agent_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Agent::forward(&folder.path().join("socket"), &folder.path().join("none")).is_err());
    }
}
