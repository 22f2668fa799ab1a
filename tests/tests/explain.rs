//! `build --explain`, `build explain`: for every kind of change, the one that is named.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use lighter_tests::Lighter;

/// A context with a step of every kind.
struct Case {
    lighter: Lighter,
}

const DOCKERFILE: &str = "ARG BASE=base\nFROM $BASE\nCOPY files /files/\nARG WHO=me\nENV MOOD=good\n\
    RUN --mount=type=bind,source=shown,target=/shown cat /shown/f; echo text\n";

impl Case {
    fn new() -> Self {
        let lighter = Lighter::with_busybox();
        lighter.ok(["tag", "busybox", "base"]);
        lighter.context(DOCKERFILE, &[("files/a", "a"), ("files/gone", "g"), ("shown/f", "f")]);
        let case = Self { lighter };
        case.build(&[]);
        case
    }

    fn build(&self, flags: &[&str]) {
        let args = [&["build", "-q"], flags, &["context"]].concat();
        self.lighter.ok(args);
    }

    /// What is told of the last build, the lines that name changes and reasons: with `--explain`, and afterwards.
    fn told(&self, flags: &[&str]) -> Vec<String> {
        self.build(&[&["--explain"], flags].concat());
        let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect();
        lines(&self.lighter.ok(["build", "explain"]))
    }

    fn write(&self, name: &str, text: &str) {
        self.lighter.write(&format!("context/{name}"), text);
    }

    fn rewrite(&self, from: &str, to: &str) {
        self.write("Dockerfile", &DOCKERFILE.replace(from, to));
    }
}

/// What is said of the one step whose input has changed.
fn first_change(lines: &[String]) -> &str {
    assert!(lines.len() >= 3, "{lines:?}");
    assert_eq!(lines[1], "ran because of what changed:", "{lines:?}");
    &lines[2]
}

#[test]
fn the_content_of_a_file() {
    let case = Case::new();
    case.write("files/a", "b");
    let told = case.told(&[]);
    assert!(told[0].contains("COPY files /files/"), "{told:?}");
    let change = first_change(&told);
    assert!(
        change.starts_with("file files/a: content blake3:17762fddd969 -> blake3:10e5cf3d3c8a"),
        "{change}"
    );
}

#[test]
fn what_was_used_last_is_compared_with() {
    let case = Case::new();
    for text in ["b", "c", "d", "e", "f", "g"] {
        case.write("files/a", text);
        case.build(&[]);
    }
    case.write("files/a", "a");
    assert_eq!(case.told(&[]), ["Every step came from the cache."]);
    case.write("files/a", "h");
    let told = case.told(&[]);
    assert!(first_change(&told).starts_with("file files/a: content blake3:17762fddd969 -> "), "{told:?}");
}

#[test]
fn the_mode_of_a_file() {
    let case = Case::new();
    let path = case.lighter.path("context/files/a");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("sets the mode");
    assert_eq!(first_change(&case.told(&[])), "file files/a: mode 0644 -> 0755");
}

#[test]
fn a_new_file_and_one_that_is_gone() {
    let case = Case::new();
    case.write("files/new", "n");
    assert!(first_change(&case.told(&[])).starts_with("file files/new: new, file 0644 blake3:"));
    fs::remove_file(case.lighter.path("context/files/gone")).expect("removes it");
    assert!(first_change(&case.told(&[])).starts_with("file files/gone: deleted, was file 0644 blake3:"));
}

#[test]
fn arguments_and_variables() {
    let case = Case::new();
    assert_eq!(first_change(&case.told(&["--build-arg", "WHO=you"])), "ARG WHO: me -> you");
    case.rewrite("MOOD=good", "MOOD=bad");
    let told = case.told(&["--build-arg", "WHO=you"]);
    assert_eq!(first_change(&told), "ENV MOOD: good -> bad");
    assert!(!told.concat().contains("ARG"), "{told:?}");
}

#[test]
fn the_base_image() {
    let case = Case::new();
    case.lighter.run_with_input(["build", "-q", "-t", "base", "-"], b"FROM busybox\nRUN echo 2 > /two\n");
    let told = case.told(&[]);
    assert!(first_change(&told).starts_with("base image: sha256:"), "{told:?}");
    assert_eq!(told[6], "the step before has made something else", "{told:?}");
}

#[test]
fn what_a_mount_shows() {
    let case = Case::new();
    case.write("shown/f", "other");
    let told = case.told(&[]);
    assert!(first_change(&told).starts_with("mount /shown: content: sha256:"), "{told:?}");
    assert!(told[0].contains("RUN --mount"), "{told:?}");
}

#[test]
fn the_platform() {
    let lighter = Lighter::with_busybox();
    // the same files for both: nothing but the platform differs
    let base = "FROM --platform=linux/amd64 busybox AS b\nFROM scratch\nCOPY --from=b / /\n";
    for platform in ["amd64", "arm64"] {
        let (of, tag) = (format!("linux/{platform}"), format!("base-{platform}"));
        let host = lighter_image_platform();
        let text = base.replace("linux/amd64", &host);
        let said =
            lighter.run_with_input(["build", "-q", "--platform", &of, "-t", &tag, "-"], text.as_bytes());
        assert_eq!(said.code, 0, "{}", said.all());
    }
    lighter.context("ARG BASE\nFROM $BASE\nRUN [\"/bin/true\"]\n", &[]);
    for platform in ["amd64", "arm64"] {
        let base = format!("BASE=base-{platform}");
        let of = format!("linux/{platform}");
        lighter.ok(["build", "-q", "--platform", &of, "--build-arg", &base, "context"]);
    }
    let told = lighter.ok(["build", "explain"]);
    assert!(told.contains("    platform: linux/amd64 -> linux/arm64\n"), "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("    ")).count(), 1, "{told}");
}

fn lighter_image_platform() -> String {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    format!("linux/{machine}")
}

#[test]
fn the_text_of_an_instruction() {
    let case = Case::new();
    case.rewrite("echo text", "echo other");
    let told = case.told(&[]);
    let change = first_change(&told);
    assert!(change.starts_with("instruction: RUN /bin/sh -c"), "{change}");
    assert!(change.ends_with("echo other'") && change.contains("echo text' -> "), "{change}");
    // the wording alone is no change
    case.rewrite("COPY files", "# a comment\nCOPY  ./files");
    case.build(&[]);
    assert_eq!(case.told(&[]), ["Every step came from the cache."]);
}

#[test]
fn flags_that_forbid_the_cache() {
    let case = Case::new();
    let told = case.told(&["--no-cache"]);
    assert_eq!(told.iter().filter(|line| *line == "ran because: --no-cache").count(), 2, "{told:?}");
    let told = case.told(&["--no-cache-filter", "stage-0"]);
    assert_eq!(told.iter().filter(|line| line.ends_with("--no-cache-filter stage-0")).count(), 2, "{told:?}");
}

#[test]
fn a_record_that_was_pruned() {
    let case = Case::new();
    case.lighter.ok(["builder", "prune", "-af"]);
    let told = case.told(&[]);
    let pruned = "ran because: its cached result has been removed from the store";
    assert_eq!(told.iter().filter(|line| *line == pruned).count(), 2, "{told:?}");
    // of a context that nobody has built, it is not said
    let other = case.lighter.path("other/context");
    fs::create_dir_all(&other).expect("makes it");
    fs::write(other.join("Dockerfile"), "FROM busybox\nRUN echo text\n").expect("writes it");
    case.lighter.ok(["build", "-q", "--explain", "other/context"]);
    let told = case.lighter.ok(["builder", "explain"]);
    assert!(told.contains("ran because: no earlier build had such a step"), "{told}");
}

#[test]
fn what_an_address_answers() {
    let lighter = Lighter::with_busybox();
    let (address, content) = serve("one");
    lighter.context(&format!("FROM busybox\nADD {address}/f /f\n"), &[]);
    lighter.ok(["build", "-q", "context"]);
    *content.lock().expect("free") = "two";
    lighter.ok(["build", "-q", "context"]);
    let told = lighter.ok(["build", "explain"]);
    let expected = format!("    url {address}/f: content: sha256:7692c3ad3540 -> sha256:3fc4ccfe7458\n");
    assert!(told.contains(&expected), "{told}");
}

/// Answers every request with the text.
fn serve(text: &'static str) -> (String, Arc<Mutex<&'static str>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let content = Arc::new(Mutex::new(text));
    let answer = Arc::clone(&content);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let request = BufReader::new(stream.try_clone().expect("a stream"));
            for line in request.lines() {
                if line.is_ok_and(|line| line.is_empty()) {
                    break;
                }
            }
            let text = *answer.lock().expect("free");
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            // whoever has gone away needs no answer
            drop(stream.write_all(format!("{head}{text}").as_bytes()));
        }
    });
    (address, content)
}

#[test]
fn every_change_has_a_name_for_machines() {
    let case = Case::new();
    case.write("files/a", "b");
    case.build(&["--build-arg", "WHO=you"]);
    let told = case.lighter.ok(["build", "explain", "--format", "json"]);
    let whats: Vec<&str> =
        told.split("\"what\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(whats, ["file-content", "arg", "step-before"], "{told}");
}
