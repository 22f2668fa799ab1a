//! A root made of the host's programs, and shorthand to run something in it.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lighter_sandbox::{Exit, Mount, Process, Root, SandboxError, Spec, Stdio, Stream, spawn};
use tempfile::TempDir;

/// Directories of one sandbox.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Self { dir };
        for name in ["lower", "upper", "work"] {
            fs::create_dir(fixture.path(name)).unwrap();
        }
        let lower = fixture.path("lower");
        for name in ["usr", "etc", "tmp"] {
            fs::create_dir(lower.join(name)).unwrap();
        }
        for name in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{name}"), lower.join(name)).unwrap();
        }
        fs::write(lower.join("etc/kept"), "kept\n").unwrap();
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A spec that runs a shell script on the overlay.
    pub(crate) fn script(&self, script: &str) -> Spec {
        self.command(&["sh", "-c", script])
    }

    pub(crate) fn command(&self, args: &[&str]) -> Spec {
        let root = Root::Overlay {
            lowers: vec![self.path("lower")],
            upper: self.path("upper"),
            work: self.path("work"),
        };
        let mut spec = Spec::new(root, args.iter().map(|arg| (*arg).to_owned()).collect());
        spec.env = vec!["PATH=/usr/sbin:/usr/bin".to_owned()];
        spec.mounts = vec![Mount::bind("/usr", "/usr").with_read_only(true)];
        spec
    }

    /// Everything below the upper directory, relative and sorted.
    pub(crate) fn changes(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.path("upper"), &self.path("upper"), &mut found);
        found.sort();
        found
    }
}

fn list(top: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.strip_prefix(top).unwrap().display().to_string());
        if path.is_dir() && !path.is_symlink() {
            list(top, &path, found);
        }
    }
}

/// What a process said and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) output: String,
}

/// A pipe whose reading end the caller keeps.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer.into())
}

/// Starts it with standard output and standard error in one pipe.
pub(crate) fn start(spec: &Spec) -> Result<(Process, OwnedFd), SandboxError> {
    let (reader, writer) = pipe();
    let stdio = Stdio {
        stdin: Stream::Null,
        stdout: Stream::Fd(writer.try_clone().unwrap()),
        stderr: Stream::Fd(writer),
    };
    Ok((spawn(spec, stdio)?, reader))
}

/// Runs it to its end.
pub(crate) fn run(spec: &Spec) -> Outcome {
    let (process, reader) = start(spec).expect("start");
    finish(&process, reader)
}

pub(crate) fn finish(process: &Process, reader: OwnedFd) -> Outcome {
    let output = read_all(reader);
    Outcome { exit: process.wait().unwrap(), output }
}

pub(crate) fn read_all(reader: OwnedFd) -> String {
    let mut bytes = Vec::new();
    fs::File::from(reader).read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs a script on a fresh fixture and returns its output; it must succeed.
pub(crate) fn output_of(script: &str) -> String {
    let fixture = Fixture::new();
    succeed(&fixture.script(script))
}

pub(crate) fn succeed(spec: &Spec) -> String {
    let outcome = run(spec);
    assert_eq!(outcome.exit, Exit::Code(0), "{}", outcome.output);
    outcome.output
}
