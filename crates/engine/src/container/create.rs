//! `create`: a container's record, its settings resolved against its image, and its volumes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use lighter_image::{ContainerConfig, DiffId, Healthcheck, ImagePath};
use lighter_layer::{LayerWriter, NewFolders, Timestamp, View, ViewError, WriteError, prepare_root};
use lighter_sandbox::Capabilities;
use lighter_store::{
    ContainerId, ContainerPaths, ContainerRecord, FileError, LayerError, LayerId, Store, VolumeError,
};

use super::ground::{self, GroundError};
use super::limits::LimitsError;
use super::log_settings::LogSettingsError;
use super::names::{self, NameError};
use super::security::{SecurityOption, SecurityOptionError};
use super::settings::{HostSettings, MountSource, NetworkChoice, Settings, Sharing};
use super::state::{Container, FindError, State, find};
use super::{events, files, mounts, signal as signals, volume};
use crate::image::{LookError, StoredImage, look_up};

/// Why a container was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Its image is not there, or damaged.
    #[error(transparent)]
    Image(#[from] LookError),
    /// The bytes of a layer are not here.
    #[error("the bytes of layer {0} are not in the store: build or pull the image again")]
    NotHere(DiffId),
    /// Its name is taken, or none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A container that it wants to share with is not there.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A container that it wants to be linked to is not there.
    #[error("could not get container for {name}")]
    Link {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: FindError,
    },
    /// Its limits make no sense.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// Its log cannot be kept like that.
    #[error(transparent)]
    Log(#[from] LogSettingsError),
    /// It is to have a name of its own, and the host's at the same time.
    #[error("conflicting options: hostname and the UTS mode")]
    HostnameAndUts,
    /// A kernel parameter would be the host's, as the container has no namespace of its own for it.
    #[error("sysctl {name:?} is not allowed in the host's {namespace} namespace")]
    SysctlOfHost {
        /// The parameter.
        name: String,
        /// The kind of the namespace.
        namespace: &'static str,
    },
    /// How readily it is killed cannot be that.
    #[error("Invalid value {0}, range for oom score adj is [-1000, 1000]")]
    OomScore(i32),
    /// A capability is none.
    #[error("invalid {list}: unknown capability: \"CAP_{name}\"")]
    Capability {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// What was asked for.
        name: String,
    },
    /// A security option is none that can be kept.
    #[error(transparent)]
    SecurityOption(#[from] SecurityOptionError),
    /// `--stop-signal` is none.
    #[error("invalid signal: {0}")]
    NoSignal(String),
    /// There is nothing to run.
    #[error("no command specified: neither the image nor the command line names a program")]
    NoCommand,
    /// A path is not absolute.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    NotAbsolute(String),
    /// The access of `--volumes-from` is none.
    #[error("invalid mode: {0}")]
    VolumesFromMode(String),
    /// Something else is where the container is to run.
    #[error("Cannot mkdir: {0} is not a directory")]
    WorkingDirectory(String),
    /// The source of a bind mount is missing.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {0}")]
    NoSource(PathBuf),
    /// Two mounts have the same target.
    #[error("Duplicate mount point: {0}")]
    DuplicateMount(String),
    /// A volume cannot be made.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A volume's options are none.
    #[error(transparent)]
    VolumeOptions(#[from] volume::UseVolumeError),
    /// A volume cannot be filled from the image.
    #[error("filling volume {name}")]
    Fill {
        /// The volume.
        name: String,
        /// Why.
        #[source]
        source: Box<WriteError>,
    },
    /// The image's files cannot be read, or the container's root cannot be prepared.
    #[error(transparent)]
    Write(#[from] Box<WriteError>),
    /// The same.
    #[error(transparent)]
    View(#[from] ViewError),
    /// What all containers of the image stand on cannot be made.
    #[error(transparent)]
    Ground(#[from] GroundError),
    /// The store cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The same.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is asked of a new container; what is left open comes from its image.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct CreateRequest {
    /// The image.
    pub image: String,
    /// `--name`.
    pub name: Option<String>,
    /// The words after the image.
    pub args: Vec<String>,
    /// `--entrypoint`; an empty text takes the image's away.
    pub entrypoint: Option<String>,
    /// `-e` and `--env-file`, in order: `NAME=value`, or `NAME` alone to take one away.
    pub env: Vec<String>,
    /// `-u`.
    pub user: Option<String>,
    /// `-w`.
    pub working_dir: Option<String>,
    /// `-h`.
    pub hostname: Option<String>,
    /// `--domainname`.
    pub domainname: Option<String>,
    /// `-t`.
    pub tty: bool,
    /// `-i`.
    pub open_stdin: bool,
    /// Whether standard input ends with the first client that writes to it.
    pub stdin_once: bool,
    /// The outputs that whoever makes it wants to see: `stdout`, `stderr`.
    pub attach_output: Vec<String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--stop-signal`.
    pub stop_signal: Option<String>,
    /// `--stop-timeout`.
    pub stop_timeout_seconds: Option<u32>,
    /// `--health-*`; zero and empty fields come from the image.
    pub healthcheck: Option<Healthcheck>,
    /// `--no-healthcheck`.
    pub no_healthcheck: bool,
    /// `--expose`.
    pub expose: Vec<String>,
    /// `--volumes-from`: other containers, with `:ro` or `:rw` behind them.
    pub volumes_from: Vec<String>,
    /// What it sees of the host.
    pub host: HostSettings,
}

/// Makes a container, and starts nothing. The time is that of its making.
///
/// # Errors
/// [`CreateError`]; nothing of the container is there then, but volumes that were made stay.
pub fn create(store: &Store, request: CreateRequest, now: SystemTime) -> Result<ContainerId, CreateError> {
    let image = look_up(store, &request.image)?;
    let id = ContainerId::random();
    let layers = layers_of(store, &image)?;
    let name = match &request.name {
        Some(name) => name.trim_start_matches('/').to_owned(),
        None => names::free(store)?,
    };
    let settings = settings(store, request, &image, &id)?;
    let mut paths: Vec<PathBuf> = Vec::with_capacity(layers.len());
    for layer in &layers {
        paths.extend(store.layer_dirs(layer).map_err(LayerError::from)?);
    }
    let view = View::open(&paths)?;
    let volumes = mounts::make_volumes(store, &settings, &view, now)?;
    let state = State::created(settings);
    let record = ContainerRecord {
        id: id.clone(),
        name,
        image: Some(image.record.id),
        layers,
        mounted: mounted_layers(&state.settings),
        volumes,
        created_at: now,
    };
    let hold = ground::hold(store)?;
    let made = store.create_container(&record, &state).map_err(NameError::from)?;
    let container = Container { record, state };
    if let Err(error) = prepare(store, &made, &view, &container, &hold) {
        store.remove_container(&id).map_err(FindError::from)?;
        return Err(error);
    }
    events::note(store, &container, "create", &[]);
    Ok(id)
}

fn layers_of(store: &Store, image: &StoredImage) -> Result<Vec<LayerId>, CreateError> {
    let layer = |diff_id| store.layer_by_diff_id(diff_id)?.ok_or(CreateError::NotHere(*diff_id));
    image.record.layers.iter().map(layer).collect()
}

/// The layers of the images that it mounts.
fn mounted_layers(settings: &Settings) -> Vec<LayerId> {
    let layers = settings.host.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Image { layers, .. } => Some(layers.clone()),
        _ => None,
    });
    layers.flatten().collect()
}

fn check_links(store: &Store, host: &HostSettings) -> Result<(), CreateError> {
    for (name, _) in &host.links {
        find(store, name).map_err(|source| CreateError::Link { name: name.clone(), source })?;
    }
    Ok(())
}

/// Finds the images that are to be mounted.
fn find_mounted_images(store: &Store, host: &mut HostSettings) -> Result<(), CreateError> {
    for mount in &mut host.mounts {
        if let MountSource::Image { name, layers, .. } = &mut mount.source {
            *layers = layers_of(store, &look_up(store, name)?)?;
        }
    }
    Ok(())
}

/// Makes what a container stands on beside its image, and the root of its own layer.
fn prepare(
    store: &Store,
    made: &ContainerPaths,
    view: &View,
    container: &Container,
    hold: &ground::Hold,
) -> Result<(), CreateError> {
    let settings = &container.state.settings;
    ground::make(store, &container.record.layers, view, hold)?;
    prepare_root(&made.upper, view).map_err(Box::new)?;
    let folder = ImagePath::new(&settings.working_dir);
    if folder.is_root() {
        return Ok(());
    }
    match view.resolve(&folder)? {
        Some((_, entry)) if entry.is_folder() => Ok(()),
        Some(_) => Err(CreateError::WorkingDirectory(settings.working_dir.clone())),
        None => {
            let below = files::below(store, container)?;
            let writer = LayerWriter::open(&made.upper, below, Timestamp::default()).map_err(Box::new)?;
            writer.make_folders(&folder, NewFolders::default()).map_err(Box::new)?;
            Ok(writer.finish().map_err(Box::new)?)
        }
    }
}

fn settings(
    store: &Store,
    request: CreateRequest,
    image: &StoredImage,
    id: &ContainerId,
) -> Result<Settings, CreateError> {
    let config = &image.config.config;
    if let Some(signal) = request.stop_signal.as_deref().filter(|signal| signals::number(signal).is_none()) {
        return Err(CreateError::NoSignal(signal.to_owned()));
    }
    let mut host = request.host;
    check_host(&mut host, request.hostname.as_deref())?;
    resolve_sharing(store, &mut host)?;
    check_links(store, &host)?;
    find_mounted_images(store, &mut host)?;
    mounts::settle(store, &mut host, &request.volumes_from, config)?;
    let (entrypoint, cmd) = command(request.entrypoint, request.args, config);
    let working_dir = request.working_dir.unwrap_or_else(|| config.working_dir.clone());
    if !working_dir.is_empty() && !working_dir.starts_with('/') {
        return Err(CreateError::NotAbsolute(working_dir));
    }
    let mut labels = config.labels.clone();
    labels.extend(request.labels);
    let mut exposed_ports: Vec<String> = config.exposed_ports.iter().cloned().collect();
    exposed_ports.extend(request.expose);
    exposed_ports
        .extend(host.publications.iter().map(|port| format!("{}/{}", port.container_port, port.transport)));
    exposed_ports.sort();
    exposed_ports.dedup();
    let settings = Settings {
        image_name: request.image,
        image: Some(image.record.id),
        entrypoint,
        cmd,
        env: environment(&config.env, &request.env),
        user: request.user.unwrap_or_else(|| config.user.clone()),
        working_dir,
        hostname: request.hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| hostname(&host, id)),
        domainname: request.domainname,
        tty: request.tty,
        open_stdin: request.open_stdin,
        stdin_once: request.stdin_once,
        attach_output: request.attach_output,
        labels,
        stop_signal: request.stop_signal.or_else(|| config.stop_signal.clone()),
        stop_timeout_seconds: request.stop_timeout_seconds,
        healthcheck: healthcheck(request.healthcheck, request.no_healthcheck, config),
        exposed_ports,
        host,
    };
    if settings.command().is_empty() {
        return Err(CreateError::NoCommand);
    }
    Ok(settings)
}

/// Whether what is asked of the host makes sense; names of capabilities get their full form.
fn check_host(host: &mut HostSettings, hostname: Option<&str>) -> Result<(), CreateError> {
    host.limits.check_realtime()?;
    host.limits.check()?;
    host.log.check()?;
    for option in &host.security_options {
        SecurityOption::parse(option)?;
    }
    if host.uts == Sharing::Host && hostname.is_some() {
        return Err(CreateError::HostnameAndUts);
    }
    check_sysctls(host)?;
    if let Some(score) = host.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(CreateError::OomScore(score));
    }
    for (list, names) in [("CapAdd", &mut host.cap_add), ("CapDrop", &mut host.cap_drop)] {
        for name in names.iter_mut() {
            let short = name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned();
            if short == "ALL" {
                *name = short;
            } else if Capabilities::from_name(&short).is_some() {
                *name = format!("CAP_{short}");
            } else {
                return Err(CreateError::Capability { list, name: short });
            }
        }
        names.sort();
        names.dedup();
    }
    Ok(())
}

fn check_sysctls(host: &HostSettings) -> Result<(), CreateError> {
    for (name, _) in &host.sysctls {
        let (namespace, is_host) = if name.starts_with("net.") {
            ("network", host.network == NetworkChoice::Host)
        } else {
            ("ipc", host.ipc == Sharing::Host)
        };
        if is_host {
            return Err(CreateError::SysctlOfHost { name: name.clone(), namespace });
        }
    }
    Ok(())
}

/// Entry point and arguments: whoever names an entry point takes the image's arguments away too.
fn command(
    entrypoint: Option<String>,
    args: Vec<String>,
    config: &ContainerConfig,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let given = (!args.is_empty()).then_some(args);
    match entrypoint {
        Some(text) if text.is_empty() => (Some(Vec::new()), given),
        Some(program) => (Some(vec![program]), given),
        None => (config.entrypoint.clone(), given.or_else(|| config.cmd.clone())),
    }
}

/// What was asked for, each name once, and behind it what else the image has. A name alone stays: it keeps the
/// image's variable out.
fn environment(image: &[String], asked: &[String]) -> Vec<String> {
    let name_of = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = Vec::with_capacity(image.len() + asked.len());
    for entry in asked {
        match env.iter_mut().find(|known| name_of(known) == name_of(entry)) {
            Some(known) => known.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
    let names: Vec<String> = env.iter().map(|entry| name_of(entry)).collect();
    env.extend(image.iter().filter(|entry| !names.contains(&name_of(entry))).cloned());
    env
}

/// The name of a container that was given none: its short id, or the host's where it shares that.
fn hostname(host: &HostSettings, id: &ContainerId) -> String {
    if host.network == NetworkChoice::Host || host.uts == Sharing::Host {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    id.short().to_owned()
}

fn healthcheck(asked: Option<Healthcheck>, none: bool, config: &ContainerConfig) -> Option<Healthcheck> {
    if none {
        let rest = config.healthcheck.clone().unwrap_or_default();
        return Some(Healthcheck { test: vec!["NONE".to_owned()], ..rest });
    }
    let of_image = config.healthcheck.clone();
    let Some(asked) = asked else { return of_image };
    let base = of_image.unwrap_or_default();
    let or = |asked: i64, base: i64| if asked == 0 { base } else { asked };
    Some(Healthcheck {
        test: if asked.test.is_empty() { base.test } else { asked.test },
        interval: or(asked.interval, base.interval),
        timeout: or(asked.timeout, base.timeout),
        start_period: or(asked.start_period, base.start_period),
        start_interval: or(asked.start_interval, base.start_interval),
        retries: or(asked.retries, base.retries),
    })
}

/// Names of containers become their ids, as names may change.
fn resolve_sharing(store: &Store, host: &mut HostSettings) -> Result<(), FindError> {
    if let NetworkChoice::Container(name) = &mut host.network {
        *name = find(store, name)?.record.id.to_string();
    }
    for sharing in [&mut host.ipc, &mut host.pid, &mut host.uts] {
        if let Sharing::Container(name) = sharing {
            *name = find(store, name)?.record.id.to_string();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_entry_point_takes_the_arguments_away() {
        let config = ContainerConfig {
            entrypoint: Some(words("e")),
            cmd: Some(words("c d")),
            ..ContainerConfig::default()
        };
        let check = |entrypoint: Option<&str>, args: &str, expected: &str| {
            let (entrypoint, cmd) = command(entrypoint.map(str::to_owned), words(args), &config);
            let whole = [entrypoint.unwrap_or_default(), cmd.unwrap_or_default()].concat();
            assert_eq!(whole, words(expected), "{args}");
        };
        check(None, "", "e c d");
        check(None, "x", "e x");
        check(Some("p"), "", "p");
        check(Some("p"), "x", "p x");
        check(Some(""), "x y", "x y");
    }

    #[test]
    fn each_variable_is_there_once() {
        let env = environment(&words("A=1 B=2 D=5"), &words("B=3 C=4 A B=6"));
        assert_eq!(env, words("B=6 C=4 A D=5"));
    }
}
