//! Sets of Linux capabilities, with the names Docker takes.

use serde::{Deserialize, Serialize};

/// Names in the order of their numbers, without the `CAP_` prefix.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(u64);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// What Docker gives a container.
    pub const DOCKER_DEFAULT: Self = Self(0xa804_25fb);

    /// Every capability the kernel has.
    pub const fn all() -> Self {
        Self((1 << NAMES.len()) - 1)
    }

    /// Makes a set from the kernel's bit mask.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The kernel's bit mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Reads a capability as `--cap-add` takes it: in any case, with or without `CAP_`, or `ALL`.
    pub fn from_name(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            return Some(Self::all());
        }
        let wanted = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = NAMES.iter().position(|known| *known == wanted)?;
        Some(Self(1 << number))
    }

    /// The names in it, with `CAP_`, in the kernel's order.
    pub fn names(self) -> impl Iterator<Item = String> {
        (0..NAMES.len())
            .filter(move |number| self.0 & (1 << number) != 0)
            .map(|number| format!("CAP_{}", NAMES[number]))
    }

    /// Whether every capability of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form() {
        let check = |name: &str, expected: Option<u64>| {
            assert_eq!(Capabilities::from_name(name).map(Capabilities::bits), expected, "{name}");
        };
        check("CHOWN", Some(1));
        check("cap_net_admin", Some(1 << 12));
        check("Sys_Admin", Some(1 << 21));
        check("CAP_CHECKPOINT_RESTORE", Some(1 << 40));
        check("all", Some((1 << 41) - 1));
        check("NET", None);
        check("", None);
    }

    #[test]
    fn the_default_set_has_dockers_fourteen() {
        let names: Vec<String> = Capabilities::DOCKER_DEFAULT.names().collect();
        assert_eq!(names.len(), 14);
        assert_eq!(names[0], "CAP_CHOWN");
        assert_eq!(names[13], "CAP_SETFCAP");
        let again = names
            .iter()
            .fold(Capabilities::NONE, |set, name| set.with(Capabilities::from_name(name).expect("own name")));
        assert_eq!(again, Capabilities::DOCKER_DEFAULT);
    }

    #[test]
    fn sets_add_and_subtract() {
        let mknod = Capabilities::from_name("MKNOD").expect("known");
        let less = Capabilities::DOCKER_DEFAULT.without(mknod);
        assert!(!less.contains(mknod));
        assert_eq!(less.with(mknod), Capabilities::DOCKER_DEFAULT);
    }
}
