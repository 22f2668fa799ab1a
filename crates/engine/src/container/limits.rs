//! Which limits make sense, on this machine and together.

use std::path::Path;

use super::settings::ResourceLimits;

/// Why limits make no sense. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Less memory than anything runs in.
    #[error("Minimum memory limit allowed is 6MB")]
    LittleMemory,
    /// Less memory and swap together than memory.
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    LittleSwap,
    /// A bound on both together, none on memory.
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapAlone,
    /// More is kept than may be used.
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    Reservation,
    /// New memory is more than the old bound of both together.
    #[error(
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
    )]
    MemoryAboveSwap,
    /// Processors are counted in two ways at once.
    #[error("Conflicting options: Nano CPUs and CPU {0} cannot both be set")]
    TwoWays(&'static str),
    /// More or less than there are.
    #[error("range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available")]
    Cpus(usize),
    /// A period that the kernel does not keep.
    #[error("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")]
    Period,
    /// A time that the kernel does not keep.
    #[error("CPU cfs quota can not be less than 1ms (i.e. 1000)")]
    Quota,
    /// No list of numbers.
    #[error("Invalid value {text} for cpuset {what}: invalid format: {text}")]
    List {
        /// The text.
        text: String,
        /// `cpus` or `mems`.
        what: &'static str,
    },
    /// Numbers of what this machine does not have.
    #[error("Requested {what} are not available - requested {text}, available: {available}")]
    NotThere {
        /// What.
        what: &'static str,
        /// What was asked for.
        text: String,
        /// What there is.
        available: String,
    },
    /// The kernel schedules no groups of real-time processes.
    #[error("kernel does not support CPU real-time scheduler")]
    NoRealtime,
    /// Real-time processes get more than there is.
    #[error("cpu real-time runtime cannot be higher than cpu real-time period")]
    Realtime,
    /// A share that is none.
    #[error("the minimum allowed cpu-shares is 2")]
    Shares,
}

impl ResourceLimits {
    /// Whether they make sense.
    ///
    /// # Errors
    /// [`LimitsError`], where not.
    pub fn check(&self) -> Result<(), LimitsError> {
        self.check_memory()?;
        self.check_processors()?;
        for (text, what, whole, path) in [
            (&self.cpuset_cpus, "cpus", "CPUs", "/sys/devices/system/cpu/online"),
            (&self.cpuset_mems, "mems", "memory nodes", "/sys/devices/system/node/online"),
        ] {
            if let Some(text) = text {
                check_list(text, what, whole, Path::new(path))?;
            }
        }
        Ok(())
    }

    /// Whether times of real-time processes can be kept by a new container.
    ///
    /// # Errors
    /// [`LimitsError::NoRealtime`], [`LimitsError::Realtime`].
    pub(super) fn check_realtime(&self) -> Result<(), LimitsError> {
        let is_asked_for = self.cpu_realtime_period.is_some() || self.cpu_realtime_runtime.is_some();
        if is_asked_for && !lighter_sandbox::cgroup::has_realtime() {
            return Err(LimitsError::NoRealtime);
        }
        let runtime = self.cpu_realtime_runtime.and_then(|runtime| u64::try_from(runtime).ok());
        match (runtime, self.cpu_realtime_period) {
            (Some(runtime), Some(period)) if runtime > period => Err(LimitsError::Realtime),
            _ => Ok(()),
        }
    }

    fn check_memory(&self) -> Result<(), LimitsError> {
        const SMALLEST: u64 = 6 << 20;
        let swap = self.memory_swap_bytes.and_then(|swap| u64::try_from(swap).ok());
        match (self.memory_bytes, swap) {
            (Some(memory), _) if memory < SMALLEST => Err(LimitsError::LittleMemory),
            (Some(memory), Some(swap)) if swap < memory => Err(LimitsError::LittleSwap),
            (None, Some(_)) => Err(LimitsError::SwapAlone),
            _ => match (self.memory_bytes, self.memory_reservation_bytes) {
                (Some(memory), Some(kept)) if kept > memory => Err(LimitsError::Reservation),
                _ => Ok(()),
            },
        }
    }

    fn check_processors(&self) -> Result<(), LimitsError> {
        const HUNDREDTH: u64 = 10_000_000;
        if let Some(cpus) = self.nano_cpus {
            if self.cpu_period.is_some() {
                return Err(LimitsError::TwoWays("Period"));
            }
            if self.cpu_quota.is_some() {
                return Err(LimitsError::TwoWays("Quota"));
            }
            let there = online(Path::new("/sys/devices/system/cpu/online")).map_or(0, |list| list.len());
            let most = u64::try_from(there).unwrap_or(u64::MAX).saturating_mul(1_000_000_000);
            if there > 0 && !(HUNDREDTH..=most).contains(&cpus) {
                return Err(LimitsError::Cpus(there));
            }
        }
        if self.cpu_period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
            return Err(LimitsError::Period);
        }
        if self.cpu_quota.is_some_and(|quota| (1..1000).contains(&quota)) {
            return Err(LimitsError::Quota);
        }
        if self.cpu_shares == Some(1) { Err(LimitsError::Shares) } else { Ok(()) }
    }
}

/// What the machine has; none where it does not say.
fn online(path: &Path) -> Option<Vec<u32>> {
    numbers(std::fs::read_to_string(path).ok()?.trim())
}

fn check_list(text: &str, what: &'static str, whole: &'static str, path: &Path) -> Result<(), LimitsError> {
    let asked = numbers(text).ok_or_else(|| LimitsError::List { text: text.to_owned(), what })?;
    let Some(there) = online(path) else { return Ok(()) };
    if asked.iter().all(|number| there.contains(number)) {
        return Ok(());
    }
    let available = std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Err(LimitsError::NotThere { what: whole, text: text.to_owned(), available })
}

/// `0-2,4` as numbers.
fn numbers(text: &str) -> Option<Vec<u32>> {
    const LARGEST: u32 = 8192;
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > LARGEST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense() {
        let none = ResourceLimits::default;
        let mib = 1 << 20;
        let check = |limits: ResourceLimits, expected: Result<(), LimitsError>| {
            assert_eq!(limits.check(), expected, "{limits:?}");
        };
        check(none(), Ok(()));
        check(ResourceLimits { memory_bytes: Some(mib), ..none() }, Err(LimitsError::LittleMemory));
        check(ResourceLimits { memory_swap_bytes: Some(5), ..none() }, Err(LimitsError::SwapAlone));
        check(ResourceLimits { memory_swap_bytes: Some(-1), ..none() }, Ok(()));
        let memory = ResourceLimits { memory_bytes: Some(64 * mib), ..none() };
        check(ResourceLimits { memory_swap_bytes: Some(1), ..memory.clone() }, Err(LimitsError::LittleSwap));
        check(
            ResourceLimits { memory_reservation_bytes: Some(65 * mib), ..memory },
            Err(LimitsError::Reservation),
        );
        check(ResourceLimits { cpu_period: Some(10), ..none() }, Err(LimitsError::Period));
        check(ResourceLimits { cpu_quota: Some(10), ..none() }, Err(LimitsError::Quota));
        check(ResourceLimits { cpu_quota: Some(-1), ..none() }, Ok(()));
        check(
            ResourceLimits { nano_cpus: Some(1), cpu_quota: Some(5000), ..none() },
            Err(LimitsError::TwoWays("Quota")),
        );
        let list = |text: &str| ResourceLimits { cpuset_cpus: Some(text.to_owned()), ..none() }.check();
        assert_eq!(list("0"), Ok(()));
        assert_eq!(list("x"), Err(LimitsError::List { text: "x".to_owned(), what: "cpus" }));
        assert!(matches!(list("8000"), Err(LimitsError::NotThere { .. })));
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!(numbers("0-2,4"), Some(vec![0, 1, 2, 4]));
        for text in ["", "x", "3-1", "1,", "0-99999"] {
            assert_eq!(numbers(text), None, "{text}");
        }
    }
}
