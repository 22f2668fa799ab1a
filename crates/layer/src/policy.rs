//! What the process may do to a file system, and how a layer directory says the rest.

use std::sync::OnceLock;

use crate::entry::{Device, Kind};

/// How owners get into a layer directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Files belong to whom the image says.
    Real,
    /// Files belong to the one id there is; the wished-for owner is in an extended attribute.
    Recorded,
}

/// Under which names overlayfs keeps its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// `trusted.overlay.*`: root of the host.
    Trusted,
    /// `user.overlay.*`: mounts with `userxattr`, in a user namespace.
    User,
}

impl Marks {
    /// The attribute that makes a directory opaque.
    pub(crate) const fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// What the process may do to a file system, and how a layer directory says the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How owners are kept.
    pub ownership: Ownership,
    /// How overlayfs' marks are named.
    pub marks: Marks,
}

impl Policy {
    /// Root of the host.
    pub const ROOT: Self = Self { ownership: Ownership::Real, marks: Marks::Trusted };
    /// Root of a user namespace that has a range of ids.
    pub const USER_RANGE: Self = Self { ownership: Ownership::Real, marks: Marks::User };
    /// Root of a user namespace that has one id.
    pub const USER_SINGLE: Self = Self { ownership: Ownership::Recorded, marks: Marks::User };

    /// What this process may do, by its user namespace; read once.
    pub fn of_process() -> Self {
        static POLICY: OnceLock<Policy> = OnceLock::new();
        *POLICY.get_or_init(|| {
            let root = rustix::process::geteuid().is_root();
            std::fs::read_to_string("/proc/self/uid_map")
                .map_or(if root { Self::ROOT } else { Self::USER_SINGLE }, |map| Self::of_map(root, &map))
        })
    }

    fn of_map(root: bool, map: &str) -> Self {
        let ids: u64 =
            map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok()).sum();
        match (root, ids) {
            (true, ids) if ids >= u64::from(u32::MAX) => Self::ROOT,
            (true, ids) if ids > 1 => Self::USER_RANGE,
            _ => Self::USER_SINGLE,
        }
    }
}

/// The start of the names of lighter's own attributes.
pub(crate) const OWN_PREFIX: &[u8] = b"user.lighter.";
/// Holds `uid:gid` where the real owner could not be set.
pub(crate) const OWNER: &str = "user.lighter.owner";
/// Holds `c:major:minor` or `b:major:minor` where the device node could not be made.
pub(crate) const NODE: &str = "user.lighter.node";
/// Holds the owners of a directory's entries that can have no attribute themselves: links and pipes.
pub(crate) const CHILD_OWNERS: &str = "user.lighter.owners";

/// Whether an attribute is part of what an image says, and not a mark of overlayfs or lighter.
pub(crate) fn is_content(name: &[u8]) -> bool {
    !(name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
        || name.starts_with(OWN_PREFIX)
        || name.starts_with(b"system.nfs4")
        || name == b"security.selinux")
}

/// Reads `uid:gid`.
pub(crate) fn parse_owner(text: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// Reads `c:major:minor` or `b:major:minor`.
pub(crate) fn parse_node(text: &[u8]) -> Option<(Kind, Device)> {
    let (kind, number) = std::str::from_utf8(text).ok()?.split_once(':')?;
    let kind = match kind {
        "c" => Kind::CharDevice,
        "b" => Kind::BlockDevice,
        _ => return None,
    };
    let (major, minor) = number.split_once(':')?;
    Some((kind, Device { major: major.parse().ok()?, minor: minor.parse().ok()? }))
}

/// Finds the owner of a name in a directory's list: `name NUL uid:gid NUL`, again and again.
pub(crate) fn child_owner(list: &[u8], name: &[u8]) -> Option<(u32, u32)> {
    let mut parts = list.split(|byte| *byte == 0);
    while let (Some(child), Some(owner)) = (parts.next(), parts.next()) {
        if child == name {
            return parse_owner(owner);
        }
    }
    None
}

/// Puts the owner of a name into a directory's list, or takes it out.
pub(crate) fn with_child_owner(list: &[u8], name: &[u8], owner: Option<(u32, u32)>) -> Vec<u8> {
    let mut new = Vec::with_capacity(list.len() + name.len() + 16);
    let mut parts = list.split(|byte| *byte == 0);
    while let (Some(child), Some(owner)) = (parts.next(), parts.next()) {
        if child != name {
            for part in [child, owner] {
                new.extend_from_slice(part);
                new.push(0);
            }
        }
    }
    if let Some((uid, gid)) = owner {
        new.extend_from_slice(name);
        new.extend_from_slice(format!("\0{uid}:{gid}\0").as_bytes());
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_children_are_found_again() {
        let list = with_child_owner(b"", b"a", Some((1, 2)));
        let list = with_child_owner(&list, b"b", Some((3, 4)));
        let list = with_child_owner(&list, b"a", Some((5, 6)));
        assert_eq!((child_owner(&list, b"a"), child_owner(&list, b"b")), (Some((5, 6)), Some((3, 4))));
        let list = with_child_owner(&list, b"a", None);
        assert_eq!((child_owner(&list, b"a"), child_owner(&list, b"b")), (None, Some((3, 4))));
        assert_eq!(parse_node(b"c:1:3"), Some((Kind::CharDevice, Device { major: 1, minor: 3 })));
        assert_eq!(parse_node(b"x:1:3"), None);
    }

    #[test]
    fn id_maps_decide() {
        let full = "         0          0 4294967295\n";
        for (root, map, expected) in [
            (true, full, Policy::ROOT),
            (false, full, Policy::USER_SINGLE),
            (true, "0 1000 1\n", Policy::USER_SINGLE),
            (true, "0 1000 1\n1 100000 65536\n", Policy::USER_RANGE),
            (true, "", Policy::USER_SINGLE),
        ] {
            assert_eq!(Policy::of_map(root, map), expected, "{root} {map:?}");
        }
    }
}
