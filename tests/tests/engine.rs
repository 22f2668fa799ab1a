//! What Docker's users ask of containers beyond running them, and how it is refused where it makes no sense.

use lighter_tests::{Lighter, eventually};
use std::fmt::Write as _;
use std::process::Command;

fn archive(lighter: &Lighter, flags: &str) -> Vec<u8> {
    lighter.write("packed/f", "from the archive\n");
    let made =
        Command::new("tar").args(["-C", &lighter.path("packed").to_string_lossy(), flags, "f"]).output();
    made.expect("tar runs").stdout
}

#[test]
fn archives_are_copied_in_packed_or_not() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["create", "--name", "box", "busybox", "true"]);
    for flags in ["-c", "-cz"] {
        let said = lighter.run_with_input(["cp", "-", "box:/home"], &archive(&lighter, flags));
        assert_eq!(said.code, 0, "{flags}: {}", said.err);
        lighter.ok(["cp", "box:/home/f", flags.trim_start_matches('-')]);
        let copied = std::fs::read_to_string(lighter.path(flags.trim_start_matches('-')));
        assert_eq!(copied.expect("is there"), "from the archive\n");
    }
    assert_ne!(lighter.run_with_input(["cp", "-", "box:/home"], b"junk").code, 0);
    // no path at all is the root
    lighter.ok(["cp", "packed", "box:"]);
    assert!(lighter.ok(["diff", "box"]).contains("A /packed/f"));
    assert!(lighter.refused(["cp", "packed/f/", "box:/"]).contains("not a directory"));
    let missing = lighter.refused(["cp", "absent", "box:/"]);
    assert!(missing.contains(&format!("lstat {}", lighter.path("absent").display())), "{missing}");
    lighter.ok(["rm", "box"]);
}

#[test]
fn changes_of_a_commit_do_not_undo_each_other() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["run", "--name", "box", "busybox", "true"]);
    let changes = ["-c", "CMD [\"c\"]", "-c", "ENTRYPOINT [\"echo\"]", "-m", "why"];
    lighter.ok(["commit"].into_iter().chain(changes).chain(["box", "image"]));
    assert_eq!(lighter.ok(["run", "--rm", "image"]), "c\n");
    // an entry point alone takes the arguments of before away
    lighter.ok(["commit", "-c", "ENTRYPOINT [\"echo\"]", "box", "other"]);
    assert_eq!(lighter.ok(["run", "--rm", "other"]), "\n");
    assert!(
        lighter
            .refused(["commit", "-c", "RUN x", "box"])
            .contains("Error: RUN is not a valid change command")
    );
    lighter.ok(["rm", "box"]);
}

#[test]
fn a_copy_takes_no_folder_away_and_makes_none_of_a_file() {
    let lighter = Lighter::with_busybox();
    let script = "mkdir -p /t/d; echo in > /t/d/x; echo file > /t/f; ln -s d /t/l";
    lighter.ok(["run", "--name", "box", "busybox", "sh", "-c", script]);
    for (name, file, refused) in [
        ("one", "one/f/x", "cannot overwrite non-directory"),
        ("two", "two/d", "cannot overwrite directory"),
        ("three", "three/l/x", "cannot overwrite non-directory"),
    ] {
        lighter.write(file, "new");
        let said = lighter.refused(["cp", &format!("{name}/."), "box:/t"]);
        assert!(said.contains(refused), "{said}");
        let archive =
            Command::new("tar").args(["-C", &lighter.path(name).to_string_lossy(), "-c", "."]).output();
        let said = lighter.run_with_input(["cp", "-", "box:/t"], &archive.expect("tar runs").stdout);
        assert!(said.code != 0 && said.err.contains(refused), "{}", said.all());
    }
    lighter.write("out/t/d", "mine");
    assert!(lighter.refused(["cp", "box:/t", "out"]).contains("cannot overwrite non-directory"));
    assert_eq!(std::fs::read_to_string(lighter.path("out/t/d")).expect("a file"), "mine");
    let archive = lighter.command(["cp", "box:/t", "-"]).output().expect("lighter runs").stdout;
    let listed = lighter.write("listed.tar", archive);
    let listed = Command::new("tar").arg("-tf").arg(listed).output().expect("tar runs").stdout;
    assert_eq!(String::from_utf8_lossy(&listed), "t/\nt/d/\nt/d/x\nt/f\nt/l\n");
    lighter.ok(["rm", "box"]);
}

#[test]
fn an_archive_gives_no_image_the_digest_of_another() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["save", "-o", "saved.tar", "busybox"]);
    let archive = lighter.path("saved.tar");
    let folder = lighter.path("unpacked");
    std::fs::create_dir(&folder).expect("made");
    let tar = |mode: &str, last: &str| {
        let mut command = Command::new("tar");
        command
            .arg("-C")
            .arg(&folder)
            .arg(mode)
            .arg(&archive)
            .args([last].iter().filter(|text| !text.is_empty()));
        assert!(command.status().expect("tar runs").success());
    };
    tar("-xf", "");
    std::fs::remove_file(folder.join("index.json")).expect("was there");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("is there");
    let forged = manifest.replace("busybox:latest", &format!("busybox@sha256:{}", "0".repeat(64)));
    assert_ne!(forged, manifest);
    std::fs::write(folder.join("manifest.json"), forged).expect("written");
    tar("-cf", ".");
    assert!(lighter.refused(["load", "-i", "saved.tar"]).contains("invalid tag"));
    assert!(!lighter.ok(["images", "--digests"]).contains("sha256:0000"));
}

#[test]
fn a_commit_has_what_the_container_has() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nENTRYPOINT [\"echo\"]\nONBUILD RUN x\nSHELL [\"/bin/sh\", \"-xc\"]\nCMD c\n\
        USER 4\nHEALTHCHECK --interval=7s CMD h\n";
    lighter.build("base", dockerfile, &[]);
    lighter.ok(["create", "--name", "box", "base", "a"]);
    let config = |changes: &[&str]| {
        lighter.ok(["commit"].iter().chain(changes).copied().chain(["box", "image"]));
        lighter.ok(["inspect", "-f", "{{json .Config}}", "image"])
    };
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let whole = |cmd: &str, check: &str| {
        format!(
            "{{\"User\":\"4\",\"Env\":[\"{path}\"],\"Entrypoint\":[\"echo\"],{cmd}\
             \"Healthcheck\":{{\"Test\":[\"CMD-SHELL\",\"{check}\"],\"Interval\":7000000000}}}}\n"
        )
    };
    // triggers and the shell are for builds, and a container has none
    assert_eq!(config(&[]), whole("\"Cmd\":[\"a\"],", "h"));
    // nothing that the container has can be taken away
    assert_eq!(config(&["-c", "ENTRYPOINT []", "-c", "USER \"\""]), whole("\"Cmd\":[\"a\"],", "h"));
    assert_eq!(config(&["-c", "ENTRYPOINT []", "-c", "CMD [\"n\"]"]), whole("\"Cmd\":[\"n\"],", "h"));
    assert_eq!(config(&["-c", "CMD []", "-c", "HEALTHCHECK CMD z"]), whole("", "z"));
    assert!(
        lighter.refused(["commit", "-c", "SHELL [\"x\"]", "box"]).contains("SHELL is not a valid change")
    );
    // the history has the command without the entry point
    assert_eq!(lighter.ok(["history", "--format", "{{.CreatedBy}}", "image"]).lines().next(), Some("a"));
    lighter.ok(["rm", "box"]);
}

#[test]
fn a_network_is_shared_with_its_names() {
    let lighter = Lighter::with_busybox();
    let host = ["--hostname", "named", "--add-host", "other:1.2.3.4"];
    let words = ["run", "-d", "--name", "box"].into_iter().chain(host).chain(["busybox", "sleep", "1000"]);
    lighter.ok(words);
    let script =
        "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c other /etc/hosts; echo more >> /etc/hosts";
    let seen =
        lighter.ok(["run", "--name", "guest", "--network", "container:box", "busybox", "sh", "-c", script]);
    assert_eq!(seen, "named\nnamed\nnamed\n1\n");
    assert!(lighter.ok(["exec", "box", "cat", "/etc/hosts"]).ends_with("more\n"));
    assert_eq!(lighter.ok(["inspect", "-f", "{{.Config.Hostname}}", "guest"]), "named\n");
    let paths = lighter.ok(["inspect", "-f", "{{.HostsPath}}", "box", "guest"]);
    assert_eq!(paths.lines().next(), paths.lines().nth(1));
    let conflict = lighter.refused(["run", "--network", "bridge", "--network", "own", "busybox", "true"]);
    assert!(
        conflict.contains("cannot attach both user-defined and non-user-defined network-modes"),
        "{conflict}"
    );
    lighter.ok(["rm", "-f", "box", "guest"]);
}

#[test]
fn logs_are_kept_as_asked() {
    let lighter = Lighter::with_busybox();
    let script = "for i in $(seq 200); do echo line $i; done";
    let options = ["--log-opt", "max-size=2k", "--log-opt", "max-file=2"];
    let words = ["run", "--name", "box"].into_iter().chain(options).chain(["busybox", "sh", "-c", script]);
    lighter.ok(words);
    let kept = lighter.ok(["logs", "box"]);
    assert!(kept.ends_with("line 200\n") && !kept.contains("line 1\n"), "{kept}");
    lighter.ok(["rm", "box"]);
    assert_eq!(
        lighter.ok(["run", "--name", "box", "--log-driver", "none", "busybox", "echo", "seen"]),
        "seen\n"
    );
    assert!(lighter.refused(["logs", "box"]).contains("does not support reading"));
    lighter.ok(["rm", "box"]);
    let buffered = ["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=4m"];
    lighter.ok(["run", "--name", "box"].into_iter().chain(buffered).chain(["busybox", "echo", "seen"]));
    assert_eq!(lighter.ok(["logs", "--since", "1700000000.25", "box"]), "seen\n");
    lighter.ok(["rm", "box"]);
    let refused = lighter.refused(["create", "--log-opt", "max-buffer-size=4m", "busybox"]);
    assert!(refused.contains("only supported with 'mode=non-blocking'"), "{refused}");
    assert!(lighter.refused(["create", "--log-opt", "frob=1", "busybox"]).contains("unknown log opt 'frob'"));
    assert!(
        lighter.refused(["create", "--log-driver", "frob", "busybox"]).contains("plugin \"frob\" not found")
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let lighter = Lighter::with_busybox();
    for (options, expected) in [
        (&["--cpuset-cpus", "9999"][..], "Invalid value 9999"),
        (&["--cpuset-cpus", "8000"], "Requested CPUs are not available"),
        (&["--cpus", "8000"], "range of CPUs is from 0.01"),
        (&["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
        (&["--memory-swap", "64m"], "always set the Memory limit"),
        (&["--uts", "host", "--hostname", "x"], "conflicting options: hostname and the UTS mode"),
        (&["--isolation", "process"], "linux only supports 'default'"),
        (&["--label", "a b=c"], "contains whitespaces"),
        (&["--add-host", "bad"], "bad format for add-host"),
        (&["--sysctl", "vm.swappiness=1"], "is not allowed"),
        (&["--cap-add", "frob"], "invalid CapAdd: unknown capability"),
        (&["--restart", "always:3"], "can only be used with 'on-failure'"),
        (&["--restart", "on-failure:x"], "must be an integer"),
        (&["--memory-swappiness", "500"], "Valid memory swappiness range is 0-100"),
        (&["--health-interval", "1us"], "cannot be less than 1ms"),
        (&["--oom-score-adj", "5000"], "range for oom score adj"),
    ] {
        let said = lighter.refused(["create"].into_iter().chain(options.iter().copied()).chain(["busybox"]));
        assert!(said.contains(expected), "{options:?}: {said}");
    }
    assert_eq!(lighter.ok(["ps", "-aq"]), "");
}

#[test]
fn containers_are_found_by_ports_and_patterns() {
    let lighter = Lighter::with_busybox();
    for (name, options) in [("web-1", &["--expose", "80", "--expose", "91/udp"][..]), ("db", &[])] {
        let words = ["create", "--name", name].into_iter().chain(options.iter().copied()).chain(["busybox"]);
        lighter.ok(words);
    }
    let listed = |filter: &str| {
        let said = lighter.ok(["ps", "-a", "--format", "{{.Names}}", "--filter", filter]);
        said.lines().fold(String::new(), |mut all, name| {
            write!(all, "{name} ").expect("a text grows");
            all
        })
    };
    for (filter, expected) in [
        ("expose=80", "web-1 "),
        ("expose=79-81/tcp", "web-1 "),
        ("expose=90-99/udp", "web-1 "),
        ("expose=91", ""),
        ("publish=80", ""),
        ("name=^/?(web|db)$", "db "),
        ("name=web-[0-9]", "web-1 "),
        ("is-task=false", "db web-1 "),
    ] {
        assert_eq!(listed(filter), expected, "{filter}");
    }
    assert!(lighter.refused(["ps", "--filter", "publish=bad"]).contains("looking up for publish bad"));
    assert!(lighter.refused(["ps", "--filter", "status=bad"]).contains("must be one of created"));
    lighter.ok(["rm", "web-1", "db"]);
}

#[test]
fn volumes_are_what_their_options_say() {
    let lighter = Lighter::with_busybox();
    lighter.write("shared/sub/f", "bound\n");
    let device = format!("device={}", lighter.path("shared").display());
    lighter.ok(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "bound"]);
    assert_eq!(lighter.ok(["run", "--rm", "-v", "bound:/m", "busybox", "cat", "/m/sub/f"]), "bound\n");
    let part = "type=volume,src=bound,dst=/m,volume-subpath=sub";
    assert_eq!(lighter.ok(["run", "--rm", "--mount", part, "busybox", "ls", "/m"]), "f\n");
    lighter.ok(["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "small"]);
    let mounts = lighter.ok(["run", "--rm", "-v", "small:/m", "busybox", "grep", " /m ", "/proc/mounts"]);
    assert!(mounts.starts_with("tmpfs /m tmpfs") && mounts.contains("size=1024k"), "{mounts}");
    assert!(lighter.refused(["volume", "create", "-o", "frob=1", "x"]).contains("invalid option: \"frob\""));
    assert!(
        lighter.refused(["volume", "create", "-o", "type=none", "x"]).contains("missing required option")
    );
    assert!(
        lighter
            .refused(["volume", "create", "-o", "type=nfs", "-o", "device=:/x", "x"])
            .contains("volume type \"nfs\" is not supported")
    );
}

#[test]
fn no_link_leads_out_of_a_volume() {
    let lighter = Lighter::with_busybox();
    lighter.write("host/f", "canary\n");
    let part = "type=volume,src=data,dst=/m,volume-subpath=sub";
    lighter.ok(["run", "--rm", "-v", "data:/v", "busybox", "sh", "-c", "mkdir /v/sub && echo in > /v/sub/f"]);
    lighter.ok(["create", "--name", "part", "--mount", part, "busybox", "cat", "/m/f"]);
    lighter.ok(["cp", "part:/m/f", "copied"]);
    assert_eq!(std::fs::read_to_string(lighter.path("copied")).expect("is read"), "in\n");
    lighter.write("new", "new\n");
    lighter.ok(["cp", "new", "part:/m/new"]);
    assert_eq!(lighter.ok(["run", "--rm", "-v", "data:/v", "busybox", "cat", "/v/sub/new"]), "new\n");
    let swap = format!("mv /v/sub /v/old && ln -s {} /v/sub", lighter.path("host").display());
    lighter.ok(["run", "--rm", "-v", "data:/v", "busybox", "sh", "-c", &swap]);
    let refusal = lighter.refused(["start", "-a", "part"]);
    assert!(refusal.to_lowercase().contains("not found"), "{refusal}");
    lighter.refused(["cp", "part:/m/f", "stolen"]);
    lighter.refused(["cp", "new", "part:/m/new"]);
    assert!(!lighter.path("host/new").exists() && !lighter.path("stolen").exists());
    lighter.ok(["rm", "part"]);
}

#[test]
fn images_have_their_events() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["tag", "busybox", "other:x"]);
    lighter.ok(["rmi", "other:x"]);
    let format = "{{.Action}} {{.Actor.Attributes.name}}";
    let words = ["events", "--since", "1h", "--until", "0s", "--filter", "type=image", "--format", format];
    let told = lighter.ok(words);
    // the name that is gone is not told, as in Docker
    let id = lighter.ok(["inspect", "-f", "{{.Id}}", "busybox"]);
    assert!(told.ends_with(&format!("tag other:x\nuntag {id}")), "{told}");
}

#[test]
fn what_a_reboot_has_ended_is_started_again() {
    let lighter = Lighter::with_busybox();
    for (name, policy) in
        [("always", "always"), ("unless", "unless-stopped"), ("failure", "on-failure"), ("no", "no")]
    {
        lighter.ok(["run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000"]);
    }
    lighter.ok(["stop", "-t", "0", "always"]);
    lighter.ok(["run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "1000"]);
    lighter.ok(["stop", "-t", "0", "stopped"]);
    // a reboot kills the shims
    for name in ["unless", "failure", "no"] {
        let pid = lighter.ok(["inspect", "-f", "{{.State.Pid}}", name]);
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("a process");
        let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
        assert!(Command::new("kill").args(["-9", shim]).status().expect("kill runs").success());
    }
    eventually("the containers are down", || lighter.ok(["ps", "-q"]).is_empty());
    assert_eq!(lighter.ok(["system", "start"]), "always\nunless\n");
    assert_eq!(lighter.ok(["system", "start"]), "");
    assert_eq!(lighter.ok(["ps", "--format", "{{.Names}}"]), "unless\nalways\n");
    lighter.ok(["rm", "-f", "always", "unless", "failure", "no", "stopped"]);
}

#[test]
fn a_container_that_is_about_to_end_can_be_copied_from() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["create", "--name", "short", "busybox", "sh", "-c", "echo 1 > /f"]);
    // between the end of the process and the record of it
    for _ in 0..20 {
        lighter.ok(["start", "short"]);
        lighter.ok(["cp", "short:/bin/busybox", "out"]);
        lighter.ok(["wait", "short"]);
    }
}
