//! Volumes: folders that outlive containers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use lighter_sandbox::Tmpfs;
use lighter_store::{ContainerId, RecordError, Store, Volume, VolumeError};

use super::events;

/// Why something could not be done with a volume.
#[derive(Debug, thiserror::Error)]
pub enum UseVolumeError {
    /// There is none.
    #[error("get {0}: no such volume")]
    NotFound(String),
    /// Containers use it.
    #[error("remove {name}: volume is in use - [{}]", containers.iter().map(ContainerId::as_str).collect::<Vec<_>>().join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// Who uses it.
        containers: Vec<ContainerId>,
    },
    /// It cannot be changed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Its record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The driver is unknown.
    #[error("error looking up volume plugin {0}: plugin {0:?} not found")]
    Driver(String),
    /// The driver has no such option.
    #[error("invalid option: {0:?}")]
    Option(String),
    /// An option is missing.
    #[error("missing required option: {0:?}")]
    MissingOption(&'static str),
    /// It would be of a kind that cannot be mounted here.
    #[error(
        "volume type {0:?} is not supported: mount it on the host, and use type=none, o=bind and device=PATH"
    )]
    Type(String),
    /// A word of `o` cannot be kept.
    #[error("volume option {0:?} is not supported")]
    Word(String),
    /// It cannot be made.
    #[error("create {name}: {source}")]
    Create {
        /// The volume.
        name: String,
        /// Why.
        source: Box<UseVolumeError>,
    },
}

/// What containers see of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VolumeRoot {
    /// A folder of the host.
    Folder(PathBuf),
    /// Memory, each container's own.
    Tmpfs(Tmpfs),
}

/// Where a volume's files are, as its driver's options say.
pub(super) fn root_of(store: &Store, name: &str) -> Result<VolumeRoot, UseVolumeError> {
    let folder = store.volume_path(name)?;
    let Some(volume) = store.volume(name)? else { return Ok(VolumeRoot::Folder(folder)) };
    Ok(root_by_options(&volume.options)?.unwrap_or(VolumeRoot::Folder(folder)))
}

/// Whether a volume can be made with these options.
pub(super) fn check_options(options: &BTreeMap<String, String>) -> Result<(), UseVolumeError> {
    root_by_options(options).map(drop)
}

fn root_by_options(options: &BTreeMap<String, String>) -> Result<Option<VolumeRoot>, UseVolumeError> {
    if let Some(option) = options.keys().find(|name| !matches!(name.as_str(), "type" | "o" | "device")) {
        return Err(UseVolumeError::Option(option.clone()));
    }
    if options.is_empty() {
        return Ok(None);
    }
    let value = |name: &str| options.get(name).map(String::as_str).unwrap_or_default();
    let (device, kind) = (value("device"), value("type"));
    if device.is_empty() {
        return Err(UseVolumeError::MissingOption("device"));
    }
    let words = value("o").split(',').filter(|word| !word.is_empty());
    match kind {
        "tmpfs" => tmpfs(words).map(|tmpfs| Some(VolumeRoot::Tmpfs(tmpfs))),
        "none" | "bind" | "" => {
            let refused =
                |word: &&str| !matches!(*word, "bind" | "rbind" | "rw" | "private" | "rprivate" | "defaults");
            match words.into_iter().find(refused) {
                Some(word) => Err(UseVolumeError::Word(word.to_owned())),
                None => Ok(Some(VolumeRoot::Folder(PathBuf::from(device)))),
            }
        }
        other => Err(UseVolumeError::Type(other.to_owned())),
    }
}

fn tmpfs<'a>(words: impl Iterator<Item = &'a str>) -> Result<Tmpfs, UseVolumeError> {
    let mut tmpfs = Tmpfs { size_bytes: None, mode_bits: Some(0o1777), uid: 0, gid: 0 };
    for word in words {
        let refused = || UseVolumeError::Word(word.to_owned());
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "size" => tmpfs.size_bytes = Some(super::log_settings::bytes_of(value).ok_or_else(refused)?),
            "mode" => tmpfs.mode_bits = Some(u32::from_str_radix(value, 8).map_err(|_| refused())?),
            "uid" => tmpfs.uid = value.parse().map_err(|_| refused())?,
            "gid" => tmpfs.gid = value.parse().map_err(|_| refused())?,
            "rw" | "nosuid" | "nodev" | "relatime" | "noatime" => {}
            _ => return Err(refused()),
        }
    }
    Ok(tmpfs)
}

/// A volume, and where it is.
#[derive(Debug, Clone)]
pub struct VolumeInfo {
    /// What the store knows.
    pub volume: Volume,
    /// Where its files are.
    pub path: PathBuf,
    /// The containers that use it.
    pub users: Vec<ContainerId>,
}

/// Makes a volume; one that is there stays as it is. Its name.
///
/// # Errors
/// [`UseVolumeError`].
pub fn create_volume(
    store: &Store,
    name: Option<&str>,
    driver: &str,
    labels: BTreeMap<String, String>,
    options: &BTreeMap<String, String>,
    now: SystemTime,
) -> Result<String, UseVolumeError> {
    let anonymous = name.is_none();
    let name = name.map_or_else(|| ContainerId::random().to_string(), str::to_owned);
    let refused = |source| UseVolumeError::Create { name: name.clone(), source: Box::new(source) };
    if driver != "local" {
        return Err(refused(UseVolumeError::Driver(driver.to_owned())));
    }
    check_options(options).map_err(refused)?;
    let options = options.clone();
    let volume = Volume { labels, options, anonymous, ..Volume::new(name.clone(), now) };
    if store.create_volume(&volume)? {
        note(store, &name, "create");
    }
    Ok(name)
}

/// All volumes, by name.
///
/// # Errors
/// [`UseVolumeError::Record`].
pub fn volumes(store: &Store) -> Result<Vec<VolumeInfo>, UseVolumeError> {
    let mut volumes = Vec::new();
    for volume in store.volumes()? {
        volumes.push(info(store, volume)?);
    }
    volumes.sort_by(|a, b| a.volume.name.cmp(&b.volume.name));
    Ok(volumes)
}

/// One volume.
///
/// # Errors
/// [`UseVolumeError::NotFound`].
pub fn find_volume(store: &Store, name: &str) -> Result<VolumeInfo, UseVolumeError> {
    match store.volume(name)? {
        Some(volume) => info(store, volume),
        None => Err(UseVolumeError::NotFound(name.to_owned())),
    }
}

fn info(store: &Store, volume: Volume) -> Result<VolumeInfo, UseVolumeError> {
    let (path, users) = (store.volume_path(&volume.name)?, store.volume_users(&volume.name)?);
    Ok(VolumeInfo { volume, path, users })
}

/// Removes a volume that no container uses; with `force` one that is not there is no fault.
///
/// # Errors
/// [`UseVolumeError`].
pub fn remove_volume(store: &Store, name: &str, force: bool) -> Result<(), UseVolumeError> {
    match store.remove_volume(name) {
        Ok(true) => note(store, name, "destroy"),
        Ok(false) | Err(VolumeError::InvalidName(_)) if force => {}
        Ok(false) | Err(VolumeError::InvalidName(_)) => {
            return Err(UseVolumeError::NotFound(name.to_owned()));
        }
        Err(VolumeError::InUse { name, containers }) => {
            return Err(UseVolumeError::InUse { name, containers });
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// What was removed, and what it occupied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedVolumes {
    /// The names.
    pub removed: Vec<String>,
    /// Their bytes.
    pub freed_bytes: u64,
}

/// Removes the volumes that no container uses: the anonymous ones, or all, as far as `fits` says so.
///
/// # Errors
/// [`UseVolumeError`].
pub fn prune_volumes(
    store: &Store,
    with_named: bool,
    fits: &dyn Fn(&Volume) -> bool,
) -> Result<PrunedVolumes, UseVolumeError> {
    let mut pruned = PrunedVolumes::default();
    for info in volumes(store)? {
        let wanted = info.users.is_empty() && (with_named || info.volume.anonymous) && fits(&info.volume);
        if !wanted {
            continue;
        }
        let bytes = super::list::files_bytes(&info.path);
        match store.remove_volume(&info.volume.name) {
            Ok(_) => {}
            // a container has come meanwhile
            Err(VolumeError::InUse { .. }) => continue,
            Err(error) => return Err(error.into()),
        }
        note(store, &info.volume.name, "destroy");
        pruned.freed_bytes += bytes;
        pruned.removed.push(info.volume.name);
    }
    Ok(pruned)
}

fn note(store: &Store, name: &str, action: &str) {
    let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
    events::note_event(store, "volume", action, name, attributes);
}
