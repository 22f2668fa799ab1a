//! Carries what arrives at published ports into a container: one thread, one loop, however many connections.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::namespace::{NamespaceError, NetNs};
use super::ports::{Bound, BoundSocket};

const BUFFER_LEN: usize = 64 << 10;
/// How many buffers one connection may move before the others get their turn.
const TURNS: usize = 16;
/// How long a sender of single packets is remembered after its last one, as Docker's proxy does.
const UDP_IDLE: Duration = Duration::from_secs(90);
/// How many senders of single packets are remembered for each port.
const UDP_SESSIONS: usize = 1024;
/// How often idle senders are looked for.
const SWEEP: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// How long nothing is accepted when the process has no descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
const STOP: u64 = 0;

/// Where published ports lead.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The address of the container.
    pub address: IpAddr,
    /// The namespace from which it is reached; none when it is reached from here.
    pub namespace: Option<&'a NetNs>,
}

/// Why published ports could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The loop could not be set up.
    #[error("preparing to serve published ports")]
    Prepare(#[source] io::Error),
    /// The container's namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// Serves published ports until it is dropped; with it end all connections.
#[derive(Debug)]
pub struct Proxy {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Begins to serve on a thread of its own.
    ///
    /// # Errors
    /// [`ProxyError`] when that thread cannot be set up.
    pub fn start(bound: Vec<Bound>, target: Target<'_>) -> Result<Self, ProxyError> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = stop.map_err(|error| ProxyError::Prepare(error.into()))?;
        let server = Server::new(bound, target.address, stop.as_fd()).map_err(ProxyError::Prepare)?;
        let start = move || {
            let builder = thread::Builder::new().name("published ports".into());
            builder.spawn(move || server.serve())
        };
        // A thread begins in the namespaces of the thread that starts it.
        let started = match target.namespace {
            Some(namespace) => namespace.run(start)?,
            None => start(),
        };
        Ok(Self { stop, thread: Some(started.map_err(ProxyError::Prepare)?) })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Err(error) = rustix::io::write(&self.stop, &1_u64.to_ne_bytes()) {
            tracing::warn!(%error, "the published ports could not be told to stop");
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the thread of the published ports panicked");
        }
    }
}

/// What an event is about.
enum Source {
    Listener {
        listener: TcpListener,
        port: u16,
    },
    Packets(PacketPort),
    /// One of the two sides of a connection.
    Side {
        connection: u64,
    },
    /// The answers to one sender of packets.
    Answers {
        port: u64,
        sender: SocketAddr,
    },
}

struct Server {
    poll: OwnedFd,
    target: IpAddr,
    sources: HashMap<u64, Source>,
    connections: HashMap<u64, Connection>,
    next: u64,
    buffer: Vec<u8>,
}

impl Server {
    fn new(bound: Vec<Bound>, target: IpAddr, stop: BorrowedFd<'_>) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let mut server = Self {
            poll,
            target,
            sources: HashMap::new(),
            connections: HashMap::new(),
            next: STOP + 1,
            buffer: vec![0; BUFFER_LEN],
        };
        for Bound { binding, socket } in bound {
            let port = binding.container_port;
            let key = server.key();
            let source = match socket {
                BoundSocket::Tcp(listener) => {
                    server.watch(&listener, key, epoll::EventFlags::IN)?;
                    Source::Listener { listener, port }
                }
                BoundSocket::Udp(socket) => {
                    server.watch(&socket, key, epoll::EventFlags::IN)?;
                    Source::Packets(PacketPort { socket, port, sessions: HashMap::new() })
                }
            };
            server.sources.insert(key, source);
        }
        Ok(server)
    }

    fn key(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn watch(&self, socket: impl AsFd, key: u64, events: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.poll, socket, epoll::EventData::new_u64(key), events)?)
    }

    fn serve(mut self) {
        let mut events = Vec::with_capacity(256);
        // Connections that had more to move than their turn allowed.
        let mut unfinished: Vec<u64> = Vec::new();
        let mut swept = Instant::now();
        loop {
            let wait = if unfinished.is_empty() { SWEEP } else { NO_WAIT };
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "published ports are no longer served");
                    return;
                }
            }
            let keys: Vec<u64> = events.iter().map(|event| event.data.u64()).collect();
            if keys.contains(&STOP) {
                return;
            }
            let mut ready = std::mem::take(&mut unfinished);
            ready.extend(keys.into_iter().filter_map(|key| self.handle(key)));
            ready.sort_unstable();
            ready.dedup();
            unfinished.extend(ready.into_iter().filter(|connection| self.pump(*connection)));
            if swept.elapsed() > Duration::from_secs(10) {
                self.sweep();
                swept = Instant::now();
            }
        }
    }

    /// Handles an event; returns the connection that has something to move.
    fn handle(&mut self, key: u64) -> Option<u64> {
        match self.sources.get_mut(&key)? {
            Source::Side { connection } => Some(*connection),
            Source::Listener { listener, port } => {
                let accepted = listener.accept();
                let server = SocketAddr::new(self.target, *port);
                self.accepted(accepted, server);
                None
            }
            Source::Packets(_) => {
                if let Err(error) = self.carry_in(key) {
                    tracing::debug!(%error, "a packet was not carried into the container");
                }
                None
            }
            Source::Answers { port, sender } => {
                let (port, sender) = (*port, *sender);
                self.carry_out(port, sender);
                None
            }
        }
    }

    fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>, server: SocketAddr) {
        match accepted {
            Ok((client, _)) => {
                if let Err(error) = self.open_connection(client, server) {
                    tracing::debug!(%error, %server, "a connection was not carried into the container");
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a connection to a published port");
                thread::sleep(EXHAUSTED_PAUSE);
            }
        }
    }

    fn open_connection(&mut self, client: TcpStream, server: SocketAddr) -> io::Result<()> {
        client.set_nonblocking(true)?;
        let server = begin_to_connect(server)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let connection = self.key();
        let sides = [self.key(), self.key()];
        let events =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        for (side, stream) in sides.into_iter().zip([&client, &server]) {
            self.watch(stream, side, events)?;
            self.sources.insert(side, Source::Side { connection });
        }
        let (inward, outward) = (Direction::default(), Direction::default());
        let is_open = false;
        let opened = Connection { client, server, is_open, inward, outward, sides };
        self.connections.insert(connection, opened);
        Ok(())
    }

    /// Moves what a connection has; tells whether it has more.
    fn pump(&mut self, key: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&key) else {
            return false;
        };
        match connection.pump() {
            Ok(Progress::More) => return true,
            Ok(Progress::Waiting) => return false,
            Ok(Progress::Finished) => {}
            Err(error) => tracing::debug!(%error, "a connection to a published port broke"),
        }
        // Closing the sockets ends the watching.
        if let Some(connection) = self.connections.remove(&key) {
            for side in connection.sides {
                self.sources.remove(&side);
            }
        }
        false
    }

    /// Carries one packet from outside into the container.
    fn carry_in(&mut self, key: u64) -> io::Result<()> {
        let answers = self.key();
        if let Some(oldest) = self.oldest_if_full(key) {
            self.sources.remove(&oldest);
        }
        let Some(Source::Packets(packets)) = self.sources.get_mut(&key) else {
            return Ok(());
        };
        let (length, sender) = match packets.socket.recv_from(&mut self.buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            received => received?,
        };
        let target = SocketAddr::new(self.target, packets.port);
        let is_new = !packets.sessions.contains_key(&sender);
        let session = packets.session(sender, target, answers)?;
        session.last_used = Instant::now();
        session.socket.send(&self.buffer[..length])?;
        if is_new {
            let event = epoll::EventData::new_u64(answers);
            epoll::add(&self.poll, &session.socket, event, epoll::EventFlags::IN)?;
            self.sources.insert(answers, Source::Answers { port: key, sender });
        }
        Ok(())
    }

    /// Forgets the sender of packets that was silent longest, when no more can be remembered; returns its key.
    fn oldest_if_full(&mut self, port: u64) -> Option<u64> {
        let Some(Source::Packets(packets)) = self.sources.get_mut(&port) else {
            return None;
        };
        if packets.sessions.len() < UDP_SESSIONS {
            return None;
        }
        let oldest = packets.sessions.iter().min_by_key(|(_, session)| session.last_used)?;
        let sender = *oldest.0;
        packets.sessions.remove(&sender).map(|session| session.answers)
    }

    /// Carries one packet of the container back to the sender that it answers.
    fn carry_out(&mut self, port: u64, sender: SocketAddr) {
        let Some(Source::Packets(packets)) = self.sources.get_mut(&port) else {
            return;
        };
        let Some(session) = packets.sessions.get_mut(&sender) else {
            return;
        };
        session.last_used = Instant::now();
        // A refusal of the container (nobody listens there) arrives here and is cleared by being read.
        let Ok(length) = session.socket.recv(&mut self.buffer) else {
            return;
        };
        if let Err(error) = packets.socket.send_to(&self.buffer[..length], sender) {
            tracing::debug!(%error, "a packet was not carried out of the container");
        }
    }

    /// Forgets the senders of packets that are silent.
    fn sweep(&mut self) {
        let mut gone = Vec::new();
        for source in self.sources.values_mut() {
            if let Source::Packets(packets) = source {
                packets.sessions.retain(|_, session| {
                    let keep = session.last_used.elapsed() < UDP_IDLE;
                    if !keep {
                        gone.push(session.answers);
                    }
                    keep
                });
            }
        }
        for key in gone {
            self.sources.remove(&key);
        }
    }
}

/// A port of single packets and those who sent some.
struct PacketPort {
    socket: UdpSocket,
    port: u16,
    sessions: HashMap<SocketAddr, Session>,
}

/// One sender, with the socket by which the container sees it.
struct Session {
    socket: UdpSocket,
    answers: u64,
    last_used: Instant,
}

impl PacketPort {
    fn session(&mut self, sender: SocketAddr, target: SocketAddr, answers: u64) -> io::Result<&mut Session> {
        match self.sessions.entry(sender) {
            std::collections::hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::hash_map::Entry::Vacant(new) => {
                let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(target)?;
                Ok(new.insert(Session { socket, answers, last_used: Instant::now() }))
            }
        }
    }
}

/// Begins a connection; whether it comes about shows when it is used.
fn begin_to_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error.into()),
    }
}

/// A connection from outside and its continuation into the container.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// The container has accepted; before that nothing may be passed on, not even an end.
    is_open: bool,
    inward: Direction,
    outward: Direction,
    sides: [u64; 2],
}

/// How far a connection got.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// It could go on at once.
    More,
    /// It waits for one of its sides.
    Waiting,
    /// Both directions are through.
    Finished,
}

impl Connection {
    fn pump(&mut self) -> io::Result<Progress> {
        if !self.is_open {
            if let Some(error) = self.server.take_error()? {
                return Err(error);
            }
            if self.server.peer_addr().is_err() {
                return Ok(Progress::Waiting);
            }
            self.is_open = true;
        }
        let inward = self.inward.pump(&self.client, &self.server)?;
        let outward = self.outward.pump(&self.server, &self.client)?;
        Ok(match (inward, outward) {
            (Progress::Finished, Progress::Finished) => Progress::Finished,
            (Progress::More, _) | (_, Progress::More) => Progress::More,
            _ => Progress::Waiting,
        })
    }
}

/// One direction of a connection: what was read and not yet written, and how far its end got.
#[derive(Default)]
struct Direction {
    /// Empty until something arrives.
    buffer: Vec<u8>,
    written: usize,
    filled: usize,
    source_ended: bool,
    end_passed_on: bool,
}

impl Direction {
    fn pump(&mut self, mut source: &TcpStream, mut sink: &TcpStream) -> io::Result<Progress> {
        for _ in 0..TURNS {
            if self.end_passed_on {
                return Ok(Progress::Finished);
            }
            if self.written < self.filled {
                match sink.write(&self.buffer[self.written..self.filled]) {
                    Ok(length) => self.written += length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Ok(Progress::Waiting);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            } else if self.source_ended {
                self.pass_end_on(sink)?;
            } else {
                self.buffer.resize(BUFFER_LEN, 0);
                match source.read(&mut self.buffer) {
                    Ok(length) => {
                        (self.written, self.filled) = (0, length);
                        self.source_ended = length == 0;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Ok(Progress::Waiting);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Progress::More)
    }

    fn pass_end_on(&mut self, sink: &TcpStream) -> io::Result<()> {
        match sink.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => return Err(error),
            _ => self.end_passed_on = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
