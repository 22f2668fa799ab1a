//! What this machine offers a sandbox, and what would make it offer more.

use std::path::Path;

use crate::capability::Capabilities;
use crate::cgroup::mounted;
use crate::spawn::read_small;
use crate::subordinate::ranges_of;
use crate::userns;

/// What this machine offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The kernel's release.
    pub kernel: String,
    /// Whether this process is root in the first user namespace.
    pub is_real_root: bool,
    /// How limits are kept.
    pub cgroups: CgroupVersion,
    /// Controllers, in whichever version they are.
    pub controllers: Vec<String>,
    /// Whether an ordinary user can make user namespaces.
    pub user_namespaces: Availability,
    /// Whether this user has subordinate ids, and the programs to use them are there.
    pub subordinate_ids: Availability,
    /// Whether the kernel has overlayfs.
    pub overlay: Availability,
    /// Whether the kernel has system call filters.
    pub seccomp: Availability,
    /// Security modules that are at work.
    pub security_modules: Vec<String>,
    /// Capabilities that even a privileged container cannot have here.
    pub missing_capabilities: Vec<String>,
}

/// Whether something can be used, and what to do if not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    Yes,
    /// It cannot.
    No {
        /// Why.
        reason: String,
        /// What the administrator can do.
        remedy: String,
    },
}

/// Versions of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// None is mounted.
    Absent,
    /// Version 1.
    V1,
    /// Version 2.
    V2,
    /// Version 1 with controllers, version 2 beside it.
    Hybrid,
}

impl Availability {
    fn no(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::No { reason: reason.into(), remedy: remedy.into() }
    }

    /// Whether it can be used.
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }
}

/// Looks at the machine; nothing is changed.
pub fn inspect() -> Report {
    let (cgroups, controllers) = cgroups();
    Report {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        is_real_root: rustix::process::geteuid().is_root() && !userns::is_inside(),
        cgroups,
        controllers,
        user_namespaces: user_namespaces(),
        subordinate_ids: subordinate_ids(),
        overlay: overlay(),
        seccomp: seccomp(),
        security_modules: security_modules(),
        missing_capabilities: missing_capabilities(),
    }
}

fn cgroups() -> (CgroupVersion, Vec<String>) {
    let hierarchies = mounted().unwrap_or_default();
    let has_v1 = hierarchies
        .iter()
        .any(|hierarchy| hierarchy.controllers.iter().any(|name| !name.starts_with("name=")));
    let unified = hierarchies.iter().find(|hierarchy| hierarchy.controllers.is_empty());
    let version = match (has_v1, unified.is_some()) {
        (false, false) => CgroupVersion::Absent,
        (true, false) => CgroupVersion::V1,
        (false, true) => CgroupVersion::V2,
        (true, true) => CgroupVersion::Hybrid,
    };
    let mut controllers: Vec<String> = hierarchies
        .iter()
        .flat_map(|hierarchy| hierarchy.controllers.iter().cloned())
        .filter(|name| !name.starts_with("name="))
        .collect();
    if let Some(unified) = unified {
        let file = unified.mounted_at.join("cgroup.controllers");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        controllers.extend(text.split_whitespace().map(str::to_owned));
    }
    controllers.sort();
    controllers.dedup();
    (version, controllers)
}

fn user_namespaces() -> Availability {
    if !Path::new("/proc/self/ns/user").exists() {
        return Availability::no("the kernel has no user namespaces", "use a kernel with CONFIG_USER_NS");
    }
    let number = |path: &str| read_small(path).ok()?.trim().parse::<u64>().ok();
    for (path, forbidding, remedy) in [
        ("/proc/sys/user/max_user_namespaces", 0, "sysctl user.max_user_namespaces=10000"),
        ("/proc/sys/kernel/unprivileged_userns_clone", 0, "sysctl kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            1,
            "install an AppArmor profile that allows `userns` to lighter, or sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ] {
        if number(path) == Some(forbidding) {
            return Availability::no(format!("{path} is {forbidding}"), remedy);
        }
    }
    let remedy = "allow this container or pod user namespaces or CAP_SYS_ADMIN, and a seccomp profile with `unshare` \
                  and `mount`; without them there is no RUN and no `run`";
    if rustix::process::geteuid().is_root() {
        let lacks =
            missing_capabilities().iter().any(|name| name.to_ascii_uppercase().ends_with("SYS_ADMIN"));
        if lacks {
            return Availability::no("this root lacks CAP_SYS_ADMIN", remedy);
        }
    } else if !userns::is_inside() {
        // the program enters one before it does anything else
        return Availability::no("a system call filter or security module refuses them", remedy);
    }
    Availability::Yes
}

fn subordinate_ids() -> Availability {
    if userns::is_inside() && userns::maps_ranges() {
        return Availability::Yes;
    }
    let uid = userns::outer_uid();
    for file in ["/etc/subuid", "/etc/subgid"] {
        if ranges_of(uid, file).is_none() {
            return Availability::no(
                format!("{file} has no range for this user"),
                "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
            );
        }
    }
    for program in ["newuidmap", "newgidmap"] {
        let folders = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];
        if !folders.iter().any(|folder| Path::new(folder).join(program).exists()) {
            return Availability::no(
                format!("{program} is not installed"),
                "install the package `uidmap` or `shadow-utils`",
            );
        }
    }
    Availability::Yes
}

fn overlay() -> Availability {
    let known = read_small("/proc/filesystems").unwrap_or_default();
    let is_known = known.lines().any(|line| line.split_whitespace().last() == Some("overlay"));
    if is_known {
        Availability::Yes
    } else {
        Availability::no("the kernel has no overlayfs", "modprobe overlay")
    }
}

fn seccomp() -> Availability {
    if Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        Availability::Yes
    } else {
        Availability::no("the kernel has no system call filters", "use a kernel with CONFIG_SECCOMP_FILTER")
    }
}

fn security_modules() -> Vec<String> {
    let active = read_small("/sys/kernel/security/lsm").unwrap_or_default();
    active
        .trim()
        .split(',')
        .filter(|name| ["apparmor", "selinux", "smack", "landlock"].contains(name))
        .map(str::to_owned)
        .collect()
}

fn missing_capabilities() -> Vec<String> {
    let status = read_small("/proc/self/status").unwrap_or_default();
    let bounding = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapBnd:")?.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    Capabilities::all().without(Capabilities::from_bits(bounding)).names().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_described() {
        let report = inspect();
        assert!(report.kernel.contains('.'), "{report:?}");
        let has_controllers = !report.controllers.is_empty();
        assert!(!has_controllers || report.cgroups != CgroupVersion::Absent, "{report:?}");
        for answer in [&report.user_namespaces, &report.overlay, &report.seccomp] {
            if let Availability::No { reason, remedy } = answer {
                assert!(!reason.is_empty() && !remedy.is_empty());
            }
        }
    }
}
