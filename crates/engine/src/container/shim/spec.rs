//! From a container's settings to the sandbox that it runs in.

mod propagation;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use lighter_build::{Accounts, UserError};
use lighter_dockerfile::plan::DEFAULT_PATH;
use lighter_image::ImagePath;
use lighter_layer::{View, ViewError};
use lighter_sandbox::network::resolver::{self, OwnName, Reach, ResolvConf};
use lighter_sandbox::{
    Capabilities, Mount, MountKind, Namespace, Network, ProfileError, Root, Seccomp, Spec, Stub, Tmpfs, User,
    Window,
};
use lighter_store::{ContainerPaths, LayerId, Store};

use super::super::ground;
use super::super::security::{SecurityOption, SecurityOptionError};
use super::super::settings::{ContainerMount, HostAddress, MountSource, NetworkChoice, Settings, Sharing};
use super::super::state::{Container, FindError, find};
use super::super::volume::{self, VolumeRoot};

pub(crate) use propagation::PropagationError;

/// Why a container's sandbox could not be described.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Its files cannot be read.
    #[error("reading the container's files")]
    View(#[from] ViewError),
    /// Its user is nobody.
    #[error(transparent)]
    User(#[from] UserError),
    /// A capability is none.
    #[error("invalid capability: unknown capability: \"CAP_{0}\"")]
    Capability(String),
    /// A security option is none that can be kept.
    #[error(transparent)]
    SecurityOption(#[from] SecurityOptionError),
    /// A filter of system calls is none.
    #[error(transparent)]
    Seccomp(#[from] ProfileError),
    /// There is nothing to run.
    #[error("no command specified")]
    NoCommand,
    /// A container whose namespace is asked for is not there, or does not run.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The same.
    #[error("container {0} is not running: its namespaces cannot be joined")]
    NotRunning(String),
    /// A container keeps its IPC namespace for itself.
    #[error(
        "failed to join IPC namespace: container {0}: non-shareable IPC (hint: use IpcMode:shareable for the donor \
         container)"
    )]
    NotShareable(String),
    /// A device of the host is not there.
    #[error("error gathering device information while adding custom device {0:?}: no such file or directory")]
    NoDevice(PathBuf),
    /// What is to be mounted is not in the image.
    #[error("cannot access path {path} of image {image}: no such file or directory")]
    NotInImage {
        /// The image.
        image: String,
        /// What is not there.
        path: String,
    },
    /// A file or folder cannot be made.
    #[error("preparing `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The working directory is none.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDirectory(String),
    /// The source of a bind mount is missing.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {0}")]
    NoSource(PathBuf),
    /// The host does not share what is to be shared.
    #[error(transparent)]
    Propagation(#[from] PropagationError),
    /// A volume cannot be found.
    #[error(transparent)]
    Volume(#[from] volume::UseVolumeError),
}

/// The container's place in the network, as far as its sandbox must know.
pub(super) struct Place {
    pub(super) network: Network,
    /// Its addresses, one for each network.
    pub(super) addresses: Vec<IpAddr>,
    /// The way to everywhere else.
    pub(super) gateway: Option<Ipv4Addr>,
    /// Whether a name server knows the others on its networks.
    pub(super) has_names: bool,
    /// Other containers, by the names that they have here.
    pub(super) links: Vec<(String, IpAddr)>,
    /// What they offer, as variables.
    pub(super) variables: Vec<String>,
}

/// The layers below a container's own, bottom first, as folders.
///
/// # Errors
/// [`ViewError::Layer`] where the record of a layer cannot be read.
pub(crate) fn lowers(store: &Store, container: &Container) -> Result<Vec<PathBuf>, ViewError> {
    let mut lowers = Vec::with_capacity(container.record.layers.len() + 2);
    for layer in &container.record.layers {
        lowers.extend(layer_dirs(store, layer)?);
    }
    lowers.push(ground::path(store, &container.record.layers));
    Ok(lowers)
}

fn layer_dirs(store: &Store, layer: &LayerId) -> Result<Vec<PathBuf>, ViewError> {
    let dirs = store.layer_dirs(layer);
    dirs.map_err(|error| ViewError::Layer { path: store.layer_path(layer), source: io::Error::other(error) })
}

/// Makes ready what the container's process begins as.
pub(super) fn expect(settings: &Settings) {
    let host = &settings.host;
    if matches!(host.pid, Sharing::Container(_)) {
        // it is started by a thread that has gone there
        return;
    }
    let own = |sharing: &Sharing| match sharing {
        Sharing::Private | Sharing::Shareable | Sharing::None => Namespace::Private,
        Sharing::Host | Sharing::Container(_) => Namespace::Host,
    };
    let mut spec = Spec::new(Root::Directory("/".into()), Vec::new());
    (spec.pid, spec.uts, spec.ipc) = (own(&host.pid), own(&host.uts), own(&host.ipc));
    spec.network = if host.network == NetworkChoice::None { Network::None } else { Network::Host };
    lighter_sandbox::expect(&spec);
}

/// Describes the sandbox of a container.
pub(super) fn describe(store: &Store, container: &Container, place: Place) -> Result<Spec, SpecError> {
    let settings = &container.state.settings;
    let paths = store.container_paths(&container.record.id);
    let lowers = lowers(store, container)?;
    let mut stack = lowers.clone();
    stack.push(paths.upper.clone());
    let view = View::open(&stack)?;
    let args = settings.command();
    if args.is_empty() {
        return Err(SpecError::NoCommand);
    }
    let root = Root::Overlay { lowers, upper: paths.upper.clone(), work: paths.work.clone() };
    let mut spec = Spec::new(root, args);
    let accounts = accounts(&view)?;
    spec.user = user(&accounts, settings)?;
    spec.env = environment(settings, &accounts, spec.user.uid, &place.variables, &[]);
    spec.cwd = if settings.working_dir.is_empty() { "/".to_owned() } else { settings.working_dir.clone() };
    let host = &settings.host;
    spec.uts = namespace(store, &host.uts, "uts")?;
    check_ipc(store, &host.ipc)?;
    check_devices(settings)?;
    spec.ipc = namespace(store, &host.ipc, "ipc")?;
    spec.pid = namespace(store, &host.pid, "pid")?;
    if host.network == NetworkChoice::Host && host.uts == Sharing::Private {
        // the name is the host's, but the namespace stays the container's own
        spec.hostname = Some(settings.hostname.clone());
    } else if spec.uts == Namespace::Private {
        spec.hostname = Some(settings.hostname.clone());
        spec.domainname.clone_from(&settings.domainname);
    }
    confine(&mut spec, settings)?;
    spec.mounts = mounts(store, settings)?;
    spec.mounts.extend(network_files(store, settings, &place, &paths)?);
    spec.network = place.network;
    spec.devices.clone_from(&host.devices);
    spec.rlimits.clone_from(&host.rlimits);
    spec.sysctls.clone_from(&host.sysctls);
    spec.oom_score_adj = host.oom_score_adj;
    spec.readonly_root = host.readonly_root;
    spec.init = host.init;
    spec.tty = settings.tty;
    spec.host_cgroups = host.host_cgroups;
    spec.window = settings.tty.then_some(Window { rows: 24, columns: 80 });
    if let Some(size) = host.shm_size_bytes {
        spec.shm_size_bytes = size;
    }
    if host.ipc == Sharing::None {
        spec.shm_size_bytes = 0;
    }
    Ok(spec)
}

/// The accounts that the container's own files name.
pub(crate) fn accounts(view: &View) -> Result<Accounts, ViewError> {
    const LARGEST_BYTES: u64 = 4 << 20;
    let read = |path: &str| match view.resolve(&ImagePath::new(path))? {
        Some((path, entry)) if !entry.is_folder() => view.read_file(&path, LARGEST_BYTES).map(Some),
        _ => Ok(None),
    };
    Ok(Accounts { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
}

pub(crate) fn user(accounts: &Accounts, settings: &Settings) -> Result<User, UserError> {
    let mut user = accounts.process_user(&settings.user)?;
    for group in &settings.host.group_add {
        let gid = accounts.group_id(group).ok_or_else(|| UserError::NoGroup(group.clone()))?;
        if !user.groups.contains(&gid) {
            user.groups.push(gid);
        }
    }
    Ok(user)
}

/// The environment of a process in the container, as Docker gives it.
pub(crate) fn environment(
    settings: &Settings,
    accounts: &Accounts,
    uid: u32,
    linked: &[String],
    further: &[String],
) -> Vec<String> {
    let mut env = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={}", settings.hostname)];
    if settings.tty {
        env.push("TERM=xterm".to_owned());
    }
    for entry in linked.iter().chain(&settings.env).chain(further) {
        set_variable(&mut env, entry);
    }
    // an empty one counts as none
    env.retain(|entry| entry != "HOME=");
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", accounts.home(uid)));
    }
    env
}

/// `NAME=value` takes the place of what has the name, `NAME` alone takes it away.
fn set_variable(env: &mut Vec<String>, entry: &str) {
    let name_of = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let name = name_of(entry);
    let place = env.iter().position(|known| name_of(known) == name);
    match (place, entry.contains('=')) {
        (Some(place), true) => entry.clone_into(&mut env[place]),
        (None, true) => env.push(entry.to_owned()),
        (Some(place), false) => drop(env.remove(place)),
        (None, false) => {}
    }
}

fn namespace(store: &Store, sharing: &Sharing, kind: &str) -> Result<Namespace, SpecError> {
    Ok(match sharing {
        Sharing::Private | Sharing::Shareable | Sharing::None => Namespace::Private,
        Sharing::Host => Namespace::Host,
        Sharing::Container(id) => Namespace::Join(namespace_of(store, id, kind)?),
    })
}

/// Whether others may join a container's IPC namespace.
fn check_ipc(store: &Store, ipc: &Sharing) -> Result<(), SpecError> {
    let Sharing::Container(id) = ipc else { return Ok(()) };
    match find(store, id)?.state.settings.host.ipc {
        Sharing::Private | Sharing::None => Err(SpecError::NotShareable(id.clone())),
        _ => Ok(()),
    }
}

/// Whether the devices are there that a container is to see.
fn check_devices(settings: &Settings) -> Result<(), SpecError> {
    match settings.host.devices.iter().find(|device| !device.source.exists()) {
        Some(device) => Err(SpecError::NoDevice(device.source.clone())),
        None => Ok(()),
    }
}

/// Where a namespace of another container is.
pub(super) fn namespace_of(store: &Store, id: &str, kind: &str) -> Result<PathBuf, SpecError> {
    let other = find(store, id)?;
    if !other.state.is_running() {
        return Err(SpecError::NotRunning(id.to_owned()));
    }
    Ok(PathBuf::from(format!("/proc/{}/ns/{kind}", other.state.pid)))
}

/// Capabilities, system call filter and hidden paths.
pub(crate) fn confinement(settings: &Settings) -> Result<Spec, SpecError> {
    let mut spec = Spec::new(Root::Directory(PathBuf::new()), Vec::new());
    confine(&mut spec, settings)?;
    Ok(spec)
}

fn confine(spec: &mut Spec, settings: &Settings) -> Result<(), SpecError> {
    let host = &settings.host;
    if host.privileged {
        *spec = spec.clone().into_privileged();
    }
    // a privileged container has them all
    if !host.privileged {
        spec.capabilities = capabilities(spec.capabilities, &host.cap_add, &host.cap_drop)?;
    }
    for option in &host.security_options {
        match SecurityOption::parse(option)? {
            SecurityOption::NoNewPrivileges(wanted) => spec.no_new_privileges = wanted,
            SecurityOption::NoFilter => spec.seccomp = Seccomp::Unconfined,
            SecurityOption::DefaultFilter => spec.seccomp = Seccomp::DockerDefault,
            SecurityOption::Filter(profile) => {
                spec.seccomp = Seccomp::from_profile(profile, spec.capabilities)?;
            }
            SecurityOption::OpenPaths => {
                spec.masked_paths.clear();
                spec.readonly_paths.clear();
            }
            SecurityOption::NoLabel => {}
        }
    }
    Ok(())
}

fn capabilities(start: Capabilities, add: &[String], drop: &[String]) -> Result<Capabilities, SpecError> {
    let read = |name: &String| {
        Capabilities::from_name(name)
            .ok_or_else(|| SpecError::Capability(name.trim_start_matches("CAP_").to_ascii_uppercase()))
    };
    let is_all = |name: &String| name.eq_ignore_ascii_case("all");
    let mut set = if add.iter().any(is_all) { Capabilities::all() } else { start };
    if drop.iter().any(is_all) {
        set = Capabilities::NONE;
    }
    for name in drop.iter().filter(|name| !is_all(name)) {
        set = set.without(read(name)?);
    }
    for name in add.iter().filter(|name| !is_all(name)) {
        set = set.with(read(name)?);
    }
    Ok(set)
}

/// The mounts that were asked for, parents before what is below them.
fn mounts(store: &Store, settings: &Settings) -> Result<Vec<Mount>, SpecError> {
    let mut mounts = Vec::new();
    for wish in &settings.host.mounts {
        mounts.push(mount(store, wish)?);
    }
    mounts.sort_by_key(|mount| ImagePath::new(&mount.target).components().count());
    Ok(mounts)
}

fn mount(store: &Store, wish: &ContainerMount) -> Result<Mount, SpecError> {
    let mount = match &wish.source {
        MountSource::Bind { path, create, propagation } => {
            if !path.exists() {
                if !create {
                    return Err(SpecError::NoSource(path.clone()));
                }
                let in_file = |source| SpecError::File { path: path.clone(), source };
                fs::create_dir_all(path).map_err(in_file)?;
            }
            let propagation = propagation::of(path, propagation.as_deref())?;
            Mount::bind(path, &wish.target).with_propagation(propagation)
        }
        MountSource::Volume { name, subpath, .. } => match volume::root_of(store, name)? {
            VolumeRoot::Folder(folder) => inside(folder, subpath, &wish.target)?,
            VolumeRoot::Tmpfs(tmpfs) => {
                let mut mount = Mount::tmpfs(&wish.target);
                mount.kind = MountKind::Tmpfs(tmpfs);
                mount.exec = true;
                mount
            }
        },
        MountSource::Image { name, layers, subpath } => {
            let mut lowers = Vec::with_capacity(layers.len());
            for layer in layers {
                lowers.extend(layer_dirs(store, layer)?);
            }
            let asked = ImagePath::new(subpath);
            if View::open(&lowers)?.resolve(&asked)?.is_none() {
                return Err(SpecError::NotInImage { image: name.clone(), path: asked.to_string() });
            }
            let mut mount = Mount::overlay(lowers, None, &wish.target);
            if let MountKind::Overlay { source, .. } = &mut mount.kind {
                *source = asked.to_string();
            }
            mount
        }
        MountSource::Tmpfs { size_bytes, mode_bits, exec, owner: (uid, gid) } => {
            let tmpfs = Tmpfs { size_bytes: *size_bytes, mode_bits: *mode_bits, uid: *uid, gid: *gid };
            let mut mount = Mount::tmpfs(&wish.target);
            mount.kind = MountKind::Tmpfs(tmpfs);
            mount.exec = *exec;
            mount.suid = false;
            mount
        }
    };
    Ok(mount.with_read_only(wish.read_only).with_stub(Stub::Kept))
}

/// Shows a path in a volume, which must be there. Another container may have the volume as well and change what is on the
/// way: where it leads is for the sandbox to find, inside the volume.
fn inside(folder: PathBuf, subpath: &str, target: &str) -> Result<Mount, SpecError> {
    if subpath.is_empty() {
        return Ok(Mount::bind(folder, target));
    }
    let asked = ImagePath::new(subpath);
    let missing = || SpecError::File {
        path: folder.join(asked.to_string().trim_start_matches('/')),
        source: io::ErrorKind::NotFound.into(),
    };
    if View::open_directory(&folder)?.resolve(&asked)?.is_none() {
        return Err(missing());
    }
    Ok(Mount::part(folder, asked.to_string(), target))
}

/// The container with the name of the one whose network it shares.
pub(super) fn named_as_its_network(store: &Store, mut container: Container) -> Result<Container, SpecError> {
    let settings = &mut container.state.settings;
    if let NetworkChoice::Container(id) = &settings.host.network {
        let other = find(store, id)?.state.settings;
        settings.hostname = other.hostname;
        settings.domainname = other.domainname;
    }
    Ok(container)
}

/// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`, made in the container's folder; of a container that shares
/// another's network, those of the other.
fn network_files(
    store: &Store,
    settings: &Settings,
    place: &Place,
    paths: &ContainerPaths,
) -> Result<Vec<Mount>, SpecError> {
    let host = &settings.host;
    let files = [
        ("hostname", resolver::hostname(&settings.hostname)),
        ("hosts", hosts(settings, place)?),
        ("resolv.conf", resolv_conf(settings, place.has_names)),
    ];
    let taken = |target: &str| {
        host.mounts.iter().any(|mount| ImagePath::new(&mount.target) == ImagePath::new(target))
    };
    let other = match &host.network {
        NetworkChoice::Container(id) => Some(store.container_paths(&find(store, id)?.record.id).dir),
        _ => None,
    };
    let mut mounts = Vec::new();
    for (name, text) in files {
        let target = format!("/etc/{name}");
        if taken(&target) {
            continue;
        }
        let shared = other.as_ref().map(|dir| dir.join(name)).filter(|path| path.exists());
        let path = if let Some(path) = shared {
            path
        } else {
            let path = paths.dir.join(name);
            write(&path, &text)?;
            path
        };
        mounts.push(Mount::bind(path, target).with_read_only(host.readonly_root).with_stub(Stub::Kept));
    }
    Ok(mounts)
}

/// The `resolv.conf` of a container.
fn resolv_conf(settings: &Settings, has_names: bool) -> String {
    let host = &settings.host;
    let wish = ResolvConf {
        nameservers: host.dns.clone(),
        search: host.dns_search.clone(),
        options: host.dns_options.clone(),
    };
    let reach = match (host.network == NetworkChoice::Host, has_names) {
        (true, _) => Reach::Host,
        (false, true) => Reach::Embedded,
        (false, false) => Reach::Apart,
    };
    ResolvConf::of_host().for_container(&wish, reach).render()
}

/// Changes the files of a running container that has joined one more network or left one: what is mounted are the files
/// themselves, so they are written in place.
pub(super) fn network_changed(
    settings: &Settings,
    has_names: bool,
    addresses: &[IpAddr],
    paths: &ContainerPaths,
) -> Result<(), SpecError> {
    let path = paths.dir.join("hosts");
    let fail = |source| SpecError::File { path: path.clone(), source };
    let before = fs::read_to_string(&path).map_err(fail)?;
    let ends_in_name = |line: &&str| line.split_whitespace().nth(1) != Some(settings.hostname.as_str());
    let mut lines: Vec<String> = before.lines().filter(ends_in_name).map(str::to_owned).collect();
    lines.extend(addresses.iter().map(|address| format!("{address}\t{}", settings.hostname)));
    write(&path, &format!("{}\n", lines.join("\n")))?;
    write(&paths.dir.join("resolv.conf"), &resolv_conf(settings, has_names))
}

/// Adds names to the hosts of a running container.
pub(super) fn links_added(links: &[(String, IpAddr)], paths: &ContainerPaths) -> Result<(), SpecError> {
    if links.is_empty() {
        return Ok(());
    }
    let path = paths.dir.join("hosts");
    let mut text =
        fs::read_to_string(&path).map_err(|source| SpecError::File { path: path.clone(), source })?;
    for (name, address) in links {
        text.extend([address.to_string().as_str(), "\t", name, "\n"]);
    }
    write(&path, &text)
}

/// Writes one of the files that every container has. All of its users may read a new one, whatever the umask.
fn write(path: &Path, text: &str) -> Result<(), SpecError> {
    use std::os::unix::fs::PermissionsExt as _;
    let is_new = !path.exists();
    let write = || {
        fs::write(path, text)?;
        if is_new { fs::set_permissions(path, fs::Permissions::from_mode(0o644)) } else { Ok(()) }
    };
    write().map_err(|source| SpecError::File { path: path.to_owned(), source })
}

fn hosts(settings: &Settings, place: &Place) -> Result<String, SpecError> {
    let mut extra = Vec::new();
    for (name, address) in &settings.host.extra_hosts {
        let address = match address {
            HostAddress::Address(address) => Some(*address),
            HostAddress::Gateway if settings.host.network == NetworkChoice::Host => {
                Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
            HostAddress::Gateway => place.gateway.map(IpAddr::V4),
        };
        extra.extend(address.map(|address| (name.clone(), address)));
    }
    extra.extend(place.links.iter().cloned());
    if settings.host.network == NetworkChoice::Host {
        let path = PathBuf::from("/etc/hosts");
        return resolver::hosts_of_host(&extra).map_err(|source| SpecError::File { path, source });
    }
    let domainname = settings.domainname.as_deref();
    let own = OwnName { hostname: &settings.hostname, domainname, addresses: &place.addresses };
    Ok(resolver::hosts(&extra, Some(&own)))
}
