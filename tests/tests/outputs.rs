//! `build`: what comes out of it, and in which form.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::process::Command;

use lighter_registry::testing::Registry;
use lighter_tests::Lighter;
use serde_json::Value;

const FILES: &[(&str, &str)] = &[("a", "1"), ("b", "2"), ("c", "3")];
const DOCKERFILE: &str = "FROM busybox\nCOPY a /d/a\nCOPY b /d/b\nENV E=1\nCOPY c /d/c\n\
                          RUN rm /d/a && echo r > /r && rm /bin/vi\nCOPY a b /w/\n";

/// Builds with these arguments, and gives what is printed.
fn build(lighter: &Lighter, dockerfile: &str, args: &[&str]) -> String {
    let context = lighter.context(dockerfile, FILES);
    let words = ["build"].iter().chain(args).copied().chain([context.to_str().expect("text")]);
    let said = lighter.run(words);
    assert_eq!(said.code, 0, "{}", said.all());
    said.all()
}

#[test]
fn nothing_takes_the_place_of_a_pipe() {
    let lighter = Lighter::with_busybox();
    let pipe = lighter.path("pipe");
    let place = pipe.to_str().expect("text");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .expect("is made");
    let to = format!("type=tar,dest={place}");
    let iid = ["-t", "built", "--iidfile", place];
    for (args, begins) in [(&iid[..], "sha256:"), (&["--metadata-file", place], "{"), (&["-o", &to], "bin/")]
    {
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).expect("is read")
        });
        build(&lighter, DOCKERFILE, args);
        let kind = fs::symlink_metadata(&pipe).expect("is there").file_type();
        assert!(kind.is_fifo(), "{args:?}: {kind:?}");
        let read = reader.join().expect("ends");
        assert!(read.starts_with(begins.as_bytes()), "{args:?}: {:?}", String::from_utf8_lossy(&read[..20]));
    }
}

fn inspect(lighter: &Lighter, image: &str, format: &str) -> String {
    lighter.ok(["image", "inspect", "-f", format, image]).trim().to_owned()
}

/// All files of an image, with modes, owners, sizes and times.
fn listing(lighter: &Lighter, image: &str) -> Vec<String> {
    let container = lighter.ok(["create", image, "sh"]);
    let archive = lighter.path("listed.tar");
    let path = archive.to_str().expect("text");
    lighter.ok(["export", "-o", path, container.trim()]);
    lighter.ok(["rm", container.trim()]);
    let listed = Command::new("tar").args(["--numeric-owner", "--full-time", "-tvf", path]).output();
    let text = String::from_utf8(listed.expect("tar runs").stdout).expect("text");
    // this is as old as the container
    let is_own = |line: &&str| line.ends_with(" etc/") || line.contains(" etc/mtab ");
    let mut lines: Vec<String> = text.lines().filter(|line| !is_own(line)).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// A blob of a layout in a folder, by its digest.
fn blob(lighter: &Lighter, layout: &str, digest: &Value) -> Value {
    let hex = digest.as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    json(&fs::read(lighter.path(layout).join("blobs/sha256").join(hex)).expect("there"))
}

#[test]
fn steps_become_one_layer_while_the_cache_stays() {
    let lighter = Lighter::with_busybox();
    build(&lighter, DOCKERFILE, &["-t", "plain"]);
    let said = build(&lighter, DOCKERFILE, &["--progress=plain", "--squash", "-t", "squashed"]);
    assert_eq!(said.matches("CACHED").count(), 6, "{said}");
    build(&lighter, DOCKERFILE, &["--layers=merge-copy", "-t", "merged"]);
    let layers = |image: &str| inspect(&lighter, image, "{{len .RootFS.Layers}}");
    assert_eq!([layers("plain"), layers("squashed"), layers("merged")], ["6", "2", "4"]);
    let all = listing(&lighter, "plain");
    assert_eq!(listing(&lighter, "squashed"), all);
    assert_eq!(listing(&lighter, "merged"), all);
    // as many entries with a layer as there are layers
    for (image, empty) in [("squashed", 6), ("merged", 3)] {
        let history = lighter.ok(["history", "--format", "{{.CreatedBy}}|{{.Size}}", "--no-trunc", image]);
        assert_eq!(history.matches("|0B").count(), empty, "{history}");
    }
    // what only a step had leaves no mark
    let archive = lighter.path("squashed.tar");
    lighter.ok(["save", "-o", archive.to_str().expect("text"), "squashed"]);
    let id = inspect(&lighter, "squashed", "{{index .RootFS.Layers 1}}");
    let script = format!("tar -xOf {} blobs/sha256/{} | tar -t", archive.display(), &id[7..]);
    let names = Command::new("sh").args(["-c", &script]).output().expect("runs").stdout;
    let names = String::from_utf8(names).expect("text");
    assert!(names.contains("bin/.wh.vi") && !names.contains("d/.wh.a"), "{names}");
    let said = lighter.refused(["build", "--squash", "--cache-to", "type=inline", "."]);
    assert!(said.contains("inline cache"), "{said}");
}

#[test]
fn annotations_stand_where_they_were_asked_for() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let notes = [
        "--annotation",
        "m=1",
        "--annotation",
        "index:i=2",
        "--annotation",
        "manifest-descriptor:md=3",
        "--annotation",
        "index-descriptor:id=4",
    ];
    let name = format!("{}/noted:1", registry.host());
    let out = format!("type=oci,tar=false,dest={}", lighter.path("layout").display());
    build(&lighter, DOCKERFILE, &[&notes[..], &["-t", &name, "-o", &out, "-o", "type=image"]].concat());
    let top = json(&fs::read(lighter.path("layout/index.json")).expect("there"));
    assert_eq!(top["manifests"][0]["annotations"]["id"], "4", "{top}");
    let index = blob(&lighter, "layout", &top["manifests"][0]["digest"]);
    assert_eq!(
        (&index["annotations"]["i"], &index["manifests"][0]["annotations"]["md"]),
        (&"2".into(), &"3".into())
    );
    let manifest = blob(&lighter, "layout", &index["manifests"][0]["digest"]);
    assert_eq!(manifest["annotations"]["m"], "1");
    // the store keeps them for what comes later
    lighter.ok(["push", &name]);
    let (kind, pushed) = registry.manifest("noted", "1").expect("pushed");
    assert_eq!(
        (kind.as_str(), &json(&pushed)["annotations"]["i"]),
        ("application/vnd.oci.image.index.v1+json", &"2".into())
    );
    let archive = lighter.path("saved.tar");
    let archive = archive.to_str().expect("text");
    lighter.ok(["save", "-o", archive, &name]);
    let other = Lighter::new();
    other.ok(["load", "-i", archive]);
    other.ok(["push", &name]);
    let (_, pushed) = registry.manifest("noted", "1").expect("pushed");
    assert_eq!(json(&pushed)["annotations"]["m"], "1");
}

#[test]
fn times_are_brought_down_wherever_the_image_goes() {
    let lighter = Lighter::with_busybox();
    let id = |name: &str, output: &str| {
        let file = lighter.path(name);
        let context = lighter.context(DOCKERFILE, FILES);
        let mut command = lighter.command(["build", "-q", "--iidfile", file.to_str().expect("text")]);
        command.args(["-t", name, "-o", output]).arg(context).env("SOURCE_DATE_EPOCH", "1600000000");
        assert!(command.status().expect("runs").success());
        fs::read_to_string(file).expect("written")
    };
    let archive = format!("type=oci,dest={},rewrite-timestamp=true", lighter.path("o.tar").display());
    let (stored, exported) = (id("stored", "type=image,rewrite-timestamp=true"), id("exported", &archive));
    assert_eq!(stored, exported);
    assert_ne!(id("untouched", "type=image"), stored);
    let saved = lighter.path("saved.tar");
    lighter.ok(["save", "-o", saved.to_str().expect("text"), "stored"]);
    let other = Lighter::new();
    other.ok(["load", "-i", saved.to_str().expect("text")]);
    assert_eq!(inspect(&other, "stored", "{{.Id}}"), stored, "what is saved is what the id says");
    assert!(lighter.ok(["system", "check"]).contains("all is well"));
}

#[test]
fn an_image_goes_where_the_output_says() {
    let (registry, lighter) = (Registry::start(), Lighter::with_busybox());
    let metadata = lighter.path("metadata.json");
    let metadata = metadata.to_str().expect("text");
    let repository = format!("{}/by/digest", registry.host());
    let output = format!("type=image,name={repository},push=true,push-by-digest=true");
    build(&lighter, DOCKERFILE, &["--metadata-file", metadata, "-o", &output]);
    let told = json(&fs::read(metadata).expect("written"));
    let digest = told["containerimage.digest"].as_str().expect("a digest");
    assert!(registry.manifest("by/digest", digest).is_some());
    assert!(registry.manifest("by/digest", "latest").is_none());
    assert_eq!(told["image.name"], repository.as_str());
    assert_eq!(told["containerimage.descriptor"]["digest"], digest);
    assert!(told["buildx.build.ref"].as_str().is_some_and(|name| name.starts_with("default/default/")));
    assert_eq!(
        told["buildx.build.provenance"]["materials"][0]["uri"].as_str().map(|uri| uri.split('?').next()),
        Some(Some("pkg:docker/busybox@latest"))
    );
    // `--tag` counts more than the output's own name, and is told as it was given
    build(&lighter, DOCKERFILE, &["--metadata-file", metadata, "-t", "given", "-o", "type=image,name=other"]);
    assert_eq!(json(&fs::read(metadata).expect("written"))["image.name"], "docker.io/library/given");
    lighter.refused(["image", "inspect", "other"]);
    build(&lighter, DOCKERFILE, &["-t", "unkept", "-o", "type=image,store=false"]);
    lighter.refused(["image", "inspect", "unkept"]);
    for refused in ["type=image,push=true", "type=local", "type=tar,frob=1"] {
        lighter.refused(["build", "-o", refused, "."]);
    }
}

#[test]
fn dockers_archive_has_dockers_types() {
    let lighter = Lighter::with_busybox();
    let check = |options: &str, manifest: &str, layer: &str| {
        let archive = lighter.path("archive.tar");
        let output = format!("dest={},{options}", archive.display());
        build(&lighter, DOCKERFILE, &["-t", "x", "-o", &output]);
        let layout = lighter.path("unpacked");
        fs::create_dir_all(&layout).expect("makes it");
        let unpacked = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&layout).status();
        assert!(unpacked.expect("tar runs").success());
        let top = json(&fs::read(layout.join("index.json")).expect("there"));
        let found = blob(&lighter, "unpacked", &top["manifests"][0]["digest"]);
        assert_eq!(
            (&found["mediaType"], &found["layers"][1]["mediaType"]),
            (&manifest.into(), &layer.into()),
            "{options}"
        );
    };
    let (docker, oci) = (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    );
    check("type=docker", docker, "application/vnd.docker.image.rootfs.diff.tar");
    check("type=docker,compression=gzip", docker, "application/vnd.docker.image.rootfs.diff.tar.gzip");
    check("type=docker,oci-mediatypes=true", oci, "application/vnd.oci.image.layer.v1.tar");
    check("type=docker,compression=zstd", oci, "application/vnd.oci.image.layer.v1.tar+zstd");
    check("type=oci", oci, "application/vnd.oci.image.layer.v1.tar+gzip");
    check("type=oci,compression=uncompressed", oci, "application/vnd.oci.image.layer.v1.tar");
}

#[test]
fn files_can_be_in_a_folder_of_their_platform() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM scratch\nCOPY a /sub/a\n";
    let out = lighter.path("out");
    let output = format!("type=local,platform-split=true,dest={}", out.display());
    build(&lighter, dockerfile, &["-o", &output, "--platform", "linux/arm64"]);
    assert_eq!(fs::read_to_string(out.join("linux_arm64/sub/a")).expect("there"), "1");
}

#[test]
fn a_later_build_may_put_files_where_folders_were() {
    let lighter = Lighter::with_busybox();
    let out = lighter.path("out");
    let into = out.to_str().expect("text").to_owned();
    let make = |script: &str| {
        let dockerfile = format!(
            "FROM busybox AS made\nRUN mkdir /o && cd /o && {script}\nFROM scratch\nCOPY --from=made /o /\n"
        );
        build(&lighter, &dockerfile, &["-o", &into]);
    };
    make("mkdir d && echo 1 > d/x && echo 2 > f && ln -s f l && echo 3 > k && mkdir e");
    fs::write(out.join("mine"), "kept").expect("written");
    make("echo 4 > d && mkdir f l && echo 5 > f/y && ln -s k e");
    assert_eq!(fs::read_to_string(out.join("d")).expect("a file"), "4\n");
    assert_eq!(fs::read_to_string(out.join("f/y")).expect("a file"), "5\n");
    assert!(out.join("l").symlink_metadata().expect("is there").is_dir());
    assert!(out.join("e").is_symlink());
    // what the build says nothing of stays
    assert_eq!(fs::read_to_string(out.join("mine")).expect("a file"), "kept");
    assert_eq!(fs::read_to_string(out.join("k")).expect("a file"), "3\n");
}

#[test]
fn a_failed_build_leaves_no_id_of_an_earlier_one() {
    let lighter = Lighter::with_busybox();
    let file = lighter.write("iid", "sha256:old");
    let context = lighter.context("FROM busybox\nRUN exit 3\n", &[]);
    lighter.refused(["build", "--iidfile", file.to_str().expect("text"), context.to_str().expect("text")]);
    assert!(!file.exists());
}
