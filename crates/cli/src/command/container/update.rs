//! `update`.

use super::{each, told};
use crate::args::container::update::Update;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::container::{self, ParseRestartPolicyError, ResourceLimits, RestartPolicy};

impl Verb for Update {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        if self.changes_nothing() {
            return Err(Failure::new("you must provide one or more flags when using this command"));
        }
        let restart: Option<RestartPolicy> = match self.restart.as_deref() {
            None | Some("") => None,
            Some(text) => {
                let fault = |error: ParseRestartPolicyError| Failure::because(&error);
                Some(text.parse().map_err(fault)?)
            }
        };
        let limits = ResourceLimits {
            memory_bytes: self.memory.filter(|bytes| *bytes > 0),
            memory_swap_bytes: self.memory_swap.filter(|bytes| *bytes != 0),
            memory_reservation_bytes: self.memory_reservation.filter(|bytes| *bytes > 0),
            nano_cpus: self.cpus.filter(|cpus| *cpus > 0),
            cpu_quota: self.cpu_quota.filter(|quota| *quota != 0),
            cpu_period: self.cpu_period.filter(|period| *period != 0),
            cpu_shares: self.cpu_shares.filter(|shares| *shares != 0),
            cpuset_cpus: self.cpuset_cpus.filter(|cpus| !cpus.is_empty()),
            cpuset_mems: self.cpuset_mems.filter(|mems| !mems.is_empty()),
            pids: self.pids_limit.filter(|pids| *pids != 0),
            blkio_weight: self.blkio_weight.filter(|weight| *weight != 0),
            cpu_realtime_period: self.cpu_rt_period.filter(|period| *period != 0),
            cpu_realtime_runtime: self.cpu_rt_runtime.filter(|runtime| *runtime != 0),
            ..ResourceLimits::default()
        };
        super::run::remark_on_kernel_memory(self.kernel_memory, session);
        let store = session.open_store()?;
        each(session, &self.containers, |name| {
            container::update(&store, name, &limits, restart).map_err(|error| told(&error))
        })
    }
}

impl Update {
    fn changes_nothing(&self) -> bool {
        let texts = [&self.cpuset_cpus, &self.cpuset_mems, &self.restart];
        let sizes = [self.memory, self.memory_reservation, self.cpus, self.cpu_period, self.cpu_shares];
        let more = [self.cpu_rt_period, self.kernel_memory];
        let signed = [self.memory_swap, self.cpu_quota, self.cpu_rt_runtime, self.pids_limit];
        texts.iter().all(|text| text.is_none())
            && sizes.iter().chain(&more).all(Option::is_none)
            && signed.iter().all(Option::is_none)
            && self.blkio_weight.is_none()
    }
}
