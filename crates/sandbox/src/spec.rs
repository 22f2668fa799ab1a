//! What a sandboxed process is to be: plain data, made by the caller, read by the init.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;
use crate::cgroup::Cgroup;
use crate::sys::Instruction;

/// Paths that Docker hides from a container.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that Docker shows read-only in a container.
pub const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The size of `/dev/shm` when nothing else is asked.
pub const DEFAULT_SHM_SIZE_BYTES: u64 = 64 << 20;

/// One process in namespaces of its own, described in full.
///
/// Paths of the host (`root`, mount sources, namespaces) are seen with the caller's eyes, paths of the container
/// (`cwd`, mount targets) with the container's: symbolic links in them are followed inside the root only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on Docker's command line")]
pub struct Spec {
    /// The root file system.
    pub root: Root,
    /// Program and arguments; a program without a slash is searched in the `PATH` of `env`.
    pub args: Vec<String>,
    /// The whole environment, `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory; it must exist.
    pub cwd: String,
    /// User and groups, as numbers.
    pub user: User,
    /// Host name, with an own UTS namespace only.
    pub hostname: Option<String>,
    /// NIS domain name, with an own UTS namespace only.
    pub domainname: Option<String>,
    /// Mounts beside those every container has (`/proc`, `/sys`, `/dev` and what is in it), in order.
    pub mounts: Vec<Mount>,
    /// Device nodes of the host, beside the usual ones.
    pub devices: Vec<Device>,
    /// The network it sees.
    pub network: Network,
    /// The IPC namespace.
    pub ipc: Namespace,
    /// The PID namespace.
    pub pid: Namespace,
    /// The UTS namespace (host and domain name).
    pub uts: Namespace,
    /// Capabilities: the bounding set, and for user 0 also the permitted and effective ones.
    pub capabilities: Capabilities,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// Paths to hide.
    pub masked_paths: Vec<String>,
    /// Paths to show read-only.
    pub readonly_paths: Vec<String>,
    /// Whether set-user-ID programs gain nothing.
    pub no_new_privileges: bool,
    /// Whether the root itself is read-only; mounts stay as they are.
    pub readonly_root: bool,
    /// Whether `/sys` and cgroups are writable and all devices of the host are there (`--privileged`).
    pub privileged: bool,
    /// Resource limits of the process.
    pub rlimits: Vec<Rlimit>,
    /// Kernel parameters of its namespaces, by dotted name.
    pub sysctls: Vec<(String, String)>,
    /// Size of `/dev/shm`; with 0 there is none.
    pub shm_size_bytes: u64,
    /// What the kernel adds to its badness when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Whether it gets a terminal; [`crate::Process::take_terminal`] then has the other end.
    pub tty: bool,
    /// First size of that terminal.
    pub window: Option<Window>,
    /// Whether a tiny init is process 1, which passes signals on and reaps orphans.
    pub init: bool,
    /// Whether it is killed when the calling process ends, however that ends.
    pub die_with_parent: bool,
    /// Whether a keeper stands between it and the caller, outside its PID namespace, which must be a new one: `SIGHUP`,
    /// `SIGINT`, `SIGQUIT` and `SIGTERM` to [`crate::Process::pid`] end it, then, although process 1 of a PID namespace
    /// is deaf to them.
    pub keeper: bool,
    /// Whether another with such namespaces is likely to be started soon: it is made ready, then, while this one runs.
    #[serde(skip)]
    pub another_follows: bool,
    /// The control group to join.
    pub cgroup: Option<Cgroup>,
    /// Whether it sees the whole tree of control groups, not its own alone.
    #[serde(default)]
    pub host_cgroups: bool,
    /// Whether its control group says which device nodes can be opened, so that its mounts need not forbid them all.
    #[serde(default)]
    pub devices_by_group: bool,
}

impl Spec {
    /// Makes a spec with Docker's defaults: own namespaces, no network, default capabilities and system call filter.
    pub fn new(root: Root, args: Vec<String>) -> Self {
        Self {
            root,
            args,
            env: Vec::new(),
            cwd: "/".to_owned(),
            user: User::ROOT,
            hostname: None,
            domainname: None,
            mounts: Vec::new(),
            devices: Vec::new(),
            network: Network::None,
            ipc: Namespace::Private,
            pid: Namespace::Private,
            uts: Namespace::Private,
            capabilities: Capabilities::DOCKER_DEFAULT,
            seccomp: Seccomp::DockerDefault,
            masked_paths: MASKED_PATHS.map(str::to_owned).to_vec(),
            readonly_paths: READONLY_PATHS.map(str::to_owned).to_vec(),
            no_new_privileges: false,
            readonly_root: false,
            privileged: false,
            rlimits: Vec::new(),
            sysctls: Vec::new(),
            shm_size_bytes: DEFAULT_SHM_SIZE_BYTES,
            oom_score_adj: None,
            tty: false,
            window: None,
            init: false,
            die_with_parent: true,
            keeper: false,
            another_follows: false,
            cgroup: None,
            host_cgroups: false,
            devices_by_group: false,
        }
    }

    /// `CLONE_NEW*` flags of the namespaces that are its own.
    pub(crate) fn own_namespaces(&self) -> i32 {
        let own = |wanted: bool, flag: i32| if wanted { flag } else { 0 };
        libc::CLONE_NEWNS
            | own(self.pid == Namespace::Private, libc::CLONE_NEWPID)
            | own(self.uts == Namespace::Private, libc::CLONE_NEWUTS)
            | own(self.ipc == Namespace::Private, libc::CLONE_NEWIPC)
            | own(self.network == Network::None, libc::CLONE_NEWNET)
    }

    /// Whether device nodes on its file systems are dead.
    pub(crate) fn has_dead_nodes(&self) -> bool {
        !self.privileged && !self.devices_by_group
    }

    /// Takes away what separates it from the host's kernel: `--privileged`, or a RUN with `--security=insecure`.
    #[must_use]
    pub fn into_privileged(mut self) -> Self {
        self.privileged = true;
        self.capabilities = Capabilities::all();
        self.seccomp = Seccomp::Unconfined;
        self.masked_paths.clear();
        self.readonly_paths.clear();
        self
    }
}

/// The root file system of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// Layers with a writable one above.
    Overlay {
        /// Read-only layer directories in overlay form, bottom first; may be empty.
        lowers: Vec<PathBuf>,
        /// Directory that takes the changes.
        upper: PathBuf,
        /// Empty directory on the same file system as `upper`.
        work: PathBuf,
    },
    /// Layers, with nothing to write to.
    ReadOnlyOverlay {
        /// Read-only layer directories in overlay form, bottom first; at least one.
        lowers: Vec<PathBuf>,
    },
    /// A plain directory, written in place.
    Directory(PathBuf),
}

/// Numeric identity of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl User {
    /// User and group 0, no supplementary groups.
    pub const ROOT: Self = Self { uid: 0, gid: 0, groups: Vec::new() };
}

/// One mount in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// What is mounted.
    pub kind: MountKind,
    /// Whether nothing can be written below it; for recursive binds this holds for the mounts below as well.
    pub read_only: bool,
    /// Whether programs on it can be executed.
    pub exec: bool,
    /// Whether set-user-ID bits on it count.
    pub suid: bool,
    /// What becomes of a mount point that has to be made.
    pub stub: Stub,
    /// Whether mounts that are made below it later are seen on the other side.
    pub propagation: Propagation,
}

/// Whether mounts that are made later below a mount of the host are seen where it is mounted as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither sees those of the other.
    #[default]
    Private,
    /// The container sees those of the host, if that shares its mount.
    Slave,
    /// Each sees those of the other, if the host shares its mount.
    Shared,
}

impl Mount {
    /// Shows a file or directory of the host, with the mounts below it.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<String>) -> Self {
        Self::new(target, MountKind::Bind { source: source.into(), part: None, recursive: true })
    }

    /// Shows a path in a directory of the host that others can write to: links in it are followed inside the directory.
    pub fn part(source: impl Into<PathBuf>, part: impl Into<String>, target: impl Into<String>) -> Self {
        let part = Some(part.into());
        Self::new(target, MountKind::Bind { source: source.into(), part, recursive: true })
    }

    /// Mounts an empty file system in memory.
    pub fn tmpfs(target: impl Into<String>) -> Self {
        Self::new(target, MountKind::Tmpfs(Tmpfs { size_bytes: None, mode_bits: None, uid: 0, gid: 0 }))
    }

    /// Mounts stacked layers; with `scratch` they can be written to, and the changes go there.
    pub fn overlay(lowers: Vec<PathBuf>, scratch: Option<Scratch>, target: impl Into<String>) -> Self {
        let read_only = scratch.is_none();
        let kind = MountKind::Overlay { lowers, scratch, source: "/".to_owned() };
        Self::new(target, kind).with_read_only(read_only)
    }

    fn new(target: impl Into<String>, kind: MountKind) -> Self {
        Self {
            target: target.into(),
            kind,
            read_only: false,
            exec: true,
            suid: true,
            stub: Stub::Transient,
            propagation: Propagation::Private,
        }
    }

    /// Shows a file in memory, which nobody sees but the container and which is gone with it.
    pub fn file(content: &[u8], mode_bits: u32, (uid, gid): (u32, u32), target: impl Into<String>) -> Self {
        let content = Concealed(content.to_vec());
        Self::new(target, MountKind::File { content, mode_bits, uid, gid })
    }

    /// Sets whether it is read-only.
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Sets what becomes of a mount point that has to be made.
    #[must_use]
    pub fn with_stub(mut self, stub: Stub) -> Self {
        self.stub = stub;
        self
    }

    /// Sets whether mounts that are made later are seen on the other side.
    #[must_use]
    pub fn with_propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }

    /// Takes the meaning from set-user-ID bits, and forbids execution.
    #[must_use]
    pub fn with_data_only(mut self) -> Self {
        self.exec = false;
        self.suid = false;
        self
    }
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host. Device nodes on it cannot be used.
    Bind {
        /// Path on the host.
        source: PathBuf,
        /// Path inside that directory to show instead of all of it; links in it are followed inside the directory.
        part: Option<String>,
        /// Whether mounts below the source come along.
        recursive: bool,
    },
    /// An empty file system in memory.
    Tmpfs(Tmpfs),
    /// A file in memory.
    File {
        /// What is in it.
        content: Concealed,
        /// Its mode.
        mode_bits: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Stacked layers.
    Overlay {
        /// Layer directories in overlay form, bottom first.
        lowers: Vec<PathBuf>,
        /// Where changes go; without it the mount is read-only.
        scratch: Option<Scratch>,
        /// Path inside the stack to show, a file or a directory; links in it are followed inside the stack.
        source: String,
    },
}

/// Bytes that are shown in no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concealed(pub Vec<u8>);

impl std::fmt::Debug for Concealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Concealed")
    }
}

/// An empty file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Most it may hold; half of the memory when not given.
    pub size_bytes: Option<u64>,
    /// Mode of its root; when not given that of the directory it is mounted on, and 1777 where none was there.
    pub mode_bits: Option<u32>,
    /// Owner of its root.
    pub uid: u32,
    /// Group of its root.
    pub gid: u32,
}

/// Directories that take the changes to an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// Directory that takes the changes.
    pub upper: PathBuf,
    /// Empty directory on the same file system as `upper`.
    pub work: PathBuf,
}

/// What becomes of a missing mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stub {
    /// It is there while the process runs and leaves no trace in the root, as in a build step.
    Transient,
    /// It is made in the root and stays, as the mount points of volumes do.
    Kept,
}

/// A device node of the host shown in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: String,
}

/// The network a process sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The caller's own network.
    Host,
    /// A new, empty one: nothing but the loopback interface.
    None,
    /// An existing namespace, such as `/proc/self/fd/7` or `/proc/4711/ns/net`.
    Namespace(PathBuf),
}

/// Choice of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// A new one.
    Private,
    /// The caller's.
    Host,
    /// That of another process, such as `/proc/4711/ns/ipc`.
    Join(PathBuf),
}

/// System call filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default profile, as it follows from the capabilities.
    DockerDefault,
    /// No filter.
    Unconfined,
    /// One of its own, from [`Seccomp::from_profile`].
    Custom(Filter),
}

/// A program for the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    pub(crate) program: Vec<Instruction>,
    pub(crate) flags: u32,
}

/// A resource limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Which resource.
    pub resource: Resource,
    /// Limit that counts.
    pub soft: Option<u64>,
    /// Bound of the soft limit.
    pub hard: Option<u64>,
}

/// Resources that can be limited, under the names of `docker run --ulimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "these are the kernel's names, see getrlimit(2)")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl Resource {
    /// Reads Docker's name of a resource.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "as" => Self::As,
            "core" => Self::Core,
            "cpu" => Self::Cpu,
            "data" => Self::Data,
            "fsize" => Self::Fsize,
            "locks" => Self::Locks,
            "memlock" => Self::Memlock,
            "msgqueue" => Self::Msgqueue,
            "nice" => Self::Nice,
            "nofile" => Self::Nofile,
            "nproc" => Self::Nproc,
            "rss" => Self::Rss,
            "rtprio" => Self::Rtprio,
            "rttime" => Self::Rttime,
            "sigpending" => Self::Sigpending,
            "stack" => Self::Stack,
            _ => return None,
        })
    }
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// A further process in a running container (`docker exec`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments; a program without a slash is searched in the `PATH` of `env`.
    pub args: Vec<String>,
    /// The whole environment, `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory; it must exist.
    pub cwd: String,
    /// User and groups, as numbers.
    pub user: User,
    /// Capabilities, those of the container when nothing else is asked.
    pub capabilities: Capabilities,
    /// The system call filter, that of the container.
    pub seccomp: Seccomp,
    /// Whether set-user-ID programs gain nothing.
    pub no_new_privileges: bool,
    /// Resource limits, those of the container.
    pub rlimits: Vec<Rlimit>,
    /// What the kernel adds to its badness when memory runs out.
    pub oom_score_adj: Option<i32>,
    /// Whether it gets a terminal of its own.
    pub tty: bool,
    /// First size of that terminal.
    pub window: Option<Window>,
    /// Whether it is killed when the calling process ends.
    pub die_with_parent: bool,
}

impl ExecSpec {
    /// Makes a spec with Docker's defaults.
    pub fn new(args: Vec<String>) -> Self {
        Self {
            args,
            env: Vec::new(),
            cwd: "/".to_owned(),
            user: User::ROOT,
            capabilities: Capabilities::DOCKER_DEFAULT,
            seccomp: Seccomp::DockerDefault,
            no_new_privileges: false,
            rlimits: Vec::new(),
            oom_score_adj: None,
            tty: false,
            window: None,
            die_with_parent: true,
        }
    }
}
