//! Bad input: one clear error, with its place and a hint, and nothing left behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use lighter_tests::Lighter;

fn check(lighter: &Lighter, dockerfile: &str, parts: &[&str]) {
    let said = lighter.build_refused(dockerfile, &[("present.txt", "")]);
    for part in parts {
        assert!(said.contains(part), "no `{part}` for\n{dockerfile}\nin\n{said}");
    }
}

#[test]
fn faults_of_a_dockerfile_are_shown_where_they_are() {
    let lighter = Lighter::with_busybox();
    check(&lighter, "FROM busybox\nRUNN x\n", &["Dockerfile:2", "RUNN", "RUN"]);
    check(&lighter, "FROM busybox\nCOPY --chwon=1 present.txt /\n", &["Dockerfile:2", "chwon", "chown"]);
    check(
        &lighter,
        "FROM busybox AS build\nFROM busybox\nCOPY --from=biuld /x /\n",
        &["Dockerfile:3", "biuld", "build"],
    );
    check(&lighter, "FROM sratch\n", &["Dockerfile:1", "sratch", "scratch"]);
    check(&lighter, "FROM busybox\nCOPY presnt.txt /\n", &["Dockerfile:2", "presnt.txt", "present.txt"]);
    check(&lighter, "", &["empty"]);
    check(&lighter, "RUN x\n", &["FROM"]);
}

#[test]
fn all_faults_of_a_file_are_shown_at_once() {
    let lighter = Lighter::with_busybox();
    check(&lighter, "FROM busybox\nRUNN x\nCOPPY a b\n", &["RUNN", "COPPY"]);
}

/// What only the files, the image or the request can tell: the text that a step fails with.
#[test]
fn what_a_step_cannot_do_is_said_in_a_line() {
    let lighter = Lighter::with_busybox();
    let files = [("f", "f"), ("dir/a", "a"), ("ignored", ""), (".dockerignore", "ignored\n")];
    let context = lighter.context("", &files);
    std::os::unix::fs::symlink("/nowhere", context.join("dangling")).expect("a link");
    let archive = context.join("x.tar");
    lighter.ok(["save", "-o", archive.to_str().expect("text"), "busybox"]);
    let half = std::fs::metadata(&archive).expect("saved").len() / 2;
    std::fs::File::options()
        .write(true)
        .open(archive)
        .and_then(|file| file.set_len(half))
        .expect("breaks off");
    for (lines, text) in [
        ("FROM busybox\nCOPY nofile /", "failed to calculate checksum: \"/nofile\": not found"),
        ("FROM busybox\nCOPY ignored /", "\"/ignored\": not found (it is excluded by .dockerignore)"),
        ("FROM busybox\nCOPY dangling /", "\"/dangling\": not found (it is a link to nothing)"),
        ("FROM busybox\nCOPY dri/a /", "\"/dri/a\": not found"),
        ("FROM busybox\nCOPY dir/b /x", "\"/dir/b\": not found: did you mean `a`? (as written: dir/b)"),
        ("FROM busybox\nCOPY nodir/* /", "lstat /nodir: no such file or directory"),
        ("FROM busybox\nRUN touch /x\nCOPY dir /x", "cannot copy to non-directory: /x"),
        ("FROM busybox\nRUN ln -s b /a; ln -s a /b\nCOPY f /a/", "`/a`: too many levels of symbolic links"),
        ("FROM busybox\nADD x.tar /", "unpacking `/x.tar`"),
        (
            "FROM busybox\nRUN exit 3",
            "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3",
        ),
        ("FROM busybox\nRUN --security=insecure true", "not allowed: build with --allow security.insecure"),
        ("FROM busybox\nRUN --network=host true", "not allowed: build with --allow network.host"),
        ("FROM busybox\nRUN --mount=type=secret,id=s,required true", "secret s: not found"),
        (
            "FROM busybox\nRUN --mount=type=ssh,required true",
            "ssh key \"default\" is not forwarded: give it with --ssh default",
        ),
        ("FROM busybox\nRUN --mount=source=no,target=/x true", "\"/no\": not found"),
        (
            "FROM busybox\nUSER ghost\nRUN true",
            "unable to find user ghost: no matching entries in passwd file",
        ),
        (
            "FROM busybox\nUSER 0:ghost\nRUN true",
            "unable to find group ghost: no matching entries in group file",
        ),
        (
            "FROM scratch\nCOPY --chown=ghost f /",
            "user ghost cannot be looked up: the image has no /etc/passwd",
        ),
        (
            "FROM scratch\nCOPY --chown=0:ghost f /",
            "group ghost cannot be looked up: the image has no /etc/group",
        ),
        (
            "# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --device=a,required true",
            "device a is not available: CDI is not supported",
        ),
    ] {
        std::fs::write(context.join("Dockerfile"), lines).expect("a Dockerfile");
        let said = lighter.refused(["build", "--progress=plain", context.to_str().expect("text")]);
        let last = said.lines().rev().find(|line| line.starts_with("ERROR: ")).unwrap_or_default();
        assert!(last.contains(text), "{lines}\n{said}");
        let mark = format!(">>> {}", lines.lines().last().expect("a line"));
        assert!(said.contains(&mark), "{lines}\n{said}");
    }
}

/// The address of a server that has one file, `/f`.
fn server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines().map_while(Result::ok);
            let is_file = lines.next().is_some_and(|line| line.contains(" /f "));
            lines.find(String::is_empty);
            let answer =
                if is_file { "200 OK\r\nContent-Length: 1\r\n\r\nf" } else { "404 Not Found\r\n\r\n" };
            // a client that has gone has heard enough
            let _ = stream.write_all(
                format!("HTTP/1.1 {}", answer.replacen("\r\n", "\r\nConnection: close\r\n", 1)).as_bytes(),
            );
        }
    });
    format!("http://{address}")
}

#[test]
fn what_an_address_sends_is_looked_at() {
    let lighter = Lighter::with_busybox();
    let server = server();
    let wrong = format!("sha256:{}", "0".repeat(64));
    lighter.build("it", &format!("FROM busybox\nADD {server}/f /\n"), &[]);
    let missing = format!("{server}/none was not found");
    check(&lighter, &format!("FROM busybox\nADD {server}/none /\n"), &[&missing, ">>> ADD"]);
    let other = format!("{server}/f has the digest sha256:");
    let dockerfile = format!("FROM busybox\nADD --checksum={wrong} {server}/f /\n");
    check(&lighter, &dockerfile, &[&other, &format!("expected {wrong}"), ">>> ADD"]);
    check(
        &lighter,
        "FROM busybox\nADD http://127.0.0.1:1/f /\n",
        &["fetching http://127.0.0.1:1/f", ">>> ADD"],
    );
}

#[test]
fn missing_things_are_named() {
    let lighter = Lighter::with_busybox();
    let context = lighter.context("FROM busybox\n", &[]);
    let context = context.to_str().expect("text");
    assert!(lighter.refused(["build", "-f", "Nope", context]).contains("Nope"));
    assert!(lighter.refused(["build", "no-such-folder"]).contains("no-such-folder"));
    assert!(lighter.refused(["build", "--target", "nope", context]).contains("nope"));
    assert!(lighter.refused(["build", "-f", "-", "-"]).contains("can't use stdin for both"));
    let said = lighter.refused(["build", "--iidfile=id", "--output=out", context]);
    assert!(said.contains("incompatible with image ID file"), "{said}");
    assert!(lighter.refused(["rmi", "nope"]).to_lowercase().contains("no such image: nope"));
    assert!(lighter.refused(["build", "--frob", context]).contains("--frob"));
    assert!(lighter.refused(["frobnicate"]).contains("frobnicate"));
}

#[test]
fn a_damaged_archive_is_refused_whole() {
    let lighter = Lighter::with_busybox();
    let archive = lighter.path("busybox-image.tar");
    lighter.ok(["save", "-o", archive.to_str().expect("text"), "busybox"]);
    let mut bytes = std::fs::read(&archive).expect("saved");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&archive, &bytes).expect("writes");
    let lighter = Lighter::new();
    lighter.refused(["load", "-i", archive.to_str().expect("text")]);
    std::fs::write(&archive, &bytes[..middle]).expect("writes");
    lighter.refused(["load", "-i", archive.to_str().expect("text")]);
    assert_eq!(lighter.ok(["images", "-q"]), "");
    lighter.refused(["import", "no-such.tar"]);
    let not_tar = lighter.write("not.tar", "this is no archive at all, not even a small one\n".repeat(40));
    lighter.refused(["import", not_tar.to_str().expect("text")]);
}

#[test]
fn a_newer_store_is_not_touched() {
    let lighter = Lighter::with_busybox();
    let version = lighter.root().join("version");
    let text = std::fs::read_to_string(&version).expect("a version");
    std::fs::write(version, text.replace('1', "9999")).expect("writes");
    assert!(lighter.refused(["images"]).contains("9999"));
}
