//! Rootless operation: a user namespace around the whole program.

use std::io::{Read, Write};
use std::process::Command;

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::spawn::read_small;
use crate::subordinate::{Ranges, ranges_of};
use crate::sys::{self, MountAttributes};

/// How ids inside relate to those outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// The process is root already; nothing was done.
    Host,
    /// Subordinate ids are mapped: every usual id exists inside.
    Ranges,
    /// The caller's own id is 0 inside, and there is no other: `chown` to another fails.
    Single,
}

/// Why no user namespace could be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The kernel or the machine's policy forbids them.
    #[error("user namespaces are not available to this user")]
    Forbidden(#[source] std::io::Error),
    /// The process has several threads already.
    #[error("a user namespace can only be entered by a process with a single thread")]
    Threads,
    /// The ids could not be mapped.
    #[error("mapping user ids: {what}")]
    Map {
        /// The file or program.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Mounts could not be kept apart from the host's.
    #[error("keeping mounts to this process")]
    Mounts(#[source] std::io::Error),
}

/// Puts the calling process, which must still have a single thread, in a user namespace in which it is root.
///
/// As root nothing is done. `neighbour` is a process of an earlier run, such as the shim of a running container; if it
/// still lives in a user namespace of this user's, that one is joined, so that its containers can be reached.
///
/// # Errors
/// [`EnterError::Forbidden`] where the machine forbids user namespaces.
pub fn enter_user_namespace(neighbour: Option<i32>) -> Result<Ids, EnterError> {
    if rustix::process::geteuid().is_root() {
        return Ok(Ids::Host);
    }
    if let Some(neighbour) = neighbour {
        match join(neighbour) {
            Ok(()) => return finish(),
            Err(error) => tracing::debug!(neighbour, %error, "its user namespace is not joined"),
        }
    }
    create()?;
    finish()
}

/// Joins the user namespace of another process, with mounts of its own.
fn join(neighbour: i32) -> Result<(), Errno> {
    let path = format!("/proc/{neighbour}/ns/user");
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let namespace = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
    let kind = rustix::thread::LinkNameSpaceType::User;
    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(kind))?;
    sys::unshare_mounts()
}

/// Makes a user namespace and maps ids.
fn create() -> Result<(), EnterError> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mapper = match (ranges_of(uid, "/etc/subuid"), ranges_of(uid, "/etc/subgid")) {
        (Some(uids), Some(gids)) => Some(Mapper::start(&uids.map_for(uid), &gids.map_for(gid))?),
        _ => None,
    };
    sys::unshare_user_and_mounts().map_err(|errno| match errno {
        Errno::INVAL => EnterError::Threads,
        other => EnterError::Forbidden(other.into()),
    })?;
    if let Some(mapper) = mapper {
        match mapper.map() {
            Ok(()) => return Ok(()),
            Err(error) => tracing::debug!(%error, "subordinate ids cannot be mapped"),
        }
    }
    map_single(uid, gid)
}

/// Maps the own id alone to 0, which needs nobody's help.
fn map_single(uid: u32, gid: u32) -> Result<(), EnterError> {
    let write = |what: &'static str, text: String| {
        std::fs::write(what, text).map_err(|source| EnterError::Map { what, source })
    };
    // Who may not change groups cannot drop one that keeps him from a file.
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// A copy of this process outside the new namespace, which has the ids mapped from there.
struct Mapper {
    go: std::io::PipeWriter,
    verdict: std::io::PipeReader,
    pid: i32,
}

impl Mapper {
    fn start(uids: &[String], gids: &[String]) -> Result<Self, EnterError> {
        let failed = |source| EnterError::Map { what: "helper process", source };
        let (mut wait, go) = std::io::pipe().map_err(failed)?;
        let (verdict, mut tell) = std::io::pipe().map_err(failed)?;
        let owner = std::process::id().to_string();
        if let Some(pid) = sys::fork().map_err(|errno| failed(errno.into()))? {
            return Ok(Self { go, verdict, pid });
        }
        drop((go, verdict));
        let mut byte = [0];
        let told = wait
            .read_exact(&mut byte)
            .and_then(|()| run("newgidmap", &owner, gids))
            .and_then(|()| run("newuidmap", &owner, uids))
            .and_then(|()| tell.write_all(b"+"));
        sys::exit_now(i32::from(told.is_err()))
    }

    /// Has the ids of this process mapped.
    fn map(mut self) -> std::io::Result<()> {
        let mut byte = [0];
        let told = self.go.write_all(b"+").and_then(|()| self.verdict.read_exact(&mut byte));
        let pid = rustix::process::Pid::from_raw(self.pid);
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty())?;
        told
    }
}

fn run(program: &str, pid: &str, map: &[String]) -> std::io::Result<()> {
    let ran = Command::new(program).arg(pid).args(map).output()?;
    if ran.status.success() {
        return Ok(());
    }
    Err(std::io::Error::other(String::from_utf8_lossy(&ran.stderr).into_owned()))
}

/// Keeps what this process mounts to itself, and says how its ids are mapped.
fn finish() -> Result<Ids, EnterError> {
    let change =
        MountAttributes { propagation: libc::MS_SLAVE, recursive: true, ..MountAttributes::default() };
    sys::mount_setattr(CWD, c"/", change).map_err(|errno| EnterError::Mounts(errno.into()))?;
    Ok(if maps_ranges() { Ids::Ranges } else { Ids::Single })
}

/// Whether this process lives in a user namespace other than the first.
pub(crate) fn is_inside() -> bool {
    read_small("/proc/self/uid_map").is_ok_and(|map| !is_identity(&map))
}

/// Whether more ids than the own one exist in here.
pub(crate) fn maps_ranges() -> bool {
    read_small("/proc/self/uid_map").is_ok_and(|map| map.lines().count() > 1)
}

/// The user that this process is outside of its user namespace.
pub(crate) fn outer_uid() -> u32 {
    let own = rustix::process::getuid().as_raw();
    let map = read_small("/proc/self/uid_map").unwrap_or_default();
    outside(&map, own).unwrap_or(own)
}

/// Looks an id up in a map of lines of inner id, outer id and count.
fn outside(map: &str, own: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        let (inner, outer, count) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
        let distance = own.checked_sub(inner).filter(|distance| *distance < count)?;
        outer.checked_add(distance)
    })
}

fn is_identity(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

impl Ranges {
    /// The arguments that map 0 to an own id and the rest to the subordinate ones.
    fn map_for(&self, own: u32) -> Vec<String> {
        let mut map = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
        let mut inside = 1_u64;
        for range in &self.0 {
            map.extend([inside, range.first, range.count].map(|number| number.to_string()));
            inside += range.count;
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subordinate::Range;

    #[test]
    fn only_the_first_namespace_has_all_ids() {
        assert!(is_identity("         0          0 4294967295\n"));
        assert!(!is_identity("         0       1000          1\n"));
        assert!(!is_identity("0 1000 1\n1 100000 65536\n"));
    }

    #[test]
    fn ids_are_looked_up_outside() {
        let check = |map: &str, own: u32, expected: Option<u32>| {
            assert_eq!(outside(map, own), expected, "{own} in {map:?}");
        };
        check("0 0 4294967295\n", 1000, Some(1000));
        check("0 1001 1\n", 0, Some(1001));
        check("0 1001 1\n1 165536 65536\n", 5, Some(165_540));
        check("0 1001 1\n", 1, None);
        check("", 0, None);
    }

    #[test]
    fn ranges_follow_each_other_inside() {
        let ranges = Ranges(vec![Range { first: 100_000, count: 10 }, Range { first: 200_000, count: 5 }]);
        let expected = ["0", "1000", "1", "1", "100000", "10", "11", "200000", "5"];
        assert_eq!(ranges.map_for(1000), expected);
    }
}
