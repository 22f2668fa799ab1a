//! What the caller and the init of a sandbox say to each other: one order, then reports until the program runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::{ExecSpec, Spec};

/// What the init is to become, as JSON on its control socket, with its standard streams, ended by a shutdown.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Set up a sandbox.
    Run {
        /// All of it.
        spec: Box<Spec>,
        /// What the caller found out about itself.
        host: Host,
    },
    /// Join a running one.
    Exec {
        /// All of it.
        spec: Box<ExecSpec>,
        /// A process in it, by its number in the caller's PID namespace.
        target: i32,
    },
}

/// What the caller found out about itself, so that each init need not.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Host {
    /// Whether it lives in a user namespace other than the first.
    pub in_user_namespace: bool,
}

/// What the init tells, one JSON document a line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Something asked for was tolerated to fail.
    Warning(Warning),
    /// The other end of the terminal comes with this line.
    Terminal,
    /// Stand-ins for mount points were made in a plain directory and must be removed at the end, deepest first.
    Stubs(Vec<PathBuf>),
    /// The program is executed next; the end of the stream means that it runs.
    Ready,
    /// The set-up failed; nothing follows.
    Setup {
        /// Where.
        stage: Stage,
        /// On what.
        what: String,
        /// The system's error number.
        errno: i32,
    },
    /// The program could not be started; nothing follows.
    Command {
        /// Program as it was asked for.
        program: String,
        /// Why.
        fault: CommandFault,
    },
}

/// A wish that could not be kept, and was tolerated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}: {}", std::io::Error::from_raw_os_error(*errno))]
pub struct Warning {
    /// What was wished for.
    pub what: String,
    /// The system's error number.
    pub errno: i32,
}

/// Part of the set-up of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Reading the order.
    Order,
    /// Joining the control group.
    Cgroup,
    /// Making or joining namespaces.
    Namespaces,
    /// Mounting the root.
    Root,
    /// Mounting what is asked for, `/proc`, `/sys`, `/dev`.
    Mounts,
    /// Hiding paths.
    Paths,
    /// Opening the terminal.
    Terminal,
    /// Setting host name, resource limits, kernel parameters.
    Limits,
    /// Installing the system call filter.
    Seccomp,
    /// Becoming the user.
    User,
    /// Changing to the working directory.
    WorkingDirectory,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Order => "reading the order",
            Self::Cgroup => "joining the cgroup",
            Self::Namespaces => "entering namespaces",
            Self::Root => "mounting the root file system",
            Self::Mounts => "mounting",
            Self::Paths => "hiding paths",
            Self::Terminal => "opening a terminal",
            Self::Limits => "setting limits",
            Self::Seccomp => "installing the system call filter",
            Self::User => "becoming the user",
            Self::WorkingDirectory => "changing to the working directory",
        })
    }
}

/// Why a program could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommandFault {
    /// No folder of `PATH` has it.
    NotInPath,
    /// The path names nothing.
    NoSuchFile,
    /// It may not be executed.
    PermissionDenied,
    /// It is a directory.
    IsDirectory,
}

impl CommandFault {
    /// The exit status that Docker gives: 127 for what is not there, 126 for what cannot be run.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::NotInPath | Self::NoSuchFile => 127,
            Self::PermissionDenied | Self::IsDirectory => 126,
        }
    }

    /// Says it in Docker's words.
    pub(crate) fn describe(self, program: &str) -> String {
        match self {
            Self::NotInPath => {
                format!("exec: {program:?}: executable file not found in $PATH")
            }
            Self::NoSuchFile => {
                format!("exec: {program:?}: stat {program}: no such file or directory")
            }
            Self::PermissionDenied => format!("exec: {program:?}: permission denied"),
            Self::IsDirectory => format!("exec: {program:?}: is a directory: permission denied"),
        }
    }
}

/// Removes stand-ins for mount points, deepest first, as far as they are as empty as they were made.
pub(crate) fn remove_stubs(stubs: &[PathBuf]) {
    for stub in stubs {
        let removed = match std::fs::symlink_metadata(stub) {
            Ok(found) if found.is_dir() => std::fs::remove_dir(stub),
            Ok(found) if found.is_file() && found.len() == 0 => std::fs::remove_file(stub),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::debug!(stub = %stub.display(), %error, "a mount point stays");
        }
    }
}

/// The system's words for an error number, without the number.
pub(crate) fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let bare = text.split(" (os error").next().unwrap_or(&text);
    bare.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_faults_have_dockers_words_and_codes() {
        let check = |fault: CommandFault, program: &str, text: &str, code: i32| {
            assert_eq!(fault.describe(program), text);
            assert_eq!(fault.exit_code(), code, "{text}");
        };
        check(CommandFault::NotInPath, "nosuch", "exec: \"nosuch\": executable file not found in $PATH", 127);
        check(
            CommandFault::NoSuchFile,
            "/no/such",
            "exec: \"/no/such\": stat /no/such: no such file or directory",
            127,
        );
        check(CommandFault::PermissionDenied, "/etc/passwd", "exec: \"/etc/passwd\": permission denied", 126);
        check(CommandFault::IsDirectory, "/etc", "exec: \"/etc\": is a directory: permission denied", 126);
        assert_eq!(errno_text(libc::ENOEXEC), "exec format error");
    }
}
