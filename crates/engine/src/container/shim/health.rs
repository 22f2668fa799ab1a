//! Health checks: a command in the container, run again and again while it lives.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lighter_image::Healthcheck;
use lighter_sandbox::Process;

use super::super::exec;
use super::super::state::{Health, HealthProbe};
use super::super::streams;
use super::run::Shim;
use super::start::Running;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;
/// How many checks are remembered.
const REMEMBERED: usize = 5;
/// How much is remembered of what a check writes.
const LONGEST_OUTPUT_BYTES: usize = 4096;

/// The shell of a check in shell form.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// What is checked, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    args: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Plan {
    /// The plan of a check, unless there is nothing to do.
    fn of(check: &Healthcheck) -> Option<Self> {
        let words = check.test.get(1..).unwrap_or_default();
        let args = match check.test.first().map(String::as_str) {
            Some("CMD") if !words.is_empty() => words.to_vec(),
            Some("CMD-SHELL") if !words.is_empty() => {
                SHELL.iter().map(ToString::to_string).chain([words.join(" ")]).collect()
            }
            _ => return None,
        };
        let time = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => default,
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        let retries = u32::try_from(check.retries).unwrap_or_default();
        Some(Self {
            args,
            interval: time(check.interval, DEFAULT_INTERVAL),
            timeout: time(check.timeout, DEFAULT_TIMEOUT),
            start_period: time(check.start_period, Duration::ZERO),
            start_interval: time(check.start_interval, DEFAULT_START_INTERVAL),
            retries: if retries == 0 { DEFAULT_RETRIES } else { retries },
        })
    }

    /// How long it is to the next check.
    fn pause(&self, since_start: Duration, is_starting: bool) -> Duration {
        if is_starting && since_start < self.start_period { self.start_interval } else { self.interval }
    }
}

/// The checks of a running container, until this is dropped.
pub(super) struct Checks {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Checks {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the health checks ended in a panic");
        }
    }
}

impl Shim {
    /// Begins to check the health of the container, where it is to be checked.
    pub(super) fn watch_health(self: &Arc<Self>, running: &Running) -> Option<Checks> {
        let container = self.container().ok()?;
        let plan = Plan::of(container.state.settings.healthcheck.as_ref()?)?;
        self.set_health(Health { status: "starting".to_owned(), failing_streak: 0, log: Vec::new() }, false);
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (shim, process) = (Arc::clone(self), Arc::clone(&running.process));
        let watched = Arc::clone(&stop);
        let check = move || shim.check_again_and_again(&plan, &process, &watched);
        let thread = thread::Builder::new().name("health".into()).spawn(check);
        match thread {
            Ok(thread) => Some(Checks { stop, thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "the container's health cannot be checked");
                None
            }
        }
    }

    fn check_again_and_again(&self, plan: &Plan, process: &Process, stop: &(Mutex<bool>, Condvar)) {
        let began = Instant::now();
        let mut health = Health { status: "starting".to_owned(), failing_streak: 0, log: Vec::new() };
        loop {
            let pause = plan.pause(began.elapsed(), health.status == "starting");
            let stopped = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = stop.1.wait_timeout_while(stopped, pause, |stopped| !*stopped);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            let probe = self.probe(plan);
            if process.try_wait().is_ok_and(|exit| exit.is_some()) {
                return;
            }
            let changed = judge(&mut health, probe, plan, began.elapsed());
            self.set_health(health.clone(), changed);
        }
    }

    fn set_health(&self, health: Health, is_news: bool) {
        let status = health.status.clone();
        if let Err(error) = self.change(|state| state.health = Some(health)) {
            tracing::warn!(%error, "the container's health is not remembered");
        }
        if is_news {
            self.note(&format!("health_status: {status}"), &[]);
        }
    }

    /// Runs the check once.
    fn probe(&self, plan: &Plan) -> HealthProbe {
        let start = Timestamp::now();
        let (exit_code, output) = match self.run_check(plan) {
            Ok(result) => result,
            Err(error) => (-1, error),
        };
        HealthProbe { start, end: Timestamp::now(), exit_code, output }
    }

    fn run_check(&self, plan: &Plan) -> Result<(i32, String), String> {
        let told = |error: &dyn std::error::Error| error.to_string();
        let container = self.container().map_err(|error| told(&error))?;
        let spec =
            exec::spec_of(&self.store, &container, plan.args.clone(), None).map_err(|error| told(&error))?;
        let (stdio, pipes) = streams::pipes(false, false).map_err(|error| told(&error))?;
        let process = lighter_sandbox::exec_in(container.state.pid, &spec, stdio);
        let process = process.map_err(|error| told(&error))?;
        let output = Mutex::new(Vec::new());
        let exit = thread::scope(|scope| {
            for pipe in [pipes.output, pipes.error].into_iter().flatten() {
                let (output, process) = (&output, &process);
                scope.spawn(move || collect(&File::from(pipe), process, output));
            }
            let ended = process.wait_timeout(plan.timeout);
            if !matches!(ended, Ok(Some(_))) {
                drop(process.kill(9));
                drop(process.wait());
            }
            ended
        });
        let output = output.into_inner().unwrap_or_else(PoisonError::into_inner);
        match exit.map_err(|error| told(&error))? {
            Some(exit) => Ok((exit.status_code(), String::from_utf8_lossy(&output).into_owned())),
            None => Err(format!("Health check exceeded timeout ({:?})", plan.timeout)),
        }
    }
}

fn collect(pipe: &File, process: &Process, output: &Mutex<Vec<u8>>) {
    streams::read_to_end(pipe, process.pidfd().as_fd(), |bytes| {
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LONGEST_OUTPUT_BYTES.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    });
}

/// What a check says about the container's health; whether that is news.
fn judge(health: &mut Health, probe: HealthProbe, plan: &Plan, since_start: Duration) -> bool {
    let before = health.status.clone();
    let is_grace = before == "starting" && since_start < plan.start_period;
    if probe.exit_code == 0 {
        health.failing_streak = 0;
        "healthy".clone_into(&mut health.status);
    } else if !is_grace {
        health.failing_streak += 1;
        if health.failing_streak >= plan.retries {
            "unhealthy".clone_into(&mut health.status);
        }
    }
    health.log.push(probe);
    let surplus = health.log.len().saturating_sub(REMEMBERED);
    health.log.drain(..surplus);
    health.status != before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(check: &Healthcheck) -> Plan {
        Plan::of(check).expect("a plan")
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn checks_are_planned() {
        let check =
            Healthcheck { test: words("CMD-SHELL true"), interval: 1_000_000_000, ..Healthcheck::default() };
        let shell = plan(&check);
        assert_eq!(shell.args, ["/bin/sh", "-c", "true"]);
        assert_eq!(shell.interval, Duration::from_secs(1));
        assert_eq!((shell.timeout, shell.retries), (DEFAULT_TIMEOUT, DEFAULT_RETRIES));
        let direct = Healthcheck { test: words("CMD a b"), ..Healthcheck::default() };
        assert_eq!(plan(&direct).args, ["a", "b"]);
        for test in ["", "NONE", "CMD"] {
            let check = Healthcheck { test: words(test), ..Healthcheck::default() };
            assert_eq!(Plan::of(&check), None, "{test}");
        }
    }

    #[test]
    fn health_follows_the_checks() {
        let check = Healthcheck {
            test: words("CMD x"),
            retries: 2,
            start_period: 10_000_000_000,
            ..Healthcheck::default()
        };
        let plan = plan(&check);
        let mut health = Health { status: "starting".to_owned(), failing_streak: 0, log: Vec::new() };
        let mut check = |exit_code, seconds, expected: &str| {
            let now = Timestamp::UNIX_EPOCH;
            let probe = HealthProbe { start: now, end: now, exit_code, output: String::new() };
            judge(&mut health, probe, &plan, Duration::from_secs(seconds));
            assert_eq!(health.status, expected);
        };
        check(1, 1, "starting");
        check(1, 2, "starting");
        check(1, 11, "starting");
        check(1, 12, "unhealthy");
        check(0, 13, "healthy");
        check(1, 14, "healthy");
        check(1, 15, "unhealthy");
        for _ in 0..9 {
            check(0, 20, "healthy");
        }
        assert_eq!(health.log.len(), REMEMBERED);
    }
}
