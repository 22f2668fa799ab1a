//! Control groups: limits, freezing, statistics; versions 1, 2 and both at once.
//!
//! A group is made only where somebody asks for one: a build step needs none. Limits that the machine cannot keep come
//! back as warnings, as do hierarchies in which no group could be made.

mod adopt;
mod devices;
pub(crate) mod hierarchy;
mod limits;
mod stats;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::message::Warning;
use crate::sys;

pub use devices::{DeviceRate, DeviceRule, Flow};
pub(crate) use hierarchy::{Hierarchy, directories_of, directories_of_self, mounted};
pub use limits::Limits;
pub use stats::Stats;

/// Whether the kernel has groups of real-time processes, which only version 1 knows.
pub fn has_realtime() -> bool {
    let is_there = |hierarchy: &Hierarchy| {
        let has_cpu = hierarchy.controllers.iter().any(|controller| controller == "cpu");
        has_cpu && hierarchy.mounted_at.join("cpu.rt_period_us").exists()
    };
    mounted().is_ok_and(|hierarchies| hierarchies.iter().any(is_there))
}

/// Controllers of version 1 in which a container gets a group.
const CONTROLLERS: [&str; 7] = ["blkio", "cpu", "cpuacct", "cpuset", "freezer", "memory", "pids"];

/// The group above all of ours.
const PARENT: &str = "lighter";

/// Why something could not be done with a control group.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The name cannot be one of a directory.
    #[error("`{name}` is no name for a cgroup")]
    Name {
        /// What was given.
        name: String,
    },
    /// The machine's hierarchies could not be listed.
    #[error("finding the cgroups of this machine")]
    Find(#[source] io::Error),
    /// A file of the group could not be read or written.
    #[error("cgroup file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel does not take a value.
    #[error("writing {value:?} to {}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has no controller for that.
    #[error("the cgroup has no {controller} controller")]
    Missing {
        /// Which.
        controller: &'static str,
    },
    /// It did not get into the wanted state in time.
    #[error("the cgroup did not become {state} in time")]
    Timeout {
        /// Which.
        state: &'static str,
    },
}

/// A control group that exists; in the version 1 hierarchy one directory for each controller.
///
/// It is plain data and may be stored: whoever reads it back can use it as long as the directories are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Directories of version 1, by controller.
    pub(crate) v1: BTreeMap<String, PathBuf>,
    /// Directory of version 2.
    pub(crate) v2: Option<PathBuf>,
}

impl Cgroup {
    /// Makes a group with limits.
    ///
    /// What cannot be made or kept is told in the warnings; a machine without usable control groups gives an empty
    /// group, which can be joined and removed like any other.
    ///
    /// # Errors
    /// [`CgroupError::Name`] for a name with a slash, [`CgroupError::Find`] if `/proc` cannot be read.
    pub fn create(name: &str, limits: &Limits) -> Result<(Self, Vec<Warning>), CgroupError> {
        Self::create_below(None, name, limits)
    }

    /// Makes a group below another one than ours: a path from the top of each hierarchy.
    ///
    /// # Errors
    /// As [`Cgroup::create`], also for a parent that leads elsewhere; [`CgroupError::Value`] and
    /// [`CgroupError::Missing`] where rates, rules or times of real-time processes cannot be kept.
    pub fn create_below(
        parent: Option<&str>,
        name: &str,
        limits: &Limits,
    ) -> Result<(Self, Vec<Warning>), CgroupError> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(CgroupError::Name { name: name.to_owned() });
        }
        let parent = parent.unwrap_or(PARENT).trim_matches('/');
        if parent.is_empty() || parent.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return Err(CgroupError::Name { name: parent.to_owned() });
        }
        let hierarchies = mounted().map_err(CgroupError::Find)?;
        let mut group = Self { v1: BTreeMap::new(), v2: None };
        let mut why_not = libc::EOPNOTSUPP;
        for hierarchy in &hierarchies {
            let has_rules = limits.device_rules.is_some();
            if let Err(error) = group.make_in(hierarchy, parent, name, has_rules) {
                tracing::info!(%error, hierarchy = %hierarchy.mounted_at.display(), "there is no cgroup in it");
                why_not = error.raw_os_error().unwrap_or(why_not);
            }
        }
        if let Err(error) = devices::apply(&group, limits) {
            group.remove()?;
            return Err(error);
        }
        let mut warnings = limits::apply(&group, limits, why_not);
        if warnings.is_empty() && group.directories().next().is_none() {
            warnings.push(Warning { what: "no cgroup could be made".to_owned(), errno: why_not });
        }
        Ok((group, warnings))
    }

    fn make_in(
        &mut self,
        hierarchy: &Hierarchy,
        parent: &str,
        name: &str,
        has_rules: bool,
    ) -> io::Result<()> {
        if hierarchy.controllers.is_empty() {
            let base = hierarchy::own_base(hierarchy)?;
            if hierarchy::available(&base)?.is_empty() && !self.v1.is_empty() {
                // A hybrid machine: version 1 has all controllers.
                return Ok(());
            }
            let directory = base.join(parent).join(name);
            std::fs::create_dir_all(&directory)?;
            self.v2 = Some(directory);
            return hierarchy::delegate(&base, &base.join(parent));
        }
        let is_wanted = |controller: &String| {
            CONTROLLERS.contains(&controller.as_str()) || (has_rules && controller == devices::CONTROLLER)
        };
        if !hierarchy.controllers.iter().any(is_wanted) {
            return Ok(());
        }
        let parent = hierarchy::own_base(hierarchy)?.join(parent);
        let directory = parent.join(name);
        std::fs::create_dir_all(&directory)?;
        if hierarchy.controllers.iter().any(|controller| controller == "cpuset") {
            hierarchy::inherit_cpuset(&parent)?;
            hierarchy::inherit_cpuset(&directory)?;
        }
        self.v1.insert(hierarchy.controllers.join(","), directory);
        Ok(())
    }

    /// Sets limits anew (`docker update`); those that are not given stay. What cannot be kept is told.
    pub fn update(&self, limits: &Limits) -> Vec<Warning> {
        limits::apply(self, limits, libc::EOPNOTSUPP)
    }

    /// All its directories.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.v1.values().chain(&self.v2).map(PathBuf::as_path)
    }

    /// Whether all of it is in version 2.
    pub(crate) fn is_unified(&self) -> bool {
        self.v1.is_empty() && self.v2.is_some()
    }

    /// The directory of a controller, and whether it is of version 2.
    fn controller(&self, controller: &str) -> Option<(&Path, bool)> {
        let v1 = self.v1.iter().find(|(names, _)| names.split(',').any(|name| name == controller));
        match (v1, &self.v2) {
            (Some((_, directory)), _) => Some((directory, false)),
            (None, Some(directory)) => Some((directory, true)),
            (None, None) => None,
        }
    }

    /// Numbers of all processes in it, in this process's PID namespace.
    ///
    /// # Errors
    /// [`CgroupError::File`] if it is gone.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let Some((directory, _)) = self.controller("freezer") else {
            return Ok(Vec::new());
        };
        let text = read(&directory.join("cgroup.procs"))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Stops all processes in it (`docker pause`).
    ///
    /// # Errors
    /// [`CgroupError::Missing`] on a machine without a freezer, [`CgroupError::Timeout`] if one does not stop.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.set_frozen(true)
    }

    /// Lets them run again.
    ///
    /// # Errors
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        let Some((directory, is_v2)) = self.controller("freezer") else {
            return Err(CgroupError::Missing { controller: "freezer" });
        };
        let (file, word) = match (is_v2, frozen) {
            (true, true) => ("cgroup.freeze", "1"),
            (true, false) => ("cgroup.freeze", "0"),
            (false, true) => ("freezer.state", "FROZEN"),
            (false, false) => ("freezer.state", "THAWED"),
        };
        write(&directory.join(file), word)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let reached = if is_v2 {
                let wanted = if frozen { "frozen 1" } else { "frozen 0" };
                read(&directory.join("cgroup.events"))?.contains(wanted)
            } else {
                read(&directory.join(file))?.trim() == word
            };
            if reached {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(CgroupError::Timeout { state: if frozen { "frozen" } else { "thawed" } })
    }

    /// Kills every process in it.
    ///
    /// # Errors
    /// [`CgroupError::File`] if it is gone.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        if let Some(directory) = &self.v2 {
            match write(&directory.join("cgroup.kill"), "1") {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%error, "killing one by one"),
            }
        }
        // New ones may be born while the list is read, but not for ever.
        for _ in 0..100 {
            let processes = self.processes()?;
            if processes.is_empty() {
                break;
            }
            for pid in processes {
                if let Err(error) = sys::kill(pid, libc::SIGKILL) {
                    tracing::debug!(pid, %error, "a process is gone already");
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Whether the kernel has killed one of its processes for want of memory.
    ///
    /// # Errors
    /// [`CgroupError::File`] if it is gone.
    pub fn was_out_of_memory(&self) -> Result<bool, CgroupError> {
        let Some((directory, is_v2)) = self.controller("memory") else {
            return Ok(false);
        };
        let file = directory.join(if is_v2 { "memory.events" } else { "memory.oom_control" });
        match read(&file) {
            Ok(text) => Ok(stats::value_of(&text, "oom_kill").is_some_and(|count| count > 0)),
            Err(CgroupError::File { source, .. }) if is_v2 && source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What it has used.
    ///
    /// # Errors
    /// [`CgroupError::File`] if it is gone.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        stats::read_all(self)
    }

    /// Removes it; its processes must have ended, which the kernel may notice a moment later.
    ///
    /// # Errors
    /// [`CgroupError::File`] if a process is still in it.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + Duration::from_secs(2);
        for directory in self.directories() {
            loop {
                match std::fs::remove_dir(directory) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error)
                        if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
                    {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Err(source) => {
                        return Err(CgroupError::File { path: directory.to_owned(), source });
                    }
                }
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, CgroupError> {
    std::fs::read_to_string(path).map_err(|source| CgroupError::File { path: path.to_owned(), source })
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    std::fs::write(path, value).map_err(|source| CgroupError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "..", ".", "a/b", "/"] {
            let made = Cgroup::create(name, &Limits::default());
            assert!(matches!(made, Err(CgroupError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn controllers_are_found_in_either_version() {
        let group =
            Cgroup { v1: BTreeMap::from([("cpu,cpuacct".to_owned(), "/c".into())]), v2: Some("/u".into()) };
        assert_eq!(group.controller("cpuacct"), Some((Path::new("/c"), false)));
        assert_eq!(group.controller("memory"), Some((Path::new("/u"), true)));
        assert!(!group.is_unified());
    }
}
