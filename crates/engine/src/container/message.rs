//! What a client and a shim say to each other: frames of a kind, a length and a payload.
//!
//! The first frame of a connection is a [`Request`]; what follows depends on it.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::settings::NetworkWish;

/// No frame is longer: a peer that says so is broken.
const LONGEST_FRAME_BYTES: usize = 1 << 20;

/// One piece of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// What the client wants.
    Request(Request),
    /// What the shim has to say.
    Reply(Reply),
    /// Bytes for the container's standard input; none for its end.
    Input(Vec<u8>),
    /// Bytes of the container's standard output.
    Output(Vec<u8>),
    /// Bytes of the container's standard error.
    Error(Vec<u8>),
}

/// What a client wants of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// To see and feed the container's streams, until it ends.
    Attach {
        /// Whether input will come.
        stdin: bool,
        /// Whether standard output is wanted.
        stdout: bool,
        /// Whether standard error is wanted.
        stderr: bool,
    },
    /// To be told when the container ends.
    Wait,
    /// To send its first process a signal.
    Signal(i32),
    /// To stop it for good: a signal, and after so many milliseconds a kill.
    Stop {
        /// The signal.
        signal: i32,
        /// Milliseconds until the kill; none for never.
        patience: Option<u64>,
    },
    /// To stop it likewise, and to start it again.
    Restart {
        /// The signal.
        signal: i32,
        /// Milliseconds until the kill; none for never.
        patience: Option<u64>,
    },
    /// To freeze or thaw it.
    Pause(bool),
    /// To freeze it for as long as the client's side of the connection stays open.
    Hold,
    /// To hold it to limits that have changed.
    Update,
    /// To have a control group that can be measured.
    Measure,
    /// To join one more network.
    Connect(NetworkWish),
    /// To leave a network.
    Disconnect(String),
    /// To tell its terminal the new size.
    Resize {
        /// Lines.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

/// What a shim has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// What was asked for is done, or begins.
    Done,
    /// The container runs.
    Started {
        /// What could not be kept of its settings.
        warnings: Vec<String>,
        /// Why it has no network, where it should have one.
        no_network: Option<String>,
    },
    /// It does not, or what was asked for cannot be done.
    Failed {
        /// Why.
        error: String,
        /// The exit code that Docker would give.
        exit_code: i32,
    },
    /// The container has ended.
    Ended {
        /// Its exit code.
        exit_code: i32,
    },
}

/// Sends a frame.
///
/// # Errors
/// The stream's.
pub(super) fn send(stream: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let (kind, payload) = match frame {
        Frame::Request(request) => (0, serde_json::to_vec(request)?),
        Frame::Reply(reply) => (1, serde_json::to_vec(reply)?),
        Frame::Input(bytes) => (2, bytes.clone()),
        Frame::Output(bytes) => (3, bytes.clone()),
        Frame::Error(bytes) => (4, bytes.clone()),
    };
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut whole = Vec::with_capacity(payload.len() + 5);
    whole.push(kind);
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(&payload);
    stream.write_all(&whole)
}

/// Takes the next frame; `None` where the other side has closed.
///
/// # Errors
/// The stream's, and [`io::ErrorKind::InvalidData`] for what is no frame.
pub(super) fn receive(stream: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut head = [0; 5];
    match stream.read(&mut head[..1])? {
        0 => return Ok(None),
        _ => stream.read_exact(&mut head[1..])?,
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > LONGEST_FRAME_BYTES {
        return Err(invalid("a frame is too long"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(Some(match head[0] {
        0 => Frame::Request(serde_json::from_slice(&payload)?),
        1 => Frame::Reply(serde_json::from_slice(&payload)?),
        2 => Frame::Input(payload),
        3 => Frame::Output(payload),
        4 => Frame::Error(payload),
        _ => return Err(invalid("a frame is of an unknown kind")),
    }))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent() {
        let frames = [
            Frame::Request(Request::Stop { signal: 15, patience: Some(10_000) }),
            Frame::Reply(Reply::Ended { exit_code: 3 }),
            Frame::Input(Vec::new()),
            Frame::Output(b"x\0y".to_vec()),
            Frame::Error(vec![7; 100_000]),
        ];
        let mut wire = Vec::new();
        for frame in &frames {
            send(&mut wire, frame).expect("sends");
        }
        let mut wire = wire.as_slice();
        for frame in &frames {
            assert_eq!(receive(&mut wire).expect("receives").as_ref(), Some(frame));
        }
        assert_eq!(receive(&mut wire).expect("ends"), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for wire in [&[9, 0, 0, 0, 0][..], &[2, 255, 255, 255, 255], &[0, 0, 0, 0, 1, b'{'], &[2, 0, 0]] {
            assert!(receive(&mut &wire[..]).is_err(), "{wire:?}");
        }
    }
}
