//! The control group of a container: from its settings to what the kernel is asked for.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use lighter_sandbox::cgroup::{Cgroup, CgroupError, DeviceRate, DeviceRule, Limits};

use super::super::settings::{HostSettings, ResourceLimits};
use super::super::state::Container;

/// Why a container has no control group as it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum GroupError {
    /// A device of the host is not there.
    #[error("stat {}: no such file or directory", .0.display())]
    NoDevice(PathBuf),
    /// What is there is no device.
    #[error("{} is no device", .0.display())]
    NotADevice(PathBuf),
    /// A rule for devices is none.
    #[error("invalid device cgroup rule format: '{0}'")]
    Rule(String),
    /// The kernel does not take it.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// The container's control group, where it has limits; what cannot be kept of them.
pub(super) fn make(container: &Container) -> Result<(Option<Cgroup>, Vec<String>), GroupError> {
    let host = &container.state.settings.host;
    let parent = host.cgroup_parent.as_deref();
    if host.limits == ResourceLimits::default() && parent.is_none() {
        // one is made when somebody wants to freeze or measure it
        return Ok((None, Vec::new()));
    }
    let mut limits = limits_of(&host.limits);
    limits.rates = rates(&host.limits)?;
    limits.device_rules = rules(host)?;
    limits.cpu_realtime_period_micros = host.limits.cpu_realtime_period;
    limits.cpu_realtime_runtime_micros = host.limits.cpu_realtime_runtime;
    let (cgroup, told) = Cgroup::create_below(parent, container.record.id.as_str(), &limits)?;
    let mut warnings: Vec<String> = told.iter().map(ToString::to_string).collect();
    match weigh(&cgroup, &host.limits) {
        Ok(discarded) => warnings.extend(discarded),
        Err(error) => {
            cgroup.remove()?;
            return Err(error);
        }
    }
    Ok((Some(cgroup), warnings))
}

/// Sets the shares in the use of block devices; tells what the kernel does not have.
fn weigh(cgroup: &Cgroup, limits: &ResourceLimits) -> Result<Vec<String>, GroupError> {
    let discarded = |what: &str, which: &str| {
        let head = format!("Your kernel does not support Block I/O {what} or the cgroup is not mounted.");
        format!("{head} {which} discarded.")
    };
    let mut warnings = Vec::new();
    if let Some(weight) = limits.blkio_weight
        && !cgroup.weigh(weight)?
    {
        warnings.push(discarded("weight", "Weight"));
    }
    for (path, weight) in &limits.device_weights {
        if !cgroup.weigh_device(*weight, || number_of(path))? {
            warnings.push(discarded("weight_device", "Weight-device"));
            break;
        }
    }
    Ok(warnings)
}

fn rates(limits: &ResourceLimits) -> Result<Vec<DeviceRate>, GroupError> {
    let mut rates = Vec::new();
    for rate in &limits.device_rates {
        let (major, minor) = number_of(&rate.path)?;
        rates.push(DeviceRate { major, minor, flow: rate.flow, per_second: rate.per_second });
    }
    Ok(rates)
}

/// The number of a device of the host.
fn number_of(path: &Path) -> Result<(u32, u32), GroupError> {
    let found = std::fs::metadata(path).map_err(|_| GroupError::NoDevice(path.to_owned()))?;
    let is_device = found.file_type().is_block_device() || found.file_type().is_char_device();
    if !is_device {
        return Err(GroupError::NotADevice(path.to_owned()));
    }
    Ok((rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev())))
}

/// What the container may open where it has rules of its own: what every one may, its devices, and what the rules say.
fn rules(host: &HostSettings) -> Result<Option<Vec<DeviceRule>>, GroupError> {
    if host.limits.device_rules.is_empty() || host.privileged {
        return Ok(None);
    }
    let mut rules = DeviceRule::defaults();
    for device in &host.devices {
        let Ok((major, minor)) = number_of(&device.source) else { continue };
        let is_block =
            std::fs::metadata(&device.source).is_ok_and(|found| found.file_type().is_block_device());
        let kind = if is_block { 'b' } else { 'c' };
        let access = "rwm".to_owned();
        rules.push(DeviceRule { kind, major: Some(major), minor: Some(minor), access });
    }
    for text in &host.limits.device_rules {
        rules.push(rule(text).ok_or_else(|| GroupError::Rule(text.clone()))?);
    }
    Ok(Some(rules))
}

/// A rule such as `c 10:200 rwm`.
fn rule(text: &str) -> Option<DeviceRule> {
    let mut words = text.split(' ');
    let kind = words.next()?.chars().next()?;
    let (major, minor) = words.next()?.split_once(':')?;
    let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
    let access = words.next()?.to_owned();
    Some(DeviceRule { kind, major: number(major)?, minor: number(minor)?, access })
}

/// The limits as a control group takes them, but for those that are set once, when it is made.
pub(super) fn limits_of(limits: &ResourceLimits) -> Limits {
    // a processor has a thousand millionths in each period of a tenth of a second
    const PERIOD_MICROSECONDS: u64 = 100_000;
    let of_processors = |cpus: u64| cpus.saturating_mul(PERIOD_MICROSECONDS) / 1_000_000_000;
    let quota = limits.nano_cpus.and_then(|cpus| i64::try_from(of_processors(cpus)).ok());
    let period = limits.nano_cpus.map(|_| PERIOD_MICROSECONDS);
    let twice = limits.memory_bytes.and_then(|bytes| i64::try_from(bytes.saturating_mul(2)).ok());
    Limits {
        memory_bytes: limits.memory_bytes,
        memory_swap_bytes: limits.memory_swap_bytes.or(twice),
        memory_reservation_bytes: limits.memory_reservation_bytes,
        memory_swappiness: limits.memory_swappiness,
        oom_kill_disable: limits.oom_kill_disable,
        cpu_quota_micros: limits.cpu_quota.or(quota),
        cpu_period_micros: limits.cpu_period.or(period),
        cpu_shares: limits.cpu_shares,
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        pids: limits.pids,
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let read = |text: &str| rule(text).map(|rule| rule.to_string());
        for text in ["a *:* rwm", "c 10:200 mrw", "b 7:* r"] {
            assert_eq!(read(text).as_deref(), Some(text));
        }
        for text in ["", "c", "c 1", "c 1:3", "c a:b r"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn devices_are_looked_up() {
        assert_eq!(number_of(Path::new("/dev/null")).expect("is there"), (1, 3));
        let missing = number_of(Path::new("/dev/nosuch")).expect_err("is not there");
        assert_eq!(missing.to_string(), "stat /dev/nosuch: no such file or directory");
        assert!(matches!(number_of(Path::new("/")), Err(GroupError::NotADevice(_))));
    }
}
