//! What a container is to be: all that was asked for, resolved against its image.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use lighter_image::{Healthcheck, ImageId};
use lighter_sandbox::cgroup::Flow;
use lighter_sandbox::network::Publication;
use lighter_sandbox::{Device, Rlimit};
use lighter_store::LayerId;
use serde::{Deserialize, Serialize};

use super::log_settings::LogSettings;

/// What a container is to be. Fixed when it is made, but for what `update` may change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The image, as it was asked for.
    pub image_name: String,
    /// The image.
    pub image: Option<ImageId>,
    /// What is always run; an empty list where the image's was taken away.
    pub entrypoint: Option<Vec<String>>,
    /// What is run, or what the entry point is given.
    pub cmd: Option<Vec<String>>,
    /// The whole environment but for what the runtime adds (`HOSTNAME`, `HOME`, `TERM`).
    pub env: Vec<String>,
    /// `user[:group]`.
    pub user: String,
    /// Where it runs.
    pub working_dir: String,
    /// Its host name.
    pub hostname: String,
    /// Its NIS domain name.
    pub domainname: Option<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input stays open.
    pub open_stdin: bool,
    /// Whether it stays so only as long as the first client that writes to it.
    pub stdin_once: bool,
    /// The outputs that whoever made it wanted to see: `stdout`, `stderr`.
    #[serde(default)]
    pub attach_output: Vec<String>,
    /// Free notes, its image's among them.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to stop, as it was given.
    pub stop_signal: Option<String>,
    /// Seconds between that signal and the kill.
    pub stop_timeout_seconds: Option<u32>,
    /// How its health is found out.
    pub healthcheck: Option<Healthcheck>,
    /// The ports that its image says it listens on, and those of `--expose`.
    pub exposed_ports: Vec<String>,
    /// What it sees of the host.
    pub host: HostSettings,
}

impl Settings {
    /// Program and arguments.
    pub fn command(&self) -> Vec<String> {
        let parts = [&self.entrypoint, &self.cmd];
        parts.into_iter().flatten().flatten().cloned().collect()
    }

    /// Where volumes without a name are mounted: those of the image, and of `-v PATH`.
    pub(super) fn anonymous_volumes(&self) -> impl Iterator<Item = &str> {
        let mounts = self.host.mounts.iter();
        let anonymous =
            mounts.filter(|mount| matches!(mount.source, MountSource::Volume { anonymous: true, .. }));
        anonymous.map(|mount| mount.target.as_str())
    }
}

/// What a container sees of the host, and what it may use of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct HostSettings {
    /// `-v`, `--mount`, `--tmpfs`, and the image's volumes.
    pub mounts: Vec<ContainerMount>,
    /// `-p`.
    pub publications: Vec<Publication>,
    /// `-P`: all exposed ports get a free one of the host.
    pub publish_all: bool,
    /// `--network`.
    pub network: NetworkChoice,
    /// The networks that it is on, with what is wished of each; none where it shares another's, or has none.
    pub networks: Vec<NetworkWish>,
    /// `--link`: names or ids of containers, and what they are called here.
    pub links: Vec<(String, String)>,
    /// `--add-host`.
    pub extra_hosts: Vec<(String, HostAddress)>,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--cap-add`, as it was given.
    pub cap_add: Vec<String>,
    /// `--cap-drop`, as it was given.
    pub cap_drop: Vec<String>,
    /// `--privileged`.
    pub privileged: bool,
    /// `--security-opt`, as it was given.
    pub security_options: Vec<String>,
    /// `--device`.
    pub devices: Vec<Device>,
    /// `--group-add`.
    pub group_add: Vec<String>,
    /// `--read-only`.
    pub readonly_root: bool,
    /// `--init`.
    pub init: bool,
    /// `--shm-size`, in bytes.
    pub shm_size_bytes: Option<u64>,
    /// `--ulimit`.
    pub rlimits: Vec<Rlimit>,
    /// `--sysctl`.
    pub sysctls: Vec<(String, String)>,
    /// `--oom-score-adj`.
    pub oom_score_adj: Option<i32>,
    /// `--ipc`.
    pub ipc: Sharing,
    /// `--pid`.
    pub pid: Sharing,
    /// `--uts`.
    pub uts: Sharing,
    /// What it may use.
    pub limits: ResourceLimits,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--rm`.
    pub auto_remove: bool,
    /// `--log-driver`, `--log-opt`.
    #[serde(default)]
    pub log: LogSettings,
    /// `--annotation`: notes for whoever looks.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// `--cgroup-parent`.
    #[serde(default)]
    pub cgroup_parent: Option<String>,
    /// Whether it sees the host's control groups (`--cgroupns host`).
    #[serde(default)]
    pub host_cgroups: bool,
}

/// `--memory` and its kin. None of them is set where nothing was asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory and swap together; negative for as much swap as there is.
    pub memory_swap_bytes: Option<i64>,
    /// Bytes of memory that are left to it when others want some.
    pub memory_reservation_bytes: Option<u64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// Microseconds in each period.
    pub cpu_quota: Option<i64>,
    /// The length of the period in microseconds.
    pub cpu_period: Option<u64>,
    /// The share in relation to others.
    pub cpu_shares: Option<u64>,
    /// Which processors.
    pub cpuset_cpus: Option<String>,
    /// Which memory nodes.
    pub cpuset_mems: Option<String>,
    /// How many processes and threads.
    pub pids: Option<i64>,
    /// The share in the use of disks in relation to others.
    pub blkio_weight: Option<u16>,
    /// How readily its memory is put aside, in hundredths.
    #[serde(default)]
    pub memory_swappiness: Option<u64>,
    /// Whether it waits for memory instead of being killed.
    #[serde(default)]
    pub oom_kill_disable: bool,
    /// `--cpu-rt-period`: the period of real-time processes, in microseconds.
    #[serde(default)]
    pub cpu_realtime_period: Option<u64>,
    /// `--cpu-rt-runtime`: their time in each period.
    #[serde(default)]
    pub cpu_realtime_runtime: Option<i64>,
    /// `--device-read-bps` and its kin.
    #[serde(default)]
    pub device_rates: Vec<PathRate>,
    /// `--blkio-weight-device`: devices, and the share in the use of each.
    #[serde(default)]
    pub device_weights: Vec<(PathBuf, u16)>,
    /// `--device-cgroup-rule`, as it was given.
    #[serde(default)]
    pub device_rules: Vec<String>,
}

/// A bound on the use of a block device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRate {
    /// The device.
    pub path: PathBuf,
    /// What is bounded.
    pub flow: Flow,
    /// Most in each second; 0 for no bound.
    pub per_second: u64,
}

impl ResourceLimits {
    /// Takes over what the other sets; the rest stays.
    pub(super) fn take_over(&mut self, other: &Self) {
        let Self {
            memory_bytes,
            memory_swap_bytes,
            memory_reservation_bytes,
            nano_cpus,
            cpu_quota,
            cpu_period,
            cpu_shares,
            cpuset_cpus,
            cpuset_mems,
            pids,
            blkio_weight,
            memory_swappiness: _,
            oom_kill_disable: _,
            cpu_realtime_period,
            cpu_realtime_runtime,
            device_rates: _,
            device_weights: _,
            device_rules: _,
        } = other.clone();
        self.memory_bytes = memory_bytes.or(self.memory_bytes);
        self.memory_swap_bytes = memory_swap_bytes.or(self.memory_swap_bytes);
        self.memory_reservation_bytes = memory_reservation_bytes.or(self.memory_reservation_bytes);
        self.nano_cpus = nano_cpus.or(self.nano_cpus);
        self.cpu_quota = cpu_quota.or(self.cpu_quota);
        self.cpu_period = cpu_period.or(self.cpu_period);
        self.cpu_shares = cpu_shares.or(self.cpu_shares);
        self.cpuset_cpus = cpuset_cpus.or(self.cpuset_cpus.take());
        self.cpuset_mems = cpuset_mems.or(self.cpuset_mems.take());
        self.pids = pids.or(self.pids);
        self.blkio_weight = blkio_weight.or(self.blkio_weight);
        self.cpu_realtime_period = cpu_realtime_period.or(self.cpu_realtime_period);
        self.cpu_realtime_runtime = cpu_realtime_runtime.or(self.cpu_realtime_runtime);
    }
}

/// What a container wishes of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkWish {
    /// The network, by name.
    pub network: String,
    /// What else the others on it may call the container.
    pub aliases: Vec<String>,
    /// The address that it must have.
    pub address: Option<Ipv4Addr>,
    /// The address of IPv6 that it must have.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// Whether it came here by `network connect`, which `inspect` shows.
    #[serde(default)]
    pub by_hand: bool,
    /// The hardware address that it must have, as text.
    pub hardware_address: Option<String>,
    /// Of several networks the one with the highest leads to everywhere else.
    #[serde(default)]
    pub gateway_priority: i64,
    /// `--driver-opt`.
    #[serde(default)]
    pub driver_options: BTreeMap<String, String>,
    /// `--link` of `network connect`, as they were given.
    #[serde(default)]
    pub links: Vec<String>,
}

impl NetworkWish {
    /// The name that its link in the container is to have, where one is wished for.
    pub(super) fn interface(&self) -> Option<&str> {
        self.driver_options.get("com.docker.network.endpoint.ifname").map(String::as_str)
    }

    /// What is to be set for its link, by the path below `/proc/sys`, for a link of this name.
    ///
    /// # Errors
    /// One that is not about a link, as it was given.
    pub(super) fn switches(&self, interface: &str) -> Result<Vec<(String, String)>, String> {
        let given = self.driver_options.get("com.docker.network.endpoint.sysctls");
        let given = given.into_iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty());
        given
            .map(|text| {
                let (name, value) = text.split_once('=').ok_or_else(|| text.to_owned())?;
                match name.split('.').collect::<Vec<_>>()[..] {
                    ["net", family @ ("ipv4" | "ipv6" | "mpls"), kind, "IFNAME", switch]
                        if [kind, switch].iter().all(|word| !word.is_empty() && !word.contains('/')) =>
                    {
                        Ok((format!("net/{family}/{kind}/{interface}/{switch}"), value.to_owned()))
                    }
                    _ => Err(text.to_owned()),
                }
            })
            .collect()
    }

    /// A place on a network, and nothing special.
    pub fn of(network: &str) -> Self {
        Self { network: network.to_owned(), ..Self::default() }
    }
}

/// An address of `--add-host`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostAddress {
    /// This one.
    Address(IpAddr),
    /// That of the host, as the container reaches it.
    Gateway,
}

/// `--network`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkChoice {
    /// The default bridge.
    #[default]
    Bridge,
    /// The host's network.
    Host,
    /// Nothing but loopback.
    None,
    /// That of another container, by id.
    Container(String),
    /// A network of the user's, by name.
    Named(String),
}

/// `--ipc`, `--pid`, `--uts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// One of its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container, by id.
    Container(String),
    /// `--ipc shareable`: one of its own, which others may join.
    Shareable,
    /// `--ipc none`: one of its own, without `/dev/shm`.
    None,
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Whether nothing can be written below it.
    pub read_only: bool,
    /// The option words, as they were given, for `inspect`.
    pub mode: String,
    /// Whether `--mount` asked for it, which `inspect` tells from `-v` and `--tmpfs`.
    #[serde(default)]
    pub long_form: bool,
}

/// What a container's mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or folder of the host.
    Bind {
        /// Where it is.
        path: PathBuf,
        /// Whether it is made as a folder where it is missing (`-v` does, `--mount` does not).
        create: bool,
        /// `bind-propagation`, as it was given: `rshared`, `slave` and so on.
        #[serde(default)]
        propagation: Option<String>,
    },
    /// A volume.
    Volume {
        /// Its name.
        name: String,
        /// Whether it was made for this container alone.
        anonymous: bool,
        /// Whether the image's files at the target are not copied into it when it is empty.
        no_copy: bool,
        /// The folder of it that is mounted, where not all of it is.
        #[serde(default)]
        subpath: String,
        /// What it is labelled with when it is made.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// Its driver's options when it is made.
        #[serde(default)]
        options: BTreeMap<String, String>,
    },
    /// The files of an image, read-only.
    Image {
        /// The image, as it was named.
        name: String,
        /// Its layers, bottom first, once the container is made.
        layers: Vec<LayerId>,
        /// The file or folder of it that is mounted, where not all of it is.
        subpath: String,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Most it may hold, in bytes.
        size_bytes: Option<u64>,
        /// The mode of its top; none for that of the folder it is mounted on.
        mode_bits: Option<u32>,
        /// Whether programs on it can be run.
        exec: bool,
        /// Whose its top is.
        #[serde(default)]
        owner: (u32, u32),
    },
}

impl MountSource {
    /// A volume that is made for one container, and still has no name.
    pub const fn anonymous_volume() -> Self {
        Self::Volume {
            name: String::new(),
            anonymous: true,
            no_copy: false,
            subpath: String::new(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }
}

/// `--restart`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// It stays down.
    #[default]
    No,
    /// It is started again, whatever its status.
    Always,
    /// It is started again unless somebody stopped it.
    UnlessStopped,
    /// It is started again after a failure, at most so many times (0: without end).
    OnFailure(u32),
}

/// Why a text is no restart policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRestartPolicyError {
    /// There is none of that name.
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    )]
    Unknown(String),
    /// What follows the name is no number.
    #[error("invalid restart policy format: maximum retry count must be an integer")]
    Count,
    /// The number is negative.
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    Negative,
    /// The policy takes no number.
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    NoCount,
}

impl std::str::FromStr for RestartPolicy {
    type Err = ParseRestartPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, count) = text.split_once(':').unwrap_or((text, ""));
        let count: i64 = match count {
            "" => 0,
            digits => digits.parse().map_err(|_| ParseRestartPolicyError::Count)?,
        };
        let policy = match name {
            "no" | "" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => Self::OnFailure(u32::try_from(count.max(0)).unwrap_or(u32::MAX)),
            _ => return Err(ParseRestartPolicyError::Unknown(name.to_owned())),
        };
        match (count, policy) {
            (..0, _) => Err(ParseRestartPolicyError::Negative),
            (0, _) | (_, Self::OnFailure(_)) => Ok(policy),
            _ => Err(ParseRestartPolicyError::NoCount),
        }
    }
}

impl RestartPolicy {
    /// Its name, as Docker writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure(_) => "on-failure",
        }
    }

    /// Whether a container that ended by itself is started again.
    pub const fn restarts(self, exit_code: i32, restarts_so_far: u32) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure(most) => exit_code != 0 && (most == 0 || restarts_so_far < most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies_are_read_and_kept() {
        assert_eq!("on-failure:3".parse(), Ok(RestartPolicy::OnFailure(3)));
        assert_eq!("always".parse(), Ok(RestartPolicy::Always));
        for text in ["sometimes", "on-failure:x", "always:2"] {
            assert!(text.parse::<RestartPolicy>().is_err(), "{text}");
        }
        assert!(!RestartPolicy::OnFailure(0).restarts(0, 0));
        assert!(RestartPolicy::OnFailure(2).restarts(1, 1));
        assert!(!RestartPolicy::OnFailure(2).restarts(1, 2));
    }
}
