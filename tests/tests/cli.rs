//! What users type around a build, in Docker's words: formats, filters, conflicts, faults.

use lighter_tests::{Lighter, Said};
use serde_json::Value;

#[test]
fn inspect_prints_json_and_lengths_of_time() {
    let lighter = Lighter::with_busybox();
    lighter.build("app:1", "FROM busybox\nHEALTHCHECK --interval=90s --timeout=500ms CMD true\n", &[]);
    let check = |format, expected: &str| {
        assert_eq!(lighter.ok(["image", "inspect", "-f", format, "app:1"]), expected);
    };
    check(
        "{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Timeout}} {{.Config.Healthcheck.StartPeriod}}",
        "1m30s 500ms 0s\n",
    );
    check("{{json .Config.Healthcheck.Interval}} {{.Config.Healthcheck.Retries}}", "90000000000 0\n");
    check("{{.VirtualSize}}|{{.Container}}|{{js \"<'\"}}", "0||\\u003C\\'\n");
    let said = lighter.run(["inspect", "-s", "-f", "{{.Os}}", "app:1"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("linux\n", "WARNING: --size ignored for image\n"));
    let both = lighter.ok(["image", "inspect", "-f", "json", "app:1", "busybox"]);
    assert_eq!(both.lines().count(), 1);
    let both: Value = serde_json::from_str(&both).expect("JSON");
    assert_eq!(both[0]["RepoTags"][0], "app:1");
    assert_eq!(both[1]["RepoTags"][0], "busybox:latest");
}

#[test]
fn rows_are_json_as_docker_writes_it() {
    let lighter = Lighter::with_busybox();
    lighter.build("app:1", "FROM busybox\nCMD [\"a&b\"]\n", &[]);
    let rows = lighter.ok(["history", "--format", "json", "app:1"]);
    assert!(rows.contains(r#""ID":"\u003cmissing\u003e""#) && rows.contains(r"a\u0026b"), "{rows}");
    let said = lighter.refused(["images", "--format", "{{.Nope}}"]);
    assert!(said.contains("template parsing error") && said.contains("can't evaluate field Nope"), "{said}");
}

#[test]
fn filters_that_are_none() {
    let lighter = Lighter::with_busybox();
    let Said { code, err, .. } = lighter.run(["images", "--filter", "dangling"]);
    assert_eq!(code, 125, "{err}");
    assert!(
        err.starts_with(
            "invalid argument \"dangling\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"
        ),
        "{err}"
    );
    for words in [["ps", "-f", "x"], ["volume ls", "-f", "x"], ["network ls", "-f", "x"]] {
        let Said { code, err, .. } = lighter.run(words.iter().flat_map(|word| word.split(' ')));
        assert!(code == 125 && err.contains("bad format of filter"), "{code} {err}");
    }
    assert!(lighter.refused(["images", "--filter", "reference=[a"]).contains("syntax error in pattern"));
}

#[test]
fn a_repository_is_saved_with_all_its_tags() {
    let lighter = Lighter::with_busybox();
    lighter.build("app:1", "FROM busybox\nRUN echo 1 > /one\n", &[]);
    lighter.ok(["tag", "app:1", "app:2"]);
    let archive = lighter.path("app.tar");
    let archive = archive.to_str().expect("text");
    lighter.ok(["save", "-o", archive, "app"]);
    lighter.ok(["rmi", "app:1", "app:2"]);
    lighter.ok(["load", "-i", archive]);
    assert_eq!(lighter.ok(["images", "--format", "{{.Tag}}", "app"]), "1\n2\n");
}

#[test]
fn force_takes_the_last_name_of_an_image_that_runs() {
    let lighter = Lighter::with_busybox();
    lighter.build("app:1", "FROM busybox\nRUN echo 1 > /one\n", &[]);
    let id = lighter.ok(["image", "inspect", "-f", "{{.Id}}", "app:1"]);
    lighter.ok(["run", "-d", "--name", "runs", "app:1", "sleep", "100"]);
    assert!(lighter.refused(["rmi", "app:1"]).contains("\"app:1\" (must force)"));
    assert_eq!(lighter.ok(["rmi", "-f", "app:1"]), "Untagged: app:1\n");
    assert!(lighter.refused(["rmi", "-f", id.trim()]).contains("cannot be forced"));
    lighter.ok(["rm", "-f", "runs"]);
    assert!(lighter.ok(["rmi", id.trim()]).contains(&format!("Deleted: {}", id.trim())));
}

#[test]
fn faults_are_told_in_dockers_words() {
    let lighter = Lighter::with_busybox();
    let check = |words: &[&str], expected: &str| {
        let said = lighter.refused(words.iter().copied());
        assert!(said.contains(expected), "{words:?}: {said}");
        assert!(!said.contains("os error"), "{words:?}: {said}");
    };
    check(&["rmi", "nope"], "No such image: nope:latest");
    check(&["context", "use", "nope"], "context \"nope\": context not found");
    check(&["network", "ls", "--filter", "type=nope"], "invalid filter: 'type'='nope'");
    check(&["volume", "create", "a/b"], "\"a/b\" includes invalid characters for a local volume name");
    check(&["run", "-v", "a:b:c:d", "busybox"], "invalid volume specification: 'a:b:c:d'");
    check(&["run", "--volumes-from", "nope", "busybox"], "No such container: nope");
    check(&["exec", "nope"], "'lighter exec' requires at least 2 arguments");
    check(&["update", "nope"], "you must provide one or more flags");
    check(&["exec", "nope", "true"], "Error: No such container: nope");
    check(&["load", "-i", "nope.tar"], "open nope.tar: no such file or directory");
    check(&["load", "more"], "'lighter load' accepts no arguments");
    check(&["rmi"], "'lighter rmi' requires at least 1 argument");
    check(&["build", "-f", "nope", "."], "open nope: no such file or directory");
    let said = lighter.build_refused("FROM busybox\nRUN echo \"boo\" && exit 7\n", &[]);
    let expected =
        r#"process "/bin/sh -c echo \"boo\" && exit 7" did not complete successfully: exit code: 7"#;
    assert!(said.contains(expected), "{said}");
}

#[test]
fn the_image_is_all_that_a_quiet_build_prints() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox\nRUN true\n", &[]);
    let context = context.to_str().expect("text");
    let id = lighter.ok(["build", "-q", context]);
    assert_eq!(lighter.ok(["build", "--progress=quiet", context]), id);
    assert_eq!(id.len(), "sha256:".len() + 64 + 1);
}

#[test]
fn the_one_builder() {
    let lighter = Lighter::with_busybox();
    assert!(lighter.ok(["buildx", "version"]).starts_with("lighter "));
    let said = lighter.ok(["buildx", "ls"]);
    assert!(said.starts_with("NAME/NODE ") && said.contains("default*") && said.contains("linux/"), "{said}");
    assert!(lighter.ok(["buildx", "inspect", "--bootstrap"]).starts_with("Name:   default\n"));
    lighter.ok(["buildx", "use", "default"]);
    assert!(lighter.refused(["buildx", "use", "other"]).contains("no builder \"other\" found"));
}

#[test]
fn facts_that_scripts_ask_for() {
    let lighter = Lighter::new();
    let format =
        "{{.LoggingDriver}} {{.Swarm.LocalNodeState}} {{.Labels}} {{json .Plugins.Volume}} {{.Debug}}";
    assert_eq!(lighter.ok(["info", "--format", format]), "json-file inactive [] [\"local\"] false\n");
}

#[test]
fn symbolic_links_have_a_size() {
    let lighter = Lighter::with_busybox();
    lighter.build(
        "app:1",
        "FROM busybox\nRUN ln -s 0123456789 /link; echo 1234 > /file; ln /file /same\n",
        &[],
    );
    let sizes = lighter.ok(["history", "--human=false", "--format", "{{.Size}}", "app:1"]);
    assert_eq!(sizes.lines().next(), Some("15"));
}

#[test]
fn details_of_logs_are_empty() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["run", "--name", "said", "busybox", "echo", "hi"]);
    assert_eq!(lighter.ok(["logs", "--details", "said"]), " hi\n");
    let timed = lighter.ok(["logs", "--details", "-t", "said"]);
    assert!(timed.starts_with("20") && timed.ends_with("Z  hi\n"), "{timed}");
}
