//! `stats`: what a container uses, as its control group and its network count.

use std::time::Instant;

use lighter_store::Store;

use super::client::{self, ClientError};
use super::message::Request;
use super::state::{Container, FindError, find};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It has no control group, and gets none.
    #[error(transparent)]
    Talk(#[from] ClientError),
    /// Its control group cannot be read.
    #[error(transparent)]
    Cgroup(#[from] lighter_sandbox::cgroup::CgroupError),
}

/// What a container has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// When it was measured.
    pub at: Instant,
    /// Processor time, in billionths of a second.
    pub cpu_nanos: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// How much it may use, in bytes.
    pub memory_limit_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes that came over the network.
    pub received_bytes: u64,
    /// Bytes that went over it.
    pub sent_bytes: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to them.
    pub written_bytes: u64,
}

/// Measures a container; `None` where it does not run.
///
/// # Errors
/// [`MeasureError`].
pub fn measure(store: &Store, text: &str) -> Result<Option<Measure>, MeasureError> {
    let mut container = find(store, text)?;
    if !container.state.is_running() {
        return Ok(None);
    }
    if container.state.cgroup.is_none() {
        client::ask(store, &container, Request::Measure)?;
        container = find(store, text)?;
    }
    let Some(cgroup) = &container.state.cgroup else { return Ok(None) };
    let used = cgroup.stats()?;
    let (received_bytes, sent_bytes) = traffic(&container);
    let whole = memory_of_machine();
    Ok(Some(Measure {
        at: Instant::now(),
        cpu_nanos: used.cpu_nanos,
        memory_bytes: used.memory_bytes,
        memory_limit_bytes: used.memory_limit_bytes.unwrap_or(whole).min(whole),
        pids: used.pids,
        received_bytes,
        sent_bytes,
        read_bytes: used.block_read_bytes,
        written_bytes: used.block_written_bytes,
    }))
}

/// Bytes received and sent, as the container's own network counts; none where it has none of its own.
fn traffic(container: &Container) -> (u64, u64) {
    if container.state.network.is_none() {
        return (0, 0);
    }
    let path = format!("/proc/{}/net/dev", container.state.pid);
    std::fs::read_to_string(path).map_or((0, 0), |text| count(&text))
}

fn count(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines() {
        let Some((name, counts)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = counts.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        sum.0 += numbers.first().copied().unwrap_or_default();
        sum.1 += numbers.get(8).copied().unwrap_or_default();
    }
    sum
}

fn memory_of_machine() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_summed_without_loopback() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 5 0 0 0 0 0 0 0 5 0\n  eth0: 100 1 0 0 0 0 0 0 20 1 0\n  eth1: 1 0 0 0 0 0 0 0 2 0\n";
        assert_eq!(count(text), (101, 22));
        assert!(memory_of_machine() > 0);
    }
}
