//! `build`: the main job, end to end.

use std::fs;

use lighter_tests::Lighter;

const TWO_STAGES: &str = "FROM busybox AS made
RUN echo artifact > /artifact && head -c 100000 /dev/zero > /ballast
FROM scratch
COPY --from=made /artifact /artifact
COPY --from=made /bin/busybox /bin/cat
";

#[test]
fn only_the_artifact_reaches_the_last_stage() {
    let lighter = Lighter::with_busybox();
    lighter.build("two", TWO_STAGES, &[]);
    assert_eq!(lighter.ok(["run", "--rm", "two", "/bin/cat", "/artifact"]), "artifact\n");
    assert_ne!(lighter.run(["run", "--rm", "two", "/bin/cat", "/ballast"]).code, 0);
}

#[test]
fn a_rebuild_with_nothing_changed_runs_nothing() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nCOPY f /f\nRUN cat /proc/sys/kernel/random/uuid > /id\n";
    lighter.build("one", dockerfile, &[("f", "same")]);
    let first = lighter.ok(["run", "--rm", "one", "cat", "/id"]);
    // the same content with another time stamp
    let said = lighter.build("one", dockerfile, &[("f", "same")]);
    assert_eq!(lighter.ok(["run", "--rm", "one", "cat", "/id"]), first);
    assert_eq!(said.matches("CACHED").count(), 3, "{said}");
    lighter.build("one", dockerfile, &[("f", "other")]);
    assert_ne!(lighter.ok(["run", "--rm", "one", "cat", "/id"]), first);
}

#[test]
fn a_proxy_that_is_declared_counts() {
    let lighter = Lighter::with_busybox();
    let said = |dockerfile: &str, proxy: &str| {
        let context = lighter.context(dockerfile, &[]);
        let argument = format!("HTTP_PROXY={proxy}");
        lighter.ok(["build", "--build-arg", &argument, "-t", "proxy", context.to_str().expect("text")]);
        lighter.ok(["run", "--rm", "proxy", "cat", "/p"])
    };
    let declared = "FROM busybox\nARG HTTP_PROXY\nRUN echo $HTTP_PROXY > /p\n";
    assert_eq!(said(declared, "http://a"), "http://a\n");
    assert_eq!(said(declared, "http://b"), "http://b\n");
    let undeclared = "FROM busybox\nRUN echo $HTTP_PROXY > /p\n";
    assert_eq!(said(undeclared, "http://a"), "http://a\n");
    assert_eq!(said(undeclared, "http://b"), "http://a\n");
    let replaced = "FROM busybox\nENV HTTP_PROXY=e\nRUN env | grep HTTP_PROXY > /p\n";
    assert_eq!(said(replaced, "http://a"), "HTTP_PROXY=http://a\n");
}

#[test]
fn old_builds_are_forgotten() {
    let lighter = Lighter::with_busybox();
    lighter.build("first", "FROM busybox\nRUN true\n", &[]);
    let builds = lighter.root().join("builds");
    for number in 0..1100 {
        fs::create_dir(builds.join(format!("{number:020x}"))).expect("makes an old build");
    }
    lighter.build("second", "FROM busybox\nRUN :\n", &[]);
    assert_eq!(fs::read_dir(builds).expect("lists").count(), 1000);
    assert_eq!(lighter.ok(["build", "history", "ls", "-q"]).lines().count(), 2);
}

#[test]
fn a_link_that_leads_into_what_another_step_takes_is_seen_whole() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nCOPY l /x/\nCOPY a/b /y/\n";
    for content in ["one", "two"] {
        let context = lighter.context(dockerfile, &[("a/b/f", "same"), ("a/c/f", content)]);
        std::os::unix::fs::symlink("a", context.join("l")).expect("makes the link");
        lighter.ok(["build", "-t", "linked", context.to_str().expect("text")]);
        assert_eq!(lighter.ok(["run", "--rm", "linked", "cat", "/x/c/f"]), content);
    }
}

#[test]
fn a_step_whose_rebuilt_input_is_the_same_is_not_run_again() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox AS made\nARG WHO\nRUN : $WHO; echo same > /out\nFROM busybox\n\
                      COPY --from=made /out /out\nRUN cat /proc/sys/kernel/random/uuid > /id\n";
    lighter.build("early", dockerfile, &[]);
    let first = lighter.ok(["run", "--rm", "early", "cat", "/id"]);
    let context = lighter.context(dockerfile, &[]);
    lighter.ok(["build", "--build-arg", "WHO=me", "-t", "early", context.to_str().expect("text")]);
    assert_eq!(lighter.ok(["run", "--rm", "early", "cat", "/id"]), first);
}

#[test]
fn only_what_the_target_needs_is_run() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox AS unused\nRUN exit 9\nFROM busybox AS wanted\nRUN echo w > /w\n\
                      FROM busybox\nRUN exit 8\n";
    let context = lighter.context(dockerfile, &[]);
    lighter.ok(["build", "--target", "WANTED", "-t", "wanted", context.to_str().expect("text")]);
    assert_eq!(lighter.ok(["run", "--rm", "wanted", "cat", "/w"]), "w\n");
}

#[test]
fn independent_stages_run_side_by_side() {
    let lighter = Lighter::with_busybox();
    // each waits for the other's start, which only a parallel builder can answer
    let wait = "RUN --mount=type=cache,target=/meet touch /meet/@; n=0; \
                until [ -e /meet/a ] && [ -e /meet/b ]; do n=$((n+1)); [ $n -lt 1200 ] || exit 1; sleep 0.1; done";
    let dockerfile = format!(
        "FROM busybox AS a\n{}\nFROM busybox AS b\n{}\nFROM scratch\nCOPY --from=a /etc/group /a\nCOPY --from=b /etc/group /b\n",
        wait.replace('@', "a"),
        wait.replace('@', "b")
    );
    lighter.build("parallel", &dockerfile, &[]);
}

#[test]
fn a_failing_step_is_shown_with_its_line_and_leaves_no_image() {
    let lighter = Lighter::with_busybox();
    let said = lighter.build_refused("FROM busybox\n# why\nRUN echo the last words; exit 7\n", &[]);
    for part in ["Dockerfile:3", "the last words", "exit code: 7", "RUN echo the last words; exit 7"] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    lighter.refused(["image", "inspect", "refused"]);
}

#[test]
fn flags_write_what_they_promise() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox\nARG A=1\nRUN echo $A > /a\n", &[]);
    let context = context.to_str().expect("text");
    let iidfile = lighter.path("iid");
    let quiet = lighter.ok([
        "build",
        "-q",
        "--iidfile",
        iidfile.to_str().expect("text"),
        "--label",
        "k=v",
        "--build-arg",
        "A=2",
        "-t",
        "one:x",
        "-t",
        "two",
        context,
    ]);
    let id = quiet.trim();
    assert_eq!(fs::read_to_string(iidfile).expect("written"), id);
    assert_eq!(
        lighter.ok(["image", "inspect", "-f", "{{.Id}} {{.Config.Labels.k}}", "one:x"]).trim(),
        format!("{id} v")
    );
    assert_eq!(lighter.ok(["image", "inspect", "-f", "{{.Id}}", "two:latest"]).trim(), id);
    assert_eq!(lighter.ok(["run", "--rm", "two", "cat", "/a"]), "2\n");
}

#[test]
fn options_that_are_empty_are_not_given() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox as a\nRUN true\n", &[]);
    let context = context.to_str().expect("text");
    let flags = "add-host allow annotation build-context cache-from cache-to file iidfile metadata-file output \
        provenance sbom secret ssh";
    let flags: Vec<String> = flags.split_whitespace().map(|flag| format!("--{flag}=")).collect();
    lighter.ok(["build", "-t", "it"].into_iter().chain(flags.iter().map(String::as_str)).chain([context]));
    assert!(lighter.ok(["images", "-q", "it"]).len() > 1);
    // what the checks find may leave the exit code as it is
    assert_eq!(lighter.run(["build", "--call=check", context]).code, 1);
    lighter.ok(["build", "--call=check,ignorestatus=true", context]);
}

#[test]
fn a_dockerfile_can_come_on_standard_input() {
    let lighter = Lighter::with_busybox();
    let said = lighter.run_with_input(["build", "-t", "in", "-"], b"FROM busybox\nRUN echo in > /in\n");
    assert_eq!(said.code, 0, "{}", said.all());
    let context = lighter.context("FROM nothing", &[("f", "file")]);
    let args = ["build", "-t", "in", "-f", "-", context.to_str().expect("text")];
    let said = lighter.run_with_input(args, b"FROM busybox\nCOPY f /f\n");
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(lighter.ok(["run", "--rm", "in", "cat", "/f"]), "file");
}

#[test]
fn ignored_files_are_not_in_the_context() {
    let lighter = Lighter::with_busybox();
    let files = [(".dockerignore", "*.log\n!keep.log\n"), ("a.log", ""), ("keep.log", ""), ("f", "")];
    lighter.build("ignored", "FROM busybox\nCOPY . /c/\n", &files);
    assert_eq!(lighter.ok(["run", "--rm", "ignored", "ls", "/c"]), "Dockerfile\nf\nkeep.log\n");
}

#[test]
fn an_edit_in_a_large_context_gives_what_a_copy_of_the_whole_gives() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nCOPY . /c/\nRUN find /c -type f | sort | xargs cat > /all\n";
    let context = lighter.context(dockerfile, &[("d/edited", "before\n"), ("d/gone", "gone\n")]);
    for number in 0..100 {
        lighter.write(&format!("context/many/{number:03}"), "");
    }
    let path = context.to_str().expect("text");
    lighter.ok(["build", "-q", "-t", "before", path]);
    lighter.write("context/d/edited", "after\n");
    lighter.write("context/new/file", "new\n");
    fs::remove_file(context.join("d/gone")).expect("removes a file");
    lighter.ok(["build", "-q", "-t", "after", path]);
    let records = walk(&lighter.root().join("layers"));
    let stacked = records.iter().filter(|path| {
        path.ends_with("layer") && fs::read_to_string(path).is_ok_and(|text| text.contains("\"base\":"))
    });
    assert_eq!(stacked.count(), 1, "one layer holds only a difference");
    let elsewhere = Lighter::with_busybox();
    elsewhere.ok(["build", "-q", "-t", "after", path]);
    for one in [&lighter, &elsewhere] {
        let all = one.ok(["run", "--rm", "after", "cat", "/all"]);
        assert_eq!(all, format!("{dockerfile}after\nnew\n"));
    }
    let layer = |lighter: &Lighter| {
        lighter.ok(["image", "inspect", "-f", "{{index .RootFS.Layers 1}} {{.Size}}", "after"])
    };
    assert_eq!(layer(&lighter), layer(&elsewhere));
    lighter.ok(["rmi", "before"]);
    lighter.ok(["builder", "prune", "-af"]);
    assert!(lighter.ok(["system", "check"]).contains("all is well"));
    assert_eq!(lighter.ok(["run", "--rm", "after", "cat", "/c/d/edited", "/c/many/007"]), "after\n");
    let saved = lighter.path("saved.tar");
    lighter.ok(["save", "-o", saved.to_str().expect("text"), "after"]);
    elsewhere.ok(["rmi", "after"]);
    elsewhere.ok(["builder", "prune", "-af"]);
    elsewhere.ok(["load", "-i", saved.to_str().expect("text")]);
    assert_eq!(elsewhere.ok(["run", "--rm", "after", "ls", "/c/d"]), "edited\n");
}

/// All files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.is_symlink() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn a_folder_can_be_the_result() {
    let lighter = Lighter::with_busybox();
    let context =
        lighter.context("FROM busybox AS b\nRUN echo x > /x\nFROM scratch\nCOPY --from=b /x /sub/x\n", &[]);
    let out = lighter.path("out");
    lighter.ok(["build", "-o", out.to_str().expect("text"), context.to_str().expect("text")]);
    assert_eq!(fs::read_to_string(out.join("sub/x")).expect("there"), "x\n");
}

#[test]
fn several_builds_at_once_share_one_store() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id; sleep 0.3\n";
    let context = lighter.context(dockerfile, &[]);
    let names = ["one", "two", "three", "four"];
    let children: Vec<_> = names
        .iter()
        .map(|name| lighter.command(["build", "-q", "-t", name, context.to_str().expect("text")]).spawn())
        .collect();
    for child in children {
        assert!(child.expect("starts").wait().expect("ends").success());
    }
    let ids: Vec<String> = names.iter().map(|name| lighter.ok(["run", "--rm", name, "cat", "/id"])).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the step ran more than once: {ids:?}");
}

#[test]
fn a_dockerfile_alone_has_an_empty_context() {
    let lighter = Lighter::with_busybox();
    let said = lighter.run_with_input(["build", "-"], b"FROM busybox\nCOPY nope /\n");
    assert_ne!(said.code, 0);
    assert!(said.all().contains("\"/nope\": not found"), "{}", said.all());
    let said = lighter.run_with_input(["build", "-t", "all", "-"], b"FROM busybox\nCOPY . /all/\n");
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(lighter.ok(["run", "--rm", "all", "ls", "/all"]), "");
}
