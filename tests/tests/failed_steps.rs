//! A build that fails or is ended: what can be looked at afterwards, and what must not stay.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lighter_tests::{Lighter, eventually};

const FAILS: &str = "FROM scratch AS none\nFROM busybox\nRUN mkdir /w; chown 33 /w\nUSER www\nWORKDIR /w\nENV A=env\nARG B=arg\n\
    RUN --mount=type=secret,id=s,uid=33 --mount=type=cache,target=/cache,uid=33 --mount=type=bind,target=/ctx \
    --mount=type=bind,from=busybox,source=bin,target=/tools --mount=type=tmpfs,target=/mem \
    --mount=type=bind,from=none,target=/none touch made /cache/x; exit 7\n";

fn failing(lighter: &Lighter) {
    lighter.write("secret", "hush");
    lighter.context(FAILS, &[("beside", "")]);
}

#[test]
fn a_shell_has_all_that_the_command_had() {
    let lighter = Lighter::with_busybox();
    failing(&lighter);
    let args = ["build", "--on-error=shell", "--secret", "id=s,src=secret", "context"];
    let said = lighter
        .run_with_input(args, b"id -un; pwd; echo $A $B; ls . /cache /ctx; cat /run/secrets/s; exit 3\n");
    assert_eq!(said.code, 1, "{}", said.all());
    let expected = "www\n/w\nenv arg\n.:\nmade\n\n/cache:\nx\n\n/ctx:\nDockerfile\nbeside\nhush";
    assert_eq!(said.out, expected, "{}", said.all());
    assert!(said.err.contains("exit code: 7"), "{}", said.err);
    let args = ["build", "--on-error=shell", "-"];
    assert!(lighter.refused(args).contains("standard input"), "{}", lighter.refused(args));
}

#[test]
fn a_root_that_is_kept_can_be_looked_at() {
    let lighter = Lighter::with_busybox();
    failing(&lighter);
    assert!(lighter.refused(["build", "debug"]).contains("no build has kept a root"));
    let said = lighter.refused(["build", "--on-error=keep", "--secret", "id=s,src=secret", "context"]);
    assert!(said.contains("lighter builder debug"), "{said}");
    let commands = "id -un; pwd; echo $A $B; ls . /cache; ls /tools/sh; grep -c ' /mem tmpfs' /proc/mounts; ls -d /none; \
        ls /run/secrets /ctx; exit 3\n";
    let said = lighter.run_with_input(["build", "debug"], commands.as_bytes());
    assert_eq!(said.out, "www\n/w\nenv arg\n.:\nmade\n\n/cache:\nx\n/tools/sh\n1\n/none\n", "{}", said.all());
    assert_eq!(said.code, 3);
    let gone = "not mounted at /run/secrets/s: secret s\nnot mounted at /ctx: files of the build context\n";
    assert!(said.err.starts_with(gone), "{}", said.err);
    // it outlives a collection
    lighter.ok(["builder", "prune", "-af"]);
    assert_eq!(lighter.ok(["build", "debug", "ls", "/w"]), "made\n");
    // a folder of that name is a context
    lighter.write("debug/Dockerfile", "FROM busybox\nRUN echo a-folder\n");
    assert!(lighter.run(["build", "debug"]).all().contains("a-folder"));
    assert_eq!(lighter.ok(["builder", "debug", "ls", "/w"]), "made\n");
}

#[test]
fn logs_are_kept_whole() {
    let lighter = Lighter::with_busybox();
    lighter.context("FROM busybox\nRUN seq 1 300000; exit 1\n", &[]);
    lighter.refused(["build", "context"]);
    let logs = lighter.ok(["build", "history", "logs"]);
    // `#5 0.123 300000`
    let written = |have: &&str| have.starts_with('#') && have.split(' ').count() == 3;
    let lines = |line: &str| logs.lines().filter(written).filter(|have| have.ends_with(line)).count();
    assert!(logs.len() > 2 << 20);
    assert_eq!((lines(" 1"), lines(" 150000"), lines(" 300000")), (1, 1, 1));
    assert!(lighter.ok(["build", "history"]).contains("Error"));
}

/// A build whose command has begun.
fn begun(lighter: &Lighter, flags: &[&str]) -> Child {
    let args = [&["build", "--progress=plain"], flags, &["context"]].concat();
    let mut child = lighter.command(args).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    assert!(lines.any(|line| line.expect("text").ends_with(" begun")));
    // it may go on writing
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// Whether a process has this text in its command line.
fn runs(text: &str) -> bool {
    processes().any(|path| contains(&path.join("cmdline"), text))
}

fn processes() -> impl Iterator<Item = std::path::PathBuf> {
    let is_process = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
    };
    fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path()).filter(is_process)
}

fn contains(path: &Path, text: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

fn child_of(pid: u32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let spawned = fs::read_dir(format!("/proc/{pid}/task")).expect("threads").flatten().find_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    });
    children.split_whitespace().next().and_then(|child| child.parse().ok()).or(spawned).expect("a child")
}

fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().expect("kill").success());
}

#[test]
fn a_signal_to_the_step_ends_the_build() {
    let lighter = Lighter::with_busybox();
    let number = format!("9{}", std::process::id());
    lighter.context(&format!("FROM busybox\nRUN echo begun; sleep {number}\n"), &[]);
    for (name, to_step) in [("-INT", true), ("-TERM", true), ("-INT", false), ("-TERM", false)] {
        let mut build = begun(&lighter, &[]);
        let pid = if to_step { child_of(build.id()).to_string() } else { build.id().to_string() };
        signal(name, &pid);
        let status = build.wait().expect("ends");
        assert_eq!(status.code(), Some(130), "{name} to the step: {to_step}");
        let what = format!("the command ends after {name} to the step: {to_step}");
        eventually(&what, || !runs(&format!("sleep\0{number}\0")));
    }
    assert!(lighter.ok(["builder", "history", "ls"]).contains("Canceled"));
}

#[test]
fn a_killed_build_leaves_nothing() {
    let lighter = Lighter::with_busybox();
    let number = format!("8{}", std::process::id());
    let secret = format!("hush-{number}");
    lighter.write("secret", &secret);
    lighter.context(
        &format!(
            "FROM busybox\nRUN --mount=type=secret,id=s head -c 20000000 /dev/urandom > /large; echo begun; sleep {number}\n"
        ),
        &[],
    );
    let before = places(&secret);
    let mut build = begun(&lighter, &["--secret", "id=s,src=secret"]);
    signal("-KILL", &build.id().to_string());
    build.wait().expect("ends");
    eventually("the command ends", || !runs(&format!("sleep\0{number}\0")));
    assert_eq!(places(&secret), before, "files of secrets");
    assert!(lighter.disk_bytes() > 20_000_000);
    // the next build takes it away, while others may go on
    lighter.build("next", "FROM busybox\nRUN true\n", &[]);
    let size = lighter.disk_bytes();
    assert!(size < 10_000_000, "{size}");
    assert!(lighter.ok(["system", "check"]).contains("all is well"));
}

/// Files in memory that hold the text.
fn places(text: &str) -> Vec<String> {
    let found = Command::new("grep").args(["-rlsF", text, "/dev/shm", "/run"]).output().expect("grep");
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn no_secret_is_anywhere_but_in_its_step() {
    let lighter = Lighter::with_busybox();
    let number = format!("7{}", std::process::id());
    let secret = format!("hush-{number}-hush");
    lighter.write("secret", &secret);
    lighter.context(
        &format!(
            "FROM busybox\nRUN --mount=type=secret,id=s,target=/here,mode=0444 --mount=type=secret,id=s \
             test \"$(cat /here)\" = \"$(cat /run/secrets/s)\"; md5sum < /here > /sum; echo begun; sleep {number}; false\n"
        ),
        &[],
    );
    let flags = ["--secret", "id=s,src=secret", "--explain", "--on-error=keep"];
    let mut build = begun(&lighter, &flags);
    for process in processes() {
        for file in ["cmdline", "environ"] {
            assert!(!contains(&process.join(file), &secret), "{}", process.join(file).display());
        }
    }
    let holders = || {
        let found = Command::new("grep").args(["-rlF", &secret]).arg(lighter.root()).output().expect("grep");
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    assert_eq!(holders(), "");
    signal("-INT", &build.id().to_string());
    build.wait().expect("ends");
    let dockerfile = fs::read_to_string(lighter.path("context/Dockerfile")).expect("text");
    lighter.write("context/Dockerfile", dockerfile.replace(&format!("; sleep {number}; false"), ""));
    let said = lighter.run([&["build", "-t", "x"], &flags[..], &["context"]].concat());
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(!said.all().contains(&secret));
    assert_eq!(holders(), "");
}
