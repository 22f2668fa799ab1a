//! The clients of a shim: who sees the container's streams, who feeds it, who waits for its end.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::message::{self, Frame};
use super::Streams;

/// The clients of a shim.
#[derive(Default)]
pub(super) struct Clients {
    connected: Mutex<Vec<Arc<Client>>>,
    told: AtomicU64,
}

struct Client {
    stream: Mutex<UnixStream>,
    /// The same connection, to break it while somebody waits for the other.
    breaker: UnixStream,
    streams: Streams,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Client>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a client; one that only waits wants no streams.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn add(&self, stream: UnixStream, streams: Streams) -> std::io::Result<()> {
        let breaker = stream.try_clone()?;
        self.lock().push(Arc::new(Client { stream: Mutex::new(stream), breaker, streams }));
        Ok(())
    }

    /// Forgets those who have hung up: a container that writes nothing would never find them out.
    pub(super) fn forget_gone(&self) {
        self.lock().retain(|client| {
            let mut watched = [PollFd::new(&client.breaker, PollFlags::empty())];
            let looked = poll(&mut watched, Some(&Timespec::default()));
            looked.is_err() || !watched[0].revents().contains(PollFlags::HUP)
        });
    }

    /// Hands a frame to those who want it. One that does not listen any more is dropped; one that listens slowly holds
    /// up the container's output, and nobody else.
    pub(super) fn tell(&self, frame: &Frame) {
        let connected = self.lock().clone();
        for client in connected {
            let wanted = match frame {
                Frame::Output(_) => client.streams.stdout,
                Frame::Error(_) => client.streams.stderr,
                Frame::Reply(_) | Frame::Request(_) | Frame::Input(_) => true,
            };
            let mut stream = client.stream.lock().unwrap_or_else(PoisonError::into_inner);
            if wanted && message::send(&mut *stream, frame).is_err() {
                self.lock().retain(|other| !Arc::ptr_eq(other, &client));
            }
        }
        self.told.fetch_add(1, Ordering::Relaxed);
    }

    /// How often somebody was told something: what does not grow is stuck.
    pub(super) fn progress(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Breaks all connections, so that nobody waits for those who do not listen.
    pub(super) fn drop_all(&self) {
        for client in self.lock().drain(..) {
            // one that has closed already needs no closing
            drop(client.breaker.shutdown(Shutdown::Both));
        }
    }

    /// Says the last word to all of them, and lets them go.
    pub(super) fn dismiss(&self, last: &Frame) {
        self.tell(last);
        for client in self.lock().drain(..) {
            // one that has closed already needs no closing
            drop(client.breaker.shutdown(Shutdown::Write));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_hung_up_is_forgotten() {
        let clients = Clients::default();
        let streams = Streams { stdin: false, stdout: true, stderr: true };
        let mut theirs = Vec::new();
        for _ in 0..3 {
            let (ours, other) = UnixStream::pair().expect("a pair");
            clients.add(ours, streams).expect("adds");
            theirs.push(other);
        }
        // one that has nothing more to say still listens
        theirs[0].shutdown(Shutdown::Write).expect("shuts down");
        drop(theirs.pop());
        clients.forget_gone();
        assert_eq!(clients.lock().len(), 2);
    }
}
