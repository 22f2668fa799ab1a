//! What a build is made from, beside its plan.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use lighter_dockerfile::ignore;
use lighter_dockerfile::plan::{ImageSource, Plan, Run, RunNetwork};
use lighter_image::{DiffId, Digest, ImageId};
use lighter_sandbox::Window;

use crate::CancelToken;

/// What a build is made from.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The steps.
    pub plan: Arc<Plan>,
    /// The build context; none where there is only a Dockerfile.
    pub context: Option<ContextFiles>,
    /// The named contexts that are files.
    pub named_contexts: BTreeMap<String, ContextFiles>,
    /// The images that the plan names.
    pub images: HashMap<ImageSource, ImageInput>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: the agents' sockets, by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// How commands are run, where the instruction does not say.
    pub run: RunSettings,
    /// What may come from the cache.
    pub cache: CacheRules,
    /// How many steps may run at once.
    pub jobs: usize,
    /// The time at which this build begins.
    pub now: SystemTime,
    /// Names the place that is built, as a context and a Dockerfile: what is built there now is compared with what was
    /// built there before.
    pub place: String,
    /// A folder that a reboot clears, for what is shared between processes of this machine.
    pub runtime_dir: PathBuf,
    /// Whether it is told why steps run.
    pub explain: bool,
    /// Whether the result says what other machines can use of it.
    pub is_shared: bool,
    /// The steps that earlier builds of this place have had, by name, as far as it is told why steps run.
    pub earlier: BTreeMap<String, Digest>,
    /// What happens to a failed step's root.
    pub on_error: OnError,
    /// Shows the terminal of [`OnError::Shell`]; none where the shell has the caller's streams.
    pub attach: Option<Attach>,
    /// A time, in seconds since 1970, for which layers get a further diff id: the one they have with no later time in
    /// them.
    pub clamp_seconds: Option<i64>,
    /// Stops the build.
    pub cancel: CancelToken,
}

/// A folder of files to copy from.
#[derive(Debug, Clone)]
pub struct ContextFiles {
    /// Where it is.
    pub root: PathBuf,
    /// What is left out.
    pub ignore: Option<Arc<ignore::Patterns>>,
    /// The file that remembers digests by stat data between builds; none where the folder is temporary.
    pub index: Option<PathBuf>,
    /// Whether owners and extended attributes are those of the files, as in an archive. Of a folder of the caller's
    /// they say nothing: all belongs to root there.
    pub keeps_owners: bool,
}

/// An image of the plan, known by its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInput {
    /// Its id.
    pub id: ImageId,
    /// Its layers, bottom first; their bytes may still be elsewhere.
    pub layers: Vec<DiffId>,
    /// As it is shown, with the digest where it is known.
    pub shown: String,
}

/// How commands are run, where the instruction does not say.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// `--network`.
    pub network: RunNetwork,
    /// `--add-host`: names and addresses; none for `host-gateway`, where the command reaches the host.
    pub extra_hosts: Vec<(String, Option<IpAddr>)>,
    /// `--shm-size`; none for 64 MiB.
    pub shm_size_bytes: Option<u64>,
    /// `--ulimit`: name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// The host name; none for BuildKit's.
    pub hostname: Option<String>,
    /// `--allow security.insecure`.
    pub insecure_is_allowed: bool,
    /// `--allow network.host`, or a network of the request that is the host's.
    pub host_network_is_allowed: bool,
    /// `--cgroup-parent` and the limits, for the sandbox.
    pub limits: Limits,
}

impl RunSettings {
    /// The network of a command: `RUN --network=default` means the request's as well.
    pub(crate) fn network_of(&self, run: &Run) -> RunNetwork {
        run.network.filter(|network| *network != RunNetwork::Default).unwrap_or(self.network)
    }
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            network: RunNetwork::Default,
            extra_hosts: Vec::new(),
            shm_size_bytes: None,
            ulimits: Vec::new(),
            hostname: None,
            insecure_is_allowed: false,
            host_network_is_allowed: true,
            limits: Limits::default(),
        }
    }
}

/// Limits on what commands may use. None of them belongs to a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// `--memory`.
    pub memory_bytes: Option<u64>,
    /// `--memory-swap`; negative for none.
    pub memory_swap_bytes: Option<i64>,
    /// `--cpu-shares`.
    pub cpu_shares: Option<u64>,
    /// `--cpu-quota`, in microseconds.
    pub cpu_quota: Option<i64>,
    /// `--cpu-period`, in microseconds.
    pub cpu_period: Option<u64>,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
}

/// What may come from the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheRules {
    /// `--no-cache`: nothing may.
    pub no_cache: bool,
    /// `--no-cache-filter`: steps of these stages may not.
    pub no_cache_filter: Vec<String>,
}

/// What happens to a failed step's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It is removed.
    #[default]
    Remove,
    /// It is kept, and the failure says where.
    Keep,
    /// A shell runs in it, as the command did, until it is left.
    Shell,
}

/// Shows a terminal's other end to the caller.
#[derive(Clone)]
pub struct Attach {
    /// The size of the caller's terminal.
    pub window: Option<Window>,
    /// Shows it until it is closed.
    pub show: Show,
}

/// Shows a terminal's other end until it is closed.
pub type Show = Arc<dyn Fn(OwnedFd) -> std::io::Result<()> + Send + Sync>;

impl fmt::Debug for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attach").field(&self.window).finish()
    }
}

/// The content of a secret. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes the content.
    pub fn new(content: Vec<u8>) -> Self {
        Self(content.into())
    }

    /// The content, for the one place that hands it to a process.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new(b"hush".to_vec())), "Secret");
    }
}
