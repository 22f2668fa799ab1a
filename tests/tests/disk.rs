//! What the store occupies, and what prunes take away.

use lighter_tests::Lighter;

#[test]
fn what_df_says_is_what_is_there() {
    let lighter = Lighter::with_busybox();
    for number in 1..4 {
        let text = format!(
            "FROM busybox\nRUN --mount=type=cache,target=/c head -c 900000 /dev/urandom > /c/{number}; \
             head -c 700000 /dev/urandom > /f; mkdir /d; for i in $(seq 200); do echo $i > /d/$i; done\n"
        );
        lighter.build(&format!("i{number}"), &text, &[("f", "f")]);
    }
    lighter.ok(["volume", "create", "vol"]);
    let write = "head -c 800000 /dev/zero > /v/z; head -c 600000 /dev/zero > /own";
    lighter.ok(["run", "--name", "writer", "-v", "vol:/v", "i1", "sh", "-c", write]);
    let sizes = lighter.ok(["system", "df", "--format", "{{.Size}}"]);
    let sum: f64 = sizes.lines().map(bytes).sum();
    #[expect(clippy::cast_precision_loss, reason = "within one part in a hundred")]
    let real = lighter.disk_bytes() as f64;
    assert!((sum / real - 1.0).abs() < 0.01, "{sum} of {real}: {sizes}");
    let all = lighter.ok(["system", "df", "-v"]);
    let whole = all.lines().find_map(|line| line.strip_prefix("Whole store: ")).expect("a line");
    assert!((bytes(whole) / real - 1.0).abs() < 0.01, "{whole} of {real}");
}

fn bytes(text: &str) -> f64 {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).expect("a unit");
    let number: f64 = text[..at].parse().expect("a number");
    let unit = match &text[at..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        other => panic!("{other}"),
    };
    number * unit
}

#[test]
fn the_cache_is_kept_small_by_least_recent_use() {
    let lighter = Lighter::with_busybox();
    let build = |name: &str, limit: Option<&str>| {
        let text = format!("FROM busybox\nRUN head -c 1000000 /dev/urandom > /f; : {name}\n");
        lighter.context(&text, &[]);
        let mut command =
            lighter.command(["build", "--progress=plain", "--output=type=local,dest=out", "context"]);
        limit.map(|limit| command.env("LIGHTER_CACHE_LIMIT", limit));
        let output = command.output().expect("starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).matches("CACHED").count()
    };
    for name in ["one", "two", "three"] {
        build(name, None);
    }
    // used again: now two is the oldest
    assert_eq!(build("one", None), 2);
    build("four", Some("3500kb"));
    assert_eq!((build("one", None), build("three", None), build("four", None)), (2, 2, 2));
    assert_eq!(build("two", None), 1);
    // as much as asked for
    let left = || lighter.ok(["builder", "du", "--format", "{{.ID}}"]).lines().count();
    lighter.ok(["builder", "prune", "-f", "--min-free-space", "1kb"]);
    assert_eq!(left(), 4);
    lighter.ok(["builder", "prune", "-f", "--max-used-space", "2500kb"]);
    assert_eq!(left(), 2);
    lighter.ok(["builder", "prune", "-f", "--max-used-space", "1kb", "--reserved-space", "1500kb"]);
    assert_eq!(left(), 1);
    let mut bad = lighter.command(["build", "context"]);
    let said = bad.env("LIGHTER_CACHE_LIMIT", "much").output().expect("starts");
    assert!(String::from_utf8_lossy(&said.stderr).contains("LIGHTER_CACHE_LIMIT: invalid size: 'much'"));
}

#[test]
fn prunes_take_dockers_filters() {
    let lighter = Lighter::with_busybox();
    for (name, label) in [("kept", "x=1"), ("gone", "x=2")] {
        lighter.ok(["volume", "create", "--label", label, name]);
        lighter.ok(["network", "create", "--label", label, name]);
        lighter.ok(["create", "--name", name, "--label", label, "busybox", "true"]);
    }
    // nothing is that old, and nothing is removed before a filter that is none is refused
    let said = lighter.ok(["system", "prune", "-f", "--filter", "until=1000h"]);
    assert!(said.starts_with("Total reclaimed space: "), "{said}");
    lighter.refused(["system", "prune", "-f", "--filter", "until=1000h", "--volumes"]);
    lighter.refused(["system", "prune", "-f", "--filter", "foo=bar"]);
    assert_eq!(lighter.ok(["network", "prune", "-f", "--filter", "until=1000h"]), "");
    assert_eq!(lighter.ok(["ps", "-aq"]).lines().count(), 2);
    let said = lighter.ok(["system", "prune", "-f", "--volumes", "--filter", "label!=x=1"]);
    assert!(
        said.starts_with("Deleted Containers:\n") && said.contains("\n\nDeleted Networks:\ngone\n\n"),
        "{said}"
    );
    assert_eq!(lighter.ok(["ps", "-a", "--format", "{{.Names}}"]), "kept\n");
    // named volumes are somebody's
    assert_eq!(lighter.ok(["volume", "ls", "-q"]), "gone\nkept\n");
    let said = lighter.ok(["volume", "prune", "-af", "--filter", "label=x=2"]);
    assert!(said.starts_with("Deleted Volumes:\ngone\n\nTotal reclaimed space: "), "{said}");
    let said = lighter.ok(["system", "prune", "-f", "--filter", "label=x=1"]);
    assert!(said.contains("\n\nDeleted Networks:\nkept\n\n"), "{said}");
    let question =
        lighter.run_with_input(["system", "prune", "--volumes", "--filter", "label=a"], b"n\n").all();
    let expected = "WARNING! This will remove:\n  - all stopped containers\n  \
        - all networks not used by at least one container\n  \
        - all anonymous volumes not used by at least one container\n  - all dangling images\n  - unused build cache\n\n  \
        Items to be pruned will be filtered with:\n  - label=a\n\nAre you sure you want to continue? [y/N] ";
    assert!(question.starts_with(expected), "{question}");
}

#[test]
fn system_prune_takes_networks_and_grounds_and_leaves_what_runs() {
    let lighter = Lighter::with_busybox();
    lighter.ok(["network", "create", "lonely"]);
    lighter.ok(["run", "--network", "none", "-d", "--name", "up", "busybox", "sleep", "100"]);
    lighter.ok(["run", "--network", "none", "--name", "down", "busybox", "true"]);
    lighter.build("other", "FROM busybox\nRUN touch /x\n", &[]);
    lighter.ok(["run", "--network", "none", "--rm", "other", "true"]);
    let said = lighter.ok(["system", "prune", "-af"]);
    assert!(said.contains("Deleted Containers:") && said.contains("Deleted Networks:\nlonely\n"), "{said}");
    assert_eq!(lighter.ok(["ps", "-a", "--format", "{{.Names}}"]), "up\n");
    let grounds = std::fs::read_dir(lighter.root().join("grounds")).expect("the folder").count();
    assert_eq!(grounds, 1, "what `up` stands on");
    lighter.ok(["rm", "-f", "up"]);
}

#[test]
fn a_system_prune_leaves_no_layer_behind() {
    let lighter = Lighter::with_busybox();
    lighter.build("made", "FROM busybox\nRUN echo made > /made\n", &[]);
    assert!(layers(&lighter) > 1);
    lighter.ok(["system", "prune", "-af"]);
    assert_eq!(layers(&lighter), 0);
    assert!(lighter.ok(["system", "prune", "-af"]).contains("reclaimed space: 0B"));
}

/// How many unpacked layers the store holds.
fn layers(lighter: &Lighter) -> usize {
    let fans = std::fs::read_dir(lighter.root().join("layers")).expect("reads");
    fans.map(|fan| std::fs::read_dir(fan.expect("a fan").path()).expect("reads").count()).sum()
}

#[test]
fn a_limit_for_files_is_an_error_like_a_full_disk() {
    let lighter = Lighter::with_busybox();
    let program = lighter.command([]).get_program().to_owned();
    let limited = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit -f 8; exec \"$@\" {script}"), "sh"]).arg(&program);
        let output = command.env("LIGHTER_ROOT", lighter.root()).current_dir(lighter.path("")).output();
        output.expect("starts")
    };
    for script in ["import busybox.tar other", "save -o saved.tar busybox"] {
        let output = limited(script);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{script}: {said}");
        assert!(said.to_lowercase().contains("file too large"), "{script}: {said}");
    }
    // what is run in a container has the limit, too, and its usual effect
    let output = limited("run --rm --network none busybox sh -c 'head -c 1000000 /dev/zero > /f'");
    assert_ne!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    lighter.ok(["system", "check"]);
    lighter.ok(["import", "busybox.tar", "other"]);
}

#[test]
fn info_needs_nothing_written() {
    let lighter = Lighter::new();
    lighter.ok(["info"]);
    assert!(!lighter.root().exists());
    let lighter = Lighter::with_busybox();
    let scratch = lighter.root().join("scratch");
    std::fs::remove_dir_all(&scratch).expect("removed");
    std::fs::write(&scratch, "in the way").expect("written");
    let said = lighter.ok(["info", "--format", "{{.Images}} {{.Warnings}}"]);
    assert!(said.starts_with("1 ") && said.contains("the store cannot be written: "), "{said}");
    std::fs::set_permissions(lighter.root(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("set");
    let said = lighter.ok(["info"]);
    assert!(said.contains("WARNING: everybody may write the store: `chmod 700 "), "{said}");
}
