//! Finding and executing the program.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, stat};
use rustix::io::Errno;

use super::{At, Fault, Result};
use crate::message::{CommandFault, Stage, errno_text};
use crate::sys;

/// Opens the running binary, so that it can be executed once more after the host's tree is gone.
pub(super) fn open_self() -> Result<OwnedFd> {
    rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .at(Stage::Order, || "own binary".to_owned())
}

/// Changes to the working directory, which must be one of the container's.
pub(super) fn enter_directory(cwd: &str) -> Result<()> {
    let enter = || {
        rustix::process::chdir(cwd)?;
        // an open file of ours may lead to a directory of the host, which has no path from here
        let here = rustix::process::getcwd(Vec::new())?;
        if here.as_bytes().starts_with(b"/") { Ok(()) } else { Err(Errno::NOENT) }
    };
    enter().at(Stage::WorkingDirectory, || cwd.to_owned())
}

/// Finds the program: a name with a slash is a path, any other is searched in `PATH`.
pub(super) fn find(args: &[String], env: &[String]) -> Result<CString> {
    let program = args.first().map_or("", String::as_str);
    let found = if program.contains('/') {
        match executable(program) {
            Ok(()) => Ok(program.to_owned()),
            Err(fault) => Err(fault),
        }
    } else {
        search(program, env)
    };
    let found = found.map_err(|fault| Fault::Command { program: program.to_owned(), fault })?;
    to_c(&found).at(Stage::Order, || program.to_owned())
}

fn search(program: &str, env: &[String]) -> std::result::Result<String, CommandFault> {
    let path = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or("");
    if program.is_empty() {
        return Err(CommandFault::NotInPath);
    }
    for folder in path.split(':') {
        let folder = if folder.is_empty() { "." } else { folder };
        let candidate = format!("{}/{program}", folder.trim_end_matches('/'));
        if executable(&candidate).is_ok() {
            return Ok(candidate);
        }
    }
    Err(CommandFault::NotInPath)
}

/// Checks that a path names a file which this user may execute.
fn executable(path: &str) -> std::result::Result<(), CommandFault> {
    let status = match stat(path) {
        Ok(status) => status,
        Err(Errno::ACCESS) => return Err(CommandFault::PermissionDenied),
        Err(_) => return Err(CommandFault::NoSuchFile),
    };
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        return Err(CommandFault::IsDirectory);
    }
    // User 0 may "execute" anything as far as the kernel's check goes, unless no execute bit is set.
    match accessat(CWD, Path::new(path), Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        Err(_) => Err(CommandFault::PermissionDenied),
    }
}

/// Becomes the program. If the kernel refuses it, that is said where the program would have spoken, as Docker does,
/// and the status for it is returned.
pub(super) fn execute(program: &CString, args: &[String], env: &[String]) -> i32 {
    let to_c_all = |strings: &[String]| -> std::result::Result<Vec<CString>, Errno> {
        strings.iter().map(|string| to_c(string)).collect()
    };
    let errno = match (to_c_all(args), to_c_all(env)) {
        (Ok(args), Ok(env)) => sys::execve(program, &args, &env),
        (Err(errno), _) | (_, Err(errno)) => errno,
    };
    complain(&format!("exec {}: {}\n", program.to_string_lossy(), errno_text(errno.raw_os_error())));
    255
}

/// Says something on standard error; if even that fails, the exit status has to do.
pub(super) fn complain(text: &str) {
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
}

fn to_c(string: &str) -> std::result::Result<CString, Errno> {
    CString::new(string).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(path: &str) -> Vec<String> {
        vec!["A=b".to_owned(), format!("PATH={path}")]
    }

    #[test]
    fn programs_are_found_as_docker_does() {
        let check = |program: &str, path: &str, expected: std::result::Result<&str, CommandFault>| {
            let found = match find(&[program.to_owned()], &env(path)) {
                Ok(found) => Ok(found.into_string().expect("text")),
                Err(Fault::Command { fault, .. }) => Err(fault),
                Err(Fault::Setup { .. }) => panic!("set-up fault for {program}"),
            };
            assert_eq!(found, expected.map(str::to_owned), "{program} in {path}");
        };
        check("sh", "/nonexistent:/bin", Ok("/bin/sh"));
        check("sh", "/bin/", Ok("/bin/sh"));
        check("sh", "/nonexistent", Err(CommandFault::NotInPath));
        check("", "/bin", Err(CommandFault::NotInPath));
        check("/bin/sh", "", Ok("/bin/sh"));
        check("/no/such", "/bin", Err(CommandFault::NoSuchFile));
        check("/etc", "/bin", Err(CommandFault::IsDirectory));
        check("/etc/passwd", "/bin", Err(CommandFault::PermissionDenied));
        check("etc", "/", Err(CommandFault::NotInPath));
    }
}
