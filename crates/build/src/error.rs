//! Why a build does not succeed.

use lighter_dockerfile::plan::StepId;
use lighter_dockerfile::{Lines, Span};

use crate::KeptRoot;
use crate::event::Vertex;
use crate::fetch::FetchError;

/// Why a build does not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A step of the plan failed.
    #[error(transparent)]
    Step(Box<StepFailure>),
    /// Somebody asked to stop.
    #[error("the build was cancelled")]
    Cancelled,
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tar stream of a layer could not be made.
    #[error("packing the layer of `{step}`")]
    Pack {
        /// The step's name.
        step: String,
        /// Why.
        #[source]
        source: lighter_layer::PackError,
    },
    /// The configuration of the image could not be written.
    #[error("writing the image configuration")]
    Config(#[source] serde_json::Error),
}

/// Why the store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file of the store.
    #[error(transparent)]
    File(#[from] lighter_store::FileError),
    /// A record of the store.
    #[error(transparent)]
    Record(#[from] lighter_store::RecordError),
    /// A layer of the store.
    #[error(transparent)]
    Layer(#[from] lighter_store::LayerError),
    /// A wait for another process.
    #[error(transparent)]
    Wait(#[from] lighter_store::WaitError),
    /// A cache mount.
    #[error(transparent)]
    Mount(#[from] lighter_store::MountError),
}

/// A step that failed: all that is needed to show where and why.
#[derive(Debug, thiserror::Error)]
#[error("{name}")]
pub struct StepFailure {
    /// Its place in the plan.
    pub step: StepId,
    /// Its place in the stream of events.
    pub vertex: Vertex,
    /// How it is shown: `[build 2/5] RUN make`.
    pub name: String,
    /// The instruction in the source.
    pub span: Span,
    /// The same, in lines.
    pub lines: Lines,
    /// The instruction's text, as written.
    pub text: String,
    /// The last lines that it has written.
    pub tail: Vec<u8>,
    /// Why.
    #[source]
    pub cause: StepError,
    /// Its root, for `--on-error=keep`.
    pub kept: Option<KeptRoot>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The command ended with a status that is not 0.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Exit {
        /// The words that were run.
        command: String,
        /// The status.
        code: i32,
    },
    /// A signal ended the command.
    #[error("process {command:?} did not complete successfully: exit code: {}: {}", 128 + .signal, signal_name(*.signal))]
    Signal {
        /// The words that were run.
        command: String,
        /// The signal.
        signal: i32,
    },
    /// The sandbox for the command could not be made.
    #[error(transparent)]
    Sandbox(#[from] lighter_sandbox::SandboxError),
    /// The control group for the command could not be made.
    #[error(transparent)]
    Cgroup(#[from] lighter_sandbox::cgroup::CgroupError),
    /// The network for the command could not be made.
    #[error(transparent)]
    Network(#[from] lighter_sandbox::network::PoolError),
    /// Something it needs could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Files could not be written.
    #[error(transparent)]
    Write(#[from] lighter_layer::WriteError),
    /// Its root could not be copied, where that cannot be mounted.
    #[error(transparent)]
    Plain(#[from] crate::plain::PlainError),
    /// An archive could not be unpacked.
    #[error("unpacking `{name}`")]
    Unpack {
        /// The archive.
        name: String,
        /// Why not.
        #[source]
        source: Box<lighter_layer::ApplyError>,
    },
    /// Files could not be read.
    #[error(transparent)]
    View(#[from] lighter_layer::ViewError),
    /// The context could not be read.
    #[error(transparent)]
    Scan(#[from] lighter_layer::ScanError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of lighter's own could not be read or written.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it did not work.
        #[source]
        source: std::io::Error,
    },
    /// It asks for something that is not there, or not allowed. The text is all there is to say.
    #[error("{0}")]
    Refused(String),
    /// The build was stopped while it ran.
    #[error("cancelled")]
    Cancelled,
    /// Its thread ended with a panic: a fault of lighter, not of the input.
    #[error("internal error: {0}")]
    Panic(String),
}

impl StepError {
    /// An I/O error, with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A failure of the store, or the end of a wait that was broken off.
    pub(crate) fn store(error: impl Into<StoreError>) -> Self {
        match error.into() {
            StoreError::Wait(lighter_store::WaitError::Cancelled)
            | StoreError::Mount(lighter_store::MountError::Wait(lighter_store::WaitError::Cancelled)) => {
                Self::Cancelled
            }
            error => Self::Store(error),
        }
    }

    /// The exit code of the command, where it ended with one.
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exit { code, .. } => Some(*code),
            Self::Signal { signal, .. } => Some(128 + *signal),
            _ => None,
        }
    }
}

/// The name of a signal, as Go's runtime writes it where it is a common one.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_commands_are_told_as_docker_does() {
        let command = || "sleep 9".to_owned();
        for (cause, code, text) in [
            (StepError::Exit { command: command(), code: 3 }, 3, "exit code: 3"),
            (StepError::Signal { command: command(), signal: 9 }, 137, "exit code: 137: killed"),
            (StepError::Signal { command: command(), signal: 40 }, 168, "exit code: 168: signal 40"),
        ] {
            let expected = format!("process \"sleep 9\" did not complete successfully: {text}");
            assert_eq!(cause.to_string(), expected);
            assert_eq!(cause.exit_code(), Some(code));
        }
    }
}
