//! `update`.

use crate::args::container::value;
use crate::args::value::{bytes, swap};
use crate::verb::{Arguments, Arity, Spec};

/// `update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Update {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable
    #[arg(long, value_name = "uint16")]
    pub(crate) blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int")]
    pub(crate) cpu_period: Option<u64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int")]
    pub(crate) cpu_quota: Option<i64>,
    /// Limit the CPU real-time period in microseconds
    #[arg(long, value_name = "int")]
    pub(crate) cpu_rt_period: Option<u64>,
    /// Limit the CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int")]
    pub(crate) cpu_shares: Option<u64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = value::cpus)]
    pub(crate) cpus: Option<u64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub(crate) cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub(crate) cpuset_mems: Option<String>,
    /// Kernel memory limit
    #[arg(long, value_name = "bytes", value_parser = bytes, hide = true)]
    pub(crate) kernel_memory: Option<u64>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", value_parser = bytes)]
    pub(crate) memory: Option<u64>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = bytes)]
    pub(crate) memory_reservation: Option<u64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = swap)]
    pub(crate) memory_swap: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int")]
    pub(crate) pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long)]
    pub(crate) restart: Option<String>,
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

impl Arguments for Update {
    const SPEC: Spec = Spec {
        paths: &["container update", "update"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Update configuration of one or more containers",
        arity: Arity::AtLeast(1),
    };
}
