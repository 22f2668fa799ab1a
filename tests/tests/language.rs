//! The Dockerfile language where it meets the machine: mounts, networks, checks as documents.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use lighter_tests::Lighter;

/// Builds, and gives what a file of the image holds.
fn file_of(lighter: &Lighter, dockerfile: &str, path: &str) -> String {
    lighter.build("it", dockerfile, &[("f", "f")]);
    lighter.ok(["run", "--rm", "it", "cat", path])
}

#[test]
fn cache_mounts_that_begin_differently_are_different_ones() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox AS s\nFROM busybox AS o
RUN --mount=type=cache,target=/c touch /c/plain
RUN --mount=type=cache,target=/c,mode=0700 ls /c > /moded; stat -c %a /c >> /moded
RUN --mount=type=cache,target=/c,from=s,source=/etc ls /c | grep passwd > /filled
RUN --mount=type=cache,target=/c ls /c > /again
RUN mkdir -m 750 /own && chown 5:6 /own
FROM busybox
COPY --from=o /moded /filled /again /
RUN --mount=type=cache,target=/c,from=o,source=/own,mode=0700,uid=9 stat -c '%a %u:%g' /c > /kept
RUN --mount=type=cache,target=/c,from=s,mode=0700,uid=9 ls /c | wc -l > /empty\n";
    assert_eq!(file_of(&lighter, dockerfile, "/moded"), "700\n");
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/filled"]), "passwd\n");
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/again"]), "plain\n");
    // a folder that the mount begins as stays what it is; an owner or a mode alone make it begin empty
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/kept", "/empty"]), "750 5:6\n0\n");
}

#[test]
fn a_cache_mount_may_show_a_part_of_itself() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox
RUN --mount=type=cache,id=c,target=/c mkdir -p /c/d && echo kept > /c/d/f
RUN --mount=type=cache,id=c,source=d,target=/x cat /x/f > /folder && touch /x/new
RUN --mount=type=cache,id=c,source=/d/f,target=/x cat /x > /file
RUN --mount=type=cache,id=c,target=/c ls /c/d > /whole\n";
    assert_eq!(file_of(&lighter, dockerfile, "/folder"), "kept\n");
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/file", "/whole"]), "kept\nf\nnew\n");
    for kind in ["cache", "tmpfs"] {
        let dockerfile = format!("FROM busybox\nRUN --mount=type={kind},source=none,target=/x true\n");
        let said = lighter.build_refused(&dockerfile, &[]);
        assert!(said.contains("/none"), "{said}");
    }
}

#[test]
fn a_pipe_is_added_as_it_is_copied() {
    let lighter = Lighter::with_busybox();
    let context = lighter
        .context("FROM busybox\nADD pipe /x/\nCOPY pipe /y/\nRUN test -p /x/pipe -a -p /y/pipe\n", &[]);
    let made = std::process::Command::new("mkfifo").arg(context.join("pipe")).status().expect("mkfifo");
    assert!(made.success());
    lighter.ok(["build", context.to_str().expect("text")]);
}

#[test]
fn a_variable_without_a_name_is_given_to_no_command() {
    let lighter = Lighter::with_busybox();
    let said = lighter.build_refused("FROM busybox\nENV $NOTHING=1\nRUN true\n", &[]);
    assert!(said.contains("name cannot be empty"), "{said}");
}

#[test]
fn the_dockerfile_is_looked_for_as_docker_does() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox\nCOPY . /c\n", &[("out", "f"), ("in/f", "f")]);
    let path = |name: &str| context.join(name);
    // as `-f Dockerfile` says, unless only the other spelling is there
    fs::rename(path("Dockerfile"), path("in/dockerfile")).expect("renamed");
    let folder = context.to_str().expect("text");
    let build =
        |file: &str| lighter.run(["build", "-t", "it", "-f", path(file).to_str().expect("text"), folder]);
    assert_eq!(build("in/Dockerfile").code, 0);
    // a link leads no further than its folder, which is `/` to it
    std::os::unix::fs::symlink("/in/dockerfile", path("rooted")).expect("a link");
    std::os::unix::fs::symlink("../rooted", path("in/escaping")).expect("a link");
    assert_eq!(build("rooted").code, 0);
    let said = build("in/escaping");
    assert!(said.code == 1 && said.all().contains("failed to read dockerfile"), "{said:?}");
    // so does that of an ignore file: what is not found there leaves out nothing
    fs::write(lighter.path("patterns"), "out\n").expect("a file");
    std::os::unix::fs::symlink(lighter.path("patterns"), path(".dockerignore")).expect("a link");
    assert_eq!(build("rooted").code, 0);
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/c/out"]), "f");
}

#[test]
fn a_read_only_tmpfs_cannot_be_written_to() {
    let lighter = Lighter::with_busybox();
    let dockerfile =
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t,ro touch /t/f 2> /said; touch /t2 && cat /said\n";
    assert!(file_of(&lighter, dockerfile, "/said").contains("Read-only file system"));
}

#[test]
fn the_host_s_network_must_be_allowed() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nRUN --network=host true\n";
    let said = lighter.build_refused(dockerfile, &[]);
    assert!(said.contains("--allow network.host"), "{said}");
    let context = lighter.context(dockerfile, &[]);
    let context = context.to_str().expect("text");
    lighter.ok(["build", "--allow", "network.host", context]);
    lighter.ok(["build", "--network", "host", context]);
}

#[test]
fn the_default_network_of_a_step_is_the_request_s() {
    let lighter = Lighter::with_busybox();
    lighter.context("FROM busybox\nRUN --network=default ls /sys/class/net > /networks\n", &[]);
    lighter.ok(["build", "-t", "it", "context"]);
    lighter.ok(["build", "--network", "none", "-t", "it", "context"]);
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/networks"]), "lo\n");
}

#[test]
fn steps_know_the_host_by_the_name_that_is_given_to_it() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nRUN ip route | sed -n 's/default via \\([^ ]*\\) .*/\\1/p' > /gateway; \
                      sed -n 's/\\thost.test$//p' /etc/hosts > /host\n";
    lighter.context(dockerfile, &[]);
    lighter.ok(["build", "--network=host", "--add-host", "host.test=host-gateway", "-t", "it", "context"]);
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/host"]), "127.0.0.1\n");
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    lighter.ok(["build", "--add-host", "host.test:host-gateway", "-t", "it", "context"]);
    let gateway = lighter.ok(["run", "--rm", "it", "cat", "/gateway"]);
    // without a bridge, nothing leads to the host
    let expected = if is_root { gateway.as_str() } else { "" };
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/host"]), expected);
    assert!(!is_root || gateway.contains('.'), "{gateway}");
}

#[test]
fn the_working_folder_may_be_closed_to_the_user() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nRUN mkdir -p /closed/in && chmod 700 /closed\nUSER 7\nWORKDIR /closed/in\n\
                      RUN pwd > /tmp/here\n";
    lighter.build("it", dockerfile, &[]);
    let said = lighter.ok(["run", "--rm", "it", "sh", "-c", "cat /tmp/here; pwd"]);
    assert_eq!(said, "/closed/in\n/closed/in\n");
}

#[test]
fn an_empty_home_is_none() {
    let lighter = Lighter::with_busybox();
    lighter.build("it", "FROM busybox\nENV HOME=\nRUN echo \"$HOME\" > /home-of\n", &[]);
    let said = lighter.ok(["run", "--rm", "it", "sh", "-c", "cat /home-of; echo $HOME"]);
    assert_eq!(said, "/root\n/root\n");
}

#[test]
fn a_workdir_that_is_there_adds_no_file() {
    let lighter = Lighter::with_busybox();
    let dockerfile =
        "FROM busybox\nRUN mkdir -p /a/b && ln -s a /link\nRUN true\nWORKDIR /a/b\nWORKDIR /link/b\n";
    lighter.build("it", dockerfile, &[]);
    let layers = lighter.ok(["image", "inspect", "-f", "{{range .RootFS.Layers}}{{.}} {{end}}", "it"]);
    let layers: Vec<&str> = layers.split_whitespace().collect();
    assert_eq!(layers.len(), 5, "{layers:?}");
    assert_eq!((layers[3], layers[4]), (layers[2], layers[2]));
}

#[test]
fn the_name_of_the_machine_is_a_build_argument() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox\nRUN hostname > /name\n", &[]);
    let context = context.to_str().expect("text");
    lighter.ok(["build", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=other", "-t", "it", context]);
    assert_eq!(lighter.ok(["run", "--rm", "it", "cat", "/name"]), "other\n");
}

#[test]
fn a_link_s_name_does_not_replace_a_directory() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox\nRUN mkdir -p /m/l\nCOPY l /m/\n", &[("f", "f")]);
    std::os::unix::fs::symlink("f", context.join("l")).expect("a link");
    let said = lighter.refused(["build", context.to_str().expect("text")]);
    assert!(said.contains("cannot replace directory /m/l with a file"), "{said}");
}

#[test]
fn an_ignore_file_must_be_a_file() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox\nCOPY . /c\n", &[]);
    fs::create_dir(context.join(".dockerignore")).expect("a directory");
    let said = lighter.refused(["build", context.to_str().expect("text")]);
    assert!(said.contains(".dockerignore"), "{said}");
}

#[test]
fn checks_are_a_document_also_of_a_file_with_faults() {
    let lighter = Lighter::with_busybox();
    let check = |dockerfile: &str| {
        let context = lighter.context(dockerfile, &[]);
        let said = lighter.run(["build", "--call=check,format=json", context.to_str().expect("text")]);
        (said.code, serde_json::from_str::<serde_json::Value>(&said.out).expect("is JSON"))
    };
    let (code, document) = check("FROM busybox\n");
    assert_eq!((code, &document["warnings"]), (0, &serde_json::Value::Null));
    // without a target every stage is looked at, and each line of an instruction is a place
    let (code, document) = check("FROM busybox\nENV a b \\\n c\nFROM busybox\n");
    let warning = &document["warnings"][0];
    assert_eq!((code, &warning["ruleName"]), (1, &"LegacyKeyValueFormat".into()));
    assert_eq!(warning["location"]["ranges"][1]["start"]["line"], 3);
    let (code, document) = check("FROM busybox\nMAINTAINER x\nFOO\n");
    assert_eq!((code, &document["warnings"][0]["ruleName"]), (1, &"MaintainerDeprecated".into()));
    assert!(document["buildError"]["message"].as_str().expect("text").contains("unknown instruction: FOO"));
    assert_eq!(document["buildError"]["location"]["ranges"][0]["start"]["line"], 3);
    // what the text shows is told also where a base cannot be had
    let (code, document) = check("FROM 127.0.0.1:1/nosuch\nMAINTAINER x\n");
    assert_eq!((code, &document["warnings"][0]["ruleName"]), (1, &"MaintainerDeprecated".into()));
    assert!(document["buildError"]["message"].as_str().expect("text").contains("127.0.0.1:1/nosuch"));
}

#[test]
fn checks_are_a_report_also_of_a_file_with_faults() {
    let lighter = Lighter::with_busybox();
    for (dockerfile, fault) in [
        ("FROM busybox\nMAINTAINER x\nCOPPY x\n", "unknown instruction: COPPY"),
        (
            "# check=error=true\nFROM busybox\nMAINTAINER x\n",
            "lint violation found for rules: MaintainerDeprecated",
        ),
    ] {
        let context = lighter.context(dockerfile, &[]);
        let said = lighter.run(["build", "--check", context.to_str().expect("text")]);
        assert_eq!(said.code, 1, "{}", said.all());
        assert!(said.out.starts_with("Check complete, 1 warning has been found!\n"), "{}", said.out);
        // each is said once
        assert!(
            said.out.contains("WARNING: MaintainerDeprecated") && !said.out.contains(fault),
            "{}",
            said.out
        );
        assert!(said.err.contains(fault) && !said.err.contains("warning["), "{}", said.err);
    }
}

#[test]
fn targets_are_told_by_the_text_alone() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("# a the first\nFROM nosuch.invalid/x AS a\nFROM a\n", &[]);
    let said = lighter.ok(["build", "--call=targets", "--target=other", context.to_str().expect("text")]);
    assert_eq!(said, "TARGET    DESCRIPTION\na         the first\n(default) \n");
    let said = lighter.ok(["build", "--call=targets,format=json", context.to_str().expect("text")]);
    let fields: String = said.split_whitespace().collect();
    assert!(fields.contains(r#"{"default":true,"base":"a","location""#), "{said}");
}

/// What becomes of a flag.
#[derive(Clone, Copy)]
enum Fate {
    Works,
    /// Refused, with this in the text.
    Refused(&'static str),
}

/// The flags of `docker buildx build --help` of buildx 0.29, each with a value, and what becomes of it.
const FLAGS: &[(&str, &str, Fate)] = &[
    ("--add-host", "name:1.2.3.4", Fate::Works),
    ("--allow", "network.host", Fate::Works),
    ("--allow", "device", Fate::Refused("--allow device")),
    ("--annotation", "a=b", Fate::Works),
    ("--attest", "type=sbom", Fate::Refused("not supported")),
    ("--build-arg", "A=b", Fate::Works),
    ("--build-context", "other=.", Fate::Works),
    ("--builder", "default", Fate::Works),
    ("--builder", "other", Fate::Refused("other")),
    ("--cache-from", "type=local,src=nosuch", Fate::Works),
    ("--cache-to", "type=local,dest=@OUT@/cache", Fate::Works),
    ("--call", "targets", Fate::Works),
    ("--cgroup-parent", "", Fate::Works),
    ("--check", "", Fate::Works),
    ("--debug", "", Fate::Works),
    ("--file", "Dockerfile", Fate::Works),
    ("--iidfile", "@OUT@/iid", Fate::Works),
    ("--label", "a=b", Fate::Works),
    ("--load", "", Fate::Works),
    ("--metadata-file", "@OUT@/metadata", Fate::Works),
    ("--network", "none", Fate::Works),
    ("--no-cache", "", Fate::Works),
    ("--no-cache-filter", "stage", Fate::Works),
    ("--output", "type=tar,dest=@OUT@/tar", Fate::Works),
    ("--platform", "linux/arm64", Fate::Works),
    ("--progress", "plain", Fate::Works),
    ("--provenance", "true", Fate::Refused("not supported")),
    ("--provenance", "false", Fate::Works),
    ("--pull", "", Fate::Works),
    ("--push", "", Fate::Refused("tag")),
    ("--quiet", "", Fate::Works),
    ("--sbom", "true", Fate::Refused("not supported")),
    ("--secret", "id=s,src=f", Fate::Works),
    ("--shm-size", "1m", Fate::Works),
    ("--ssh", "default=f", Fate::Refused("it holds no private key")),
    ("--tag", "name", Fate::Works),
    ("--target", "stage", Fate::Works),
    ("--ulimit", "nofile=10", Fate::Works),
];

#[test]
fn every_flag_of_docker_works_or_says_that_it_does_not() {
    let lighter = Lighter::new();
    let context = lighter.context("FROM scratch AS stage\nCOPY f /f\n", &[("f", "f")]);
    let out = lighter.path("out");
    fs::create_dir(&out).expect("a directory");
    let help = lighter.ok(["build", "--help"]);
    for (flag, value, fate) in FLAGS {
        assert!(help.contains(&format!("{flag} ")), "{flag} is not in the help");
        let value = value.replace("@OUT@", out.to_str().expect("text"));
        let text = if value.is_empty() { (*flag).to_owned() } else { format!("{flag}={value}") };
        let text = if *flag == "--cgroup-parent" { format!("{flag}=") } else { text };
        let mut command = lighter.command(["build", text.as_str(), "."]);
        let said = command.current_dir(&context).output().expect("runs");
        let told = String::from_utf8_lossy(&said.stderr);
        match fate {
            Fate::Works => assert!(said.status.success(), "{text}: {told}"),
            Fate::Refused(why) => {
                assert!(!said.status.success() && told.contains(why), "{text}: {told}");
            }
        }
    }
    for (flag, _, _) in FLAGS {
        let wrong = format!("{flag}x");
        let said = lighter.refused(["build", wrong.as_str(), "."]);
        assert!(said.contains(&wrong), "{said}");
    }
}
