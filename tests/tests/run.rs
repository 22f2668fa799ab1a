//! `run` in the foreground: what the process gets, and what comes back.

use std::process::Command;

use lighter_tests::Lighter;

#[test]
fn exit_codes_are_passed_through() {
    let lighter = Lighter::with_busybox();
    for (command, code) in [
        (vec!["busybox", "sh", "-c", "exit 3"], 3),
        // process 1 cannot be killed from within
        (vec!["busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (vec!["busybox", "no-such-program"], 127),
        (vec!["busybox", "/etc"], 126),
        (vec!["--no-such-flag", "busybox"], 125),
        (vec!["127.0.0.1:1/no-such-image"], 125),
    ] {
        let said = lighter.run(["run", "--rm"].into_iter().chain(command.iter().copied()));
        assert_eq!(said.code, code, "{command:?}\n{}", said.all());
    }
}

#[test]
fn the_process_gets_what_was_asked_for() {
    let lighter = Lighter::with_busybox();
    let out = lighter.ok([
        "run",
        "--rm",
        "-e",
        "A=1",
        "-w",
        "/tmp",
        "-u",
        "33:50",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo $A; pwd; id -u; id -g; ls /sys/class/net",
    ]);
    assert_eq!(out, "1\n/tmp\n33\n50\nlo\n");
    let out = lighter.ok(["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"]);
    assert_eq!(out, "a b\n");
}

#[test]
fn standard_input_reaches_the_process() {
    let lighter = Lighter::with_busybox();
    let said = lighter.run_with_input(["run", "--rm", "-i", "busybox", "cat"], b"through\n");
    assert_eq!(said.out, "through\n", "{}", said.err);
}

#[test]
fn a_folder_of_the_host_can_be_mounted() {
    let lighter = Lighter::with_busybox();
    lighter.write("shared/f", "from the host\n");
    let volume = format!("{}:/m:ro", lighter.path("shared").display());
    assert_eq!(lighter.ok(["run", "--rm", "-v", &volume, "busybox", "cat", "/m/f"]), "from the host\n");
    assert_ne!(lighter.run(["run", "--rm", "-v", &volume, "busybox", "touch", "/m/g"]).code, 0);
}

#[test]
fn what_a_container_writes_is_gone_with_it() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["run", "--rm", "busybox", "sh", "-c", "echo x > /new"]);
    assert_ne!(lighter.run(["run", "--rm", "busybox", "cat", "/new"]).code, 0);
    assert_eq!(lighter.ok(["ps", "-aq"]), "");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let lighter = Lighter::with_busybox();
    for flag in [
        "--storage-opt=size=1g",
        "--cgroupns=other",
        "--isolation=process",
        "--log-opt=compress=true",
        "--link-local-ip=169.254.1.1",
    ] {
        let said = lighter.run(["run", "--rm", flag, "busybox", "true"]);
        let name = flag.split('=').next().expect("a first part");
        assert_eq!(said.code, 125, "{flag}\n{}", said.all());
        let words = ["is not supported", name.trim_start_matches("--")];
        assert!(said.err.contains(words[0]) || said.err.contains(words[1]), "{flag}\n{}", said.all());
    }
}

#[test]
fn a_store_may_be_named_from_where_one_is() {
    let lighter = Lighter::with_busybox();
    for root in ["store", "./store//."] {
        let mut command = lighter.command(["run", "--rm", "--network", "none", "busybox", "echo", "ran"]);
        let parent = lighter.root().parent().expect("a parent").to_owned();
        let output = command.env("LIGHTER_ROOT", root).current_dir(parent).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ran\n", "{root}: {said}");
    }
}

#[test]
fn the_umask_of_the_caller_reaches_no_container() {
    let lighter = Lighter::with_busybox();
    let stat = "stat -c '%a %n' /etc/hosts /etc/hostname /etc/resolv.conf /v /v/ol /t /t/mp; umask";
    let run = ["run", "--rm", "-v", "data:/v/ol", "--tmpfs", "/t/mp", "busybox", "sh", "-c", stat];
    let direct = lighter.command(run);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(direct.get_program()).args(direct.get_args());
    for (name, value) in direct.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.output().expect("runs");
    let expected = "644 /etc/hosts\n644 /etc/hostname\n644 /etc/resolv.conf\n755 /v\n755 /v/ol\n755 /t\n1777 /t/mp\n0022\n";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_caller_without_children_hears_of_their_end() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox\nRUN exit 0\n", &[]);
    let context = context.to_str().expect("text");
    for (words, code) in [
        (vec!["run", "--rm", "--network", "none", "busybox", "sh", "-c", "exit 3"], 3),
        (vec!["build", "-q", "--network", "none", context], 0),
    ] {
        let direct = lighter.command(words);
        let mut command = Command::new("timeout");
        command
            .args(["300", "env", "--ignore-signal=CHLD"])
            .arg(direct.get_program())
            .args(direct.get_args());
        for (name, value) in direct.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = command.output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
}

#[test]
fn what_could_not_be_started_is_removed_if_asked() {
    let lighter = Lighter::with_busybox();
    let direct = lighter.command(["run", "--rm", "--network", "none", "busybox", "true"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "umount -l /proc || exit 99; exec \"$0\" \"$@\""]);
    command.arg(direct.get_program()).args(direct.get_args());
    for (name, value) in direct.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    match command.output() {
        Ok(output) if output.status.code() == Some(125) => {}
        _ => return, // nothing can be unmounted here
    }
    assert_eq!(lighter.ok(["ps", "-aq"]), "");
}
