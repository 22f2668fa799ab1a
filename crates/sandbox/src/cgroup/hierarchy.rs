//! Where the control groups of the host are, and which of them a process is in.

use std::io;
use std::path::{Path, PathBuf};

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Its controllers, or `name=…`; empty for version 2.
    pub(crate) controllers: Vec<String>,
    /// Where it is mounted.
    pub(crate) mounted_at: PathBuf,
    /// Which part of it is mounted there.
    pub(crate) shown: String,
}

/// Lists the mounted hierarchies.
pub(crate) fn mounted() -> io::Result<Vec<Hierarchy>> {
    Ok(parse_mounts(&std::fs::read_to_string("/proc/self/mountinfo")?))
}

/// Reads hierarchies from `mountinfo`; the first mount of each counts.
pub(crate) fn parse_mounts(text: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in text.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut before = before.split(' ').skip(3);
        let (Some(shown), Some(mounted_at)) = (before.next(), before.next()) else {
            continue;
        };
        let mut after = after.split(' ');
        let controllers = match after.next() {
            Some("cgroup2") => Vec::new(),
            Some("cgroup") => after.nth(1).map(controllers_of).unwrap_or_default(),
            _ => continue,
        };
        if !found.iter().any(|known| known.controllers == controllers) {
            found.push(Hierarchy {
                controllers,
                mounted_at: unescape(mounted_at),
                shown: unescape(shown).to_string_lossy().into_owned(),
            });
        }
    }
    found
}

fn controllers_of(options: &str) -> Vec<String> {
    const NO_CONTROLLERS: [&str; 6] = ["rw", "ro", "xattr", "noprefix", "clone_children", "none"];
    options
        .split(',')
        .filter(|option| !NO_CONTROLLERS.contains(option) && !option.starts_with("release_agent"))
        .map(str::to_owned)
        .collect()
}

/// Reads the octal escapes of `mountinfo`.
pub(crate) fn unescape(text: &str) -> PathBuf {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        rest = if let Some(code) = code {
            plain.push(char::from(code));
            &after[3..]
        } else {
            plain.push('\\');
            after
        };
    }
    plain.push_str(rest);
    PathBuf::from(plain)
}

/// Which group of each hierarchy a process is in: controllers (empty for version 2) and path.
pub(crate) fn parse_membership(text: &str) -> Vec<(Vec<String>, String)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let path = fields.next()?.to_owned();
            let controllers =
                controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            Some((controllers, path))
        })
        .collect()
}

/// The directories of the groups a process is in.
pub(crate) fn directories_of(pid: i32) -> io::Result<Vec<PathBuf>> {
    directories(&std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?)
}

/// The directories of the groups this process is in.
pub(crate) fn directories_of_self() -> io::Result<Vec<PathBuf>> {
    directories(&std::fs::read_to_string("/proc/self/cgroup")?)
}

fn directories(membership: &str) -> io::Result<Vec<PathBuf>> {
    let hierarchies = mounted()?;
    let found = parse_membership(membership)
        .into_iter()
        .filter_map(|(controllers, path)| {
            let hierarchy =
                hierarchies.iter().find(|hierarchy| same_set(&hierarchy.controllers, &controllers))?;
            Some(hierarchy.directory(&path))
        })
        .collect();
    Ok(found)
}

fn same_set(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|name| other.contains(name))
}

impl Hierarchy {
    /// Where a group of this hierarchy is seen.
    pub(crate) fn directory(&self, path: &str) -> PathBuf {
        let path = Path::new(path.trim_start_matches('/'));
        let below = path.strip_prefix(self.shown.trim_start_matches('/')).unwrap_or(path);
        self.mounted_at.join(below)
    }
}

/// The directory below which this process may make groups: the root for root, else the highest one above its own that
/// was handed to its user.
pub(super) fn own_base(hierarchy: &Hierarchy) -> io::Result<PathBuf> {
    let membership = std::fs::read_to_string("/proc/self/cgroup")?;
    let own = parse_membership(&membership)
        .into_iter()
        .find(|(controllers, _)| same_set(&hierarchy.controllers, controllers))
        .map_or_else(|| "/".to_owned(), |(_, path)| path);
    let own = hierarchy.directory(&own);
    let mut chain: Vec<&Path> =
        own.ancestors().take_while(|directory| directory.starts_with(&hierarchy.mounted_at)).collect();
    chain.reverse();
    let is_usable = |directory: &&&Path| is_writable(directory);
    match chain.iter().find(is_usable) {
        Some(directory) => Ok(directory.to_path_buf()),
        None => Err(io::Error::from_raw_os_error(libc::EACCES)),
    }
}

fn is_writable(directory: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let may = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    let subtree = directory.join("cgroup.subtree_control");
    may(directory) && (!subtree.exists() || may(&subtree))
}

/// The controllers that a version 2 group could hand down.
pub(super) fn available(directory: &Path) -> io::Result<Vec<String>> {
    const USED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
    let text = std::fs::read_to_string(directory.join("cgroup.controllers"))?;
    let names = text.split_whitespace().filter(|name| USED.contains(name));
    Ok(names.map(str::to_owned).collect())
}

/// Hands controllers down from `base` to the groups in `parent`.
pub(super) fn delegate(base: &Path, parent: &Path) -> io::Result<()> {
    for directory in [base, parent] {
        for controller in available(directory)? {
            let file = directory.join("cgroup.subtree_control");
            std::fs::write(file, format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// Gives a version 1 cpuset the processors and memory nodes of the one above, without which it can hold no process.
pub(super) fn inherit_cpuset(directory: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if !std::fs::read_to_string(&own)?.trim().is_empty() {
            continue;
        }
        let above = directory.parent().unwrap_or(directory).join(file);
        std::fs::write(own, std::fs::read_to_string(above)?.trim())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read_from_mountinfo() {
        let text = "\
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
37 31 0:34 / /sys/fs/cgroup/net rw - cgroup cgroup rw,net_cls,net_prio
40 31 0:37 /a /sys/fs/cgroup/my\\040systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
46 45 0:29 / /elsewhere/cpu rw,relatime - cgroup cgroup rw,cpu
22 27 0:21 / /proc rw,relatime - proc proc rw
nonsense
";
        let found = parse_mounts(text);
        let shape: Vec<(String, &str)> =
            found.iter().map(|h| (h.controllers.join(","), h.mounted_at.to_str().expect("text"))).collect();
        let expected = [
            ("cpu", "/sys/fs/cgroup/cpu"),
            ("net_cls,net_prio", "/sys/fs/cgroup/net"),
            ("name=systemd", "/sys/fs/cgroup/my systemd"),
            ("", "/sys/fs/cgroup/unified"),
        ]
        .map(|(names, path)| (names.to_owned(), path));
        assert_eq!(shape, expected);
        assert_eq!(found[2].directory("/a/b"), Path::new("/sys/fs/cgroup/my systemd/b"));
        assert_eq!(found[0].directory("/x"), Path::new("/sys/fs/cgroup/cpu/x"));
        let nothing_shown = Hierarchy { shown: String::new(), ..found[0].clone() };
        assert_eq!(nothing_shown.directory("/x"), Path::new("/sys/fs/cgroup/cpu/x"));
    }

    #[test]
    fn memberships_are_read() {
        let text = "9:name=systemd:/d\n3:net_cls,net_prio:/n:x\n0::/u\n";
        let expected = vec![
            (vec!["name=systemd".to_owned()], "/d".to_owned()),
            (vec!["net_cls".to_owned(), "net_prio".to_owned()], "/n:x".to_owned()),
            (vec![], "/u".to_owned()),
        ];
        assert_eq!(parse_membership(text), expected);
    }
}
