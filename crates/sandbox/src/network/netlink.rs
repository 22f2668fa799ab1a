//! Netlink messages: written, sent to the kernel, and its answers taken apart.
//!
//! Every integer of a message header is in host byte order; what an attribute holds is up to its family
//! (rtnetlink: host order, nfnetlink: network order).

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// The message expects an answer (`NLM_F_REQUEST`: it is a request at all).
const REQUEST: u16 = 0x1;
/// The kernel shall confirm the message.
const ACKNOWLEDGE: u16 = 0x4;
/// The kernel shall list everything that matches.
const DUMP: u16 = 0x300;
/// The listing changed while it was made.
const DUMP_INTERRUPTED: u16 = 0x10;

const ERROR: u16 = 2;
const DONE: u16 = 3;

const HEADER_LEN: usize = 16;
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 1 << 15;
/// The bits of an attribute's type that are flags.
const TYPE_FLAGS: u16 = 3 << 14;

/// How long the kernel may take for an answer; it answers in the send call, so this never passes in practice.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Larger than any single datagram of a listing.
const RECEIVE_BUFFER_LEN: usize = 64 << 10;
/// How often an interrupted listing is asked for again.
const DUMP_ATTEMPTS: usize = 8;

/// What a request wants when the object exists already or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// A question or a removal, or a change of what must exist.
    Plain,
    /// Create; that it exists already is an error.
    Create,
    /// Create, in the place of what exists already.
    Replace,
    /// Create, behind what exists already (rules: at the end of their chain).
    Append,
}

impl Intent {
    fn flags(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Create => 0x400 | 0x200,
            Self::Replace => 0x400 | 0x100,
            Self::Append => 0x400 | 0x800,
        }
    }
}

/// Why a conversation with the kernel went wrong.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be made; the kernel lacks the family or the process lacks the right.
    #[error("opening a netlink socket")]
    Socket(#[source] io::Error),
    /// A message could not be sent.
    #[error("sending a netlink message")]
    Send(#[source] io::Error),
    /// An answer could not be received.
    #[error("receiving a netlink answer")]
    Receive(#[source] io::Error),
    /// The kernel said no.
    #[error("the kernel refuses the request")]
    Refused(#[source] io::Error),
    /// The answer is not what the protocol says.
    #[error("a malformed netlink answer")]
    Malformed,
    /// The listing kept changing while it was read.
    #[error("the listing changes faster than it can be read")]
    Unstable,
}

impl NetlinkError {
    /// Tells whether the kernel refused the request with this error.
    pub(crate) fn is(&self, errno: rustix::io::Errno) -> bool {
        matches!(self, Self::Refused(error) if error.raw_os_error() == Some(errno.raw_os_error()))
    }
}

/// One message on its way to the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Starts a message with its family's fixed part.
    pub(crate) fn new(kind: u16, intent: Intent, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | intent.flags()).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// Adds fixed bytes inside a nested attribute (some kinds begin with a structure).
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Adds an attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER_LEN + value.len())
            .expect("attributes hold names and numbers, never 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value)
    }

    /// Adds a string with its final NUL.
    pub(crate) fn string(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds a number in host byte order.
    pub(crate) fn host_u32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network byte order.
    pub(crate) fn network_u32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(crate) fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        let mut filled = fill(self);
        let length = u16::try_from(filled.bytes.len() - start)
            .expect("attributes hold names and numbers, never 64 KiB");
        filled.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn seal(mut self, flags: u16, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("a message is far below 4 GiB");
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let all = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags;
        self.bytes[6..8].copy_from_slice(&all.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// One answer of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    kind: u16,
    flags: u16,
    sequence: u32,
    /// The family's fixed part and the attributes behind it.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The attributes behind a fixed part of this size.
    pub(crate) fn attributes(&self, fixed_len: usize) -> Attributes<'_> {
        Attributes::new(self.body.get(fixed_len.next_multiple_of(4)..).unwrap_or(&[]))
    }

    /// The error number an error message carries; zero is a confirmation.
    fn error_number(&self) -> Result<i32, NetlinkError> {
        let bytes = self.body.first_chunk::<4>().ok_or(NetlinkError::Malformed)?;
        Ok(i32::from_ne_bytes(*bytes).saturating_neg())
    }
}

/// The attributes of an answer, or of an attribute that holds attributes.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads attributes from bytes; what is cut off is left out.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The value of the first attribute of this kind.
    pub(crate) fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The value of an attribute that is a string.
    pub(crate) fn string(&self, kind: u16) -> Option<String> {
        self.find(kind).map(text)
    }

    /// The value of an attribute that is a number in host byte order.
    pub(crate) fn host_u32(&self, kind: u16) -> Option<u32> {
        self.find(kind)?.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// The value of an attribute that is a number in network byte order.
    pub(crate) fn network_u32(&self, kind: u16) -> Option<u32> {
        self.find(kind)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, _) = self.rest.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & !TYPE_FLAGS;
        let value = self.rest.get(ATTRIBUTE_HEADER_LEN..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// The text of a C string, up to its NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Splits a datagram into its messages.
fn split(mut datagram: &[u8]) -> Result<Vec<Answer>, NetlinkError> {
    let mut answers = Vec::new();
    while let Some((header, _)) = datagram.split_first_chunk::<HEADER_LEN>() {
        let number = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let length = usize::try_from(u32::from_ne_bytes(number(0))).map_err(|_| NetlinkError::Malformed)?;
        let body = datagram.get(HEADER_LEN..length).ok_or(NetlinkError::Malformed)?;
        answers.push(Answer {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes(number(8)),
            body: body.to_vec(),
        });
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(answers)
}

/// A socket to one part of the kernel, in the network namespace of the thread that opened it.
///
/// It keeps talking to that namespace whichever thread uses it later.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: Cell<u32>,
}

impl Socket {
    /// Opens a socket to the routing subsystem: links, addresses, routes.
    pub(crate) fn route() -> Result<Self, NetlinkError> {
        Self::open(None)
    }

    /// Opens a socket to netfilter.
    pub(crate) fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self, NetlinkError> {
        let fail = |error: rustix::io::Errno| NetlinkError::Socket(error.into());
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map_err(fail)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(ANSWER_TIMEOUT)).map_err(fail)?;
        set_socket_recv_buffer_size(&fd, 1 << 20).map_err(fail)?;
        Ok(Self { fd, sequence: Cell::new(1) })
    }

    /// Sends a request and waits until the kernel has done it.
    pub(crate) fn request(&self, message: Message) -> Result<(), NetlinkError> {
        let sequence = self.next_sequence();
        self.send(&message.seal(ACKNOWLEDGE, sequence))?;
        self.confirmation(sequence)
    }

    /// Sends a question about one object and returns the answer.
    pub(crate) fn ask(&self, message: Message) -> Result<Answer, NetlinkError> {
        let sequence = self.next_sequence();
        self.send(&message.seal(0, sequence))?;
        loop {
            for answer in self.receive()? {
                if answer.sequence != sequence {
                    continue;
                }
                if answer.kind == ERROR {
                    refusal(&answer)?;
                    return Err(NetlinkError::Malformed);
                }
                return Ok(answer);
            }
        }
    }

    /// Asks for all objects that match.
    pub(crate) fn list(&self, message: &Message) -> Result<Vec<Answer>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(answers) = self.list_once(message.clone())? {
                return Ok(answers);
            }
        }
        Err(NetlinkError::Unstable)
    }

    fn list_once(&self, message: Message) -> Result<Option<Vec<Answer>>, NetlinkError> {
        let sequence = self.next_sequence();
        self.send(&message.seal(DUMP, sequence))?;
        let (mut answers, mut stable) = (Vec::new(), true);
        loop {
            for answer in self.receive()? {
                if answer.sequence != sequence {
                    continue;
                }
                stable &= answer.flags & DUMP_INTERRUPTED == 0;
                match answer.kind {
                    DONE => return Ok(stable.then_some(answers)),
                    ERROR => {
                        refusal(&answer)?;
                        return Ok(Some(answers));
                    }
                    _ => answers.push(answer),
                }
            }
        }
    }

    /// Sends messages that the kernel does all together or not at all, framed by `begin` and `end`.
    pub(crate) fn transaction(
        &self,
        begin: Message,
        messages: Vec<Message>,
        end: Message,
    ) -> Result<(), NetlinkError> {
        let mut datagram = begin.seal(0, self.next_sequence());
        let mut last = self.sequence.get();
        for message in messages {
            last = self.next_sequence();
            datagram.extend(message.seal(ACKNOWLEDGE, last));
        }
        datagram.extend(end.seal(0, self.next_sequence()));
        self.send(&datagram)?;
        self.first_refusal_until(last)
    }

    /// Reads confirmations up to that of message `last`; any refusal before it is the result.
    fn first_refusal_until(&self, last: u32) -> Result<(), NetlinkError> {
        loop {
            for answer in self.receive()? {
                if answer.kind != ERROR {
                    continue;
                }
                refusal(&answer)?;
                if answer.sequence == last {
                    return Ok(());
                }
            }
        }
    }

    fn confirmation(&self, sequence: u32) -> Result<(), NetlinkError> {
        loop {
            let answers = self.receive()?;
            if let Some(answer) =
                answers.iter().find(|answer| answer.sequence == sequence && answer.kind == ERROR)
            {
                return refusal(answer);
            }
        }
    }

    fn next_sequence(&self) -> u32 {
        let sequence = self.sequence.get();
        self.sequence.set(sequence.wrapping_add(1).max(1));
        sequence
    }

    fn send(&self, datagram: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match send(&self.fd, datagram, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(NetlinkError::Send(error.into())),
            }
        }
    }

    fn receive(&self) -> Result<Vec<Answer>, NetlinkError> {
        let mut buffer = vec![0; RECEIVE_BUFFER_LEN];
        loop {
            match recv(&self.fd, buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((_, length)) => return split(&buffer[..length.min(RECEIVE_BUFFER_LEN)]),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(NetlinkError::Receive(error.into())),
            }
        }
    }
}

fn refusal(answer: &Answer) -> Result<(), NetlinkError> {
    match answer.error_number()? {
        0 => Ok(()),
        number => Err(NetlinkError::Refused(io::Error::from_raw_os_error(number))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_protocol_says() {
        let sealed = Message::new(16, Intent::Create, &[1, 2, 3])
            .string(3, "ab")
            .nested(18, |inner| inner.host_u32(1, 7))
            .seal(ACKNOWLEDGE, 9);
        let mut expected = Vec::new();
        expected.extend(40_u32.to_ne_bytes());
        expected.extend(16_u16.to_ne_bytes());
        expected.extend(0x605_u16.to_ne_bytes());
        expected.extend(9_u32.to_ne_bytes());
        expected.extend([0; 4]);
        expected.extend([1, 2, 3, 0]);
        expected.extend(7_u16.to_ne_bytes());
        expected.extend(3_u16.to_ne_bytes());
        expected.extend(*b"ab\0\0");
        expected.extend(12_u16.to_ne_bytes());
        expected.extend((0x12_u16 | NESTED).to_ne_bytes());
        expected.extend(8_u16.to_ne_bytes());
        expected.extend(1_u16.to_ne_bytes());
        expected.extend(7_u32.to_ne_bytes());
        assert_eq!(sealed, expected);
    }

    #[test]
    fn attributes_come_back_as_written() {
        let sealed = Message::new(16, Intent::Plain, &[0; 8])
            .string(3, "lighter0")
            .network_u32(4, 77)
            .nested(5, |inner| inner.host_u32(6, 88))
            .seal(0, 1);
        let answers = split(&sealed).unwrap();
        let attributes = answers[0].attributes(8);
        assert_eq!(attributes.string(3).as_deref(), Some("lighter0"));
        assert_eq!(attributes.network_u32(4), Some(77));
        assert_eq!(Attributes::new(attributes.find(5).unwrap()).host_u32(6), Some(88));
        assert_eq!(attributes.find(9), None);
    }

    #[test]
    fn a_length_beyond_the_datagram_is_malformed() {
        let mut sealed = Message::new(16, Intent::Plain, &[0; 8]).seal(0, 1);
        sealed[0] = 200;
        assert!(matches!(split(&sealed), Err(NetlinkError::Malformed)));
    }

    #[test]
    fn an_unknown_request_is_refused_by_the_kernel() {
        let error = Socket::route().unwrap().request(Message::new(9999, Intent::Plain, &[0; 16]));
        assert!(error.unwrap_err().is(rustix::io::Errno::OPNOTSUPP));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_hang(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Attributes::new(&bytes).count();
            if let Ok(answers) = split(&bytes) {
                for answer in answers {
                    let _ = answer.attributes(16).count();
                }
            }
        }
    }
}
