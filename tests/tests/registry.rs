//! Registries: pull, push, login, lists of manifests, and what goes wrong on the way.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lighter_registry::testing::{Auth, Fault, Options, Registry, TestImage, Trouble};
use lighter_tests::{Lighter, eventually};
use serde_json::Value;

/// Longer than any case takes.
const FOR_EVER: Duration = Duration::from_hours(1);

/// A layer of one file that cannot be packed small.
fn layer(lighter: &Lighter, name: &str, size_bytes: usize) -> Vec<u8> {
    let folder = lighter.path("layer");
    fs::create_dir_all(&folder).expect("makes the folder");
    let mut seed = name.bytes().fold(7_u64, |seed, byte| seed * 31 + u64::from(byte));
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    });
    fs::write(folder.join(name), noise.take(size_bytes).collect::<Vec<u8>>()).expect("writes the file");
    let tar = Command::new("tar")
        .args(["--owner=0", "--group=0", "--numeric-owner", "-cf", "-", "-C"])
        .arg(&folder)
        .arg(name)
        .output()
        .expect("tar runs");
    tar.stdout
}

/// An image of two layers in the registry.
fn image(lighter: &Lighter, registry: &Registry, repository: &str) -> TestImage {
    let (small, large) = (layer(lighter, "small", 1000), layer(lighter, "large", 3_000_000));
    registry.put_image(repository, "x", &[&small, &large])
}

/// How often a blob was asked for, and from where on.
fn ranges(registry: &Registry, image: &TestImage, layer: usize) -> Vec<Option<String>> {
    let part = format!("/blobs/{}", image.layers[layer].digest);
    let of_it = |asked: &lighter_registry::testing::Recorded| {
        (asked.method == "GET" && asked.target.contains(&part))
            .then(|| asked.header("range").map(str::to_owned))
    };
    registry.requests().iter().filter_map(of_it).collect()
}

/// Starts a command and kills it once something is so.
fn killed(lighter: &Lighter, args: &[&str], what: &str, is_so: impl FnMut() -> bool) {
    let mut command = lighter.command(args.iter().copied());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    eventually(what, is_so);
    child.kill().expect("is killed");
    child.wait().expect("ends");
}

#[test]
fn what_is_pushed_comes_back() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    round_trip(&lighter, &registry.host());
    let (kind, _) = registry.manifest("a/b", "1").expect("pushed");
    assert_eq!(kind, "application/vnd.docker.distribution.manifest.v2+json");
}

/// An image goes to a registry and comes back from there.
fn round_trip(lighter: &Lighter, host: &str) {
    let name = format!("{host}/a/b:1");
    lighter.build(&name, "FROM busybox\nRUN echo hello > /f; rm /bin/vi\nCMD [\"cat\",\"/f\"]\n", &[]);
    let id = lighter.ok(["image", "inspect", "-f", "{{.Id}}", &name]);
    let pushed = lighter.ok(["push", &name]);
    let lines: Vec<&str> = pushed.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{host}/a/b]"));
    assert_eq!(lines.iter().filter(|line| line.ends_with(": Pushed")).count(), 2, "{pushed}");
    let last: Vec<&str> = lines[lines.len() - 1].split(' ').collect();
    let ["1:", "digest:", digest, "size:", size] = last[..] else { panic!("{pushed}") };
    assert!(size.parse::<u64>().is_ok());
    let again = lighter.ok(["push", &name]);
    assert_eq!(again.matches(": Layer already exists").count(), 2, "{again}");
    assert!(again.ends_with(lines[lines.len() - 1].to_owned().as_str()) || again.contains(digest), "{again}");
    let digests = lighter.ok(["image", "inspect", "-f", "{{json .RepoDigests}}", &name]);
    assert!(digests.contains(&format!("{host}/a/b@{digest}")), "{digests}");
    let mounted = format!("{host}/c:2");
    lighter.ok(["tag", &name, &mounted]);
    let there = lighter.ok(["push", &mounted]);
    assert_eq!(there.matches(": Mounted from a/b").count(), 2, "{there}");

    let elsewhere = Lighter::new();
    let pulled = elsewhere.ok(["pull", &name]);
    assert!(pulled.starts_with("1: Pulling from a/b\n"), "{pulled}");
    assert_eq!(pulled.matches(": Pull complete\n").count(), 2, "{pulled}");
    let end = format!("Digest: {digest}\nStatus: Downloaded newer image for {name}\n{name}\n");
    assert!(pulled.ends_with(&end), "{pulled}");
    assert_eq!(elsewhere.ok(["image", "inspect", "-f", "{{.Id}}", &name]), id);
    assert_eq!(elsewhere.ok(["run", "--rm", &name]), "hello\n");
    let again = elsewhere.ok(["pull", &name]);
    let whole =
        format!("1: Pulling from a/b\nDigest: {digest}\nStatus: Image is up to date for {name}\n{name}\n");
    assert_eq!(again, whole);
    let by_digest = format!("{host}/a/b@{digest}");
    let whole = format!(
        "{by_digest}: Pulling from a/b\nDigest: {digest}\nStatus: Image is up to date for {by_digest}\n{by_digest}\n"
    );
    assert_eq!(elsewhere.ok(["pull", &by_digest]), whole);
    let archive = elsewhere.path("saved.tar");
    elsewhere.ok(["save", "-o", archive.to_str().expect("text"), &by_digest]);
    let mut tar = Command::new("tar");
    let output = tar.arg("-xOf").arg(&archive).arg("manifest.json").output().expect("tar runs");
    let images: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(images[0]["RepoTags"], Value::Null, "a digest is no name to load it under");
    assert_eq!(elsewhere.ok(["pull", "-q", &name]), format!("{name}\n"));
    elsewhere.ok(["rmi", &name]);
    assert_eq!(elsewhere.ok(["run", "--rm", &name]), "hello\n");
}

#[test]
fn a_build_that_pushes_keeps_the_names() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    for (tag, output) in
        [("1", "--push"), ("2", "--output=type=registry"), ("3", "--output=type=image,push=true")]
    {
        let name = format!("{}/kept:{tag}", registry.host());
        let context = lighter.context("FROM busybox\nENV A=1\n", &[]);
        lighter.ok(["build", output, "-t", &name, context.to_str().expect("text")]);
        assert!(registry.manifest("kept", tag).is_some(), "{output}");
        assert!(lighter.ok(["image", "inspect", "-f", "{{.Config.Env}}", &name]).contains("A=1"), "{output}");
    }
}

#[test]
fn names_without_tags_and_all_tags() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let host = registry.host();
    for tag in ["latest", "2"] {
        lighter.ok(["tag", "busybox", &format!("{host}/x:{tag}")]);
    }
    let name = format!("{host}/x");
    assert!(lighter.ok(["push", &name]).starts_with("Using default tag: latest\n"));
    assert!(registry.manifest("x", "2").is_none());
    lighter.ok(["push", "-a", &name]);
    assert!(registry.manifest("x", "2").is_some());
    assert!(
        lighter.refused(["push", "-a", &format!("{name}:2")]).contains("tag can't be used with --all-tags")
    );
    let missing = lighter.refused(["push", &format!("{name}:3")]);
    assert!(missing.contains(&format!("tag does not exist: {name}:3")), "{missing}");
    let none = lighter.refused(["push", &format!("{host}/none:1")]);
    assert!(
        none.ends_with(&format!("An image does not exist locally with the tag: {host}/none\n")),
        "{none}"
    );
    assert_eq!(lighter.ok(["push", "-aq", &name]), format!("{name}\n"));
    let digest = lighter.ok(["image", "inspect", "-f", "{{index .RepoDigests 0}}", &name]);
    lighter.ok(["rmi", &format!("{name}:2")]);
    let untagged = format!("Untagged: {name}:latest\nUntagged: {digest}");
    assert_eq!(lighter.ok(["rmi", &name]), untagged, "the digest goes with the last tag");
    let elsewhere = Lighter::new();
    let pulled = elsewhere.ok(["pull", "-a", &name]);
    assert!(
        pulled.contains("2: Pulling from x\n") && pulled.ends_with(&format!("for {name}\n{name}\n")),
        "{pulled}"
    );
    let other = elsewhere.ok(["pull", "--platform", "linux/arm64", &name]);
    let warning = format!(
        "WARNING: image with reference {name}:latest was found but its platform (linux/amd64) does not match the \
         specified platform (linux/arm64)\n{name}:latest\n"
    );
    assert!(other.ends_with(&warning), "{other}");
    for args in [
        &["run", "--rm", "--platform", "linux/arm64", &name, "true"][..],
        &["push", "--platform", "linux/arm64", &name],
    ] {
        let refused = elsewhere.run(args.iter().copied());
        assert!(
            refused.code != 0 && refused.all().contains("does not match the specified platform"),
            "{args:?}"
        );
        assert!(!refused.all().contains("The push refers"), "nothing is begun");
    }
    assert!(
        elsewhere
            .refused(["push", "--platform", "bogus", &name])
            .starts_with("Error: `bogus` is not a platform")
    );
    let tags = elsewhere.ok(["images", "--format", "{{.Tag}}", &name]);
    assert_eq!(tags.lines().count(), 2, "{tags}");
    assert!(elsewhere.ok(["pull", &name]).starts_with("Using default tag: latest\nlatest: Pulling from x\n"));
}

#[test]
fn a_digest_goes_with_the_last_tag_and_comes_behind_it() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let host = registry.host();
    let name = format!("{host}/y:z");
    lighter.ok(["tag", "busybox", &name]);
    lighter.ok(["push", &name]);
    lighter.ok(["rmi", "busybox"]);
    let untagged = format!("Untagged: {name}\nUntagged: {host}/y@sha256:");
    let said = lighter.ok(["rmi", &name]);
    assert!(said.starts_with(&untagged), "{said}");
}

#[test]
fn a_pulled_image_is_pushed_as_it_came() {
    let (registry, lighter) = (Registry::start(), Lighter::new());
    let image = image(&lighter, &registry, "from");
    let (from, to) = (format!("{}/from:x", registry.host()), format!("{}/to:y", registry.host()));
    lighter.ok(["pull", &from]);
    lighter.ok(["tag", &from, &to]);
    let pushed = lighter.ok(["push", &to]);
    assert!(
        pushed.contains(&format!("y: digest: {} size: {}\n", image.manifest.digest, image.manifest.size)),
        "{pushed}"
    );
    assert_eq!(registry.manifest("to", "y"), registry.manifest("from", "x"));
    // and so it is at a registry that has nothing of it
    let other = Registry::start();
    let far = format!("{}/far:z", other.host());
    lighter.ok(["tag", &from, &far]);
    lighter.ok(["push", &far]);
    assert_eq!(other.manifest("far", "z"), registry.manifest("from", "x"));
    for layer in &image.layers {
        assert_eq!(other.blob(&layer.digest), registry.blob(&layer.digest));
    }
}

#[test]
fn what_a_push_sends_does_not_depend_on_where() {
    let (one, two, lighter) = (Registry::start(), Registry::start(), Lighter::with_busybox());
    let (first, second) = (format!("{}/x", one.host()), format!("{}/x", two.host()));
    for name in [&first, &second] {
        lighter.ok(["tag", "busybox", name]);
        lighter.ok(["push", name]);
    }
    assert_eq!(one.manifest("x", "latest"), two.manifest("x", "latest"));
    lighter.ok(["push", "--compression", "zstd", &first]);
    let (kind, bytes) = one.manifest("x", "latest").expect("pushed");
    assert_eq!(kind, "application/vnd.oci.image.manifest.v1+json");
    assert!(String::from_utf8_lossy(&bytes).contains("tar+zstd"));
    let elsewhere = Lighter::new();
    assert_eq!(elsewhere.ok(["run", "--rm", &first, "echo", "zstd"]), "zstd\n");
}

#[test]
fn damage_is_refused_and_leaves_no_image() {
    let (registry, lighter) = (Registry::start(), Lighter::new());
    let damaged = |fault: Fault, reason: &str, repository: &str| {
        let name = format!("{}/{repository}:x", registry.host());
        image(&lighter, &registry, repository);
        registry.order(fault.times(1));
        let said = lighter.refused(["pull", &name]);
        assert!(said.contains(reason), "{repository}: {said}");
        assert!(lighter.refused(["image", "inspect", &name]).contains("No such image"));
        assert_eq!(lighter.ok(["images", "-q"]), "");
        lighter.ok(["pull", &name]);
        lighter.ok(["rmi", &name]);
    };
    damaged(Fault::on("GET", "/flip/blobs/").after(2).with(Trouble::Flip), "digest mismatch", "flip");
    damaged(Fault::on("GET", "/config/blobs/").with(Trouble::Flip), "digest mismatch", "config");
    damaged(
        Fault::on("GET", "/long/blobs/").after(2).with(Trouble::Append(vec![0; 9])),
        "size mismatch",
        "long",
    );
    let name = format!("{}/gone:x", registry.host());
    assert!(lighter.refused(["pull", &name]).contains("not found"));
}

/// Changes a byte in the middle of a blob of the store.
fn damage(lighter: &Lighter, name: &str) {
    let not_a_record = ["-not", "-path", "*/diffs/*"];
    let mut find = Command::new("find");
    let found =
        find.arg(lighter.root()).args(["-name", name]).args(not_a_record).output().expect("find runs");
    let paths = String::from_utf8(found.stdout).expect("text");
    assert!(!paths.is_empty(), "{name} is not in the store");
    for path in paths.lines() {
        let mut bytes = fs::read(path).expect("reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(path).and_then(|()| fs::write(path, bytes)).expect("writes");
    }
}

#[test]
fn a_blob_that_was_damaged_in_the_store_is_fetched_again() {
    let (registry, lighter) = (Registry::start(), Lighter::new());
    let image = image(&lighter, &registry, "d");
    lighter.build("meta", &format!("FROM {}/d:x\nENV A=1\n", registry.host()), &[]);
    // as a pull leaves it that is killed before it has unpacked, on a disk that then loses something
    let digest = image.layers[1].digest.hex();
    let folder = lighter.root().join("blobs/sha256").join(&digest[..2]);
    fs::create_dir_all(&folder).expect("makes the folder");
    let whole = registry.blob(&image.layers[1].digest).expect("there");
    fs::write(folder.join(&digest), whole).expect("writes");
    damage(&lighter, &digest);
    lighter.ok(["create", "meta", "true"]);
    assert_eq!(ranges(&registry, &image, 1), [None]);
}

#[test]
fn a_damaged_blob_is_not_pushed() {
    let (registry, other, lighter) = (Registry::start(), Registry::start(), Lighter::new());
    let image = image(&lighter, &registry, "d");
    let (from, to) = (format!("{}/d:x", registry.host()), format!("{}/d:x", other.host()));
    lighter.ok(["pull", &from]);
    lighter.ok(["tag", &from, &to]);
    damage(&lighter, &image.layers[1].digest.hex());
    let said = lighter.refused(["push", &to]);
    assert!(said.contains("damaged") && said.contains("pull the image again"), "{said}");
    assert!(other.asked("PATCH").is_empty() && !other.has_blob(&image.layers[1].digest));
    lighter.ok(["pull", &from]);
    lighter.ok(["push", &to]);
    assert_eq!(other.manifest("d", "x"), registry.manifest("d", "x"));
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let (registry, lighter) = (Registry::start(), Lighter::new());
    let image = image(&lighter, &registry, "r");
    registry.order(
        Fault::on("GET", image.layers[1].digest.to_string()).times(1).with(Trouble::CutAfter(1_000_000)),
    );
    lighter.ok(["pull", &format!("{}/r:x", registry.host())]);
    assert_eq!(ranges(&registry, &image, 1), [None, Some("bytes=1000000-".to_owned())]);
}

#[test]
fn a_killed_pull_goes_on_where_it_was() {
    let (registry, lighter) = (Registry::start(), Lighter::new());
    let image = image(&lighter, &registry, "k");
    // the rest of the large layer never arrives
    let slow = Trouble::Slow { piece_bytes: 1_000_000, pause: FOR_EVER };
    registry.order(Fault::on("GET", image.layers[1].digest.to_string()).times(1).with(slow));
    let name = format!("{}/k:x", registry.host());
    let finds = |folder: &str, tests: &[&str]| {
        let found = Command::new("find").arg(lighter.root().join(folder)).args(tests).output();
        !found.expect("find runs").stdout.is_empty()
    };
    killed(&lighter, &["pull", &name], "one layer is there, and a part of the other", || {
        finds("pending", &["-name", "*.part", "-size", "+500k"])
            && finds("diffs", &["-type", "f", "-exec", "grep", "-q", "\"layer\":", "{}", ";", "-print"])
    });
    assert!(lighter.refused(["image", "inspect", &name]).contains("No such image"));
    lighter.ok(["pull", &name]);
    // the small layer came whole, of the large one only the rest is asked for
    assert_eq!(ranges(&registry, &image, 0).len(), 1);
    let asked = ranges(&registry, &image, 1);
    let [None, Some(range)] = &asked[..] else { panic!("{asked:?}") };
    assert!(range.strip_prefix("bytes=").is_some_and(|rest| !rest.starts_with("0-")), "{range}");
    assert_eq!(lighter.ok(["image", "inspect", "-f", "{{len .RootFS.Layers}}", &name]), "2\n");
}

#[test]
fn a_killed_push_does_not_send_again_what_is_there() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let name = format!("{}/k:x", registry.host());
    lighter.build(&name, "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\n", &[]);
    // the bytes of the third layer never arrive
    registry.order(Fault::on("PATCH", "/blobs/uploads/").after(2).times(1).with(Trouble::Stall(FOR_EVER)));
    let (place, diffs) = (format!("{}/k", registry.host()), lighter.root().join("diffs"));
    let remembered = || {
        let found = Command::new("grep").args(["-rlF", &place]).arg(&diffs).output().expect("grep runs");
        found.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
    };
    killed(&lighter, &["push", &name], "two layers are there", || remembered() == 2);
    assert!(registry.manifest("k", "x").is_none());
    let again = lighter.ok(["push", &name]);
    assert_eq!(again.matches(": Layer already exists").count(), 2, "{again}");
    assert_eq!(Lighter::new().ok(["run", "--rm", &name, "cat", "/1", "/2"]), "1\n2\n");
}

/// The shim that a command has started.
fn shim_of(child: &Child) -> Option<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).ok()?.flatten();
    let children: String =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
    let is_shim = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.contains("--lighter-shim"))
    };
    children.split_whitespace().find(is_shim).map(str::to_owned)
}

#[test]
fn a_shim_that_is_killed_during_a_pull_is_not_missed() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let name = format!("{}/s:x", registry.host());
    lighter.ok(["tag", "busybox", &name]);
    lighter.ok(["push", &name]);
    // it comes when the shim is gone
    registry.order(Fault::on("GET", "/blobs/").times(1).with(Trouble::Stall(Duration::from_secs(2))));
    let other = Lighter::new();
    let mut command = other.command(["run", "--rm", &name, "echo", "hello"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut shim = None;
    eventually("a shim waits", || {
        shim = shim_of(&child);
        shim.is_some()
    });
    let killed = Command::new("kill").args(["-9", &shim.expect("was seen")]).status().expect("kill runs");
    assert!(killed.success());
    let output = child.wait_with_output().expect("ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n", "{output:?}");
    assert_eq!(other.ok(["ps", "-aq"]), "");
}

#[test]
fn two_processes_fetch_a_blob_once() {
    let (registry, lighter) = (Registry::start(), Lighter::new());
    let image = image(&lighter, &registry, "t");
    let slow = Trouble::Slow { piece_bytes: 500_000, pause: Duration::from_millis(50) };
    registry.order(Fault::on("GET", "/blobs/").with(slow));
    let name = format!("{}/t:x", registry.host());
    let start = || {
        let mut command = lighter.command(["pull", &name]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    };
    let children: Vec<Child> = std::iter::repeat_with(start).take(3).collect();
    for child in children {
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for layer in 0..2 {
        assert_eq!(ranges(&registry, &image, layer), [None]);
    }
}

#[test]
fn a_base_is_fetched_when_a_step_needs_its_bytes() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let base = format!("{}/base:1", registry.host());
    lighter.ok(["tag", "busybox", &base]);
    lighter.ok(["push", &base]);
    let elsewhere = Lighter::new();
    let blobs = || {
        registry
            .requests()
            .iter()
            .filter(|asked| asked.method == "GET" && asked.target.contains("/blobs/"))
            .count()
    };
    elsewhere.build("meta", &format!("FROM {base}\nENV A=1\nCMD [\"echo\",\"hi\"]\n"), &[]);
    assert_eq!(blobs(), 1, "only the configuration");
    assert_eq!(elsewhere.ok(["run", "--rm", "meta"]), "hi\n");
    assert_eq!(blobs(), 2, "and its layer");
    let saver = Lighter::new();
    saver.build("meta", &format!("FROM {base}\nENV A=1\n"), &[]);
    saver.ok(["save", "-o", saver.path("meta.tar").to_str().expect("text"), "meta"]);
}

#[test]
fn only_those_who_are_logged_in_get_in() {
    let auth = Auth::Basic { username: "joe".to_owned(), password: "s3cret".to_owned() };
    let registry = Registry::with(Options { auth, ..Options::default() });
    let lighter = Lighter::with_busybox();
    let host = registry.host();
    let name = format!("{host}/p:1");
    lighter.ok(["tag", "busybox", &name]);
    let denied = |said: String| {
        assert!(
            ["unauthorized", "denied", "no basic auth"].iter().any(|reason| said.contains(reason)),
            "{said}"
        );
    };
    denied(lighter.refused(["push", &name]));
    denied(lighter.refused(["login", "-u", "joe", "-p", "wrong", &host]));
    let config = lighter.path("config/config.json");
    assert!(!config.exists());
    let said = lighter.run_with_input(["login", "-u", "joe", "--password-stdin", &host], b"s3cret\n");
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.out.contains("Login Succeeded\n") && !said.all().contains("s3cret"));
    let kept: Value = serde_json::from_slice(&fs::read(&config).expect("written")).expect("JSON");
    assert_eq!(kept["auths"][&host]["auth"], "am9lOnMzY3JldA==");
    lighter.ok(["push", &name]);
    lighter.ok(["pull", &name]);
    assert_eq!(lighter.ok(["logout", &host]), format!("Removing login credentials for {host}\n"));
    denied(lighter.refused(["pull", &name]));
    let given = format!(r#"{{"auths":{{"{host}":{{"auth":"am9lOnMzY3JldA=="}}}}}}"#);
    let output =
        lighter.command(["pull", "-q", &name]).env("DOCKER_AUTH_CONFIG", given).output().expect("starts");
    assert!(output.status.success());
}

#[test]
fn lists_are_made_annotated_and_pushed() {
    let (registry, lighter) = (Registry::start(), Lighter::new());
    let host = registry.host();
    image(&lighter, &registry, "one");
    image(&lighter, &registry, "two");
    let (list, one, two) = (format!("{host}/list:1"), format!("{host}/one:x"), format!("{host}/two:x"));
    assert_eq!(lighter.ok(["manifest", "create", &list, &one]), format!("Created manifest list {list}\n"));
    assert!(lighter.refused(["manifest", "create", &list, &two]).contains("no --amend flag"));
    lighter.ok(["manifest", "annotate", "--arch", "arm64", "--variant", "v8", &list, &one]);
    let shown: Value = serde_json::from_str(&lighter.ok(["manifest", "inspect", &list])).expect("JSON");
    assert_eq!(shown["manifests"][0]["platform"]["variant"], "v8");
    assert!(
        lighter.refused(["manifest", "annotate", "--arch", "arm", &list, &two]).contains("does not exist in")
    );
    let bogus = lighter.refused(["manifest", "annotate", "--arch", "bogus", &list, &one]);
    assert_eq!(bogus, "manifest entry for image has unsupported os/arch combination: /bogus\n");
    let pushed = lighter.ok(["manifest", "push", "--purge", &list]);
    let (_, bytes) = registry.manifest("list", "1").expect("pushed");
    assert!(pushed.starts_with(&format!("Pushed ref {host}/list@sha256:")), "{pushed}");
    assert_eq!(pushed.lines().last(), Some(lighter_image_digest(&bytes).as_str()));
    assert!(bytes.starts_with(b"{\n   \"schemaVersion\": 2,"), "as Docker writes it");
    assert!(lighter.refused(["manifest", "create", &list]).contains("requires at least 2 arguments"));
    assert!(
        lighter.refused(["manifest", "create", &one, &list]).contains(&format!("{list} is a manifest list"))
    );
    assert!(lighter.refused(["manifest", "rm", &list]).contains("No such manifest"));
    let listed: Value = serde_json::from_str(&lighter.ok(["manifest", "inspect", &list])).expect("JSON");
    assert_eq!(listed["manifests"][0]["platform"]["architecture"], "arm64");
    assert!(lighter.refused(["manifest", "inspect", &format!("{host}/no:1")]).contains("no such manifest"));
}

#[test]
fn imagetools_put_images_together() {
    let (registry, lighter) = (Registry::start(), Lighter::new());
    let host = registry.host();
    let image = image(&lighter, &registry, "one");
    let (one, new) = (format!("{host}/one:x"), format!("{host}/new:1"));
    let inspect = |name: &str| lighter.ok(["buildx", "imagetools", "inspect", name]);
    assert!(inspect(&one).starts_with(&format!("Name:      {one}\nMediaType: ")));
    lighter.ok(["buildx", "imagetools", "create", "-t", &new, &one]);
    let shown = inspect(&new);
    assert!(shown.contains("MediaType: application/vnd.oci.image.index.v1+json"), "{shown}");
    assert!(shown.contains(&format!("Name:      {new}@{}", image.manifest.digest)), "{shown}");
    let raw = lighter.ok(["buildx", "imagetools", "inspect", "--raw", &new]);
    assert_eq!(raw.into_bytes(), registry.manifest("new", "1").expect("pushed").1);
    let formatted = |format: &str| lighter.ok(["buildx", "imagetools", "inspect", "--format", format, &one]);
    assert_eq!(formatted("{{.Name}} {{json .Image.Architecture}}"), format!("{one} \"amd64\""));
    assert!(formatted("{{json .Manifest}}").starts_with("{\n  \"mediaType\": "), "as JSON names it");
    let notes = ["--annotation", "manifest-descriptor:a.b=c", &one];
    let dry = ["buildx", "imagetools", "create", "--dry-run"];
    assert!(lighter.ok(dry.into_iter().chain(notes)).contains("\"a.b\": \"c\""));
    let plain = lighter.refused(dry.into_iter().chain(["--annotation", "a.b=c", &one]));
    assert_eq!(plain, "ERROR: \"\" annotations are not supported yet\n");
    let digest = lighter.ok(["buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", &one]);
    assert_eq!(digest.trim(), image.manifest.digest.to_string());
    let dry = lighter.ok(["buildx", "imagetools", "create", "--dry-run", "--prefer-index=false", &one]);
    assert_eq!(lighter_image_digest(dry.trim_end().as_bytes()), image.manifest.digest.to_string());
    lighter.ok(["pull", &new]);
}

fn lighter_image_digest(bytes: &[u8]) -> String {
    lighter_image::Digest::of(bytes).to_string()
}

#[test]
fn what_a_registry_warns_of_is_passed_on() {
    let warning = Some("299 - \"this registry moves\"");
    let (registry, lighter) =
        (Registry::with(Options { warning, ..Options::default() }), Lighter::with_busybox());
    let name = format!("{}/a:x", registry.host());
    lighter.build(&name, "FROM busybox\n", &[]);
    let expected = format!("WARNING: {}: this registry moves\n", registry.host());
    for verb in ["push", "pull"] {
        let output = lighter.run([verb, "-q", &name]);
        assert_eq!((output.code, output.err.as_str()), (0, expected.as_str()), "{verb}");
    }
}

#[test]
fn the_real_registry_agrees() {
    let program = "/usr/bin/docker-registry";
    if !Path::new(program).exists() {
        return;
    }
    let lighter = Lighter::with_busybox();
    let root = lighter.path("registry");
    let config = lighter.write(
        "registry.yml",
        format!(
            "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: \"127.0.0.1:0\"}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n",
            root.display()
        ),
    );
    // it takes a port that is free, and tells which
    let log = lighter.write("registry.log", "");
    let told = fs::File::options().append(true).open(&log).expect("the log");
    let mut command = Command::new(program);
    command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(told);
    let mut real = command.spawn().expect("starts");
    let mut host = None;
    eventually("the registry listens", || {
        let text = fs::read_to_string(&log).expect("the log");
        host = text
            .split_once("listening on ")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(host, _)| host.to_owned());
        host.is_some()
    });
    let host = host.expect("it listens");
    let outcome = std::panic::catch_unwind(|| round_trip(&lighter, &host));
    real.kill().expect("is killed");
    real.wait().expect("ends");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
