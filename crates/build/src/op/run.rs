//! RUN: a command in a sandbox, on top of the layers below; what it changes is the new layer.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lighter_dockerfile::plan::{InlineFile, Run, RunMount, RunNetwork, RunSecurity};
use lighter_image::ImagePath;
use lighter_layer::{LayerWriter, NewFolders, View};
use lighter_sandbox::network::resolver::{Reach, ResolvConf, hosts_of_step};
use lighter_sandbox::{
    Exit, Mount, Network, Resource, Rlimit, Root, SandboxError, Spec, Stdio, Stream as Pipe, User, spawn,
};
use lighter_store::Scratch;
use rustix::pipe::{PipeFlags, pipe_with};

use super::mounts;
use super::output::{Tail, pump};
use super::shell;
use super::user::Accounts;
use super::{Below, accounts};
use crate::event::{EventKind, Work};
use crate::plain::{self, PlainRoot};
use crate::site::{Group, Site, StepNetwork};
use crate::{OnError, StepError, Stream};

/// The host name of a command, as BuildKit has it.
const HOSTNAME: &str = "buildkitsandbox";
/// Where inline scripts are.
const PIPES: &str = "/dev/pipes";
/// The signal that ends a command for good.
const KILL: i32 = 9;
/// The signals that end a build: hang-up, interrupt, quit, termination.
const ENDING: [i32; 4] = [1, 2, 3, 15];
/// The status that runc reports for a program that cannot be started, as BuildKit does.
const MODE_SCRIPT: u32 = 0o755;

/// Runs the command. What it has changed is in the scratch layer then.
pub(crate) fn run(
    site: &Site<'_>,
    run: &Run,
    below: &Below<'_>,
    scratch: &Scratch,
    work: &Work<'_>,
    tail: &mut Tail,
) -> Result<(), StepError> {
    check_allowed(site, run)?;
    let lowers = site.paths(below.parent, work)?;
    let view = View::open(&lowers)?;
    let accounts = accounts(&view)?;
    let user = accounts.process_user(&run.user).map_err(|error| StepError::Refused(error.to_string()))?;
    let upper = scratch.fs();
    make_folder(site, &view, &upper, &run.cwd, &user)?;
    let network = network(site, run)?;
    let root = Root::Overlay { lowers, upper, work: scratch.work().map_err(StepError::store)? };
    let mut spec = spec(site, run, root, user, &accounts)?;
    spec.another_follows = site.is_followed_by_a_run(run);
    spec.mounts = etc(site, run, &network, scratch.dir())?;
    spec.mounts.extend(scripts(&run.files, scratch.dir())?);
    let mounted = mounts::prepare(site, run, below, scratch.dir(), work)?;
    spec.env.extend(mounted.env.iter().cloned());
    spec.mounts.extend(mounted.mounts.iter().cloned());
    spec.network = network.spec;
    let group = site.cgroup(work)?;
    spec.cgroup = group.as_ref().map(Group::spec);
    let result = run_in(site, &mut spec, scratch.dir(), run, tail, work);
    if site.inputs.on_error == OnError::Shell
        && let Err(error) = &result
        && error.exit_code().is_some()
    {
        shell::open(site, &spec, run, work);
    }
    drop(group);
    if result.is_err()
        && let Some(remark) = network.held.as_ref().and_then(StepNetwork::remark)
    {
        work.warn(remark);
    }
    if let Some(StepNetwork::Bridged(lease)) = network.held
        && run.security == RunSecurity::Insecure
    {
        // it may have changed its network
        lease.discard();
    }
    drop(mounted);
    result
}

/// Runs the command where its layers are mounted, or on a copy of them where they cannot be.
fn run_in(
    site: &Site<'_>,
    spec: &mut Spec,
    beside: &Path,
    run: &Run,
    tail: &mut Tail,
    work: &Work<'_>,
) -> Result<(), StepError> {
    if !site.works_on_copies() {
        match execute(site, spec, run, tail, work) {
            Err(StepError::Sandbox(error)) if site.is_refused(&error)? => {}
            other => return other,
        }
    }
    let copied = plain::without_overlays(spec, beside)?;
    execute(site, spec, run, tail, work)?;
    Ok(copied.iter().try_for_each(PlainRoot::write_changes)?)
}

/// Who runs a command in a root, and the home that it has of it where no variable says.
pub(crate) fn user_of(run: &Run, lowers: &[PathBuf]) -> Result<(User, Option<String>), StepError> {
    let accounts = accounts(&View::open(lowers)?)?;
    let user = accounts.process_user(&run.user).map_err(|error| StepError::Refused(error.to_string()))?;
    let home = accounts.home(user.uid);
    Ok((user, needs_home(run).then_some(home)))
}

/// Whether no variable says where the home is; an empty one does not.
fn needs_home(run: &Run) -> bool {
    !run.env.iter().any(|(name, value)| name == "HOME" && !value.is_empty())
}

/// The variables of the instruction, but for a home that says nothing, and those that the request's proxies replace.
pub(crate) fn variables(run: &Run) -> impl Iterator<Item = String> {
    let is_replaced = |name: &str| run.proxy_env.iter().any(|(proxy, _)| proxy == name);
    let given = run
        .env
        .iter()
        .filter(move |(name, value)| (name != "HOME" || !value.is_empty()) && !is_replaced(name));
    given.map(|(name, value)| format!("{name}={value}"))
}

fn check_allowed(site: &Site<'_>, run: &Run) -> Result<(), StepError> {
    let refuse = |text: &str| Err(StepError::Refused(text.to_owned()));
    if run.env.iter().any(|(name, _)| name.is_empty()) {
        return refuse("invalid environment variable: name cannot be empty");
    }
    if run.security == RunSecurity::Insecure && !site.inputs.run.insecure_is_allowed {
        return refuse("RUN --security=insecure is not allowed: build with --allow security.insecure");
    }
    if run.network == Some(RunNetwork::Host) && !site.inputs.run.host_network_is_allowed {
        return refuse("RUN --network=host is not allowed: build with --allow network.host");
    }
    match run.devices.iter().find(|device| device.required) {
        Some(device) => {
            Err(StepError::Refused(format!("device {} is not available: CDI is not supported", device.name)))
        }
        None => Ok(()),
    }
}

/// Sees to it that the working directory is there, as the process's user's.
fn make_folder(site: &Site<'_>, view: &View, upper: &Path, cwd: &str, user: &User) -> Result<(), StepError> {
    let path = ImagePath::new(cwd);
    let writer = LayerWriter::open(upper, view.clone(), site.timestamp())?;
    if view.resolve(&path)?.is_none() {
        let owner = NewFolders { mode_bits: 0o755, owner: Some((user.uid, user.gid)) };
        writer.make_folders(&path, owner)?;
    }
    writer.finish()?;
    Ok(())
}

/// A network, and what holds it.
struct Connected {
    spec: Network,
    held: Option<StepNetwork>,
    reach: Reach,
}

impl Connected {
    /// Where the command reaches this machine, if it does.
    fn host_address(&self) -> Option<IpAddr> {
        match (&self.spec, &self.held) {
            (_, Some(StepNetwork::Bridged(lease))) => Some(lease.endpoint.gateway.into()),
            (Network::Host, _) => Some(Ipv4Addr::LOCALHOST.into()),
            _ => None,
        }
    }
}

fn network(site: &Site<'_>, run: &Run) -> Result<Connected, StepError> {
    let plain = |spec, reach| Connected { spec, held: None, reach };
    Ok(match site.inputs.run.network_of(run) {
        RunNetwork::None => plain(Network::None, Reach::Apart),
        RunNetwork::Host => plain(Network::Host, Reach::Host),
        RunNetwork::Default => match site.network()? {
            Some(held) => {
                Connected { spec: Network::Namespace(held.path()), held: Some(held), reach: Reach::Apart }
            }
            None => plain(Network::Host, Reach::Host),
        },
    })
}

/// The spec without mounts and network.
fn spec(site: &Site<'_>, run: &Run, root: Root, user: User, accounts: &Accounts) -> Result<Spec, StepError> {
    let settings = &site.inputs.run;
    let mut spec = Spec::new(root, run.args.clone());
    if run.security == RunSecurity::Insecure {
        spec = spec.into_privileged();
    }
    spec.env = variables(run).collect();
    spec.env.extend(run.proxy_env.iter().map(|(name, value)| format!("{name}={value}")));
    if needs_home(run) {
        spec.env.push(format!("HOME={}", accounts.home(user.uid)));
    }
    // a signal to the process that lighter started must end the command, which may be deaf to it
    spec.keeper = true;
    spec.cwd.clone_from(&run.cwd);
    spec.user = user;
    spec.hostname = Some(settings.hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned()));
    if let Some(size_bytes) = settings.shm_size_bytes {
        spec.shm_size_bytes = size_bytes;
    }
    for (name, soft, hard) in &settings.ulimits {
        let resource = Resource::from_name(name)
            .ok_or_else(|| StepError::Refused(format!("invalid ulimit type: {name}")))?;
        let limit = |value: &u64| Some(*value).filter(|value| *value != u64::MAX);
        spec.rlimits.push(Rlimit { resource, soft: limit(soft), hard: limit(hard) });
    }
    Ok(spec)
}

/// The files of `/etc` that stand in place of the image's.
fn etc(site: &Site<'_>, run: &Run, network: &Connected, beside: &Path) -> Result<Vec<Mount>, StepError> {
    let settings = &site.inputs.run;
    let hostname = settings.hostname.as_deref().unwrap_or(HOSTNAME);
    let named = settings.extra_hosts.iter();
    let extra_hosts: Vec<(String, IpAddr)> = named
        .filter_map(|(name, address)| Some((name.clone(), address.or_else(|| network.host_address())?)))
        .collect();
    let resolv = site.resolv_conf().for_container(&ResolvConf::default(), network.reach).render();
    let files = [
        ("resolv.conf", "/etc/resolv.conf", resolv),
        ("hosts", "/etc/hosts", hosts_of_step(hostname, &extra_hosts)),
    ];
    let mut mounts = Vec::new();
    for (name, target, text) in files {
        let hides = |mount: &RunMount| {
            mount.target.as_ref().is_some_and(|above| Path::new(target).starts_with(above))
        };
        if run.mounts.iter().any(hides) {
            continue;
        }
        let path = beside.join(name);
        write_file(&path, text.as_bytes(), 0o644)?;
        mounts.push(Mount::bind(path, target).with_read_only(true).with_data_only());
    }
    Ok(mounts)
}

/// The scripts that are given in the Dockerfile, as programs.
fn scripts(files: &[InlineFile], beside: &Path) -> Result<Option<Mount>, StepError> {
    if files.is_empty() {
        return Ok(None);
    }
    let folder = beside.join("pipes");
    make_dir(&folder)?;
    for file in files {
        write_file(&folder.join(&file.name), file.content.as_bytes(), MODE_SCRIPT)?;
    }
    Ok(Some(Mount::bind(folder, PIPES).with_read_only(true)))
}

/// Starts the command, hands on what it writes, and waits for its end.
fn execute(
    site: &Site<'_>,
    spec: &Spec,
    run: &Run,
    tail: &mut Tail,
    work: &Work<'_>,
) -> Result<(), StepError> {
    let command = run.args.join(" ");
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| StepError::io("making a pipe")(error.into()));
    let (stdout, stdout_end): (OwnedFd, OwnedFd) = pipe()?;
    let (stderr, stderr_end): (OwnedFd, OwnedFd) = pipe()?;
    let stdio = Stdio { stdin: Pipe::Null, stdout: Pipe::Fd(stdout_end), stderr: Pipe::Fd(stderr_end) };
    if site.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    let process = match spawn(spec, stdio) {
        Ok(process) => Arc::new(process),
        Err(source) => return Err(not_started(source, command, tail, work)),
    };
    for warning in process.warnings() {
        work.warn(warning.to_string());
    }
    let to_stop = Arc::clone(&process);
    let _stop = site.cancel.while_running(move || {
        if let Err(error) = to_stop.kill(KILL) {
            tracing::warn!(%error, "a command was not stopped");
        }
    });
    let piped = pump(&stdout, &stderr, tail, &|stream, bytes| work.tell(EventKind::Output { stream, bytes }));
    if piped.is_err() {
        // nobody reads what it writes any more
        process.kill(KILL).map_err(|error| StepError::Sandbox(error.into()))?;
    }
    let exit = process.wait().map_err(|error| StepError::Sandbox(error.into()))?;
    if site.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    piped.map_err(StepError::io("reading what the command writes"))?;
    match exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(code) => Err(StepError::Exit { command, code }),
        Exit::Signal(signal) if ENDING.contains(&signal) => {
            // process 1 of the command cannot die of it: somebody has signalled its keeper
            site.cancel.cancel();
            Err(StepError::Cancelled)
        }
        Exit::Signal(signal) => Err(StepError::Signal { command, signal }),
    }
}

/// A program that cannot be started is told as if the command had said it itself.
fn not_started(source: SandboxError, command: String, tail: &mut Tail, work: &Work<'_>) -> StepError {
    match source {
        SandboxError::Command { .. } => {
            let code = source.exit_code();
            let line = format!("{source}\n").into_bytes();
            tail.push(&line);
            work.tell(EventKind::Output { stream: Stream::Stderr, bytes: line });
            StepError::Exit { command, code }
        }
        source => StepError::Sandbox(source),
    }
}

/// Writes a file of our own beside the layer, whatever the umask.
fn write_file(path: &PathBuf, content: &[u8], mode_bits: u32) -> Result<(), StepError> {
    use std::os::unix::fs::PermissionsExt as _;
    let write = || {
        std::fs::write(path, content)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode_bits))
    };
    write().map_err(StepError::io(format!("writing `{}`", path.display())))
}

/// Makes a folder of our own beside the layer, whatever the umask.
pub(super) fn make_dir(path: &Path) -> Result<(), StepError> {
    use std::os::unix::fs::PermissionsExt as _;
    let make = || {
        std::fs::create_dir(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
    };
    make().map_err(StepError::io(format!("making `{}`", path.display())))
}
