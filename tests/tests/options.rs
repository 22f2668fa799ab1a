//! Options of `run` and `create` that decide what a container sees of others.

use lighter_tests::Lighter;

/// Words separated by blanks.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn memory_is_shared_by_those_who_join() {
    let lighter = Lighter::with_busybox();
    for (name, ipc) in [("open", "shareable"), ("shut", "private"), ("bare", "none"), ("usual", "")] {
        lighter.ok(["run", "-d", "--name", name, "--ipc", ipc, "busybox", "sleep", "100"]);
        let shown = lighter.ok(["inspect", "-f", "{{.HostConfig.IpcMode}}", name]);
        assert_eq!(shown.trim(), if ipc.is_empty() { "private" } else { ipc });
    }
    lighter.ok(["exec", "open", "sh", "-c", "echo met > /dev/shm/place"]);
    let join = |name: &str| lighter.run(["run", "--rm", "--ipc", name, "busybox", "cat", "/dev/shm/place"]);
    let said = join("container:open");
    assert_eq!((said.code, said.out.as_str()), (0, "met\n"), "{}", said.all());
    for name in ["container:shut", "container:bare", "container:usual"] {
        let said = join(name);
        assert_eq!(said.code, 125, "{name}\n{}", said.all());
        assert!(said.err.contains("non-shareable IPC"), "{name}\n{}", said.all());
    }
    lighter.ok(words("run -d --name joined --ipc container:open busybox sleep 100"));
    assert_eq!(join("container:joined").out, "met\n");
    let said = lighter.run(["exec", "bare", "ls", "/dev/shm"]);
    assert_eq!(said.code, 1, "{}", said.all());
    lighter.ok(words("rm -f open shut bare usual joined"));
}

#[test]
fn an_image_is_mounted() {
    let lighter = Lighter::with_busybox();
    lighter.build("files", "FROM scratch\nCOPY a d/a\nCOPY b d/b\n", &[("a", "in a\n"), ("b", "in b\n")]);
    let check = |options: &str, script: &str, code: i32, says: &str| {
        let mount = format!("type=image,{options}");
        let said = lighter.run(["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", script]);
        assert_eq!(said.code, code, "{options} {script}\n{}", said.all());
        assert!(said.all().contains(says), "{options} {script}\n{}", said.all());
    };
    check("src=files,dst=/m", "cat /m/d/a /m/d/b", 0, "in a\nin b\n");
    check("src=files,dst=/m", "touch /m/x", 1, "Read-only file system");
    check("src=files,dst=/m,image-subpath=d", "cat /m/b", 0, "in b\n");
    check("src=files,dst=/m,image-subpath=d/a", "cat /m", 0, "in a\n");
    check("src=files,dst=/m,image-subpath=e", "true", 127, "no such file or directory");
    check("src=files,dst=/m,image-subpath=../d", "true", 125, "subpath must be a relative path");
    check("src=nowhere,dst=/m", "true", 125, "No such image: nowhere");
    check("dst=/m", "true", 125, "field Source must not be empty");
    // its files stay as long as a container needs them
    lighter.ok(words("create --name it --mount type=image,src=files,dst=/m busybox cat /m/d/a"));
    let shown = lighter.ok(["inspect", "-f", "{{json .HostConfig.Mounts}} {{(index .Mounts 0).RW}}", "it"]);
    assert_eq!(shown, "[{\"Type\":\"image\",\"Source\":\"files\",\"Target\":\"/m\"}] false\n");
    lighter.ok(["rmi", "files"]);
    lighter.ok(["builder", "prune", "-af"]);
    assert_eq!(lighter.ok(["start", "-a", "it"]), "in a\n");
    lighter.ok(["rm", "it"]);
}

#[test]
fn a_link_gives_names_and_variables() {
    let lighter = Lighter::with_busybox();
    lighter.ok(words("run -d --name db1 -e FOO=bar --expose 5432 --expose 53/udp busybox sleep 100"));
    lighter.ok(words("run -d --name web --link db1:the-db -e THE_DB_ENV_FOO=own busybox sleep 100"));
    let env = lighter.ok(["exec", "web", "env"]);
    let address = lighter
        .ok(["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "db1"])
        .trim()
        .to_owned();
    for line in [
        format!("THE_DB_PORT=tcp://{address}:5432"),
        format!("THE_DB_PORT_5432_TCP=tcp://{address}:5432"),
        format!("THE_DB_PORT_5432_TCP_ADDR={address}"),
        "THE_DB_PORT_5432_TCP_PORT=5432".to_owned(),
        "THE_DB_PORT_53_UDP_PROTO=udp".to_owned(),
        "THE_DB_NAME=/web/the-db".to_owned(),
        "THE_DB_ENV_FOO=own".to_owned(),
    ] {
        assert_eq!(env.lines().filter(|known| **known == line).count(), 1, "{line}\n{env}");
    }
    let id = lighter.ok(["inspect", "-f", "{{.Config.Hostname}}", "db1"]);
    let hosts = lighter.ok(["exec", "web", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&format!("{address}\tthe-db {} db1\n", id.trim())), "{hosts}");
    let links = || lighter.ok(["inspect", "-f", "{{json .HostConfig.Links}}", "web"]);
    assert_eq!(links(), "[\"/db1:/web/the-db\"]\n");
    assert!(lighter.refused(["rm", "--link", "web"]).contains("cannot remove the default link name"));
    assert!(lighter.refused(["rm", "--link", "web/other"]).contains("No such container: web/other"));
    assert_eq!(lighter.ok(["rm", "--link", "/web/the-db"]), "/web/the-db\n");
    assert_eq!(links(), "null\n");
    assert!(!lighter.ok(["exec", "web", "cat", "/etc/hosts"]).contains("the-db"));
    lighter.ok(words("stop -t 0 db1"));
    let said = lighter.run(words("run --rm --name x1 --link db1 busybox true"));
    assert_eq!(said.code, 125, "{}", said.all());
    assert!(said.err.contains("Cannot link to a non running container: /db1 AS /x1/db1"), "{}", said.all());
    let said = lighter.run(words("create --link nowhere busybox"));
    assert!(said.err.contains("could not get container for nowhere: No such container"), "{}", said.all());
    lighter.ok(words("rm -f db1 web"));
}

#[test]
fn what_is_not_there_is_told_as_by_docker() {
    let lighter = Lighter::with_busybox();
    let check = |option: &str, code: i32, says: &str| {
        let said = lighter.run(["run", "--rm", option, "busybox", "true"]);
        assert_eq!(said.code, code, "{option}\n{}", said.all());
        assert!(said.err.contains(says), "{option}\n{}", said.all());
    };
    check("--gpus=all", 125, "could not select device driver \"\" with capabilities: [[gpu]]");
    check("--gpus=foo", 125, "invalid count (foo): value must be either \"all\" or an integer");
    check("--device=/nosuch", 127, "custom device \"/nosuch\": no such file or directory");
    check("--disable-content-trust", 0, "");
    check("--disable-content-trust=false", 125, "content trust is not supported");
    check("--kernel-memory=50m", 0, "WARNING: --kernel-memory is ignored");
    assert_eq!(lighter.ok(["ps", "-aq"]), "");
}

#[test]
fn a_client_configuration_that_cannot_be_read_is_told_of() {
    let lighter = Lighter::new();
    lighter.write("context/Dockerfile", "FROM scratch\nLABEL a=b\n");
    let check = |config: &str, is_told: bool| {
        lighter.write("config/config.json", config);
        let said = lighter.run(["build", "context"]);
        assert_eq!(said.code, 0, "{config}\n{}", said.all());
        let text = "WARNING: Error parsing config file (";
        assert_eq!(said.err.contains(text), is_told, "{config}\n{}", said.all());
    };
    check("", false);
    check(r#"{"proxies": {"default": {"httpProxy": "http://proxy.test"}}}"#, false);
    check("{proxies", true);
}

#[test]
fn completions_offer_names() {
    let lighter = Lighter::with_busybox();
    lighter.ok(words("create --name my-web busybox true"));
    lighter.ok(words("volume create my-data"));
    let script = lighter.ok(["completion", "bash"]);
    let test = r#"
        COMP_WORDS=("$@") COMP_CWORD=$(( $# - 1 ))
        _lighter_with_names "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let script = lighter.write("complete.sh", format!("{script}{test}"));
    let command = lighter.command([]);
    let check = |typed: &[&str], expected: &str| {
        let mut bash = std::process::Command::new("bash");
        bash.arg(&script).arg(command.get_program()).args(typed);
        bash.env("LIGHTER_ROOT", lighter.root());
        let output = bash.output().expect("bash starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{typed:?} {output:?}");
    };
    check(&["rm", "-f", "my"], "my-web\n");
    check(&["container", "rm", "my"], "my-web\n");
    check(&["volume", "rm", "my"], "my-data\n");
    check(&["run", "--network", "ho"], "host\n");
    check(&["run", "busybox", ":", "la"], "latest\n");
    check(&["exec", "my-web", "my"], "\n");
    check(&["rm", "--forc"], "--force\n");
}

#[test]
fn options_that_cannot_be_read_are_told_apart() {
    let lighter = Lighter::with_busybox();
    let unread = [
        "-p x",
        "--expose x",
        "--pid foo",
        "--uts foo",
        "--env-file /nosuch",
        "--label-file /nosuch",
        "--pull foo",
        "--security-opt seccomp=/nosuch",
        "--memory-swappiness 200",
        "--rm --restart always",
        "--network-alias x",
    ];
    let impossible = ["--ipc foo", "--restart foo", "-v a:b:c:d", "--runtime foo", "--ip x", "-w rel"];
    let of_create = unread.map(|line| (line, 125)).into_iter().chain(impossible.map(|line| (line, 1)));
    for (line, code) in of_create {
        let said = lighter.run([vec!["create"], words(line), vec!["busybox", "true"]].concat());
        assert_eq!(said.code, code, "{line}\n{}", said.all());
        let start = if code == 125 { "lighter: " } else { "Error: " };
        assert!(said.err.starts_with(start), "{line}\n{}", said.all());
        let said = lighter.run([vec!["run", "--rm"], words(line), vec!["busybox", "true"]].concat());
        assert_eq!(said.code, 125, "{line}\n{}", said.all());
    }
    assert_eq!(lighter.ok(["ps", "-aq"]), "");
}
