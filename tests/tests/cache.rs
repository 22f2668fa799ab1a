//! `build`: the cache between machines.

use std::fs;
use std::process::Stdio;

use lighter_registry::testing::Registry;
use lighter_tests::{Lighter, eventually};

const DOCKERFILE: &str = "FROM busybox AS made\nRUN cat /proc/sys/kernel/random/uuid > /id; head -c 200000 /dev/urandom > /big\n\
                          FROM busybox\nCOPY --from=made /id /id\nRUN cat /id > /copy\n";

/// Builds with these arguments, and gives what is printed.
fn build(lighter: &Lighter, dockerfile: &str, args: &[&str]) -> String {
    let context = lighter.context(dockerfile, &[]);
    let words =
        ["build", "--progress=plain"].iter().chain(args).copied().chain([context.to_str().expect("text")]);
    let said = lighter.run(words);
    assert_eq!(said.code, 0, "{}", said.all());
    said.all()
}

/// Another machine, with the same base.
fn other(lighter: &Lighter) -> Lighter {
    let archive = lighter.path("base.tar");
    lighter.ok(["save", "-o", archive.to_str().expect("text"), "busybox"]);
    let other = Lighter::new();
    other.ok(["load", "-i", archive.to_str().expect("text")]);
    other
}

fn id(lighter: &Lighter) -> String {
    lighter.ok(["run", "--rm", "built", "cat", "/copy"])
}

#[test]
fn another_machine_runs_nothing_again() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let (one, two) = (format!("{}/cache:one", registry.host()), format!("{}/other/cache", registry.host()));
    let folder = lighter.path("cache");
    let to_folder = format!("type=local,mode=max,dest={}", folder.display());
    let to_registry = format!("type=registry,mode=max,ref={one}");
    build(&lighter, DOCKERFILE, &["-t", "built", "--cache-to", &to_folder, "--cache-to", &to_registry]);
    let made = id(&lighter);
    // the big layer is of no use there: nobody fetches it
    let second = other(&lighter);
    let fetched = |registry: &Registry| {
        registry
            .requests()
            .iter()
            .filter(|asked| asked.method == "GET" && asked.target.contains("/blobs/"))
            .count()
    };
    let before = fetched(&registry);
    let said = build(&second, DOCKERFILE, &["-t", "built", "--cache-from", &one]);
    assert_eq!(said.matches("CACHED").count(), 4, "{said}");
    assert_eq!(fetched(&registry) - before, 3, "the records' configurations alone");
    // what it never had here it can give on, to another place
    let to_other = format!("type=registry,mode=max,ref={two}");
    build(&second, DOCKERFILE, &["-t", "built", "--cache-from", &one, "--cache-to", &to_other]);
    assert_eq!(id(&second), made);
    for from in [two.as_str(), &format!("type=local,src={}", folder.display())] {
        let third = other(&lighter);
        let said = build(&third, DOCKERFILE, &["-t", "built", "--cache-from", from]);
        assert_eq!(said.matches("CACHED").count(), 4, "{from}: {said}");
        assert_eq!(id(&third), made, "{from}");
    }
    // with mode=min there are the layers of the result only
    let least = lighter.path("least");
    build(
        &lighter,
        DOCKERFILE,
        &["-t", "built", "--cache-to", &format!("type=local,dest={}", least.display())],
    );
    let records = |folder: &std::path::Path| {
        fs::read_dir(folder.join("lighter"))
            .expect("there")
            .filter(|entry| {
                entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
            })
            .count()
    };
    assert_eq!((records(&folder), records(&least)), (3, 2));
}

#[test]
fn layers_are_sent_while_steps_are_still_running() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let wait = "RUN --mount=type=cache,id=meet,target=/meet touch /meet/here; n=0; \
                until [ -e /meet/go ]; do n=$((n+1)); [ $n -lt 3000 ] || exit 1; sleep 0.1; done";
    let dockerfile = format!("FROM busybox\nRUN head -c 200000 /dev/urandom > /big\n{wait}\n");
    let context = lighter.context(&dockerfile, &[]);
    let to = format!("type=registry,mode=max,ref={}/cache", registry.host());
    let mut command = lighter.command(["build", "--cache-to", &to]);
    let mut child = command.arg(context).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    eventually("a layer is sent before the last step is over", || {
        registry.requests().iter().any(|asked| asked.method == "PUT" && asked.target.contains("/blobs/"))
    });
    let mount = || {
        let mut mounts = fs::read_dir(lighter.root().join("mounts")).ok()?.flatten();
        mounts.find_map(|entry| Some(entry.path().join("0/data")).filter(|data| data.join("here").exists()))
    };
    // a layer may be sent before the next step has its mounts
    eventually("the last step has begun", || mount().is_some());
    fs::write(mount().expect("it has begun").join("go"), "").expect("written");
    assert!(child.wait().expect("ends").success());
}

#[test]
fn cache_mounts_can_travel_too() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let place = format!("type=registry,mounts=true,ref={}/cache", registry.host());
    let folder = format!("dest={}", lighter.path("cache").display());
    let fill = "FROM busybox\nRUN --mount=type=cache,id=kept,target=/c mkdir -p /c/d && echo kept > /c/d/f && chmod 640 /c/d/f\n";
    let to_folder = format!("type=local,mounts=true,{folder}");
    build(&lighter, fill, &["--cache-to", &place, "--cache-to", &to_folder]);
    let read = "FROM busybox\nRUN --mount=type=cache,id=kept,target=/c cat /c/d/f > /f; stat -c %a /c/d/f >> /f; true\n";
    for from in [place, to_folder.replace("dest=", "src=")] {
        let second = other(&lighter);
        build(&second, read, &["-t", "built", "--cache-from", &from]);
        assert_eq!(second.ok(["run", "--rm", "built", "cat", "/f"]), "kept\n640\n", "{from}");
        let without = other(&lighter);
        let from = from.replace("mounts=true", "mounts=false");
        build(&without, read, &["-t", "built", "--cache-from", &from]);
        assert_eq!(without.ok(["run", "--rm", "built", "cat", "/f"]), "", "{from}");
    }
}

#[test]
fn a_cache_that_cannot_be_had_is_done_without() {
    let lighter = Lighter::with_busybox();
    let nowhere = lighter.path("nowhere");
    let missing = format!("type=local,src={}", nowhere.display());
    let said = build(
        &lighter,
        DOCKERFILE,
        &["-t", "built", "--cache-from", &missing, "--cache-from", "127.0.0.1:1/none"],
    );
    assert_eq!(said.matches("\n > importing cache manifest from").count(), 2, "{said}");
    let context = lighter.context(DOCKERFILE, &[]);
    let context = context.to_str().expect("text");
    let said = lighter.refused(["build", "--cache-to", "type=registry,ref=127.0.0.1:1/none", context]);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    let said =
        build(&lighter, DOCKERFILE, &["--cache-to", "type=registry,ref=127.0.0.1:1/none,ignore-error=true"]);
    assert!(said.contains("the cache is not exported"), "{said}");
    for wrong in ["type=frob", "type=local,dest=x,mode=most", "type=registry,ref=a,frob=1", "type=registry"] {
        lighter.refused(["build", "--cache-to", wrong, context]);
    }
}

#[test]
fn an_image_can_carry_its_cache() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\nRUN cat /id > /copy\n";
    for (place, args) in
        [("one", ["--cache-to", "type=inline"]), ("two", ["--build-arg", "BUILDKIT_INLINE_CACHE=1"])]
    {
        let name = format!("{}/{place}:1", registry.host());
        build(&lighter, dockerfile, &[&args[..], &["-t", &name, "--push"]].concat());
        build(&lighter, dockerfile, &["-t", "built"]);
        let second = other(&lighter);
        let said = build(&second, dockerfile, &["-t", "built", "--cache-from", &name]);
        assert_eq!(said.matches("CACHED").count(), 3, "{said}");
        assert_eq!(id(&second), id(&lighter));
    }
}
