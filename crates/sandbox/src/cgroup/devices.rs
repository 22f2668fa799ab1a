//! Devices of a control group: how fast block devices may be used, and which nodes can be opened; and the times of
//! real-time processes, which the kernel takes or refuses in the same way.
//!
//! Unlike other limits these are never left out with a warning: who asks for them wants no container without.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Cgroup, CgroupError, Limits};

/// The controller of version 1 that says which device nodes can be opened.
pub(super) const CONTROLLER: &str = "devices";

/// What of the traffic with a block device is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flow {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
}

/// A bound on the use of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// The device's number: its driver's part.
    pub major: u32,
    /// The device's number: its own part.
    pub minor: u32,
    /// What is bounded.
    pub flow: Flow,
    /// Most in each second; 0 for no bound.
    pub per_second: u64,
}

/// Device nodes that can be made or opened; none for any number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `a` for all, `b` for block devices, `c` for character devices.
    pub kind: char,
    /// The driver's part of the number.
    pub major: Option<u32>,
    /// The device's own part of the number.
    pub minor: Option<u32>,
    /// Any of `r`, `w` and `m`: read, write, make a node.
    pub access: String,
}

impl DeviceRule {
    /// What a container may do with devices without asking for it: make nodes, and open those that every one has.
    pub fn defaults() -> Vec<Self> {
        let rule = |kind, major, minor, access: &str| Self { kind, major, minor, access: access.to_owned() };
        let opened = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
        let opened = opened.map(|(major, minor)| rule('c', Some(major), Some(minor), "rwm"));
        let mut rules = vec![rule('c', None, None, "m"), rule('b', None, None, "m")];
        rules.extend(opened);
        rules.push(rule('c', Some(136), None, "rwm"));
        rules
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |part: Option<u32>| part.map_or_else(|| "*".to_owned(), |part| part.to_string());
        write!(out, "{} {}:{} {}", self.kind, number(self.major), number(self.minor), self.access)
    }
}

impl Cgroup {
    /// Sets its share in the use of block devices, 10 to 1000 (`--blkio-weight`); tells whether the kernel has such.
    ///
    /// # Errors
    /// [`CgroupError::Value`] if the kernel has them, but not this one.
    pub fn weigh(&self, weight: u16) -> Result<bool, CgroupError> {
        // version 2 has a scale of its own, which ends in 1 and 10000
        let scaled = || (1 + (u32::from(weight.clamp(10, 1000)) - 10) * 9999 / 990).to_string();
        let plain = || weight.to_string();
        let files: [(bool, &str, &dyn Fn() -> String); 3] =
            [(false, "blkio.weight", &plain), (true, "io.bfq.weight", &plain), (true, "io.weight", &scaled)];
        let Some((directory, is_v2)) = self.controller("blkio") else { return Ok(false) };
        let is_there = |of_v2: bool, file: &str| of_v2 == is_v2 && directory.join(file).exists();
        match files.iter().find(|(of_v2, file, _)| is_there(*of_v2, file)) {
            Some((_, file, value)) => write(directory, file, value()).map(|()| true),
            None => Ok(false),
        }
    }

    /// The same for one device (`--blkio-weight-device`), which `find` looks up where the kernel has such shares.
    ///
    /// # Errors
    /// What `find` says, [`CgroupError::Value`] if the kernel has such shares, but not this one.
    pub fn weigh_device<E: From<CgroupError>>(
        &self,
        weight: u16,
        find: impl FnOnce() -> Result<(u32, u32), E>,
    ) -> Result<bool, E> {
        let Some((directory, is_v2)) = self.controller("blkio") else { return Ok(false) };
        let file = if is_v2 { "io.bfq.weight" } else { "blkio.weight_device" };
        if !directory.join(file).exists() {
            return Ok(false);
        }
        let (major, minor) = find()?;
        write(directory, file, format!("{major}:{minor} {weight}"))?;
        Ok(true)
    }
}

/// Sets rates, rules and times, where they are asked for.
pub(super) fn apply(group: &Cgroup, limits: &Limits) -> Result<(), CgroupError> {
    for rate in &limits.rates {
        set_rate(group, rate)?;
    }
    if let Some(rules) = &limits.device_rules {
        set_rules(group, rules)?;
    }
    set_times(group, limits)
}

fn set_rate(group: &Cgroup, rate: &DeviceRate) -> Result<(), CgroupError> {
    let (directory, is_v2) = group.controller("blkio").ok_or(CgroupError::Missing { controller: "blkio" })?;
    let DeviceRate { major, minor, flow, per_second } = *rate;
    if is_v2 {
        let most = if per_second == 0 { "max".to_owned() } else { per_second.to_string() };
        return write(directory, "io.max", format!("{major}:{minor} {}={most}", flow.key()));
    }
    write(directory, flow.file(), format!("{major}:{minor} {per_second}"))
}

impl Flow {
    const fn key(self) -> &'static str {
        match self {
            Self::ReadBytes => "rbps",
            Self::WriteBytes => "wbps",
            Self::Reads => "riops",
            Self::Writes => "wiops",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::ReadBytes => "blkio.throttle.read_bps_device",
            Self::WriteBytes => "blkio.throttle.write_bps_device",
            Self::Reads => "blkio.throttle.read_iops_device",
            Self::Writes => "blkio.throttle.write_iops_device",
        }
    }
}

/// Version 2 knows no such rules but as programs of the kernel's.
fn set_rules(group: &Cgroup, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    let Some((directory, false)) = group.controller(CONTROLLER) else {
        return Err(CgroupError::Missing { controller: CONTROLLER });
    };
    write(directory, "devices.deny", "a".to_owned())?;
    rules.iter().try_for_each(|rule| write(directory, "devices.allow", rule.to_string()))
}

fn set_times(group: &Cgroup, limits: &Limits) -> Result<(), CgroupError> {
    let period = limits.cpu_realtime_period_micros.map(|period| ("cpu.rt_period_us", period.to_string()));
    let runtime =
        limits.cpu_realtime_runtime_micros.map(|runtime| ("cpu.rt_runtime_us", runtime.to_string()));
    for (file, value) in period.into_iter().chain(runtime) {
        let Some((directory, false)) = group.controller("cpu") else {
            return Err(CgroupError::Missing { controller: "real-time" });
        };
        write(directory, file, value)?;
    }
    Ok(())
}

fn write(directory: &Path, file: &str, value: String) -> Result<(), CgroupError> {
    let path = directory.join(file);
    std::fs::write(&path, &value).map_err(|source| CgroupError::Value { path, value, source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A group of version 1, and of version 2, whose files are plain ones.
    fn groups(folder: &Path) -> (Cgroup, Cgroup) {
        let controllers = "blkio,cpu,devices".to_owned();
        let v1 = Cgroup { v1: BTreeMap::from([(controllers, folder.to_owned())]), v2: None };
        (v1, Cgroup { v1: BTreeMap::new(), v2: Some(folder.to_owned()) })
    }

    #[test]
    fn rates_are_said_in_both_versions_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let (v1, v2) = groups(folder.path());
        let check = |flow: Flow, per_second: u64, file: &str, v1_value: &str, v2_value: &str| {
            let rates = vec![DeviceRate { major: 8, minor: 1, flow, per_second }];
            let limits = Limits { rates, ..Limits::default() };
            let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).expect("is written");
            apply(&v1, &limits).expect("is set");
            apply(&v2, &limits).expect("is set");
            assert_eq!((read(file).as_str(), read("io.max").as_str()), (v1_value, v2_value));
        };
        check(Flow::ReadBytes, 5, "blkio.throttle.read_bps_device", "8:1 5", "8:1 rbps=5");
        check(Flow::WriteBytes, 6, "blkio.throttle.write_bps_device", "8:1 6", "8:1 wbps=6");
        check(Flow::Reads, 7, "blkio.throttle.read_iops_device", "8:1 7", "8:1 riops=7");
        check(Flow::Writes, 0, "blkio.throttle.write_iops_device", "8:1 0", "8:1 wiops=max");
    }

    #[test]
    fn shares_are_kept_where_the_kernel_has_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let (v1, v2) = groups(folder.path());
        let find = || Ok::<_, CgroupError>((8, 1));
        for group in [&v1, &v2] {
            assert!(!group.weigh(500).expect("is looked for"));
            let missing = || Err(CgroupError::Missing { controller: "none" });
            assert!(!group.weigh_device(500, missing).expect("is not looked for"));
        }
        let check = |group: &Cgroup, file: &str, own: Option<&str>, device: Option<&str>| {
            let path = folder.path().join(file);
            let read = || std::fs::read_to_string(&path).expect("is there");
            std::fs::write(&path, "").expect("is made");
            assert_eq!(group.weigh(1000).expect("is looked for"), own.is_some(), "{file}");
            assert_eq!(read(), own.unwrap_or_default());
            std::fs::write(&path, "").expect("is made");
            assert_eq!(group.weigh_device(20, find).expect("is looked for"), device.is_some(), "{file}");
            assert_eq!(read(), device.unwrap_or_default());
            std::fs::remove_file(&path).expect("is removed");
        };
        check(&v1, "blkio.weight", Some("1000"), None);
        check(&v1, "blkio.weight_device", None, Some("8:1 20"));
        check(&v2, "io.weight", Some("10000"), None);
        check(&v2, "io.bfq.weight", Some("1000"), Some("8:1 20"));
    }

    #[test]
    fn what_cannot_be_kept_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let (v1, v2) = groups(folder.path());
        let rules = Limits { device_rules: Some(DeviceRule::defaults()), ..Limits::default() };
        assert!(matches!(apply(&v2, &rules), Err(CgroupError::Missing { controller: CONTROLLER })));
        apply(&v1, &rules).expect("is set");
        let last = std::fs::read_to_string(folder.path().join("devices.allow")).expect("is written");
        assert_eq!(last, "c 136:* rwm");
        let times = Limits { cpu_realtime_runtime_micros: Some(5), ..Limits::default() };
        assert!(matches!(apply(&v2, &times), Err(CgroupError::Missing { .. })));
        let gone = Cgroup { v1: BTreeMap::from([("cpu".to_owned(), folder.path().join("gone"))]), v2: None };
        let error = apply(&gone, &times).expect_err("is refused");
        assert!(matches!(&error, CgroupError::Value { value, .. } if value == "5"), "{error}");
    }
}
