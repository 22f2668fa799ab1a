//! Further processes in a running sandbox.

use std::io::Read;
use std::os::fd::OwnedFd;

use lighter_sandbox::{ExecSpec, Exit, Process, SandboxError, Stdio, Stream, exec_in};

use crate::fixture::{Fixture, Outcome, finish, pipe, start};

pub(crate) const CASES: &[crate::Case] = &[
    ("exec::it_joins_all_namespaces", it_joins_all_namespaces),
    ("exec::faults_are_told", faults_are_told),
    ("exec::it_ends_with_the_sandbox", it_ends_with_the_sandbox),
];

fn running(fixture: &Fixture) -> Process {
    let (process, reader) = start(&fixture.script("echo up; exec sleep 100")).unwrap();
    let mut line = [0; 3];
    std::fs::File::from(reader).read_exact(&mut line).unwrap();
    process
}

fn script(script: &str) -> ExecSpec {
    let mut spec = ExecSpec::new(["sh", "-c", script].map(str::to_owned).to_vec());
    spec.env = vec!["PATH=/usr/bin".to_owned()];
    spec
}

fn start_in(target: &Process, spec: &ExecSpec) -> Result<(Process, OwnedFd), SandboxError> {
    let (reader, writer) = pipe();
    let stdio = Stdio {
        stdin: Stream::Null,
        stdout: Stream::Fd(writer.try_clone().unwrap()),
        stderr: Stream::Fd(writer),
    };
    Ok((exec_in(target.pid(), spec, stdio)?, reader))
}

fn run_in(target: &Process, spec: &ExecSpec) -> Outcome {
    let (process, reader) = start_in(target, spec).unwrap();
    finish(&process, reader)
}

fn it_joins_all_namespaces() {
    let fixture = Fixture::new();
    let target = running(&fixture);
    let outcome = run_in(
        &target,
        &script(
            "for n in mnt pid ipc uts net; do test /proc/1/ns/$n -ef /proc/self/ns/$n || echo $n; done; tr '\\0' ' ' < /proc/1/cmdline; grep -E 'Cap(Eff|Bnd)|Seccomp:' /proc/self/status | tr -d '\\t'; ls /proc/self/fd | tr '\\n' ' '; exit 42",
        ),
    );
    assert_eq!(
        outcome.output,
        "sleep 100 CapEff:00000000a80425fb\nCapBnd:00000000a80425fb\nSeccomp:2\n0 1 2 3 "
    );
    assert_eq!(outcome.exit, Exit::Code(42));
    target.kill(9).unwrap();
    target.wait().unwrap();
}

fn faults_are_told() {
    let fixture = Fixture::new();
    let target = running(&fixture);
    let mut spec = script("true");
    spec.args = vec!["nosuch".to_owned()];
    assert_eq!(start_in(&target, &spec).expect_err("nosuch").exit_code(), 127);
    spec.args = vec!["/etc".to_owned()];
    assert_eq!(start_in(&target, &spec).expect_err("/etc").exit_code(), 126);
    target.kill(9).unwrap();
    target.wait().unwrap();
    assert!(start_in(&target, &script("true")).is_err());
}

fn it_ends_with_the_sandbox() {
    let fixture = Fixture::new();
    let target = running(&fixture);
    let (process, _reader) = start_in(&target, &script("exec sleep 100")).unwrap();
    target.kill(9).unwrap();
    assert_eq!(process.wait().unwrap(), Exit::Signal(9));
    assert_eq!(target.wait().unwrap(), Exit::Signal(9));
}
