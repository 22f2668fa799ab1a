//! Framing on the control socket: an order, ended by a shutdown, one way, with the standard streams; reports the other
//! way, one JSON document a line, a descriptor may come along.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::message::Report;

/// Sends a report, with a descriptor if there is one.
pub(crate) fn send(socket: impl AsFd, report: &Report, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    send_bytes(socket, &line, descriptor.as_slice())
}

/// Sends an order with the standard streams of the process that it is about.
pub(crate) fn send_order(socket: &UnixStream, order: &[u8], streams: &[OwnedFd; 3]) -> io::Result<()> {
    send_bytes(socket, order, &streams.each_ref().map(AsFd::as_fd))?;
    socket.shutdown(Shutdown::Write)
}

/// Receives an order with the standard streams; fewer than three have come where the other side is gone.
pub(crate) fn receive_order(socket: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut order, mut streams) = (Vec::new(), Vec::new());
    while receive_bytes(socket, &mut order, &mut streams)? {}
    Ok((order, streams))
}

/// Sends bytes, with descriptors beside the first of them.
fn send_bytes(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let (mut rest, mut descriptors) = (bytes, descriptors);
    while !rest.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let sent =
            retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL))?;
        rest = &rest[sent..];
        descriptors = &[];
    }
    Ok(())
}

/// Adds what comes next; false when the other side has closed.
fn receive_bytes(
    socket: &UnixStream,
    bytes: &mut Vec<u8>,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut chunk)], &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let received = match received {
        Ok(received) => received.bytes,
        Err(Errno::CONNRESET) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    bytes.extend_from_slice(&chunk[..received]);
    Ok(received > 0)
}

/// The receiving side.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Inbox {
    /// Waits for the next report; none when the other side has closed.
    pub(crate) fn next(&mut self, socket: &UnixStream) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                let report: Report = serde_json::from_slice(&line)?;
                let descriptor = match report {
                    Report::Terminal => self.descriptors.pop(),
                    _ => None,
                };
                return Ok(Some((report, descriptor)));
            }
            if !receive_bytes(socket, &mut self.bytes, &mut self.descriptors)? {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Stage, Warning};

    #[test]
    fn reports_and_a_descriptor_arrive_in_order() {
        let (here, there) = UnixStream::pair().expect("pair");
        let warning = Warning { what: "x".repeat(10_000), errno: 1 };
        send(&there, &Report::Warning(warning.clone()), None).expect("send");
        send(&there, &Report::Terminal, Some(there.as_fd())).expect("send");
        let setup = Report::Setup { stage: Stage::Root, what: "y".to_owned(), errno: 2 };
        send(&there, &setup, None).expect("send");
        drop(there);
        let mut inbox = Inbox::default();
        let first = inbox.next(&here).expect("first").expect("some");
        assert!(matches!(first, (Report::Warning(w), None) if w == warning));
        let second = inbox.next(&here).expect("second").expect("some");
        assert!(matches!(second, (Report::Terminal, Some(_))));
        drop(second);
        let third = inbox.next(&here).expect("third").expect("some");
        assert!(matches!(third, (Report::Setup { errno: 2, .. }, None)));
        assert!(inbox.next(&here).expect("end").is_none());
    }

    #[test]
    fn an_order_arrives_whole_and_with_its_streams() {
        let (here, there) = UnixStream::pair().expect("pair");
        let order = b"order ".repeat(20_000);
        let streams = || {
            let streams: [OwnedFd; 3] = std::array::from_fn(|_| there.try_clone().expect("clone").into());
            streams
        };
        let sent = order.clone();
        let sender = {
            let (here, streams) = (here.try_clone().expect("clone"), streams());
            std::thread::spawn(move || send_order(&here, &sent, &streams))
        };
        let (received, carried) = receive_order(&there).expect("order");
        sender.join().expect("thread").expect("sent");
        assert!(received == order);
        assert_eq!(carried.len(), 3);
        drop(here);
        assert!(receive_order(&there).expect("nobody there").1.is_empty());
    }
}
