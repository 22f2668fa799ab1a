//! One process in namespaces of its own: it takes a [`Spec`] and runs it.
//!
//! The program that uses this crate must call [`run_hidden_verb`] first thing in `main`: a sandbox begins as the very
//! same binary, executed again with a hidden argument, single-threaded, which reads the spec from a socket, sets
//! itself up and becomes the wished-for program. Nothing is done between fork and exec, and nothing is left behind
//! when the process ends: mounts live in its mount namespace, the rest in its other namespaces.
//!
//! ```no_run
//! use lighter_sandbox::{Root, Spec, Stdio, run_hidden_verb, spawn};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     run_hidden_verb();
//!     let root = Root::Directory("/srv/root".into());
//!     let process = spawn(&Spec::new(root, vec!["/bin/true".to_owned()]), Stdio::null())?;
//!     println!("{:?}", process.wait()?);
//!     Ok(())
//! }
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

pub mod capability;
pub mod cgroup;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod network;
pub mod report;

mod control;
mod detached;
mod init;
mod message;
mod overlay;
mod process;
mod seccomp;
mod self_exe;
mod spawn;
mod spawner;
mod spec;
mod stdio;
mod subordinate;
mod sys;
mod sysctl;
mod userns;

pub use capability::Capabilities;
pub use message::{CommandFault, Stage, Warning};
pub use overlay::try_overlay;
pub use process::{Exit, Process, WaitError, resize};
pub use seccomp::{LONGEST_PROFILE_BYTES, ProfileError};
pub use spawn::{SandboxError, exec_in, expect, hear_of_children, spawn};
pub use spec::{
    Concealed, DEFAULT_SHM_SIZE_BYTES, Device, ExecSpec, Filter, MASKED_PATHS, Mount, MountKind, Namespace,
    Network, Propagation, READONLY_PATHS, Resource, Rlimit, Root, Scratch, Seccomp, Spec, Stub, Tmpfs, User,
    Window,
};
pub use stdio::{Stdio, Stream};
pub use sysctl::is_namespaced_sysctl;
pub use userns::{EnterError, Ids, enter_user_namespace};

/// The argument that makes the binary an init.
pub(crate) const HIDDEN_VERB: &std::ffi::CStr = c"--lighter-sandbox-init";

/// Becomes the init of a sandbox, and never returns, if the arguments of this process say so.
///
/// To be called before anything else: the init must be the only thread of its process.
#[expect(clippy::exit, reason = "nothing of the caller's program may run in an init")]
pub fn run_hidden_verb() {
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let verb = arguments.next();
    if verb.as_deref().is_some_and(|verb| verb.as_bytes() == HIDDEN_VERB.to_bytes()) {
        std::process::exit(init::run(arguments.next().as_deref()));
    }
    if let Some(status) = network::run_hidden_verb(verb.as_deref(), &mut arguments) {
        std::process::exit(status);
    }
    let is_reaper = name.is_some_and(|name| name == init::REAPER_ARGUMENT_ZERO);
    if is_reaper && verb.is_some_and(|verb| verb == "--") {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let args: Vec<String> = arguments.map(text).collect();
        let env: Vec<String> =
            std::env::vars_os().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
        std::process::exit(init::reap_as_process_one(&args, &env));
    }
}
