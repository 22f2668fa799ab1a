//! Bind mounts that see, or show, what is mounted below them later: only where the host shares its mount.

use std::path::{Path, PathBuf};

use lighter_sandbox::Propagation;

/// Why mounts are not seen on the other side. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum PropagationError {
    /// The host keeps its mounts for itself.
    #[error("path {} is mounted on {} but it is not a shared mount", path.display(), mount.display())]
    NotShared {
        /// What was to be mounted.
        path: PathBuf,
        /// The mount it is on.
        mount: PathBuf,
    },
    /// The host's mount neither is shared nor follows one that is.
    #[error("path {} is mounted on {} but it is not a shared or slave mount", path.display(), mount.display())]
    NotSlave {
        /// What was to be mounted.
        path: PathBuf,
        /// The mount it is on.
        mount: PathBuf,
    },
    /// The mounts of the host cannot be read.
    #[error("reading the mounts of this machine")]
    Read(#[from] std::io::Error),
}

/// What `bind-propagation` asks for of a path of the host.
pub(super) fn of(path: &Path, word: Option<&str>) -> Result<Propagation, PropagationError> {
    let propagation = match word {
        Some("shared" | "rshared") => Propagation::Shared,
        Some("slave" | "rslave") => Propagation::Slave,
        _ => return Ok(Propagation::Private),
    };
    let real = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let (mount, is_shared, is_slave) = mount_of(&mounts, &real).unwrap_or_default();
    let path = path.to_owned();
    match propagation {
        Propagation::Shared if !is_shared => Err(PropagationError::NotShared { path, mount }),
        Propagation::Slave if !is_shared && !is_slave => Err(PropagationError::NotSlave { path, mount }),
        _ => Ok(propagation),
    }
}

/// The mount that a path is on, by `mountinfo`: where it is, and whether it is shared, or follows one that is.
fn mount_of(mounts: &str, path: &Path) -> Option<(PathBuf, bool, bool)> {
    let read = |line: &str| {
        let (before, _) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(4);
        let place = unescaped(words.next()?);
        let options: Vec<&str> = words.skip(1).collect();
        let has = |tag: &str| options.iter().any(|option| option.starts_with(tag));
        path.starts_with(&place).then(|| (place, has("shared:"), has("master:")))
    };
    // of several on one place the last is on top
    mounts.lines().filter_map(read).max_by_key(|(place, ..)| place.components().count())
}

/// A path as `mountinfo` writes it.
fn unescaped(text: &str) -> PathBuf {
    let plain = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    PathBuf::from(plain.replace("\\134", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_path_is_found() {
        let mounts = "\
27 1 8:0 / / rw,relatime - ext4 /dev/a rw
30 27 8:1 / /data rw,relatime shared:5 - ext4 /dev/b rw
31 30 8:2 / /data/my\\040own rw master:5 - ext4 /dev/c rw
32 27 8:3 / /both rw shared:7 master:5 - ext4 /dev/d rw
33 30 8:4 / /data rw,relatime - tmpfs tmpfs rw
";
        let check = |path: &str, place: &str, is_shared: bool, is_slave: bool| {
            let expected = Some((PathBuf::from(place), is_shared, is_slave));
            assert_eq!(mount_of(mounts, Path::new(path)), expected, "{path}");
        };
        check("/etc", "/", false, false);
        check("/data/x", "/data", false, false);
        check("/data/my own/x", "/data/my own", false, true);
        check("/both", "/both", true, true);
        check("/database", "/", false, false);
    }

    #[test]
    fn what_is_private_needs_no_mount() {
        for word in [None, Some("private"), Some("rprivate")] {
            assert!(matches!(of(Path::new("/nosuch"), word), Ok(Propagation::Private)));
        }
        assert!(of(Path::new("/nosuch"), Some("shared")).is_err());
    }
}
