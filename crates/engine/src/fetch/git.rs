//! Git repositories, through the `git` program.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lighter_build::{CancelToken, FetchError};
use lighter_dockerfile::plan::GitSource;
use lighter_image::ImagePath;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Finds the commit that a reference stands for: a branch goes before a tag of the same name.
pub(crate) fn commit(source: &GitSource, cancel: &CancelToken) -> Result<String, FetchError> {
    let reference = source.reference.as_str();
    let name = if reference.is_empty() { "HEAD" } else { reference };
    if is_commit(reference) {
        return checked(source, name, reference.to_owned());
    }
    let peeled = format!("{name}^{{}}");
    let listing = git(None, &["ls-remote", "--", &source.remote, name, &peeled], &source.remote, cancel)?;
    let commit = choose(&listing, name).ok_or_else(|| FetchError::NotFound {
        what: format!("reference `{name}` of git repository {}", source.remote),
        reason: "the remote has no such branch, tag or commit".to_owned(),
    })?;
    checked(source, name, commit)
}

/// A commit that is not what its checksum says is not used.
fn checked(source: &GitSource, name: &str, commit: String) -> Result<String, FetchError> {
    match &source.checksum {
        Some(wanted) if !commit.starts_with(&wanted.0) => Err(FetchError::Checksum {
            what: format!("{}#{name}", source.remote),
            expected: wanted.0.clone(),
            actual: commit,
        }),
        _ => Ok(commit),
    }
}

/// As [`check_out`], with the time of the commit in seconds.
pub(crate) fn check_out_with_time(
    source: &GitSource,
    commit: &str,
    folder: &Path,
    cancel: &CancelToken,
) -> Result<(PathBuf, Option<i64>), FetchError> {
    let whole = GitSource { keep_git_dir: true, ..source.clone() };
    let root = check_out(&whole, commit, folder, cancel)?;
    let args = ["show", "--no-patch", "--format=%ct", commit];
    let time = git(Some(folder), &args, &source.remote, cancel)?;
    if !source.keep_git_dir {
        std::fs::remove_dir_all(folder.join(".git")).map_err(|error| transfer(&source.remote, &error))?;
    }
    Ok((root, time.trim().parse().ok()))
}

/// Checks a commit out into an empty folder, and gives the folder that was asked for.
pub(crate) fn check_out(
    source: &GitSource,
    commit: &str,
    folder: &Path,
    cancel: &CancelToken,
) -> Result<PathBuf, FetchError> {
    let remote = source.remote.as_str();
    let run = |args: &[&str]| git(Some(folder), args, remote, cancel);
    run(&["init", "--quiet"])?;
    run(&["remote", "add", "origin", remote])?;
    let name = if source.reference.is_empty() { commit } else { &source.reference };
    let shallow = run(&["fetch", "--quiet", "--depth=1", "--no-tags", "origin", commit])
        .or_else(|_| run(&["fetch", "--quiet", "--depth=1", "--no-tags", "origin", name]));
    let have = shallow.and_then(|_| run(&["cat-file", "-e", &format!("{commit}^{{commit}}")]));
    if have.is_err() && !cancel.is_cancelled() {
        // a server that gives out nothing but the ends of its branches
        let branches = "+refs/heads/*:refs/remotes/origin/*";
        run(&["fetch", "--quiet", "--tags", "origin", branches])?;
    }
    run(&["-c", "advice.detachedHead=false", "checkout", "--quiet", "--force", commit])?;
    if source.submodules && folder.join(".gitmodules").exists() {
        run(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"])?;
    }
    if !source.keep_git_dir {
        std::fs::remove_dir_all(folder.join(".git")).map_err(|error| transfer(remote, &error))?;
    }
    subfolder(source, folder)
}

/// The folder of the checkout that was asked for. No link of the repository leads out of it.
fn subfolder(source: &GitSource, folder: &Path) -> Result<PathBuf, FetchError> {
    let clean = ImagePath::new(&source.subdirectory);
    let wanted = clean.relative_os();
    let missing = || FetchError::NotFound {
        what: format!("folder `{}` of git repository {}", wanted.display(), source.remote),
        reason: "no such folder in the commit".to_owned(),
    };
    if clean.is_root() {
        return Ok(folder.to_owned());
    }
    let whole = folder.canonicalize().map_err(|error| transfer(&source.remote, &error))?;
    let part = whole.join(wanted).canonicalize().map_err(|_| missing())?;
    if part.starts_with(&whole) && part.is_dir() { Ok(part) } else { Err(missing()) }
}

/// Whether a reference is a whole commit id.
fn is_commit(reference: &str) -> bool {
    matches!(reference.len(), 40 | 64) && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit in a listing of `git ls-remote` that a name stands for.
fn choose(listing: &str, name: &str) -> Option<String> {
    let find = |wanted: &str| {
        let line = listing.lines().filter_map(|line| line.split_once('\t'));
        line.filter(|(_, found)| *found == wanted).map(|(commit, _)| commit.to_owned()).next()
    };
    let tag = format!("refs/tags/{name}");
    find(&format!("{name}^{{}}"))
        .or_else(|| find(name))
        .or_else(|| find(&format!("refs/heads/{name}")))
        .or_else(|| find(&format!("{tag}^{{}}")))
        .or_else(|| find(&tag))
}

/// Runs git, and gives what it printed.
fn git(
    folder: Option<&Path>,
    args: &[&str],
    remote: &str,
    cancel: &CancelToken,
) -> Result<String, FetchError> {
    let mut command = command(folder, args);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => FetchError::Transfer {
            what: remote.to_owned(),
            reason: "the git program is not installed".to_owned(),
        },
        _ => transfer(remote, &error),
    })?;
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let _stop = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).map(|pidfd| {
        cancel.while_running(move || {
            // the process may have ended by itself
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        })
    });
    let mut complaint = String::new();
    let mut stderr = child.stderr.take();
    let listing = std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(stderr) = &mut stderr {
                let mut bytes = Vec::new();
                // what cannot be read is not shown
                let _ = stderr.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).trim().clone_into(&mut complaint);
            }
        });
        let mut listing = String::new();
        match &mut child.stdout {
            Some(stdout) => stdout.read_to_string(&mut listing).map(|_| listing),
            None => Ok(listing),
        }
    });
    let status = child.wait().map_err(|error| transfer(remote, &error))?;
    if cancel.is_cancelled() {
        return Err(FetchError::Cancelled);
    }
    if !status.success() {
        let reason = if complaint.is_empty() { format!("git ended with {status}") } else { complaint };
        return Err(FetchError::Transfer { what: format!("git repository {remote}"), reason });
    }
    listing.map_err(|error| transfer(remote, &error))
}

fn command(folder: Option<&Path>, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    if let Some(folder) = folder {
        command.arg("-C").arg(folder);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in OF_ANOTHER_REPOSITORY {
        command.env_remove(name);
    }
    command.envs(environment());
    command
}

/// What names the repository that git is to work on: a build that a hook of some repository starts has it from there.
const OF_ANOTHER_REPOSITORY: [&str; 11] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// What git is told beside its arguments: never to ask anybody, and to make files as everybody expects them.
fn environment() -> [(&'static OsStr, OsString); 4] {
    let pair = |name: &'static str, value: &str| (OsStr::new(name), OsString::from(value));
    [
        pair("GIT_TERMINAL_PROMPT", "0"),
        pair("GIT_CONFIG_NOSYSTEM", "1"),
        pair("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
        pair("LC_ALL", "C"),
    ]
}

fn transfer(remote: &str, error: &std::io::Error) -> FetchError {
    FetchError::Transfer { what: format!("git repository {remote}"), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use lighter_dockerfile::plan::Checksum;

    use super::*;

    const LISTING: &str = "aaa\tHEAD\nbbb\trefs/heads/v1\nccc\trefs/tags/v1\nddd\trefs/tags/v1^{}\n\
        eee\trefs/tags/v2\nfff\trefs/tags/v2^{}\nggg\trefs/tags/light\n";

    #[test]
    fn a_branch_goes_before_a_tag_and_a_tag_is_followed_to_its_commit() {
        let check =
            |name: &str, commit: Option<&str>| assert_eq!(choose(LISTING, name).as_deref(), commit, "{name}");
        check("HEAD", Some("aaa"));
        check("v1", Some("bbb"));
        check("refs/tags/v1", Some("ddd"));
        check("v2", Some("fff"));
        check("light", Some("ggg"));
        check("none", None);
    }

    #[test]
    fn a_commit_that_is_named_is_checked_too() {
        let id = "a".repeat(40);
        let asked = |checksum: &str| {
            let source = GitSource {
                remote: "https://example.invalid/r.git".to_owned(),
                reference: id.clone(),
                subdirectory: String::new(),
                keep_git_dir: false,
                submodules: true,
                checksum: Some(Checksum(checksum.to_owned())),
            };
            commit(&source, &CancelToken::new())
        };
        assert_eq!(asked(&id[..12]).unwrap(), id);
        assert!(matches!(asked("b"), Err(FetchError::Checksum { .. })));
    }

    #[test]
    fn the_repository_of_a_hook_is_left_alone() {
        let command = command(None, &["init"]);
        let removed: Vec<&OsStr> =
            command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert!(removed.contains(&OsStr::new("GIT_DIR")) && removed.contains(&OsStr::new("GIT_INDEX_FILE")));
    }

    #[test]
    fn only_whole_ids_are_commits() {
        assert!(is_commit(&"a".repeat(40)));
        assert!(!is_commit("abc1234") && !is_commit(&"g".repeat(40)));
    }
}
