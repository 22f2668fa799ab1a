//! Limits of a control group, in both versions' words.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Cgroup;
use super::devices::{DeviceRate, DeviceRule};
use crate::message::Warning;

/// Limits; those that are not given are not touched. Units as in `docker run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Most memory (`--memory`).
    pub memory_bytes: Option<u64>,
    /// Most memory and swap together (`--memory-swap`); negative for no bound on swap.
    pub memory_swap_bytes: Option<i64>,
    /// What it keeps when memory is short (`--memory-reservation`).
    pub memory_reservation_bytes: Option<u64>,
    /// How readily its memory is put aside (`--memory-swappiness`), in hundredths; version 1 only.
    pub memory_swappiness: Option<u64>,
    /// Whether it waits for memory instead of being killed (`--oom-kill-disable`); version 1 only.
    pub oom_kill_disable: bool,
    /// Processor time in each period (`--cpu-quota`, or `--cpus` times the period); negative for no bound.
    pub cpu_quota_micros: Option<i64>,
    /// The period (`--cpu-period`), 100 ms if not given.
    pub cpu_period_micros: Option<u64>,
    /// Weight against others (`--cpu-shares`), 1024 for an equal one.
    pub cpu_shares: Option<u64>,
    /// Processors it may run on (`--cpuset-cpus`), such as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use (`--cpuset-mems`).
    pub cpuset_mems: Option<String>,
    /// Most processes and threads (`--pids-limit`); 0 or negative for no bound.
    pub pids: Option<i64>,
    /// The period of real-time processes in microseconds (`--cpu-rt-period`); version 1 only.
    pub cpu_realtime_period_micros: Option<u64>,
    /// Their time in each period (`--cpu-rt-runtime`); version 1 only.
    pub cpu_realtime_runtime_micros: Option<i64>,
    /// Bounds on the use of block devices.
    pub rates: Vec<DeviceRate>,
    /// The only device nodes that can be made and opened; none for all that are seen.
    pub device_rules: Option<Vec<DeviceRule>>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

const DEFAULT_PERIOD_MICROS: u64 = 100_000;

/// A value for one file.
struct Setting {
    controller: &'static str,
    file: &'static str,
    value: String,
}

/// Sets what is given; tells what cannot be set, with the error that kept the group from being made.
pub(super) fn apply(group: &Cgroup, limits: &Limits, why_not: i32) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (controller, v1, v2) in [
        ("memory", memory_v1(limits), memory_v2(limits)),
        ("cpu", cpu_v1(limits), cpu_v2(limits)),
        ("cpuset", cpuset(limits), cpuset(limits)),
        ("pids", pids(limits), pids(limits)),
    ] {
        let settings = match group.controller(controller) {
            Some((directory, is_v2)) => {
                let settings = if is_v2 { v2 } else { v1 };
                warnings.extend(write_all(directory, &settings));
                continue;
            }
            None => v1,
        };
        warnings.extend(settings.iter().map(|setting| Warning {
            what: format!("{} is not limited, as no cgroup could be made for it", setting.file),
            errno: why_not,
        }));
    }
    warnings
}

/// Writes settings; where two bound each other, such as memory with and without swap, a second try in the other order
/// succeeds when the first did not.
fn write_all(directory: &Path, settings: &[Setting]) -> Vec<Warning> {
    let write = |setting: &Setting| std::fs::write(directory.join(setting.file), &setting.value);
    let refused: Vec<&Setting> = settings.iter().filter(|setting| write(setting).is_err()).collect();
    refused
        .into_iter()
        .filter_map(|setting| {
            let error = write(setting).err()?;
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Some(Warning { what: format!("{} ({})", setting.controller, setting.file), errno })
        })
        .collect()
}

fn setting(controller: &'static str, file: &'static str, value: &(impl ToString + ?Sized)) -> Setting {
    Setting { controller, file, value: value.to_string() }
}

/// Memory and swap together, with Docker's default of twice the memory.
fn memory_and_swap(limits: &Limits) -> Option<i64> {
    let twice = |bytes: u64| i64::try_from(bytes.saturating_mul(2)).unwrap_or(-1);
    match limits.memory_swap_bytes {
        Some(0) | None => limits.memory_bytes.map(twice),
        given => given,
    }
}

fn memory_v1(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        settings.push(setting("memory", "memory.limit_in_bytes", &bytes));
    }
    if let Some(bytes) = memory_and_swap(limits) {
        settings.push(setting("memory", "memory.memsw.limit_in_bytes", &bytes.max(-1)));
    }
    if let Some(bytes) = limits.memory_reservation_bytes {
        settings.push(setting("memory", "memory.soft_limit_in_bytes", &bytes));
    }
    if let Some(share) = limits.memory_swappiness {
        settings.push(setting("memory", "memory.swappiness", &share));
    }
    if limits.oom_kill_disable {
        settings.push(setting("memory", "memory.oom_control", "1"));
    }
    settings
}

fn memory_v2(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        settings.push(setting("memory", "memory.max", &bytes));
    }
    if let Some(total) = memory_and_swap(limits) {
        let memory = limits.memory_bytes.and_then(|bytes| i64::try_from(bytes).ok());
        let swap = match (total, memory) {
            (..0, _) | (_, None) => "max".to_owned(),
            (total, Some(memory)) => total.saturating_sub(memory).max(0).to_string(),
        };
        settings.push(setting("memory", "memory.swap.max", &swap));
    }
    if let Some(bytes) = limits.memory_reservation_bytes {
        settings.push(setting("memory", "memory.low", &bytes));
    }
    // version 2 has neither: that they cannot be written becomes the warning
    if let Some(share) = limits.memory_swappiness {
        settings.push(setting("memory", "memory.swappiness", &share));
    }
    if limits.oom_kill_disable {
        settings.push(setting("memory", "memory.oom_control", "1"));
    }
    settings
}

fn cpu_v1(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        settings.push(setting("cpu", "cpu.shares", &shares));
    }
    if let Some(period) = limits.cpu_period_micros.filter(|period| *period > 0) {
        settings.push(setting("cpu", "cpu.cfs_period_us", &period));
    }
    if let Some(quota) = limits.cpu_quota_micros.filter(|quota| *quota != 0) {
        settings.push(setting("cpu", "cpu.cfs_quota_us", &quota.max(-1)));
    }
    settings
}

fn cpu_v2(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        settings.push(setting("cpu", "cpu.weight", &weight_of(shares)));
    }
    let period = limits.cpu_period_micros.filter(|period| *period > 0);
    if limits.cpu_quota_micros.is_some() || period.is_some() {
        let period = period.unwrap_or(DEFAULT_PERIOD_MICROS);
        let value = match limits.cpu_quota_micros {
            Some(quota @ 1..) => format!("{quota} {period}"),
            _ => format!("max {period}"),
        };
        settings.push(setting("cpu", "cpu.max", &value));
    }
    settings
}

/// Version 2's weight (1 to 10000, usually 100) for version 1's shares (2 to 262144, usually 1024), as container
/// runtimes convert it.
fn weight_of(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn cpuset(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(cpus) = limits.cpuset_cpus.as_ref().filter(|cpus| !cpus.is_empty()) {
        settings.push(setting("cpuset", "cpuset.cpus", &cpus));
    }
    if let Some(mems) = limits.cpuset_mems.as_ref().filter(|mems| !mems.is_empty()) {
        settings.push(setting("cpuset", "cpuset.mems", &mems));
    }
    settings
}

fn pids(limits: &Limits) -> Vec<Setting> {
    match limits.pids {
        Some(most @ 1..) => vec![setting("pids", "pids.max", &most)],
        Some(_) => vec![setting("pids", "pids.max", "max")],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(settings: Vec<Setting>) -> Vec<String> {
        settings.into_iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    #[test]
    fn memory_is_said_in_both_versions_words() {
        let check = |memory: Option<u64>, swap: Option<i64>, v1: &[&str], v2: &[&str]| {
            let limits = Limits { memory_bytes: memory, memory_swap_bytes: swap, ..Limits::default() };
            assert_eq!(lines(memory_v1(&limits)), v1);
            assert_eq!(lines(memory_v2(&limits)), v2);
        };
        check(None, None, &[], &[]);
        check(
            Some(100),
            None,
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=200"],
            &["memory.max=100", "memory.swap.max=100"],
        );
        check(
            Some(100),
            Some(100),
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=100"],
            &["memory.max=100", "memory.swap.max=0"],
        );
        check(
            Some(100),
            Some(-1),
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=-1"],
            &["memory.max=100", "memory.swap.max=max"],
        );
    }

    #[test]
    fn processor_time_is_said_in_both_versions_words() {
        let check =
            |quota: Option<i64>, period: Option<u64>, shares: Option<u64>, v1: &[&str], v2: &[&str]| {
                let limits = Limits {
                    cpu_quota_micros: quota,
                    cpu_period_micros: period,
                    cpu_shares: shares,
                    ..Limits::default()
                };
                assert_eq!(lines(cpu_v1(&limits)), v1);
                assert_eq!(lines(cpu_v2(&limits)), v2);
            };
        check(Some(50_000), None, None, &["cpu.cfs_quota_us=50000"], &["cpu.max=50000 100000"]);
        check(
            Some(-1),
            Some(50_000),
            None,
            &["cpu.cfs_period_us=50000", "cpu.cfs_quota_us=-1"],
            &["cpu.max=max 50000"],
        );
        check(None, None, Some(1024), &["cpu.shares=1024"], &["cpu.weight=39"]);
        check(None, None, Some(2), &["cpu.shares=2"], &["cpu.weight=1"]);
        check(None, None, Some(262_144), &["cpu.shares=262144"], &["cpu.weight=10000"]);
    }

    #[test]
    fn a_group_that_is_nowhere_keeps_nothing_and_says_so() {
        let nowhere = Cgroup { v1: std::collections::BTreeMap::new(), v2: None };
        let limits =
            Limits { memory_bytes: Some(1), memory_swap_bytes: Some(1), pids: Some(5), ..Limits::default() };
        let told = apply(&nowhere, &limits, libc::EACCES).into_iter();
        let told: Vec<(String, i32)> = told.map(|warning| (warning.what, warning.errno)).collect();
        let expected = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max"]
            .map(|file| (format!("{file} is not limited, as no cgroup could be made for it"), libc::EACCES));
        assert_eq!(told, expected);
    }
}
