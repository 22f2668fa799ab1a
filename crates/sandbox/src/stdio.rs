//! Where the standard streams of a sandboxed process lead.

use std::os::fd::OwnedFd;

/// The three standard streams; a spec with a terminal does not use them.
#[derive(Debug)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

/// One standard stream.
#[derive(Debug)]
pub enum Stream {
    /// The caller's own.
    Inherit,
    /// `/dev/null`.
    Null,
    /// A file, pipe or socket.
    Fd(OwnedFd),
}

impl Stdio {
    /// All three from and to `/dev/null`.
    pub fn null() -> Self {
        Self { stdin: Stream::Null, stdout: Stream::Null, stderr: Stream::Null }
    }

    /// All three are the caller's own.
    pub fn inherit() -> Self {
        Self { stdin: Stream::Inherit, stdout: Stream::Inherit, stderr: Stream::Inherit }
    }
}
