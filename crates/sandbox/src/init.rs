//! The init of a sandbox: from the executed binary to the wished-for program.
//!
//! The order of the steps, and why each has its place:
//!
//! 1. *Die with the caller*, first of all, so that no moment is left out; then *clean hands*: stray descriptors of the
//!    caller's are dropped, and its umask.
//! 2. *Divide* into keeper and kept where the arguments say so, which is done before there is an order, and so can be
//!    done ahead of time. Then *read the order*, which brings the standard streams, and only then drop inherited signal
//!    dispositions and blocked signals: no signal to a keeper is lost.
//! 3. *Join the cgroup*, while the host's files can be seen, and before anything is allocated on its account.
//! 4. *Namespaces*: those to join, by their path on the host; the new ones exist since the clone.
//! 5. *Limits* that need the caller's privileges: resource limits, the badness for the out-of-memory killer.
//! 6. *Mounts*: what shall be shared with the host is opened; then everything becomes a slave of the host's mounts, so
//!    that nothing else goes back; sources are opened with the host's eyes; then the root is mounted and all else
//!    attached in it, every target resolved inside the root.
//! 7. *Terminal*: it comes from the container's own `/dev/pts`, hence after the mounts.
//! 8. *Pivot*: the host's tree goes away. Descriptors of it are closed by the exec at the latest.
//! 9. *Names and parameters*: host name, sysctls; then paths are hidden and the root made read-only, since sysctls are
//!    written below a path that becomes read-only.
//! 10. *System call filter*, while the capability to install one without `no_new_privs` is still there.
//! 11. *Bounding set, groups, user, capabilities*, in this order, since each needs what the next takes away. The
//!     change of user clears the wish to die with the caller, so it is made once more.
//! 12. *Working directory and program*, with the user's own permissions.
//! 13. *Ready* is said to the caller, which fails if it has died in between; then exec.

mod dev;
mod identity;
mod join;
mod keeper;
mod limits;
mod locate;
mod mounts;
mod nodes;
mod paths;
mod program;
mod reaper;
mod root;
mod terminal;

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::control;
use crate::message::{CommandFault, Order, Report, Stage, Warning};
use crate::spec::{ExecSpec, Namespace, Network, Spec};
use crate::{message::Host, sys};

pub(crate) use reaper::{ARGUMENT_ZERO as REAPER_ARGUMENT_ZERO, reap_as_process_one};

/// Why an init gives up.
pub(crate) enum Fault {
    /// A part of the set-up failed.
    Setup { stage: Stage, what: String, errno: Errno },
    /// The program is not there or cannot be executed.
    Command { program: String, fault: CommandFault },
}

type Result<T> = std::result::Result<T, Fault>;

/// Names the place of a system error.
pub(crate) trait At<T> {
    /// Says at which stage, and on what, it happened.
    fn at(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> At<T> for std::result::Result<T, Errno> {
    fn at(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Fault::Setup { stage, what: what(), errno })
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)).at(stage, what)
    }
}

/// The caller, as the init sees it.
pub(crate) struct Caller {
    socket: UnixStream,
}

impl Caller {
    fn tell(&self, report: &Report, descriptor: Option<&OwnedFd>) -> std::io::Result<()> {
        control::send(&self.socket, report, descriptor.map(AsFd::as_fd))
    }

    /// Tells of a wish that cannot be kept and is tolerated.
    fn warn(&self, what: impl Into<String>, errno: Errno) -> Result<()> {
        let warning = Warning { what: what.into(), errno: errno.raw_os_error() };
        self.tell(&Report::Warning(warning), None).at(Stage::Order, || "telling a warning".to_owned())
    }
}

/// Becomes what the caller orders, and in which namespaces with a keeper; the exit status is for a failure.
pub(crate) fn run(kept_namespaces: Option<&OsStr>) -> i32 {
    let Ok(socket) = sys::inherited_descriptor(3) else {
        return 125;
    };
    let caller = Caller { socket: UnixStream::from(socket) };
    let fault = match obey(&caller, kept_namespaces) {
        Ok(End::Status(status)) => return status,
        Ok(End::Keeper { kept, tie }) => {
            // the caller hears what is kept, and nobody else
            drop(caller);
            let status = keeper::keep(kept);
            drop(tie);
            return status;
        }
        Err(fault) => fault,
    };
    let report = match fault {
        Fault::Setup { stage, what, errno } => Report::Setup { stage, what, errno: errno.raw_os_error() },
        Fault::Command { program, fault } => Report::Command { program, fault },
    };
    // A caller that is gone needs no report, and there is nobody else to tell.
    let _ = caller.tell(&report, None);
    125
}

/// What becomes of an init that does not become a program.
enum End {
    /// It ends.
    Status(i32),
    /// It keeps another.
    Keeper { kept: i32, tie: OwnedFd },
}

fn obey(caller: &Caller, kept_namespaces: Option<&OsStr>) -> Result<End> {
    die_with_caller(true)?;
    sys::close_on_exec_from(3).at(Stage::Order, || "closing descriptors".to_owned())?;
    // what is made on the way to the program has the modes that it has everywhere, and so has what the program makes
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let tie = match kept_namespaces.map(flags).transpose()?.map(keeper::divide).transpose()? {
        Some(keeper::Side::Keeper { kept, tie }) => return Ok(End::Keeper { kept, tie }),
        Some(keeper::Side::Kept(tie)) => Some(tie),
        None => None,
    };
    let order = read_order(caller)?;
    // until here all are blocked, as they are in the caller's thread, and in a keeper for ever
    sys::reset_signals().at(Stage::Order, || "resetting signals".to_owned())?;
    let status = match order {
        Order::Run { spec, host } => set_up(caller, &spec, host, tie.as_ref()),
        Order::Exec { spec, target } => join_running(caller, &spec, target),
    };
    status.map(End::Status)
}

fn flags(argument: &OsStr) -> Result<i32> {
    let flags = argument.to_str().and_then(|text| text.parse().ok());
    flags.ok_or(Errno::INVAL).at(Stage::Order, || "namespaces".to_owned())
}

/// Waits for the order, and takes over the streams that come with it.
fn read_order(caller: &Caller) -> Result<Order> {
    let name = || "order".to_owned();
    let (bytes, streams) = control::receive_order(&caller.socket).at(Stage::Order, name)?;
    let order = serde_json::from_slice(&bytes).map_err(std::io::Error::from).at(Stage::Order, name)?;
    let [stdin, stdout, stderr] = streams.as_slice() else {
        return Err(Errno::BADF).at(Stage::Order, || "standard streams".to_owned());
    };
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .at(Stage::Order, name)?;
    Ok(order)
}

/// Asks to be killed when the thread that started this process ends, or takes that back.
fn die_with_caller(wanted: bool) -> Result<()> {
    set_parent_process_death_signal(wanted.then_some(Signal::KILL))
        .at(Stage::Order, || "parent death signal".to_owned())
}

/// Sets up a sandbox and becomes its program.
fn set_up(caller: &Caller, spec: &Spec, host: Host, tie: Option<&keeper::Tie>) -> Result<i32> {
    die_with_caller(spec.die_with_parent)?;
    join::cgroup(spec.cgroup.as_ref())?;
    enter_namespaces(spec)?;
    limits::set_resource_limits(caller, &spec.rlimits)?;
    limits::set_oom_score(caller, spec.oom_score_adj)?;
    if matches!(spec.pid, Namespace::Join(_)) {
        identity::hide_from_neighbours()?;
    }
    let terminal = mount_everything(caller, spec, host)?;
    limits::set_names(spec)?;
    limits::set_sysctls(&spec.sysctls)?;
    paths::mask(&spec.masked_paths)?;
    paths::make_read_only(&spec.readonly_paths)?;
    if spec.readonly_root {
        paths::make_root_read_only()?;
    }
    terminal::take(terminal.as_ref(), spec.user.uid)?;
    let identity = identity::Identity {
        user: &spec.user,
        capabilities: spec.capabilities,
        seccomp: &spec.seccomp,
        no_new_privileges: spec.no_new_privileges,
        die_with_parent: spec.die_with_parent,
    };
    let own_binary = spec.init.then(program::open_self).transpose()?;
    become_user(caller, &identity, &spec.cwd)?;
    let program = program::find(&spec.args, &spec.env)?;
    tie.map_or(Ok(()), keeper::Tie::holds)?;
    caller.tell(&Report::Ready, None).at(Stage::Order, || "saying ready".to_owned())?;
    match own_binary {
        Some(binary) => Ok(reaper::become_reaper(&binary, &spec.args, &spec.env)),
        None => Ok(program::execute(&program, &spec.args, &spec.env)),
    }
}

fn mount_everything(caller: &Caller, spec: &Spec, host: Host) -> Result<Option<OwnedFd>> {
    let shared = mounts::open_shared(spec)?;
    mounts::stop_propagation()?;
    let memory = match &spec.ipc {
        Namespace::Join(ipc) => join::memory_beside(ipc)?,
        _ => None,
    };
    let sources = mounts::open_sources(spec, host, shared)?;
    let root = root::mount(caller, spec, host, &sources)?;
    mounts::attach_system(spec, host, &root)?;
    let dev = dev::attach(spec, host, &root, memory)?;
    mounts::attach_all(sources, &root, &dev.nodes)?;
    let terminal =
        if spec.tty { Some(terminal::open(caller, &dev, spec.window, spec.user.uid)?) } else { None };
    root.pivot()?;
    Ok(terminal)
}

fn enter_namespaces(spec: &Spec) -> Result<()> {
    if let Network::Namespace(path) = &spec.network {
        join::namespace(path)?;
    }
    for namespace in [&spec.ipc, &spec.uts] {
        if let Namespace::Join(path) = namespace {
            join::namespace(path)?;
        }
    }
    if spec.network == Network::None {
        limits::bring_loopback_up()?;
    }
    if spec.host_cgroups { Ok(()) } else { join::own_cgroup_namespace(spec.cgroup.as_ref()) }
}

/// Joins a running sandbox and becomes a program there.
fn join_running(caller: &Caller, spec: &ExecSpec, target: i32) -> Result<i32> {
    die_with_caller(spec.die_with_parent)?;
    limits::set_oom_score(caller, spec.oom_score_adj)?;
    identity::hide_from_neighbours()?;
    join::cgroup_of(target)?;
    limits::set_resource_limits(caller, &spec.rlimits)?;
    join::namespaces_of(target)?;
    let terminal =
        if spec.tty { Some(terminal::open_in_place(caller, spec.window, spec.user.uid)?) } else { None };
    terminal::take(terminal.as_ref(), spec.user.uid)?;
    let identity = identity::Identity {
        user: &spec.user,
        capabilities: spec.capabilities,
        seccomp: &spec.seccomp,
        no_new_privileges: spec.no_new_privileges,
        die_with_parent: spec.die_with_parent,
    };
    become_user(caller, &identity, &spec.cwd)?;
    let program = program::find(&spec.args, &spec.env)?;
    caller.tell(&Report::Ready, None).at(Stage::Order, || "saying ready".to_owned())?;
    Ok(program::execute(&program, &spec.args, &spec.env))
}

/// Becomes the user, in a directory.
fn become_user(caller: &Caller, identity: &identity::Identity<'_>, cwd: &str) -> Result<()> {
    // before the process is the user, to whom the way there may be closed; but it may be open to the user alone
    let entered = program::enter_directory(cwd);
    identity::assume(caller, identity)?;
    entered.or_else(|_| program::enter_directory(cwd))
}
