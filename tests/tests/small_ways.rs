//! Small ways of Docker's that scripts count on: exit codes, formats, what is told of things that happen.

use lighter_tests::Lighter;

#[test]
fn what_is_not_there_ends_run_as_a_missing_program_does() {
    let lighter = Lighter::with_busybox();
    let said = lighter.run(["run", "--cidfile", "no/such/dir/x", "busybox", "true"]);
    assert_eq!(said.code, 127, "{}", said.err);
    lighter.ok(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/no/such/dev", "vol"]);
    let said = lighter.run(["run", "--rm", "-v", "vol:/x", "busybox", "true"]);
    assert_eq!(said.code, 127, "{}", said.err);
}

#[test]
fn a_container_that_could_not_be_started_says_so_as_docker_does() {
    let lighter = Lighter::with_busybox();
    lighter.refused(["run", "--name", "box", "--user", "nosuch", "busybox", "true"]);
    let state = lighter.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box"]);
    assert_eq!(state, "created 128\n");
}

#[test]
fn a_template_that_does_not_fit_a_listing_is_an_ordinary_fault() {
    let lighter = Lighter::with_busybox();
    for format in ["{{.Repository", "{{nosuch .Tag}}", "{{.No}}"] {
        assert_eq!(lighter.run(["images", "--format", format]).code, 1, "{format}");
    }
    assert_eq!(lighter.run(["inspect", "-f", "{{.Id", "busybox"]).code, 64);
    let nothing = lighter.run(["inspect", "-f", "{{.Id}}", "nosuch"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (1, "\n"), "{}", nothing.err);
}

#[test]
fn an_empty_name_and_an_empty_output_are_none() {
    let lighter = Lighter::with_busybox();
    assert!(lighter.ok(["images", ""]).contains("busybox"));
    let context = lighter.context("FROM busybox\n", &[]);
    lighter.ok(["build", "-q", "-o", "", context.to_str().expect("UTF-8")]);
}

#[test]
fn what_occupies_the_disk_under_a_template() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["volume", "create", "v1"]);
    let shown =
        lighter.ok(["system", "df", "-v", "--format", "{{range .Volumes}}{{.Name}} {{.Links}}{{end}}"]);
    assert_eq!(shown, "v1 0");
    let shown =
        lighter.ok(["system", "df", "-v", "--format", "{{range .Images}}{{.Repository}}:{{.Tag}}{{end}}"]);
    assert_eq!(shown, "busybox:latest");
    let shown = lighter.ok(["system", "df", "-v", "--format", "json"]);
    assert!(shown.starts_with("{\"BuildCache\":[") && shown.contains("\"Volumes\":[{"), "{shown}");
    assert!(lighter.ok(["system", "df", "-v"]).contains("Local Volumes space usage:"));
}

#[test]
fn events_of_images_have_their_labels() {
    let lighter = Lighter::with_busybox();
    lighter.build("made", "FROM busybox\nLABEL a=b\n", &[]);
    lighter.ok(["tag", "made", "other:2"]);
    lighter.ok(["rmi", "other:2"]);
    let format = "{{.Action}} {{.Actor.Attributes.name}}";
    let told = lighter.ok([
        "events",
        "--since",
        "1",
        "--until",
        "0s",
        "--filter",
        "type=image",
        "--filter",
        "label=a=b",
        "--format",
        format,
    ]);
    let id = lighter.ok(["inspect", "-f", "{{.Id}}", "made"]);
    let id = id.trim_end();
    assert_eq!(told, format!("tag made\ncreate {id}\ntag other:2\nuntag {id}\n"));
    let told =
        lighter.ok(["events", "--since", "1", "--until", "0s", "--filter", "label=a", "--format", "json"]);
    assert!(!told.contains("\"from\""), "{told}");
}

#[test]
fn a_list_of_processes_is_an_event() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["run", "-d", "--name", "box", "busybox", "sleep", "100"]);
    lighter.ok(["top", "box"]);
    let told = lighter.ok(["events", "--since", "1", "--until", "0s", "--filter", "event=top"]);
    lighter.ok(["rm", "-f", "box"]);
    assert!(told.contains(" container top ") && told.contains("name=box"), "{told}");
}

#[test]
fn load_takes_only_what_is_for_the_platform() {
    let lighter = Lighter::with_busybox();
    let archive = lighter.path("x.tar");
    let archive = archive.to_str().expect("UTF-8");
    lighter.ok(["save", "-o", archive, "busybox"]);
    lighter.ok(["rmi", "busybox"]);
    assert_eq!(lighter.ok(["load", "--platform", "linux/s390x", "-i", archive]), "");
    assert_eq!(lighter.ok(["images", "-q"]), "");
    let own = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    assert!(lighter.ok(["load", "--platform", own, "-i", archive]).contains("busybox"));
}

#[test]
fn one_damaged_container_does_not_hide_the_others() {
    let lighter = Lighter::with_busybox();
    let id = lighter.ok(["create", "--name", "bad", "busybox", "true"]);
    lighter.ok(["create", "--name", "good", "busybox", "true"]);
    let state = lighter.root().join("containers").join(id.trim_end()).join("state");
    std::fs::write(state, "no state").expect("writes");
    let said = lighter.run(["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!((said.code, said.out.as_str()), (0, "good\n"), "{}", said.err);
    assert!(said.err.contains(&id[..12]), "{}", said.err);
}

#[test]
fn no_healthcheck_and_shared_processes_in_inspect() {
    let lighter = Lighter::with_busybox();
    lighter.build("h", "FROM busybox\nHEALTHCHECK --interval=5s CMD true\n", &[]);
    lighter.ok(["create", "--name", "box", "--no-healthcheck", "--pid", "host", "h", "true"]);
    let shown =
        lighter.ok(["inspect", "-f", "{{json .Config.Healthcheck}} {{json .HostConfig.SecurityOpt}}", "box"]);
    assert_eq!(shown, "{\"Test\":[\"NONE\"],\"Interval\":5000000000} [\"label=disable\"]\n");
}

/// Whether the machine lets containers have networks of their own.
fn has_networks(lighter: &Lighter) -> bool {
    lighter.run(["network", "create", "probe"]).code == 0 && lighter.run(["network", "rm", "probe"]).code == 0
}

#[test]
fn the_way_out_is_that_of_the_highest_priority_and_never_lost() {
    let lighter = Lighter::with_busybox();
    if !has_networks(&lighter) {
        return;
    }
    lighter.ok(["network", "create", "way-a"]);
    lighter.ok(["network", "create", "way-b"]);
    lighter.ok(["run", "-d", "--name", "box", "--network", "way-b", "busybox", "sleep", "100"]);
    let way = || {
        let routes = lighter.ok(["exec", "box", "ip", "route"]);
        routes.lines().find_map(|line| line.strip_prefix("default ")).unwrap_or("").trim().to_owned()
    };
    let checks = || {
        let before = way();
        lighter.ok(["network", "connect", "way-a", "box"]);
        let first = way();
        lighter.ok(["network", "disconnect", "way-a", "box"]);
        let back = way();
        lighter.ok(["network", "connect", "--gw-priority", "-1", "way-a", "box"]);
        (before, first, back, way())
    };
    let (before, first, back, low) = checks();
    let shown =
        lighter.ok(["inspect", "-f", "{{(index .NetworkSettings.Networks \"way-a\").GwPriority}}", "box"]);
    let option = "com.docker.network.endpoint.ifname=lan7";
    let network = format!("name=way-a,gw-priority=2,driver-opt={option}");
    let links = lighter.run(["run", "--rm", "--network", &network, "busybox", "ip", "-o", "link"]);
    lighter.ok(["network", "disconnect", "way-a", "box"]);
    lighter.ok(["run", "-d", "--name", "two", "--network", "way-b", "busybox", "sleep", "100"]);
    lighter.ok(["network", "connect", "way-a", "two"]);
    lighter.ok(["network", "connect", "--link", "two:peer", "way-a", "box"]);
    let peer = lighter.run(["exec", "box", "ping", "-c", "1", "-W", "5", "peer"]);
    lighter.ok(["rm", "-f", "two"]);
    lighter.ok(["rm", "-f", "box"]);
    lighter.ok(["network", "rm", "way-a", "way-b"]);
    assert!(before.ends_with("eth0") && first.ends_with("eth1"), "{before} / {first}");
    assert_eq!((back, low), (before.clone(), before), "what was left, and what is of less worth");
    assert_eq!(shown, "-1\n");
    assert_eq!(peer.code, 0, "{}", peer.all());
    assert!(links.out.contains("lan7"), "{}", links.all());
}

#[test]
fn what_is_wished_of_a_network_is_checked() {
    let lighter = Lighter::with_busybox();
    let refused = |network: &str, words: &str| {
        let said = lighter.refused(["create", "--network", network, "busybox", "true"]);
        assert!(said.contains(words), "{said}");
    };
    refused("name=x,gw-priority=y", "invalid gw-priority (y)");
    refused("name=x,driver-opt=y", "invalid key value pair format in driver options");
    let twice = lighter.refused(["create", "--network", "x", "--network", "x", "busybox", "true"]);
    assert!(twice.contains("network \"x\" is specified multiple times"), "{twice}");
    let none = lighter.refused(["create", "--network", "bridge", "--network", "none", "busybox", "true"]);
    assert!(none.contains("cannot be connected to multiple networks"), "{none}");
    let part = ["run", "--mount", "type=volume,dst=/v,volume-subpath=x", "busybox", "true"];
    assert_eq!(lighter.run(part).code, 125);
    let option = lighter.refused(["network", "connect", "--driver-opt", "x", "net", "box"]);
    assert!(option.contains("invalid key/value pair format in driver options"), "{option}");
}

#[test]
fn the_build_cache_under_filters() {
    let lighter = Lighter::with_busybox();
    lighter.build("made", "FROM busybox\nRUN echo one > /one\n", &[]);
    let count = |filter: &str| {
        lighter.ok(["buildx", "du", "--filter", filter, "--format", "{{.ID}}"]).lines().count()
    };
    assert!(count("description~=RUN") == 1 && count("description~=COPY") == 0);
    assert!(count("type=regular") > 0 && count("type=exec.cachemount") == 0);
    assert!(lighter.ok(["buildx", "du", "--verbose"]).contains("Type:         regular\n"));
    assert!(lighter.refused(["buildx", "du", "--filter", "nope=1"]).contains("filter"));
}

#[test]
fn flags_that_are_none_are_told_as_such() {
    let lighter = Lighter::with_busybox();
    for verb in ["cp", "top"] {
        let said = lighter.refused([verb, "--nosuchflag", "x"]);
        assert!(said.contains("unknown flag: --nosuchflag"), "{said}");
    }
}
