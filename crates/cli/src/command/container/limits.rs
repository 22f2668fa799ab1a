//! What a container may use, from the options of `run` and `create`.

use super::request::Refusal;
use crate::args::container::options::Options;
use lighter_engine::container::{Flow, PathRate, ResourceLimits};
use std::path::PathBuf;

/// The limits that are asked for.
pub(super) fn limits(options: &mut Options) -> ResourceLimits {
    let memory_bytes = options.memory.filter(|bytes| *bytes > 0);
    ResourceLimits {
        memory_bytes,
        memory_swap_bytes: options.memory_swap.filter(|bytes| *bytes != 0),
        memory_reservation_bytes: options.memory_reservation.filter(|bytes| *bytes > 0),
        nano_cpus: options.cpus.filter(|cpus| *cpus > 0),
        cpu_quota: options.cpu_quota.filter(|quota| *quota != 0),
        cpu_period: options.cpu_period.filter(|period| *period != 0),
        cpu_shares: options.cpu_shares.filter(|shares| *shares != 0),
        cpuset_cpus: options.cpuset_cpus.take().filter(|cpus| !cpus.is_empty()),
        cpuset_mems: options.cpuset_mems.take().filter(|mems| !mems.is_empty()),
        pids: options.pids_limit.filter(|pids| *pids != 0),
        blkio_weight: options.blkio_weight.filter(|weight| *weight != 0),
        memory_swappiness: options.memory_swappiness.and_then(|share| u64::try_from(share).ok()),
        oom_kill_disable: options.oom_kill_disable,
        cpu_realtime_period: options.cpu_rt_period.filter(|period| *period != 0),
        cpu_realtime_runtime: options.cpu_rt_runtime.filter(|runtime| *runtime != 0),
        device_rates: device_rates(options),
        device_weights: device_weights(options),
        device_rules: std::mem::take(&mut options.device_cgroup_rule),
    }
}

fn device_rates(options: &Options) -> Vec<PathRate> {
    let given = [
        (Flow::ReadBytes, &options.device_read_bps),
        (Flow::WriteBytes, &options.device_write_bps),
        (Flow::Reads, &options.device_read_iops),
        (Flow::Writes, &options.device_write_iops),
    ];
    let rates = given.into_iter().flat_map(|(flow, values)| {
        let rate = move |(path, per_second): &(String, u64)| PathRate {
            path: path.into(),
            flow,
            per_second: *per_second,
        };
        values.iter().map(rate)
    });
    rates.collect()
}

fn device_weights(options: &Options) -> Vec<(PathBuf, u16)> {
    let weight = |(path, weight): &(String, u64)| (path.into(), u16::try_from(*weight).unwrap_or(u16::MAX));
    options.blkio_weight_device.iter().map(weight).collect()
}

/// There are none, and what is said is what Docker says where its storage has none.
pub(super) fn refuse_storage_option(text: &str) -> Result<(), Refusal> {
    Err(match text.split_once('=') {
        None => Refusal::Options("invalid storage option".to_owned()),
        Some((name, _)) if name.eq_ignore_ascii_case("size") => Refusal::Engine(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option".to_owned(),
        ),
        Some((name, _)) => Refusal::Engine(format!("Unknown option {name}")),
    })
}
