//! Containers that outlive the command that started them: their life, their files, their network.

use std::fs::File;
use std::time::Duration;

use lighter_tests::{Lighter, eventually, waits_for_a_lock};

/// A busybox container that sleeps, removed with its store.
struct Sleeper {
    lighter: Lighter,
}

impl Sleeper {
    fn new(args: &[&str]) -> Self {
        let lighter = Lighter::with_busybox();
        let words = ["run", "-d", "--name", "box"].iter().chain(args).chain(&["busybox", "sleep", "1000"]);
        lighter.ok(words.copied());
        Self { lighter }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.lighter.run(["rm", "-f", "box"]);
    }
}

fn field(lighter: &Lighter, template: &str) -> String {
    lighter.ok(["inspect", "-f", template, "box"]).trim_end().to_owned()
}

#[test]
fn a_container_is_stopped_started_and_removed() {
    let sleeper = Sleeper::new(&[]);
    let lighter = &sleeper.lighter;
    assert_eq!(field(lighter, "{{.State.Status}} {{.Path}}"), "running sleep");
    assert!(lighter.refused(["rm", "box"]).contains("stop the container before removing"));
    lighter.ok(["stop", "-t", "0", "box"]);
    assert_eq!(field(lighter, "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"), "exited 137 0");
    assert_eq!(lighter.ok(["ps", "-q"]), "");
    lighter.ok(["start", "box"]);
    assert_eq!(field(lighter, "{{.State.Running}}"), "true");
    lighter.ok(["restart", "-t", "0", "box"]);
    assert_eq!(field(lighter, "{{.State.Running}} {{.RestartCount}}"), "true 0");
    lighter.ok(["rename", "box", "other"]);
    lighter.ok(["rename", "other", "box"]);
    assert_eq!(lighter.ok(["rm", "-f", "box"]), "box\n");
    assert!(lighter.refused(["inspect", "--type", "container", "box"]).contains("No such container"));
}

#[test]
fn a_killed_shim_takes_its_container_with_it_and_is_noticed() {
    let sleeper = Sleeper::new(&["--memory", "50m"]);
    let lighter = &sleeper.lighter;
    let pid = field(lighter, "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let parent =
        status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim().to_owned();
    let killed = std::process::Command::new("kill").args(["-9", &parent]).status().expect("kill runs");
    assert!(killed.success());
    eventually("the container is down", || field(lighter, "{{.State.Status}}") == "exited");
    assert_eq!(field(lighter, "{{.State.ExitCode}}"), "137");
    assert_eq!(field(lighter, "{{gt .State.FinishedAt .State.StartedAt}}"), "true");
    let is_gone = || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    };
    eventually("the process is gone", is_gone);
    lighter.ok(["start", "box"]);
    assert_eq!(field(lighter, "{{.State.Running}}"), "true");
}

#[test]
fn further_processes_run_inside() {
    let sleeper = Sleeper::new(&["-e", "A=box", "-w", "/tmp"]);
    let lighter = &sleeper.lighter;
    assert_eq!(lighter.run(["exec", "box", "sh", "-c", "exit 42"]).code, 42);
    assert_eq!(lighter.run(["exec", "box", "nosuch"]).code, 127);
    assert_eq!(lighter.run(["exec", "box", "/etc"]).code, 126);
    assert_eq!(lighter.ok(["exec", "-e", "B=2", "box", "sh", "-c", "echo $A $B $PWD"]), "box 2 /tmp\n");
    assert_eq!(lighter.run_with_input(["exec", "-i", "box", "cat"], b"in").out, "in");
    let said = lighter.run(["exec", "-u", "33:44", "box", "sh", "-c", "id -u; id -g; echo e >&2"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("33\n44\n", "e\n"));
    assert!(lighter.ok(["top", "box"]).contains("sleep 1000"));
}

#[test]
fn a_log_is_kept_and_followed() {
    let lighter = Lighter::with_busybox();
    let script = "echo one; echo two >&2; sleep 0.3; echo three";
    lighter.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    let followed = lighter.run(["logs", "-f", "box"]);
    assert_eq!((followed.out.as_str(), followed.err.as_str()), ("one\nthree\n", "two\n"));
    assert_eq!(lighter.ok(["logs", "--tail", "1", "box"]), "three\n");
    assert_eq!(lighter.ok(["wait", "box"]), "0\n");
    lighter.ok(["rm", "box"]);
}

#[test]
fn files_go_in_and_out_and_never_elsewhere() {
    let lighter = Lighter::with_busybox();
    let outside = lighter.path("outside");
    std::fs::create_dir(&outside).expect("makes a folder");
    let script = format!("ln -s {} /abs; echo own > /own; ln -s /own /link", outside.display());
    lighter.ok(["run", "--name", "box", "busybox", "sh", "-c", &script]);
    lighter.write("f", "in\n");
    lighter.run(["cp", "f", "box:/abs/a"]);
    assert_eq!(std::fs::read_dir(&outside).expect("reads").count(), 0);
    lighter.ok(["cp", "f", "box:/tmp/renamed"]);
    lighter.ok(["cp", "box:/tmp/renamed", "back"]);
    assert_eq!(std::fs::read_to_string(lighter.path("back")).expect("is there"), "in\n");
    lighter.ok(["cp", "-L", "box:/link", "followed"]);
    assert_eq!(std::fs::read_to_string(lighter.path("followed")).expect("is there"), "own\n");
    assert!(lighter.refused(["cp", "box:/absent", "x"]).contains("Could not find the file"));
    let changes = lighter.ok(["diff", "box"]);
    assert_eq!(
        changes.lines().collect::<Vec<_>>(),
        ["A /abs", "A /link", "A /own", "C /tmp", "A /tmp/renamed"]
    );
    lighter.ok(["rm", "box"]);
}

#[test]
fn a_container_becomes_an_image() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["run", "--name", "box", "busybox", "sh", "-c", "echo made > /m; rm /bin/vi"]);
    lighter.ok(["commit", "-c", "CMD [\"cat\", \"/m\"]", "-m", "why", "box", "image"]);
    assert_eq!(lighter.ok(["run", "--rm", "image"]), "made\n");
    assert_ne!(lighter.run(["run", "--rm", "image", "ls", "/bin/vi"]).code, 0);
    // what every container has is no part of the image
    assert_eq!(lighter.ok(["image", "inspect", "-f", "{{.Comment}}", "image"]), "why\n");
    lighter.ok(["rm", "box"]);
}

#[test]
fn a_fresh_container_has_changed_nothing() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["create", "--name", "box", "busybox", "true"]);
    assert_eq!(lighter.ok(["diff", "box"]), "");
    lighter.ok(["start", "-a", "box"]);
    assert_eq!(lighter.ok(["diff", "box"]), "");
    lighter.ok(["rm", "box"]);
}

#[test]
fn volumes_outlive_containers() {
    let lighter = Lighter::with_busybox();
    lighter.ok([
        "run",
        "--rm",
        "-v",
        "data:/d",
        "-v",
        "/anonymous",
        "busybox",
        "sh",
        "-c",
        "echo kept > /d/f",
    ]);
    assert_eq!(lighter.ok(["volume", "ls", "-q"]), "data\n");
    assert_eq!(lighter.ok(["run", "--rm", "-v", "data:/d:ro", "busybox", "cat", "/d/f"]), "kept\n");
    lighter.ok(["create", "--name", "box", "-v", "data:/d", "busybox"]);
    assert!(lighter.refused(["volume", "rm", "data"]).contains("volume is in use"));
    assert_eq!(lighter.ok(["cp", "box:/d/f", "-"]).len() % 512, 0);
    lighter.ok(["rm", "box"]);
    assert_eq!(lighter.ok(["volume", "rm", "data"]), "data\n");
}

#[test]
fn a_volume_whose_record_is_damaged_can_be_removed() {
    let lighter = Lighter::new();
    for arguments in [&["volume", "rm", "data"][..], &["volume", "rm", "-f", "data"]] {
        lighter.ok(["volume", "create", "data"]);
        std::fs::write(lighter.root().join("volumes/data/volume"), "no record").expect("damages it");
        assert_eq!(lighter.ok(["volume", "ls", "-q"]), "data\n");
        assert_eq!(lighter.ok(arguments.iter().copied()), "data\n");
        assert_eq!(lighter.ok(["volume", "ls", "-q"]), "");
    }
    assert!(lighter.refused(["volume", "rm", "data"]).contains("get data: no such volume"));
    assert_eq!(lighter.ok(["volume", "rm", "-f", "data"]), "data\n");
}

#[test]
fn a_policy_starts_a_container_again() {
    let lighter = Lighter::with_busybox();
    lighter.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--restart",
        "on-failure:2",
        "busybox",
        "sh",
        "-c",
        "echo x; exit 3",
    ]);
    let settled =
        || field(&lighter, "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}") == "exited 2 3";
    eventually("it was started twice again", settled);
    assert_eq!(lighter.ok(["logs", "box"]), "x\nx\nx\n");
    lighter.ok(["rm", "box"]);
}

#[test]
fn health_is_checked() {
    let sleeper =
        Sleeper::new(&["--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-retries", "2"]);
    let lighter = &sleeper.lighter;
    eventually("it is ill", || field(lighter, "{{.State.Health.Status}}") == "unhealthy");
    lighter.ok(["exec", "box", "touch", "/ok"]);
    eventually("it is well", || field(lighter, "{{.State.Health.Status}}") == "healthy");
    assert_eq!(lighter.ok(["ps", "-q", "--filter", "health=healthy"]).lines().count(), 1);
}

#[test]
fn what_happens_is_told() {
    let lighter = Lighter::with_busybox();
    assert_eq!(lighter.run(["run", "--rm", "--name", "box", "busybox", "sh", "-c", "exit 7"]).code, 7);
    let told = lighter.ok([
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "container=box",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(told, "create\nattach\nstart\ndie\ndestroy\n");
}

#[test]
fn containers_of_a_network_know_each_other() {
    let lighter = Lighter::with_busybox();
    let made = lighter.run(["network", "create", "net"]);
    if made.code != 0 {
        // an ordinary user has no bridges
        assert!(made.err.contains("ermitted") || made.err.contains("denied"), "{}", made.err);
        return;
    }
    lighter.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "net",
        "--network-alias",
        "al",
        "busybox",
        "sleep",
        "1000",
    ]);
    let found = lighter.ok(["run", "--rm", "--network", "net", "busybox", "ping", "-c1", "-W60", "al"]);
    assert!(found.contains("1 packets received"), "{found}");
    assert!(lighter.refused(["network", "rm", "net"]).contains("active endpoints"));
    // a second network and its names come and go while it runs
    lighter.ok(["network", "create", "second"]);
    lighter.ok(["network", "connect", "second", "box"]);
    assert_eq!(lighter.ok(["exec", "box", "ls", "/sys/class/net"]), "eth0\neth1\nlo\n");
    let found = lighter.ok(["run", "--rm", "--network", "second", "busybox", "ping", "-c1", "-W60", "box"]);
    assert!(found.contains("1 packets received"), "{found}");
    lighter.ok(["network", "disconnect", "second", "box"]);
    assert_eq!(lighter.ok(["exec", "box", "ls", "/sys/class/net"]), "eth0\nlo\n");
    lighter.ok(["network", "rm", "second"]);
    lighter.ok(["rm", "-f", "box"]);
    assert_eq!(lighter.ok(["network", "rm", "net"]), "net\n");
}

#[test]
fn nothing_is_left_of_many_containers() {
    let lighter = Lighter::with_busybox();
    std::thread::scope(|scope| {
        for number in 0..12 {
            let lighter = &lighter;
            scope.spawn(move || {
                let name = format!("box-{number}");
                lighter.ok(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]);
                lighter.ok(["rm", "-f", &name]);
            });
        }
    });
    assert_eq!(lighter.ok(["ps", "-aq"]), "");
    let left = |folder: &str| std::fs::read_dir(lighter.root().join(folder)).expect("reads").count();
    assert_eq!((left("containers"), left("names"), left("volumes")), (0, 0, 0));
}

#[test]
fn a_damaged_container_can_be_removed() {
    let lighter = Lighter::with_busybox();
    let id = lighter.ok(["run", "--name", "hurt", "-d", "busybox", "true"]);
    lighter.ok(["wait", "hurt"]);
    std::fs::write(lighter.root().join("containers").join(id.trim()).join("container"), "").expect("written");
    assert!(lighter.refused(["rm", "hurt"]).contains("is torn"));
    assert!(lighter.ok(["ps", "-aq"]).is_empty());
    lighter.ok(["rm", "-f", "hurt"]);
    lighter.ok(["run", "--name", "hurt", "busybox", "true"]);
    assert!(lighter.ok(["system", "check"]).contains("all is well"));
}

#[test]
fn inspect_tells_how_a_mount_was_asked_for() {
    let sleeper = Sleeper::new(&[
        "-v",
        "named:/named",
        "-v",
        "/tmp:/bind:ro",
        "--tmpfs",
        "/short",
        "--mount",
        "type=tmpfs,dst=/long,tmpfs-size=1m",
        "--mount",
        "type=volume,src=other,dst=/other",
    ]);
    let lighter = &sleeper.lighter;
    let mounts = field(lighter, "{{range .Mounts}}{{.Destination}}={{.Name}}{{.Mode}}\n{{end}}");
    let mut mounts: Vec<&str> = mounts.lines().collect();
    mounts.sort_unstable();
    assert_eq!(mounts, ["/bind=ro", "/long=", "/named=namedz", "/other=otherz"]);
    assert_eq!(field(lighter, "{{json .HostConfig.Binds}}"), r#"["named:/named","/tmp:/bind:ro"]"#);
    assert_eq!(field(lighter, "{{.HostConfig.Tmpfs}}"), "map[/short:]");
    let wishes = r#"[{"Type":"tmpfs","Target":"/long","TmpfsOptions":{"SizeBytes":1048576}},{"Type":"volume","Source":"other","Target":"/other"}]"#;
    assert_eq!(field(lighter, "{{json .HostConfig.Mounts}}"), wishes);
    assert_eq!(lighter.run(["run", "--rm", "busybox", ""]).code, 127);
}

#[test]
fn a_volume_belongs_to_whom_the_folder_in_the_image_belongs() {
    let lighter = Lighter::with_busybox();
    let dockerfile =
        "FROM busybox\nRUN mkdir /d && echo x > /d/f && chown 33:34 /d && chmod 2750 /d\nVOLUME /d\n";
    lighter.build("app", dockerfile, &[]);
    lighter.ok(["volume", "create", "--name", "made"]);
    for volume in ["data:/d", "made:/d", "/d"] {
        let seen = lighter.ok(["run", "--rm", "-v", volume, "app", "stat", "-c", "%u:%g %a", "/d", "/d/f"]);
        assert_eq!(seen, "33:34 2750\n0:0 644\n", "{volume}");
    }
    let bare = lighter.ok(["run", "--rm", "-v", "bare:/d:nocopy", "app", "stat", "-c", "%u:%g %a", "/d"]);
    assert_eq!(bare, "0:0 755\n");
    // who has put something into it keeps it as it is
    lighter.ok(["run", "--rm", "-v", "data:/e", "busybox", "chown", "1", "/e"]);
    assert_eq!(lighter.ok(["run", "--rm", "-v", "data:/d", "app", "stat", "-c", "%u", "/d"]), "1\n");
}

#[test]
fn a_container_that_has_ended_can_be_started_at_once() {
    let lighter = Lighter::with_busybox();
    let id = lighter.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", "exit 4"]);
    assert_eq!(lighter.ok(["wait", "box"]), "4\n");
    // its last shim may still be there: that is what this lock says
    let own = lighter.root().join("containers").join(id.trim_end()).join("upper");
    let last = File::open(own).expect("its files");
    last.lock().expect("the shim ends");
    let mut start = lighter.command(["start", "-a", "box"]).spawn().expect("starts");
    // nobody can see whether it has come to the lock: the longer, the surer
    std::thread::sleep(Duration::from_millis(300));
    drop(last);
    assert_eq!(start.wait().expect("ends").code(), Some(4));
    lighter.ok(["rm", "box"]);
}

#[test]
fn who_starts_in_the_background_learns_the_id_even_if_nothing_starts() {
    let lighter = Lighter::with_busybox();
    let said = lighter.run(["run", "-d", "--name", "box", "busybox", "nosuch"]);
    assert_eq!((said.code, said.out.trim().len()), (127, 64));
    assert_eq!(lighter.ok(["rm", said.out.trim()]).trim(), said.out.trim());
}

#[test]
fn aliases_and_addresses_need_a_network_of_ones_own() {
    let lighter = Lighter::with_busybox();
    let refused = |args: &[&str]| {
        let words = ["run", "--rm"].iter().chain(args).chain(&["busybox", "true"]);
        lighter.refused(words.copied())
    };
    for network in ["bridge", "none", "host"] {
        let said = refused(&["--network", network, "--network-alias", "a"]);
        assert!(said.contains("only supported for user-defined networks"), "{network}: {said}");
        let said = refused(&["--network", network, "--ip", "10.88.0.9"]);
        assert!(said.contains("on user defined networks only"), "{network}: {said}");
    }
    assert_eq!(lighter.ok(["network", "rm", "-f", "nosuch"]), "");
}

#[test]
fn an_image_of_a_container_has_its_volumes_and_an_empty_hostname_is_none() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["create", "--name", "box", "-v", "/vv", "-v", "named:/n", "--hostname=", "busybox", "true"]);
    lighter.ok(["commit", "box", "made"]);
    assert_eq!(lighter.ok(["inspect", "-f", "{{json .Config.Volumes}}", "made"]), "{\"/vv\":{}}\n");
    assert_eq!(lighter.ok(["inspect", "-f", "{{len .Config.Hostname}}", "box"]), "12\n");
    assert!(lighter.refused(["cp", "box:", "x"]).contains("cannot be empty"));
    std::fs::write(lighter.path("there"), "kept").expect("writable");
    let there = lighter.path("there").display().to_string();
    lighter.refused(["export", "-o", &there, "nosuch"]);
    assert_eq!(std::fs::read_to_string(&there).expect("it is still there"), "kept");
    lighter.ok(["rm", "-v", "box"]);
}

#[test]
fn a_restart_is_told_when_it_is_done_and_what_has_stopped_is_not_healthy() {
    let sleeper = Sleeper::new(&["--health-cmd", "true", "--health-interval", "100ms"]);
    let lighter = &sleeper.lighter;
    eventually("it is healthy", || field(lighter, "{{.State.Health.Status}}") == "healthy");
    lighter.ok(["restart", "-t", "0", "box"]);
    let filters = ["--filter", "event=start", "--filter", "event=restart", "--filter", "event=stop"];
    let words = ["events", "--since", "10m", "--until", "0s", "--format", "{{.Action}}"];
    let told = lighter.ok(words.iter().chain(&filters).copied());
    assert_eq!(told, "start\nstop\nstart\nrestart\n");
    lighter.ok(["stop", "-t", "0", "box"]);
    assert_eq!(field(lighter, "{{.State.Health.Status}}"), "unhealthy");
}

#[test]
fn kernel_parameters_of_the_host_are_not_set() {
    let lighter = Lighter::with_busybox();
    for (namespace, parameter) in [("--network", "net.core.somaxconn=4096"), ("--ipc", "kernel.shmmax=1000")]
    {
        let words = ["run", "--rm", namespace, "host", "--sysctl", parameter, "busybox", "true"];
        assert_eq!(lighter.run(words).code, 125, "{namespace}");
        assert!(lighter.refused(words).contains("is not allowed in the host's"), "{namespace}");
    }
}

#[test]
fn a_container_that_cannot_be_started_is_not_made() {
    let lighter = Lighter::with_busybox();
    for wish in [["--mount", "type=bind,src=/nosuch,dst=/x"], ["--link", "nosuch"]] {
        let words = ["run", "--name", "box", wish[0], wish[1], "busybox", "true"];
        assert_eq!(lighter.run(words).code, 125, "{wish:?}");
        assert_eq!(lighter.ok(["ps", "-aq"]), "", "{wish:?}");
    }
}

#[test]
fn a_volume_without_a_name_gives_way() {
    let lighter = Lighter::with_busybox();
    let template = "{{range .Mounts}}{{.Name}} {{.Destination}} {{end}}";
    lighter.ok(["create", "--name", "box", "-v", "/a", "-v", "named:/a", "busybox", "true"]);
    assert_eq!(field(&lighter, template), "named /a");
    let twice = ["create", "-v", "other:/a", "-v", "named:/a", "busybox", "true"];
    assert!(lighter.refused(twice).contains("Duplicate mount point"));
    lighter.ok(["rm", "box"]);
}

#[test]
fn variables_have_an_order() {
    let lighter = Lighter::with_busybox();
    lighter.build("image", "FROM busybox\nENV PATH=/bin A=1 B=2 C=3\n", &[]);
    lighter.ok(["create", "--name", "box", "-e", "X=1", "-e", "B=4", "-e", "A", "image", "env"]);
    let shown = field(&lighter, "{{json .Config.Env}}");
    assert_eq!(shown, r#"["X=1","B=4","A","PATH=/bin","C=3"]"#);
    lighter.ok(["rm", "box"]);
    let run = ["run", "--rm", "-h", "h", "-e", "X=1", "-e", "B=4", "-e", "A", "image", "env"];
    assert_eq!(lighter.ok(run), "PATH=/bin\nHOSTNAME=h\nX=1\nB=4\nC=3\nHOME=/root\n");
    lighter.ok(["run", "-d", "--name", "box", "-h", "h", "-e", "X=1", "image", "sleep", "1000"]);
    let seen = lighter.ok(["exec", "-e", "Y=1", "-e", "B=5", "-e", "C", "box", "env"]);
    assert_eq!(seen, "PATH=/bin\nHOSTNAME=h\nX=1\nA=1\nB=5\nY=1\nHOME=/root\n");
    lighter.ok(["rm", "-f", "box"]);
}

#[test]
fn a_stopped_container_knows_its_networks() {
    let lighter = Lighter::with_busybox();
    let id = lighter.ok(["network", "create", "net"]);
    let create = ["create", "--name", "box", "--network", "net", "--network-alias", "other", "-h", "host"];
    lighter.ok(create.iter().chain(&["busybox", "true"]).copied());
    let template = "{{with .NetworkSettings.Networks.net}}{{.NetworkID}} {{json .DNSNames}}{{end}}";
    assert_eq!(field(&lighter, template), " null");
    lighter.ok(["start", "-a", "box"]);
    let short = &field(&lighter, "{{.Id}}")[..12];
    assert_eq!(field(&lighter, template), format!(r#"{} ["box","other","{short}","host"]"#, id.trim()));
    lighter.ok(["rm", "box"]);
    lighter.ok(["network", "rm", "net"]);
}

#[test]
fn what_is_started_while_it_is_removed_is_one_of_the_two() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["create", "--name", "box", "busybox", "sleep", "1000"]);
    // the removal has seen that the container is down, and goes no further
    let lock = File::options().append(true).open(lighter.root().join("update-lock")).expect("the lock");
    lock.lock().expect("is free");
    let mut remove = lighter.command(["rm", "box"]).spawn().expect("starts");
    eventually("rm waits", || waits_for_a_lock(&remove));
    let mut start = lighter.command(["start", "box"]).spawn().expect("starts");
    eventually("start waits or is done", || {
        waits_for_a_lock(&start) || start.try_wait().expect("is our child").is_some()
    });
    drop(lock);
    let (removed, started) = (remove.wait().expect("ends"), start.wait().expect("ends"));
    let left = lighter.ok(["ps", "-aq"]);
    lighter.run(["rm", "-f", "box"]);
    assert_ne!(removed.success(), started.success(), "removed and started: {left:?}");
    assert_eq!(left.is_empty(), removed.success());
}

#[test]
fn a_commit_that_is_broken_off_leaves_the_container_running() {
    let sleeper = Sleeper::new(&[]);
    let status = || sleeper.lighter.ok(["inspect", "-f", "{{.State.Status}}", "box"]);
    let lock =
        File::options().append(true).open(sleeper.lighter.root().join("update-lock")).expect("the lock");
    lock.lock().expect("is free");
    let mut commit = sleeper.lighter.command(["commit", "box", "image"]).spawn().expect("starts");
    eventually("commit waits", || waits_for_a_lock(&commit));
    assert_eq!(status(), "paused\n");
    commit.kill().expect("is there");
    commit.wait().expect("ends");
    eventually("it runs", || status() == "running\n");
    drop(lock);
    sleeper.lighter.ok(["commit", "box", "image"]);
    assert_eq!(status(), "running\n");
}
