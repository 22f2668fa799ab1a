//! `run` in the foreground: what the process gets, and what comes back.

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
        (vec!["no-such-image.invalid/x"], 125),
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
