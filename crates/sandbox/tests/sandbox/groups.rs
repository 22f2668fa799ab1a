//! Control groups; as root only, where version 1 or 2 is writable.

use std::io::Read;
use std::time::Duration;

use lighter_sandbox::cgroup::{Cgroup, Limits};
use lighter_sandbox::{Exit, Spec};

use crate::fixture::{Fixture, run, start, succeed};

pub(crate) const CASES: &[crate::Case] = &[
    ("groups::limits_are_kept", limits_are_kept),
    ("groups::greed_is_ended", greed_is_ended),
    ("groups::freezing_stops_it", freezing_stops_it),
    ("groups::all_are_killed", all_are_killed),
    ("groups::it_sees_its_own", it_sees_its_own),
    ("groups::users_are_told", users_are_told),
];

fn is_real_root() -> bool {
    lighter_sandbox::report::inspect().is_real_root
}

fn name(kind: &str) -> String {
    format!("test-{kind}-{}", std::process::id())
}

/// Runs a case with a group, which is removed afterwards.
fn with_group(kind: &str, limits: &Limits, case: impl FnOnce(&Cgroup, &Fixture)) {
    if !is_real_root() {
        return;
    }
    let (group, warnings) = Cgroup::create(&name(kind), limits).unwrap();
    assert_eq!(warnings, vec![]);
    case(&group, &Fixture::new());
    group.remove().unwrap();
    assert!(group.processes().is_err(), "it is still there");
    group.remove().unwrap();
}

/// A processor that this process may use.
fn own_cpu() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim().split(['-', ',']).next().unwrap().to_owned()
}

fn joined(mut spec: Spec, group: &Cgroup) -> Spec {
    spec.cgroup = Some(group.clone());
    spec
}

fn limits_are_kept() {
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        memory_swap_bytes: Some(64 << 20),
        pids: Some(8),
        cpu_quota_micros: Some(50_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some(own_cpu()),
        ..Limits::default()
    };
    with_group("limits", &limits, |group, fixture| {
        let script = "nproc; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done";
        let outcome = run(&joined(fixture.script(script), group));
        assert!(outcome.output.starts_with("1\n"), "{}", outcome.output);
        assert!(outcome.output.to_lowercase().contains("fork"), "{}", outcome.output);
        let stats = group.stats().unwrap();
        assert_eq!(stats.memory_limit_bytes, Some(64 << 20));
        assert!(stats.cpu_nanos > 0);
        assert!(!group.was_out_of_memory().unwrap());
        let more =
            Limits { memory_bytes: Some(128 << 20), memory_swap_bytes: Some(128 << 20), ..Limits::default() };
        assert_eq!(group.update(&more), vec![]);
        assert_eq!(group.stats().unwrap().memory_limit_bytes, Some(128 << 20));
    });
}

fn greed_is_ended() {
    let limits =
        Limits { memory_bytes: Some(20 << 20), memory_swap_bytes: Some(20 << 20), ..Limits::default() };
    with_group("greed", &limits, |group, fixture| {
        let spec = joined(fixture.script("head -c 300M /dev/zero | tail"), group);
        assert_eq!(run(&spec).exit, Exit::Code(137));
        assert!(group.was_out_of_memory().unwrap());
    });
}

fn freezing_stops_it() {
    with_group("freeze", &Limits::default(), |group, fixture| {
        let script = "while :; do echo x; sleep 0.01; done";
        let (process, reader) = start(&joined(fixture.script(script), group)).unwrap();
        let mut file = std::fs::File::from(reader);
        file.read_exact(&mut [0; 4]).unwrap();
        assert!(group.processes().unwrap().contains(&process.pid()));
        group.freeze().unwrap();
        rustix::io::ioctl_fionbio(&file, true).unwrap();
        let mut rest = Vec::new();
        let _ = file.read_to_end(&mut rest);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(file.read(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        group.thaw().unwrap();
        rustix::io::ioctl_fionbio(&file, false).unwrap();
        file.read_exact(&mut [0; 4]).unwrap();
        process.kill(9).unwrap();
        process.wait().unwrap();
    });
}

fn all_are_killed() {
    with_group("kill", &Limits::default(), |group, fixture| {
        let script = "sleep 1000 & sleep 1000 & echo up; wait";
        let (process, reader) = start(&joined(fixture.script(script), group)).unwrap();
        std::fs::File::from(reader).read_exact(&mut [0; 3]).unwrap();
        assert_eq!(group.processes().unwrap().len(), 3);
        group.kill_all().unwrap();
        assert_eq!(process.wait().unwrap(), Exit::Signal(9));
    });
}

fn it_sees_its_own() {
    with_group("see", &Limits::default(), |group, fixture| {
        let script = "find /sys/fs/cgroup -name cgroup.procs -maxdepth 2 | wc -l; \
                      directory=$(dirname $(find /sys/fs/cgroup -name cgroup.procs | head -n 1)); \
                      mkdir $directory/x 2>/dev/null || echo read-only";
        let out = succeed(&joined(fixture.script(script), group));
        let (count, rest) = out.split_once('\n').unwrap();
        assert!(count.parse::<u32>().unwrap() > 0, "{out}");
        assert_eq!(rest, "read-only\n");
    });
}

fn users_are_told() {
    if is_real_root() || rustix::process::getuid().is_root() && std::env::var_os("HOME").is_none() {
        return;
    }
    let limits = Limits { pids: Some(5), ..Limits::default() };
    let (group, warnings) = Cgroup::create(&name("user"), &limits).unwrap();
    let is_kept = group.stats().is_ok_and(|_| warnings.is_empty());
    assert!(is_kept || warnings.iter().any(|warning| warning.what.contains("pids")), "{warnings:?}");
    let fixture = Fixture::new();
    succeed(&joined(fixture.command(&["true"]), &group));
    group.remove().unwrap();
}
