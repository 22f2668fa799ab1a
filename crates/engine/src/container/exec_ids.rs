//! Which processes of `exec` run in a container: a small file for each, which says which process it is. A file whose
//! process has ended counts for nothing, and is swept by the next `exec`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lighter_store::ContainerId;

const FOLDER: &str = "execs";

/// Writes down that a process runs; what to remove when it has ended.
pub(super) fn note(dir: &Path, id: &ContainerId, pid: i32) -> io::Result<PathBuf> {
    let folder = dir.join(FOLDER);
    for (path, _) in entries(&folder).into_iter().filter(|(_, runs)| !runs) {
        remove(&path);
    }
    fs::create_dir_all(&folder)?;
    // another exec may sweep meanwhile, and must not take what is not written yet for what has ended
    let (unfinished, path) = (dir.join(format!(".exec-{id}")), folder.join(id.as_str()));
    fs::write(&unfinished, format!("{pid} {}", began(pid).unwrap_or_default()))?;
    fs::rename(unfinished, &path)?;
    Ok(path)
}

/// Takes it back.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(%error, "the note of a process is gone already");
    }
}

/// The ids of those that run.
pub(super) fn running(dir: &Path) -> Vec<String> {
    let running = entries(&dir.join(FOLDER)).into_iter().filter(|(_, runs)| *runs);
    let name = |(path, _): (PathBuf, bool)| Some(path.file_name()?.to_str()?.to_owned());
    let mut ids: Vec<String> = running.filter_map(name).collect();
    ids.sort();
    ids
}

/// All that are written down, and whether they run.
fn entries(folder: &Path) -> Vec<(PathBuf, bool)> {
    let runs = |path: &Path| {
        let text = fs::read_to_string(path).ok()?;
        let (pid, known) = text.split_once(' ')?;
        Some(began(pid.parse().ok()?)?.to_string() == known)
    };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.map(|path| (path.clone(), runs(&path).unwrap_or(false))).collect()
}

/// When a process began, in the kernel's count; none for one that has ended, though nobody may know yet.
fn began(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_run_count() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(running(folder.path()), Vec::<String>::new());
        let own = i32::try_from(std::process::id()).expect("a number");
        let path = note(folder.path(), &ContainerId::random(), own).expect("is written");
        let gone = folder.path().join(FOLDER).join("gone");
        fs::write(&gone, format!("{own} 1")).expect("is written");
        let ids = running(folder.path());
        assert_eq!(ids, [path.file_name().and_then(|name| name.to_str()).expect("a name")]);
        remove(&note(folder.path(), &ContainerId::random(), own).expect("is written"));
        assert!(!gone.exists() && path.exists());
        assert_eq!(running(folder.path()), ids);
    }

    #[test]
    fn no_note_is_swept_before_it_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = i32::try_from(std::process::id()).expect("a number");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        note(folder.path(), &ContainerId::random(), own).expect("is written");
                    }
                });
            }
        });
        assert_eq!(running(folder.path()).len(), 8 * 50);
    }
}
