//! What a control group has used.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Cgroup, CgroupError, read};

/// What a control group has used; zero where the machine does not count it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time.
    pub cpu_nanos: u64,
    /// Memory, without files that could be dropped at once: as `docker stats` counts it.
    pub memory_bytes: u64,
    /// Most memory it may have, if there is a bound.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Read from block devices.
    pub block_read_bytes: u64,
    /// Written to block devices.
    pub block_written_bytes: u64,
}

/// What version 1 reports where there is no bound: the largest number of pages.
const NO_LIMIT_V1: u64 = 1 << 62;

pub(super) fn read_all(group: &Cgroup) -> Result<Stats, CgroupError> {
    let mut stats = Stats::default();
    if let Some((directory, is_v2)) = group.controller("memory") {
        read_memory(&mut stats, directory, is_v2)?;
    }
    if let Some((directory, is_v2)) = group.controller("cpuacct") {
        stats.cpu_nanos = if is_v2 {
            let text = read(&directory.join("cpu.stat"))?;
            value_of(&text, "usage_usec").unwrap_or(0) * 1000
        } else {
            number(&read(&directory.join("cpuacct.usage"))?)
        };
    }
    if let Some((directory, _)) = group.controller("pids") {
        stats.pids = number(&optional(&directory.join("pids.current"))?);
    }
    if let Some((directory, is_v2)) = group.controller("blkio") {
        let file = if is_v2 { "io.stat" } else { "blkio.throttle.io_service_bytes" };
        let text = optional(&directory.join(file))?;
        (stats.block_read_bytes, stats.block_written_bytes) = if is_v2 {
            (sum_pairs(&text, "rbytes="), sum_pairs(&text, "wbytes="))
        } else {
            (sum_words(&text, "Read"), sum_words(&text, "Write"))
        };
    }
    Ok(stats)
}

fn read_memory(stats: &mut Stats, directory: &Path, is_v2: bool) -> Result<(), CgroupError> {
    let (usage, limit, droppable) = if is_v2 {
        ("memory.current", "memory.max", "inactive_file")
    } else {
        ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
    };
    let used = number(&optional(&directory.join(usage))?);
    let detail = optional(&directory.join("memory.stat"))?;
    let droppable = value_of(&detail, droppable).unwrap_or(0);
    stats.memory_bytes = used.checked_sub(droppable).unwrap_or(used);
    let bound = optional(&directory.join(limit))?;
    stats.memory_limit_bytes = bound.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT_V1);
    Ok(())
}

/// Reads a file that is there only if its controller is handed down.
fn optional(path: &Path) -> Result<String, CgroupError> {
    match read(path) {
        Err(CgroupError::File { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound && path.parent().is_some_and(Path::exists) =>
        {
            Ok(String::new())
        }
        other => other,
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// The number after a key in lines of `key number`.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// Sums version 2's `rbytes=1 wbytes=2`.
fn sum_pairs(text: &str, key: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

/// Sums version 1's `8:0 Read 4096`.
fn sum_words(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            (words.next()? == key).then(|| words.next()?.parse::<u64>().ok())?
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        let memory = "cache 5\ntotal_inactive_file 4096\noom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        assert_eq!(value_of(memory, "oom_kill"), Some(2));
        assert_eq!(value_of(memory, "total_inactive_file"), Some(4096));
        assert_eq!(value_of(memory, "inactive_file"), None);
        let v2 = "8:0 rbytes=100 wbytes=5 rios=1\n9:0 rbytes=1 wbytes=0\n";
        assert_eq!((sum_pairs(v2, "rbytes="), sum_pairs(v2, "wbytes=")), (101, 5));
        let v1 = "8:0 Read 4096\n8:0 Write 10\n8:0 Total 4106\nTotal 4106\n";
        assert_eq!((sum_words(v1, "Read"), sum_words(v1, "Write")), (4096, 10));
    }
}
