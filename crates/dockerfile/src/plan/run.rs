//! RUN: a command, and all that it can see.

use serde::Serialize;

use super::{Files, InlineFile};

/// A command to run.
///
/// The process gets `env` but for what `proxy_env` names too, then `proxy_env`, then what depends on the image's files
/// and the host (`HOME` from the passwd file, `HOSTNAME`) where absent. Mounts are made in order. The names in `files`
/// are made in a folder that is mounted read-only on `/dev/pipes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The final words: the shell is already in front.
    pub args: Vec<String>,
    /// The variables, in order, names once. `PATH` is always there.
    pub env: Vec<(String, String)>,
    /// The names among them whose value is an ARG's: they are gone when the command has ended.
    #[serde(skip)]
    pub arguments: Vec<String>,
    /// Variables from the proxy arguments of the request, which go before those of `env`. They do not belong to the
    /// key, since another proxy gives the same result: what is declared is in `env` as well.
    pub proxy_env: Vec<(String, String)>,
    /// `USER` at that point, as written and expanded; empty for root.
    pub user: String,
    /// The working directory: absolute and clean.
    pub cwd: String,
    /// The mounts, in the order of the flags.
    pub mounts: Vec<RunMount>,
    /// What network it sees; `None` where the instruction leaves it to the request.
    pub network: Option<RunNetwork>,
    /// What it may do.
    pub security: RunSecurity,
    /// Scripts given in the Dockerfile that are run as programs: `/dev/pipes/NAME`, mode 0755.
    pub files: Vec<InlineFile>,
    /// Devices that it asks for.
    pub devices: Vec<Device>,
    /// Whether a shell runs it, so that a missing program is the shell's word to say.
    pub shell_form: bool,
}

/// Something that is there while the command runs, and leaves no trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunMount {
    /// What.
    pub kind: MountKind,
    /// Where: absolute and clean, never `/`. `None` for a secret that is only a variable, and for an SSH socket at
    /// its default place.
    pub target: Option<String>,
    /// Whether it can be written to. Writes to a bind mount are thrown away afterwards.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// Files of the context, a stage, or an image.
    Bind {
        /// Whence.
        from: Files,
        /// The file or folder in it: absolute and clean, `/` for all.
        source: String,
    },
    /// A folder that stays from build to build.
    Cache {
        /// Its name.
        id: String,
        /// What it starts from.
        from: Files,
        /// The folder in `from`, or in the mount itself where that starts empty: absolute and clean.
        source: String,
        /// Who may use it at the same time.
        sharing: CacheSharing,
        /// The mode of the new folder, if given: 0755 otherwise.
        mode: Option<u32>,
        /// The owner of the new folder, if given.
        uid: Option<u32>,
        /// The group of the new folder, if given.
        gid: Option<u32>,
    },
    /// A folder in memory.
    Tmpfs {
        /// Its limit; 0 for none.
        size_bytes: u64,
    },
    /// A secret of the request. Its content never belongs to a key.
    Secret {
        /// Its name.
        id: String,
        /// The mode of the file.
        mode: u32,
        /// The owner of the file.
        uid: u32,
        /// The group of the file.
        gid: u32,
        /// The variable that holds it.
        env: Option<String>,
        /// Whether the build fails without it.
        required: bool,
    },
    /// A socket of an SSH agent of the request. `SSH_AUTH_SOCK` says where: `/run/buildkit/ssh_agent.N` by default,
    /// N counting the SSH mounts of the instruction from 0.
    Ssh {
        /// Its name.
        id: String,
        /// The mode of the socket.
        mode: u32,
        /// The owner of the socket.
        uid: u32,
        /// The group of the socket.
        gid: u32,
        /// Whether the build fails without it.
        required: bool,
    },
}

impl MountKind {
    /// The tree that the mount shows, if it shows one.
    pub const fn files(&self) -> Option<&Files> {
        match self {
            Self::Bind { from, .. } | Self::Cache { from, .. } => Some(from),
            Self::Tmpfs { .. } | Self::Secret { .. } | Self::Ssh { .. } => None,
        }
    }

    pub(super) const fn files_mut(&mut self) -> Option<&mut Files> {
        match self {
            Self::Bind { from, .. } | Self::Cache { from, .. } => Some(from),
            Self::Tmpfs { .. } | Self::Secret { .. } | Self::Ssh { .. } => None,
        }
    }
}

/// Who may use a cache folder at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheSharing {
    /// All at once.
    #[default]
    Shared,
    /// Each its own: a second user gets a new folder.
    Private,
    /// One after the other.
    Locked,
}

/// What network a command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunNetwork {
    /// The builder's own.
    Default,
    /// Only its own loopback.
    None,
    /// The host's.
    Host,
}

/// What a command may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunSecurity {
    /// What a container may.
    #[default]
    Sandbox,
    /// Everything.
    Insecure,
}

/// A device that a command asks for, by its CDI name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// `vendor/class=name`.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
}
