//! Images in and out: import, save, load, images, history, inspect, tag, rmi.

use lighter_tests::Lighter;
use serde_json::Value;

#[test]
fn an_image_survives_save_and_load() {
    let lighter = Lighter::with_busybox();
    lighter.build("app:1", "FROM busybox\nRUN echo x > /x; ln /x /y; rm /bin/vi\nENV A=1\n", &[]);
    lighter.ok(["tag", "app:1", "other/app:2"]);
    let id = lighter.ok(["image", "inspect", "-f", "{{.Id}}", "app:1"]);
    let archive = lighter.path("app.tar");
    let archive = archive.to_str().expect("text");
    lighter.ok(["save", "-o", archive, "app:1", "other/app:2"]);
    let elsewhere = Lighter::new();
    let loaded = elsewhere.ok(["load", "-i", archive]);
    assert!(
        loaded.contains("Loaded image: app:1\n") && loaded.contains("Loaded image: other/app:2\n"),
        "{loaded}"
    );
    assert_eq!(elsewhere.ok(["image", "inspect", "-f", "{{.Id}}", "other/app:2"]), id);
    let run = ["run", "--rm", "app:1", "sh", "-c", "cat /y; [ ! -e /bin/vi ] && echo $A"];
    assert_eq!(elsewhere.ok(run), "x\n1\n");
    // what is loaded is saved as it came
    let again = elsewhere.path("again.tar");
    elsewhere.ok(["save", "-o", again.to_str().expect("text"), "app:1", "other/app:2"]);
    assert_eq!(std::fs::read(archive).expect("saved"), std::fs::read(again).expect("saved"));
}

#[test]
fn listings_and_inspections_say_what_docker_says() {
    let lighter = Lighter::with_busybox();
    lighter.build("app:1", "FROM busybox\nRUN head -c 2000000 /dev/zero > /z\nCMD [\"a\",\"b\"]\n", &[]);
    let images = lighter.ok(["images"]);
    let header: Vec<&str> = images.lines().next().expect("a header").split_whitespace().collect();
    assert_eq!(header, ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    assert_eq!(lighter.ok(["images", "--format", "{{.Repository}}:{{.Tag}}", "app"]), "app:1\n");
    let inspected: Value = serde_json::from_str(&lighter.ok(["inspect", "app:1"])).expect("JSON");
    assert_eq!(inspected[0]["Config"]["Cmd"], serde_json::json!(["a", "b"]));
    assert_eq!(inspected[0]["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
    let history = lighter.ok(["history", "--format", "{{.CreatedBy}}|{{.Size}}", "--no-trunc", "app:1"]);
    let rows: Vec<&str> = history.lines().collect();
    assert_eq!(rows[0], r#"CMD ["a" "b"]|0B"#);
    assert_eq!(rows[1], "RUN /bin/sh -c head -c 2000000 /dev/zero > /z # buildkit|2MB");
}

#[test]
fn names_go_before_images_do() {
    let lighter = Lighter::with_busybox();
    lighter.build("app:1", "FROM busybox\nRUN true\n", &[]);
    lighter.ok(["tag", "app:1", "app:2"]);
    assert_eq!(lighter.ok(["rmi", "app:1"]), "Untagged: app:1\n");
    let said = lighter.ok(["rmi", "app:2"]);
    assert!(said.starts_with("Untagged: app:2\nDeleted: sha256:"), "{said}");
    assert_eq!(lighter.ok(["images", "-q", "app"]), "");
}

#[test]
fn import_takes_changes() {
    let lighter = Lighter::with_busybox();
    let tar = lighter.path("busybox.tar");
    let changes = ["-c", "ENV A=1", "-c", "WORKDIR /etc", "-c", r#"CMD ["sh","-c","pwd; echo $A"]"#];
    let mut args = vec!["import"];
    args.extend(changes);
    args.extend(["-m", "a note", tar.to_str().expect("text"), "changed"]);
    let id = lighter.ok(args);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(lighter.ok(["run", "--rm", "changed"]), "/etc\n1\n");
}

#[test]
fn an_archive_without_files_makes_an_image_to_start_from() {
    let lighter = Lighter::with_busybox();
    std::fs::write(lighter.path("none.tar"), [0; 10240]).expect("writable");
    let archive = lighter.path("none.tar").display().to_string();
    lighter.ok(["import", &archive, "none"]);
    lighter.build("app", "FROM none\nCOPY f /f\n", &[("f", "x")]);
    let made = lighter.run_with_input(["import", "-", "nothing"], b"");
    assert_eq!(made.code, 0, "{}", made.all());
    assert_eq!(lighter.ok(["inspect", "-f", "{{len .RootFS.Layers}}", "nothing"]), "1\n");
    // nobody asked for that platform
    lighter.ok(["import", "--platform", "linux/s390x", &archive, "none"]);
    let said = lighter.run(["create", "none", "x"]);
    assert!(
        said.err.contains("WARNING: The requested image's platform (linux/s390x) does not match"),
        "{}",
        said.err
    );
    let asked = lighter.run(["create", "--platform", "linux/s390x", "none", "x"]);
    assert_eq!((asked.code, asked.err.as_str()), (0, ""));
}

#[test]
fn a_prune_without_images_reclaims_nothing() {
    let lighter = Lighter::with_busybox();
    // what is loaded of an archive that is none stays behind
    let archive = lighter.path("busybox.tar");
    lighter.refused(["load", "-i", archive.to_str().expect("text")]);
    assert_eq!(lighter.ok(["image", "prune", "-f"]), "Total reclaimed space: 0B\n");
    lighter.build("image", "FROM busybox\nRUN echo a > /a\n", &[]);
    lighter.build("image", "FROM busybox\nRUN echo b > /a\n", &[]);
    assert!(lighter.ok(["image", "prune", "-f"]).contains("deleted: sha256:"));
}
