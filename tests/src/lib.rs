//! The harness of the end-to-end cases: the real binary, a store of its own for each case, and a base image made
//! from the machine's static busybox.
//!
//! `LIGHTER` names the program under test (several words are allowed, so that a peer can stand in);
//! without it, the release binary of this workspace is taken.
#![expect(
    clippy::missing_panics_doc,
    reason = "a harness panics where a case fails: that is its way to say so"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What may stand in the environment of whoever runs the tests and would make commands do something else.
const FOREIGN: &[&str] = &[
    "ALL_PROXY",
    "all_proxy",
    "BUILDKIT_PROGRESS",
    "BUILDX_METADATA_PROVENANCE",
    "DOCKER_AUTH_CONFIG",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "LIGHTER_CACHE_LIMIT",
    "LIGHTER_LOG",
    "NO_COLOR",
    "REGISTRY_AUTH_FILE",
    "SOURCE_DATE_EPOCH",
    "SSH_AUTH_SOCK",
];

/// A store of its own, and a folder to work in; both vanish with it.
pub struct Lighter {
    folder: TempDir,
    program: Vec<String>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The exit status, or -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Both streams, one after the other.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl Default for Lighter {
    fn default() -> Self {
        Self::new()
    }
}

impl Lighter {
    /// An empty store.
    pub fn new() -> Self {
        let words = std::env::var("LIGHTER")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/lighter").to_owned());
        Self::of(&words)
    }

    /// An empty store of this program.
    pub fn of(words: &str) -> Self {
        // files of contexts have the modes that cases speak of, whoever runs them
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let folder = TempDir::with_prefix("lighter-case.").expect("a scratch folder");
        Self { folder, program: words.split_whitespace().map(str::to_owned).collect() }
    }

    /// A store that holds `busybox:latest`.
    pub fn with_busybox() -> Self {
        Self::new().and_busybox()
    }

    /// This store, with `busybox:latest` in it.
    #[must_use]
    pub fn and_busybox(self) -> Self {
        let rootfs = self.path("busybox.tar");
        fs::write(&rootfs, busybox_rootfs(&self.path("rootfs"))).expect("writes the base");
        self.ok(["import", "-c", r#"CMD ["sh"]"#, rootfs.to_str().expect("text"), "busybox:latest"]);
        self
    }

    /// A path in the case's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store's root.
    pub fn root(&self) -> PathBuf {
        self.path("store")
    }

    /// What the store occupies, as `du` counts.
    pub fn disk_bytes(&self) -> u64 {
        let said = Command::new("du").args(["-s", "--block-size=1"]).arg(self.root()).output().expect("du");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a size")
    }

    /// Writes a file in the case's folder, with its parents.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("makes the parents");
        fs::write(&path, content).expect("writes the file");
        path
    }

    /// The command, ready to be changed further.
    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.program[0]);
        command
            .args(&self.program[1..])
            .args(args)
            .env("LIGHTER_ROOT", self.root())
            .env("DOCKER_CONFIG", self.path("config"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        for name in FOREIGN {
            command.env_remove(name);
        }
        // whatever registries of the world say, no case waits for it
        command.env("HTTPS_PROXY", "http://127.0.0.1:1");
        command
    }

    /// Runs a command to its end.
    pub fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Said {
        said(&self.command(args).output().expect("the program starts"))
    }

    /// Runs a command and gives it this input.
    pub fn run_with_input<'a>(&self, args: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Said {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        // a program that ends early closes its input: that is its right
        let written = child.stdin.take().expect("piped").write_all(input);
        let output = child.wait_with_output().expect("the program ends");
        if let Err(error) = written {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{error}");
        }
        said(&output)
    }

    /// Runs a command that must succeed; its standard output.
    pub fn ok<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let args: Vec<&str> = args.into_iter().collect();
        let said = self.run(args.iter().copied());
        assert_eq!(said.code, 0, "lighter {}\n{}", args.join(" "), said.all());
        said.out
    }

    /// Runs a command that must fail in an orderly way; both its streams.
    pub fn refused<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let args: Vec<&str> = args.into_iter().collect();
        let said = self.run(args.iter().copied());
        assert!(
            (1..126).contains(&said.code),
            "lighter {} ended with {}\n{}",
            args.join(" "),
            said.code,
            said.all()
        );
        assert!(!said.all().contains("panicked at"), "{}", said.all());
        said.all()
    }

    /// Builds the Dockerfile's text in a context of these files; both streams of a build that must succeed.
    pub fn build(&self, tag: &str, dockerfile: &str, files: &[(&str, &str)]) -> String {
        let context = self.context(dockerfile, files);
        let said = self.run(["build", "--progress=plain", "-t", tag, context.to_str().expect("text")]);
        assert_eq!(said.code, 0, "{dockerfile}\n{}", said.all());
        said.all()
    }

    /// Builds the Dockerfile's text in a context of these files; both streams of a build that must fail.
    pub fn build_refused(&self, dockerfile: &str, files: &[(&str, &str)]) -> String {
        let context = self.context(dockerfile, files);
        self.refused(["build", "--progress=plain", "-t", "refused", context.to_str().expect("text")])
    }

    /// Makes the folder `context` anew with these files and the Dockerfile.
    pub fn context(&self, dockerfile: &str, files: &[(&str, &str)]) -> PathBuf {
        let context = self.path("context");
        if context.exists() {
            fs::remove_dir_all(&context).expect("empties the context");
        }
        self.write("context/Dockerfile", dockerfile);
        for (name, content) in files {
            self.write(&format!("context/{name}"), content);
        }
        context
    }
}

/// Waits until something holds. The deadline is for what will never hold: a busy machine may take its time.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_mins(2), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process waits for a file lock.
pub fn waits_for_a_lock(child: &Child) -> bool {
    let locks = fs::read_to_string("/proc/locks").expect("the locks");
    let pid = child.id().to_string();
    locks.lines().any(|line| line.contains("->") && line.split_whitespace().any(|word| word == pid))
}

/// Copies a program by a process of its own: where this one held it open for writing, a child that another thread starts
/// at that moment would have it open, too, and the kernel would not execute it.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "{} is copied", from.display());
}

fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A small root filesystem around the machine's static busybox, as a tar archive.
fn busybox_rootfs(folder: &Path) -> Vec<u8> {
    let program = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let program = program.expect("a static busybox (Debian's package busybox-static)");
    for part in ["bin", "etc", "home", "proc", "root", "sys", "dev", "tmp", "usr", "var"] {
        fs::create_dir_all(folder.join(part)).expect("makes a folder");
    }
    fs::set_permissions(folder.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("sets the mode");
    fs::copy(program, folder.join("bin/busybox")).expect("copies busybox");
    let list = Command::new(program).arg("--list").output().expect("busybox runs");
    for name in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("/bin/busybox", folder.join("bin").join(name)).expect("links an applet");
    }
    fs::write(folder.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var:/bin/false\n")
        .expect("writes passwd");
    fs::write(folder.join("etc/group"), "root:x:0:\nwww:x:33:\nstaff:x:50:www\n").expect("writes group");
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-cf", "-", "-C"])
        .arg(folder)
        .arg(".");
    tar.output().expect("tar runs").stdout
}
