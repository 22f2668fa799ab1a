//! The name server inside a container's namespace: knows the containers of its networks, asks others for the rest.
//!
//! It listens on [`EMBEDDED_SERVER`] at ports that the kernel chooses; a rule inside the namespace leads port 53
//! there, so that a container may run a name server of its own. Other servers are asked from outside the namespace,
//! so that those on the machine's loopback answer, too.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::dns::{self, Fault, Question, Subject};
use super::names::Names;
use super::namespace::{NamespaceError, NetNs};
use super::netlink::{NetlinkError, Socket};
use super::nftables::{
    DESTINATION_NAT_PRIORITY, Expression, Family, Hook, Transaction, Verdict, table_exists,
};
use super::resolver::EMBEDDED_SERVER;
use super::subnet::Subnet;

const PORT: u16 = 53;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// How long another server may take.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(4);
/// How many others are asked, one after the other.
const MOST_UPSTREAM: usize = 3;
/// How many questions may wait for others at once.
const MOST_WAITING: usize = 256;
/// How long a client may be silent on a connection.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the name server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ResponderError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Its sockets could not be opened.
    #[error("opening the sockets of the name server")]
    Listen(#[source] io::Error),
    /// Port 53 could not be led to it.
    #[error("leading port 53 to the name server")]
    Redirect(#[source] NetlinkError),
}

/// What the name server knows, and whom it asks.
#[derive(Debug, Clone)]
pub struct Knowledge {
    /// The networks the container is on.
    pub networks: Vec<Names>,
    /// The servers to ask for other names; none for a container that must not reach the world.
    pub upstream: Vec<IpAddr>,
}

/// A name server for one container, until it is dropped.
#[derive(Debug)]
pub struct Responder {
    stop: OwnedFd,
    threads: Vec<JoinHandle<()>>,
}

impl Responder {
    /// Begins to answer inside the namespace.
    ///
    /// # Errors
    /// [`ResponderError`] when its sockets cannot be opened.
    pub fn start(namespace: &NetNs, knowledge: Knowledge) -> Result<Self, ResponderError> {
        let listen = ResponderError::Listen;
        let (packets, connections) = namespace.run(open)??;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| listen(error.into()))?;
        let shared = Arc::new(Shared { knowledge, waiting: AtomicUsize::new(0), turn: AtomicUsize::new(0) });
        let mut responder = Self { stop, threads: Vec::new() };
        let (for_packets, for_connections) = (Arc::clone(&shared), shared);
        let packets = Arc::new(packets);
        responder.serve(Arc::clone(&packets), move |packets| for_packets.take_packet(packets))?;
        responder.serve(Arc::new(connections), move |listener| for_connections.take_connection(listener))?;
        Ok(responder)
    }

    /// Calls `take` whenever something arrives, on a thread of its own.
    fn serve<S: AsFd + Send + Sync + 'static>(
        &mut self,
        socket: Arc<S>,
        take: impl Fn(&Arc<S>) -> io::Result<()> + Send + 'static,
    ) -> Result<(), ResponderError> {
        let stop = self.stop.try_clone().map_err(ResponderError::Listen)?;
        let serve = move || {
            while wait(&*socket, &stop) {
                match take(&socket) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => {
                        tracing::debug!(%error, "a question was not taken");
                        thread::sleep(Duration::from_millis(10));
                    }
                    _ => {}
                }
            }
        };
        let builder = thread::Builder::new().name("name server".into());
        self.threads.push(builder.spawn(serve).map_err(ResponderError::Listen)?);
        Ok(())
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Err(error) = rustix::io::write(&self.stop, &1_u64.to_ne_bytes()) {
            tracing::warn!(%error, "the name server could not be told to stop");
            return;
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::warn!("a thread of the name server panicked");
            }
        }
    }
}

/// Waits for something to read; false when it is time to stop.
fn wait(socket: impl AsFd, stop: &OwnedFd) -> bool {
    loop {
        let mut both = [PollFd::new(&socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut both, None) {
            Ok(_) if !both[1].revents().is_empty() => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "the name server stops");
                return false;
            }
        }
    }
}

/// Opens the sockets inside the namespace that the calling thread is in.
fn open() -> Result<(UdpSocket, TcpListener), ResponderError> {
    let listen = ResponderError::Listen;
    let packets = UdpSocket::bind((EMBEDDED_SERVER, 0)).map_err(listen)?;
    let connections = TcpListener::bind((EMBEDDED_SERVER, 0)).map_err(listen)?;
    packets.set_nonblocking(true).map_err(listen)?;
    connections.set_nonblocking(true).map_err(listen)?;
    let port = |address: io::Result<SocketAddr>| address.map(|address| address.port());
    let ports = [
        (UDP, port(packets.local_addr()).map_err(listen)?),
        (TCP, port(connections.local_addr()).map_err(listen)?),
    ];
    redirect(ports).map_err(ResponderError::Redirect)?;
    Ok((packets, connections))
}

fn redirect(ports: [(u8, u16); 2]) -> Result<(), NetlinkError> {
    const TABLE: &str = "lighter-names";
    let chain = (Family::Ipv4, TABLE, "output");
    if table_exists(&Socket::netfilter()?, Family::Ipv4, TABLE)? {
        // that of an earlier name server, which listened elsewhere
        let mut clearing = Transaction::default();
        clearing.delete_table(Family::Ipv4, TABLE);
        clearing.commit()?;
    }
    let mut transaction = Transaction::default();
    transaction.add_table(Family::Ipv4, TABLE);
    transaction.add_base_chain(chain, (Hook::Output, DESTINATION_NAT_PRIORITY), Verdict::Accept);
    for (protocol, port) in ports {
        let rule = [
            Expression::Destination(Subnet::new(EMBEDDED_SERVER, 32)),
            Expression::Transport(protocol),
            Expression::DestinationPort(PORT),
            Expression::RedirectToPort(port),
        ];
        transaction.append_rule(chain, &rule);
    }
    transaction.commit()
}

struct Shared {
    knowledge: Knowledge,
    /// How many threads wait for other servers or clients.
    waiting: AtomicUsize,
    /// Which of several containers with one name comes first in the next answer.
    turn: AtomicUsize,
}

impl Shared {
    fn take_packet(self: &Arc<Self>, socket: &Arc<UdpSocket>) -> io::Result<()> {
        let mut buffer = vec![0; 4096];
        let (length, client) = socket.recv_from(&mut buffer)?;
        buffer.truncate(length);
        if let Some(answer) = self.known(&buffer) {
            return socket.send_to(&answer, client).map(drop);
        }
        let socket = Arc::clone(socket);
        self.wait_in_thread(move |shared| {
            let answer = shared.ask_others(&buffer, ask_by_packet);
            if let Err(error) = socket.send_to(&answer, client) {
                tracing::debug!(%error, "an answer was not delivered");
            }
        })
    }

    fn take_connection(self: &Arc<Self>, listener: &Arc<TcpListener>) -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
        self.wait_in_thread(move |shared| {
            while let Ok(question) = read_framed(&mut stream) {
                let answer = match shared.known(&question) {
                    Some(answer) => answer,
                    None => shared.ask_others(&question, ask_by_connection),
                };
                if write_framed(&mut stream, &answer).is_err() {
                    break;
                }
            }
        })
    }

    /// Does something that waits on a thread of its own, unless too many wait already.
    fn wait_in_thread(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) -> io::Result<()> {
        if self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            return Ok(());
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(self);
        let run = move || {
            work(&shared);
            shared.waiting.fetch_sub(1, Ordering::Relaxed);
        };
        let spawned = thread::Builder::new().name("name server".into()).spawn(run);
        if spawned.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        spawned.map(drop)
    }

    /// The answer to what needs nobody else; none when others must be asked.
    fn known(&self, message: &[u8]) -> Option<Vec<u8>> {
        let Some(question) = Question::parse(message) else {
            // Nobody else would answer it either.
            return Some(dns::malformed(message).unwrap_or_default());
        };
        match question.subject() {
            Subject::Name(name) => {
                let mut found = self.addresses(name);
                if found.is_empty() {
                    return None;
                }
                found.retain(|address| question.wants(address));
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % found.len().max(1);
                found.rotate_left(turn);
                Some(question.addresses(&found))
            }
            Subject::Address(address) => {
                let name = self.knowledge.networks.iter().find_map(|names| {
                    names.name_of(address).unwrap_or_else(|error| {
                        tracing::warn!(%error, "the names of a network cannot be read");
                        None
                    })
                });
                name.map(|name| question.name(&name))
            }
        }
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for names in &self.knowledge.networks {
            match names.addresses(name) {
                Ok(addresses) => found.extend(addresses),
                Err(error) => tracing::warn!(%error, "the names of a network cannot be read"),
            }
        }
        found
    }

    /// The answer of the first server that has one; the last failure when all fail.
    fn ask_others(&self, question: &[u8], ask: fn(IpAddr, &[u8]) -> io::Result<Vec<u8>>) -> Vec<u8> {
        let mut failure = None;
        for server in self.knowledge.upstream.iter().take(MOST_UPSTREAM) {
            match ask(*server, question) {
                Ok(answer) if !dns::is_failure(&answer) => return answer,
                Ok(answer) => failure = Some(answer),
                Err(error) => tracing::debug!(%error, %server, "a name server does not answer"),
            }
        }
        failure
            .or_else(|| Question::parse(question).map(|question| question.fault(Fault::Server)))
            .unwrap_or_default()
    }
}

fn ask_by_packet(server: IpAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((server, PORT))?;
    socket.set_read_timeout(Some(UPSTREAM_TIMEOUT))?;
    socket.send(question)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = socket.recv(&mut buffer)?;
        if dns::answers(&buffer[..length], question) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

fn ask_by_connection(server: IpAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&(server, PORT).into(), UPSTREAM_TIMEOUT)?;
    stream.set_read_timeout(Some(UPSTREAM_TIMEOUT))?;
    stream.set_write_timeout(Some(UPSTREAM_TIMEOUT))?;
    write_framed(&mut stream, question)?;
    let answer = read_framed(&mut stream)?;
    if dns::answers(&answer, question) { Ok(answer) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Reads a message with its length before it, as it travels on connections.
fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidData)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed)
}
