//! `top`: what `ps` says of a container's processes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::Command;

use lighter_store::Store;

use super::events;
use super::state::{FindError, find};

/// Why the processes of a container were not listed.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It is not running.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// There is no `ps`.
    #[error("running `ps`")]
    Run(#[source] io::Error),
    /// `ps` did not like its arguments.
    #[error("ps: {0}")]
    Refused(String),
    /// Nothing tells the processes apart.
    #[error("Couldn't find PID field in ps output")]
    NoPid,
    /// The system's list of processes cannot be read.
    #[error("reading the list of processes")]
    Processes(#[source] io::Error),
}

/// What `ps` prints, a row for each process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// The headings.
    pub titles: Vec<String>,
    /// The rows, as wide as the headings.
    pub rows: Vec<Vec<String>>,
}

/// Lists the processes of a running container.
///
/// # Errors
/// [`TopError`].
pub fn top(store: &Store, text: &str, args: &[String]) -> Result<Processes, TopError> {
    let container = find(store, text)?;
    if !container.state.is_running() {
        return Err(TopError::NotRunning(container.record.id.to_string()));
    }
    let mut command = Command::new("ps");
    if args.is_empty() {
        command.arg("-ef");
    }
    let output = command.args(args).output().map_err(TopError::Run)?;
    if !output.status.success() {
        return Err(TopError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let inside = processes_of(container.state.pid).map_err(TopError::Processes)?;
    let processes = pick(&String::from_utf8_lossy(&output.stdout), &inside)?;
    events::note(store, &container, "top", &[]);
    Ok(processes)
}

/// The rows of a list that are about these processes.
fn pick(list: &str, inside: &BTreeSet<i32>) -> Result<Processes, TopError> {
    let mut lines = list.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let place = titles.iter().position(|title| title == "PID").ok_or(TopError::NoPid)?;
    let mut rows = Vec::new();
    for line in lines {
        let row = columns(line, titles.len());
        let pid = row.get(place).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| inside.contains(&pid)) {
            rows.push(row);
        }
    }
    Ok(Processes { titles, rows })
}

/// The words of a line, the rest of it in the last one.
fn columns(line: &str, count: usize) -> Vec<String> {
    let mut columns = Vec::new();
    let mut rest = line.trim();
    while columns.len() + 1 < count {
        let Some((word, after)) = rest.split_once(char::is_whitespace) else { break };
        columns.push(word.to_owned());
        rest = after.trim_start();
    }
    columns.push(rest.to_owned());
    columns
}

/// All processes in the container of this one: those in its PID namespace, or its descendants where that is ours.
pub(super) fn processes_of(first: i32) -> io::Result<BTreeSet<i32>> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(first);
    let own = std::fs::read_link("/proc/self/ns/pid").ok();
    let mut parents = BTreeMap::new();
    let mut inside = BTreeSet::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if wanted == own {
            parents.extend(parent_of(pid).map(|parent| (pid, parent)));
        } else if wanted.is_some() && namespace(pid) == wanted {
            inside.insert(pid);
        }
    }
    if wanted == own {
        let descends = |mut pid: i32| loop {
            match parents.get(&pid) {
                _ if pid == first => return true,
                Some(parent) if *parent > 0 => pid = *parent,
                _ => return false,
            }
        };
        inside.extend(parents.keys().copied().filter(|pid| descends(*pid)));
    }
    Ok(inside)
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name is in parentheses, and may hold anything
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_picked_by_number() {
        let list = "UID   PID  PPID CMD\nroot  7  1 sleep 1 2\nroot  8  1 other\n";
        let picked = pick(list, &BTreeSet::from([7])).expect("a list");
        assert_eq!(picked.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(picked.rows, [["root", "7", "1", "sleep 1 2"]]);
        assert!(matches!(pick("UID CMD\n", &BTreeSet::new()), Err(TopError::NoPid)));
    }

    #[test]
    fn this_process_is_one_of_its_own() {
        let own = i32::try_from(std::process::id()).expect("a number");
        assert!(processes_of(own).expect("reads").contains(&own));
    }
}
