//! Commands and containers on copies, as where no overlay can be mounted: a file in the store asks for it.

use std::process::Command;

use lighter_tests::Lighter;

const DOCKERFILE: &str = "FROM busybox AS one
RUN mkdir -p /d/e /gone && echo 1 > /d/f && echo 2 > /gone/g && ln /d/f /d/h && ln -s f /d/l
FROM busybox
COPY --from=one /d /d
COPY --from=one /gone /gone
WORKDIR /w
RUN --mount=type=bind,from=one,source=/d,target=/mnt,rw rm -r /gone /d/l && cat /mnt/f > here && echo x > /mnt/f && chmod 700 /d/e
RUN true
RUN echo 3 >> /d/f && mkdir /gone && echo 4 > /gone/h
";

/// A store that works on copies.
fn copying() -> Lighter {
    let lighter = Lighter::with_busybox();
    lighter.write("store/copies", "");
    assert!(lighter.root().join("copies").exists());
    assert_eq!(lighter.ok(["info", "--format", "{{.Driver}}"]), "vfs\n");
    lighter
}

#[test]
fn steps_on_copies_make_the_same_image() {
    let layers = |lighter: &Lighter| {
        let context = lighter.context(DOCKERFILE, &[]);
        let build = "build --output type=image,name=x,rewrite-timestamp=true";
        let mut command = lighter.command(build.split(' '));
        let output = command.arg(context).env("SOURCE_DATE_EPOCH", "1").output().expect("builds");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let layers = lighter.ok(["image", "inspect", "--format", "{{join .RootFS.Layers \" \"}}", "x"]);
        // those above the base, which has the times of this test
        layers.split_once(' ').expect("several").1.to_owned()
    };
    assert_eq!(layers(&copying()), layers(&Lighter::with_busybox()));
}

#[test]
fn containers_on_copies_keep_what_they_write() {
    let lighter = copying();
    lighter.ok([
        "run",
        "--network",
        "none",
        "--name",
        "writer",
        "busybox",
        "sh",
        "-c",
        "echo 1 >> /f; rm -rf /home",
    ]);
    assert_eq!(lighter.ok(["diff", "writer"]), "A /f\nD /home\n");
    lighter.ok(["start", "-a", "writer"]);
    lighter.ok(["commit", "writer", "made"]);
    assert_eq!(lighter.ok(["run", "--rm", "--network", "none", "made", "cat", "/f"]), "1\n1\n");
    lighter.ok(["run", "-d", "--network", "none", "--name", "sleeper", "made", "sleep", "100"]);
    assert_eq!(lighter.ok(["exec", "sleeper", "cat", "/f"]), "1\n1\n");
    assert!(lighter.refused(["diff", "sleeper"]).contains("works on a copy of its files"));
    lighter.ok(["exec", "sleeper", "sh", "-c", "echo 2 > /f"]);
    lighter.ok(["stop", "-t", "0", "sleeper"]);
    assert_eq!(lighter.ok(["diff", "sleeper"]), "C /f\n");
    lighter.ok(["system", "check"]);
}

#[test]
fn where_overlays_are_refused_nobody_has_to_ask() {
    let lighter = Lighter::with_busybox();
    let top = lighter.path("refusing");
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir_all(top.join(name)).expect("a folder");
    }
    let context = lighter.context("FROM busybox\nRUN echo 1 > /f\nRUN cat /f > /g\n", &[]);
    // the kernel lets no overlay write to another one
    let script = "cd \"$1\" && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged || exit 99
        export LIGHTER_ROOT=$1/merged/store; \"$0\" import \"$2\" busybox > /dev/null
        \"$0\" build -q -t x \"$3\" > /dev/null; \"$0\" run --rm --network none x cat /g; \"$0\" info --format {{.Driver}}";
    let program = lighter.command([]).get_program().to_owned();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec", script])
        .arg(program)
        .arg(&top)
        .arg(lighter.path("busybox.tar"))
        .arg(context);
    let Ok(output) = command.env("DOCKER_CONFIG", lighter.path("config")).output() else {
        return eprintln!("skipped: there is no `unshare`");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(99) || said.starts_with("unshare:") {
        return eprintln!("skipped: nothing can be mounted here: {said}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\nvfs\n", "{said}");
}
