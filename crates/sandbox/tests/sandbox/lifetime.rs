//! What becomes of a sandbox when its caller dies.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio as CommandStdio};
use std::time::{Duration, Instant};

use lighter_sandbox::{CommandFault, Exit, Namespace, Process, SandboxError, Stdio, spawn};

use crate::fixture::{Fixture, finish, run, start, succeed};

pub(crate) const CASES: &[crate::Case] = &[
    ("lifetime::it_dies_with_its_caller", it_dies_with_its_caller),
    ("lifetime::it_outlives_the_thread_that_started_it", it_outlives_the_thread_that_started_it),
    ("lifetime::it_outlives_its_caller_if_asked_to", it_outlives_its_caller_if_asked_to),
    ("lifetime::what_is_kept_dies_with_its_caller", what_is_kept_dies_with_its_caller),
    ("lifetime::what_is_kept_dies_with_its_keeper", what_is_kept_dies_with_its_keeper),
    ("lifetime::a_signal_to_a_keeper_ends_what_is_kept", a_signal_to_a_keeper_ends_what_is_kept),
    ("lifetime::killing_a_keeper_waits_for_what_is_kept", killing_a_keeper_waits_for_what_is_kept),
    ("lifetime::a_keeper_ends_as_what_is_kept", a_keeper_ends_as_what_is_kept),
    ("lifetime::a_spare_becomes_the_next", a_spare_becomes_the_next),
    ("lifetime::what_is_expected_is_taken_or_ended", what_is_expected_is_taken_or_ended),
    ("lifetime::a_spare_dies_with_its_caller", a_spare_dies_with_its_caller),
];

const HELPER: &str = "--lifetime-helper";

/// In the helper: starts a sandbox from a thread that ends, tells its process number, and waits to be killed.
pub(crate) fn run_if_helper(arguments: &[String]) {
    if arguments.first().map(String::as_str) != Some(HELPER) {
        return;
    }
    let kind = arguments.get(1).cloned().unwrap_or_default();
    let pid = std::thread::spawn(move || {
        let fixture = Fixture::new();
        let mut spec = fixture.command(&["sleep", "100"]);
        spec.die_with_parent = kind != "stays";
        spec.keeper = kind == "kept" || kind == "spare";
        spec.another_follows = kind == "spare";
        let before = children();
        let process = spawn(&spec, Stdio::null()).unwrap();
        std::mem::forget(fixture);
        match kind.as_str() {
            "kept" => kept_by(process.pid()),
            "spare" => kept_by(spare_beside(process.pid(), &before)),
            _ => process.pid(),
        }
    })
    .join()
    .unwrap();
    println!("{pid}");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(Duration::from_secs(100));
}

/// Starts a helper and returns it with the number of the process in its sandbox.
fn helper(kind: &str) -> (std::process::Child, i32) {
    let mut helper = Command::new(std::env::current_exe().unwrap())
        .args([HELPER, kind])
        .stdout(CommandStdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(helper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (helper, line.trim().parse().unwrap())
}

/// Whether the process is there and is not a zombie that nobody has reaped yet.
fn is_alive(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn ends_soon(pid: i32) -> bool {
    let begun = Instant::now();
    while is_alive(pid) {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

fn it_dies_with_its_caller() {
    let (mut helper, pid) = helper("dies");
    assert!(is_alive(pid));
    helper.kill().unwrap();
    helper.wait().unwrap();
    assert!(ends_soon(pid));
}

fn it_outlives_the_thread_that_started_it() {
    let (mut helper, pid) = helper("dies");
    std::thread::sleep(Duration::from_millis(100));
    assert!(is_alive(pid));
    helper.kill().unwrap();
    helper.wait().unwrap();
}

fn it_outlives_its_caller_if_asked_to() {
    let (mut helper, pid) = helper("stays");
    helper.kill().unwrap();
    helper.wait().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(is_alive(pid));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert!(ends_soon(pid));
}

/// The process that a keeper keeps.
fn kept_by(keeper: i32) -> i32 {
    loop {
        let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
        if let Ok(kept) = children.trim().parse() {
            return kept;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The processes that this one has started.
fn children() -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let lists = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")));
    let children: String = lists.map(Result::unwrap_or_default).collect();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// The keeper that was started beside another, and waits for its order; `before` were there before both.
fn spare_beside(keeper: i32, before: &[i32]) -> i32 {
    let begun = Instant::now();
    loop {
        let is_spare = |pid: &i32| *pid != keeper && !before.contains(pid) && is_alive(*pid);
        if let Some(spare) = children().into_iter().find(is_spare) {
            return spare;
        }
        assert!(begun.elapsed() < PATIENCE, "no spare");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A keeper and what it keeps.
fn kept(fixture: &Fixture) -> (Process, i32) {
    let mut spec = fixture.command(&["sleep", "100"]);
    spec.keeper = true;
    let keeper = spawn(&spec, Stdio::null()).unwrap();
    let kept = kept_by(keeper.pid());
    assert!(is_alive(kept));
    (keeper, kept)
}

fn what_is_kept_dies_with_its_caller() {
    let (mut helper, kept) = helper("kept");
    assert!(is_alive(kept));
    helper.kill().unwrap();
    helper.wait().unwrap();
    assert!(ends_soon(kept));
}

fn what_is_kept_dies_with_its_keeper() {
    let fixture = Fixture::new();
    let (keeper, kept) = kept(&fixture);
    let pid = rustix::process::Pid::from_raw(keeper.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(keeper.wait().unwrap(), Exit::Signal(9));
    assert!(ends_soon(kept));
}

fn a_signal_to_a_keeper_ends_what_is_kept() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        let fixture = Fixture::new();
        let (keeper, kept) = kept(&fixture);
        for ignored in [libc::SIGUSR1, libc::SIGWINCH, libc::SIGTSTP] {
            keeper.kill(ignored).unwrap();
        }
        keeper.kill(signal).unwrap();
        assert_eq!(keeper.wait().unwrap(), Exit::Signal(signal));
        assert!(!is_alive(kept), "signal {signal}");
    }
}

fn killing_a_keeper_waits_for_what_is_kept() {
    let fixture = Fixture::new();
    let (keeper, kept) = kept(&fixture);
    keeper.kill(libc::SIGKILL).unwrap();
    assert_eq!(keeper.wait().unwrap(), Exit::Signal(libc::SIGTERM));
    assert!(!is_alive(kept));
}

fn a_keeper_ends_as_what_is_kept() {
    let fixture = Fixture::new();
    let mut spec = fixture.script("echo said; sleep 50 & exit 7");
    spec.keeper = true;
    let outcome = run(&spec);
    assert_eq!((outcome.exit, outcome.output.as_str()), (Exit::Code(7), "said\n"));
    // it has all that it has without a keeper: numbers, signals, session
    let mut spec = fixture.script("echo /proc/[0-9]*; exec grep -E 'Pid|NSsid|Sig...:' /proc/self/status");
    let plain = succeed(&spec);
    spec.keeper = true;
    assert_eq!(succeed(&spec), plain);
    assert!(plain.contains("/proc/1\n") && plain.contains("SigBlk:\t0000000000000000\n"), "{plain}");
    let mut spec = fixture.command(&["no-such-program"]);
    spec.keeper = true;
    let error = start(&spec).expect_err("there is no such program");
    assert!(matches!(error, SandboxError::Command { fault: CommandFault::NotInPath, .. }), "{error}");
    // killed from outside, as by the kernel when memory runs out
    let (keeper, kept) = self::kept(&fixture);
    let kept = rustix::process::Pid::from_raw(kept).unwrap();
    rustix::process::kill_process(kept, rustix::process::Signal::KILL).unwrap();
    assert_eq!(keeper.wait().unwrap(), Exit::Signal(9));
}

fn a_spare_becomes_the_next() {
    let fixture = Fixture::new();
    let mut spec = fixture.script("echo $$; cat /proc/self/mounts | wc -l; ls /proc/self/fd");
    spec.keeper = true;
    let alone = succeed(&spec);
    spec.another_follows = true;
    let before = children();
    let (first, output) = start(&spec).unwrap();
    let spare = spare_beside(first.pid(), &before);
    assert_eq!(finish(&first, output).output, alone);
    spec.another_follows = false;
    let (second, output) = start(&spec).unwrap();
    assert_eq!(second.pid(), spare);
    assert_eq!(finish(&second, output).output, alone);
    // one that somebody has ended is not missed
    spec.another_follows = true;
    let before = children();
    let (first, output) = start(&spec).unwrap();
    let spare = spare_beside(first.pid(), &before);
    finish(&first, output);
    let spare = rustix::process::Pid::from_raw(spare).unwrap();
    rustix::process::kill_process(spare, rustix::process::Signal::KILL).unwrap();
    assert!(ends_soon(spare.as_raw_nonzero().get()));
    spec.another_follows = false;
    assert_eq!(succeed(&spec), alone);
}

fn what_is_expected_is_taken_or_ended() {
    let fixture = Fixture::new();
    let mut spec = fixture.script("echo $$; cat /proc/self/mounts | wc -l; ls /proc/self/fd");
    let alone = succeed(&spec);
    let before = children();
    lighter_sandbox::expect(&spec);
    let spare = spare_beside(0, &before);
    let (first, output) = start(&spec).unwrap();
    assert_eq!(first.pid(), spare);
    assert_eq!(finish(&first, output).output, alone);
    // whose namespaces are others is of no use
    let before = children();
    lighter_sandbox::expect(&spec);
    let spare = spare_beside(0, &before);
    spec.uts = Namespace::Host;
    let (first, output) = start(&spec).unwrap();
    assert_ne!(first.pid(), spare);
    assert!(!children().contains(&spare), "it was not ended, or not waited for");
    finish(&first, output);
}

fn a_spare_dies_with_its_caller() {
    let (mut helper, spare) = helper("spare");
    assert!(is_alive(spare));
    helper.kill().unwrap();
    helper.wait().unwrap();
    assert!(ends_soon(spare));
}
