//! Networks: the three that are always there, and those of the user, which are kept in the store. A user's network is
//! a bridge with names.

mod pool;
mod request;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lighter_sandbox::network::{Bridge, BridgeError, BridgeSpec, Subnet};
use lighter_store::failpoint::point;
use lighter_store::{FileError, Store};
use serde::{Deserialize, Serialize};

use super::client::{self, ClientError};
use super::events;
use super::message::Request;
use super::settings::{NetworkChoice, NetworkWish};
use super::state::{self, Container, FindError, all, find};

pub use pool::AddressPool;
pub use request::{NetworkRequest, NetworkRequestError};

/// The name of the default network.
pub(super) const DEFAULT: &str = "bridge";

const FOLDER: &str = "networks";

/// How long the links of containers that have ended may take to vanish.
const PATIENCE: Duration = Duration::from_secs(5);

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct NetworkRecord {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// Whether its containers have addresses of IPv6.
    #[serde(default)]
    pub ipv6: bool,
    /// Its addresses as they were asked for, and those that were chosen.
    #[serde(default)]
    pub pools: Vec<AddressPool>,
    /// `--ipam-opt`; they have no meaning here.
    #[serde(default)]
    pub ipam_options: BTreeMap<String, String>,
    /// `--scope`; it has no meaning here.
    #[serde(default = "local")]
    pub scope: String,
    /// Whether it is no network, but what others are made after.
    #[serde(default)]
    pub config_only: bool,
    /// What it was made after.
    #[serde(default)]
    pub config_from: String,
    /// The addresses of its containers.
    pub subnet: Option<Subnet>,
    /// The address of its bridge.
    pub gateway: Option<Ipv4Addr>,
    /// Whether it is cut off from everything else.
    pub internal: bool,
    /// `--attachable`; it has no meaning here.
    pub attachable: bool,
    /// Free notes.
    pub labels: BTreeMap<String, String>,
    /// `--opt`.
    pub options: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
}

fn local() -> String {
    "local".to_owned()
}

/// Why something could not be done with a network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is none.
    #[error("network {0} not found")]
    NotFound(String),
    /// More than one id begins so.
    #[error("network {0} is ambiguous")]
    Ambiguous(String),
    /// The name is taken.
    #[error("network with name {0} already exists")]
    Exists(String),
    /// The name is none, or one of those that are always there.
    #[error("invalid network name: {0}")]
    InvalidName(String),
    /// It is one of those that are always there.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    /// What is asked for makes no network.
    #[error(transparent)]
    Request(#[from] NetworkRequestError),
    /// No container can be on what is only a configuration.
    #[error("cannot create endpoint on configuration-only network")]
    ConfigOnly,
    /// Networks are made after it.
    #[error("error while removing network: configuration network {0:?} is in use")]
    ConfigInUse(String),
    /// Another network has that bridge, or the machine has it.
    #[error("bridge {0} is there already")]
    BridgeExists(String),
    /// A container is on it.
    #[error("error while removing network: network {network} has active endpoints (name:\"{container}\")")]
    InUse {
        /// The network.
        network: String,
        /// One of the containers.
        container: String,
    },
    /// A container has no place for it.
    #[error(
        "container sharing network namespace with another container or host cannot be connected to any other network"
    )]
    Shared,
    /// It is on it already.
    #[error("endpoint with name {container} already exists in network {network}")]
    Connected {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// It is not on it.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// It is always there, and nobody's to make.
    #[error("operation is not permitted on predefined {0} network")]
    NotYours(String),
    /// The machine does not do it.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// A container cannot be looked at.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A container's shim does not do it.
    #[error(transparent)]
    Talk(#[from] ClientError),
    /// The store cannot be made.
    #[error(transparent)]
    Store(#[from] FileError),
    /// The record cannot be read or written.
    #[error("network record {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Makes a network, its bridge included, so that its addresses are its own from now on.
///
/// # Errors
/// [`NetworkError`]; nothing of it is there then.
pub fn create_network(
    store: &Store,
    runtime: &Path,
    request: NetworkRequest,
) -> Result<NetworkRecord, NetworkError> {
    if !is_name(&request.name) {
        return Err(NetworkError::InvalidName(request.name));
    }
    if predefined().iter().any(|one| one.name == request.name) {
        return Err(NetworkError::NotYours(request.name));
    }
    if find_exact(store, &request.name)?.is_some() {
        return Err(NetworkError::Exists(request.name));
    }
    let found = match request.config_from.as_deref() {
        None | Some("") => None,
        Some(name) => find_exact(store, name)?,
    };
    let mut record = request.into_record(found)?;
    if record.config_only {
        write(store, &record)?;
        note(store, &record, "create", None);
        return Ok(record);
    }
    let bridge = bridge_of(&record, runtime);
    if record.options.contains_key(request::BRIDGE_NAME) && bridge.exists()? {
        return Err(NetworkError::BridgeExists(bridge.spec().interface.clone()));
    }
    let made = bridge.ensure();
    if made.is_err()
        && let Err(error) = bridge.remove_if_unused()
    {
        tracing::debug!(%error, "a bridge that was not finished stays");
    }
    let (subnet, gateway, warnings) = made?;
    for warning in warnings {
        tracing::warn!(?warning, "the network may not reach everything");
    }
    if record.subnet.is_none() {
        record.pools.push(AddressPool::chosen(&subnet, &gateway));
    }
    (record.subnet, record.gateway) = (Some(subnet), Some(gateway));
    if let Some(six) = bridge.spec().six
        && !record.pools.iter().any(AddressPool::is_six)
    {
        record.pools.push(AddressPool::chosen(&six.subnet, &six.address));
    }
    if let Err(error) = write(store, &record) {
        bridge.remove_if_unused()?;
        return Err(error);
    }
    note(store, &record, "create", None);
    Ok(record)
}

/// All networks, those that are always there first.
///
/// # Errors
/// [`NetworkError::File`].
pub fn networks(store: &Store) -> Result<Vec<NetworkRecord>, NetworkError> {
    let mut networks = predefined();
    let folder = store.root().join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(networks),
        Err(source) => return Err(NetworkError::File { path: folder, source }),
    };
    for entry in entries {
        let path = entry.map_err(|source| NetworkError::File { path: folder.clone(), source })?.path();
        // one that begins with a dot is just being written
        if path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")) {
            networks.extend(read(&path)?);
        }
    }
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(networks)
}

/// Finds a network by name, id, or the beginning of its id.
///
/// # Errors
/// [`NetworkError::NotFound`], [`NetworkError::Ambiguous`].
pub fn look_up(store: &Store, text: &str) -> Result<NetworkRecord, NetworkError> {
    if let Some(record) = find_exact(store, text)? {
        return Ok(record);
    }
    let mut found: Vec<_> =
        networks(store)?.into_iter().filter(|one| !text.is_empty() && one.id.starts_with(text)).collect();
    match found.len() {
        0 => Err(NetworkError::NotFound(text.to_owned())),
        1 => Ok(found.remove(0)),
        _ => Err(NetworkError::Ambiguous(text.to_owned())),
    }
}

fn find_exact(store: &Store, name: &str) -> Result<Option<NetworkRecord>, NetworkError> {
    if let Some(record) = predefined().into_iter().find(|record| record.name == name) {
        return Ok(Some(record));
    }
    if is_name(name) { read(&store.root().join(FOLDER).join(name)) } else { Ok(None) }
}

/// Removes a network that no container is on.
///
/// # Errors
/// [`NetworkError`].
pub fn remove_network(store: &Store, runtime: &Path, text: &str) -> Result<NetworkRecord, NetworkError> {
    let record = look_up(store, text)?;
    if predefined().iter().any(|one| one.id == record.id) {
        return Err(NetworkError::Predefined(record.name));
    }
    if let Some(container) = members(store, &record)?.first() {
        let (network, container) = (record.name, container.record.name.clone());
        return Err(NetworkError::InUse { network, container });
    }
    if record.config_only && networks(store)?.iter().any(|one| one.config_from == record.name) {
        return Err(NetworkError::ConfigInUse(record.name));
    }
    let bridge = bridge_of(&record, runtime);
    let began = Instant::now();
    while !record.config_only && !bridge.remove_if_unused()? {
        // the kernel takes the links of a namespace away a moment after its last process
        if began.elapsed() > PATIENCE {
            return Err(NetworkError::InUse { network: record.name, container: "?".to_owned() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let path = store.root().join(FOLDER).join(&record.name);
    fs::remove_file(&path).map_err(|source| NetworkError::File { path, source })?;
    note(store, &record, "destroy", None);
    Ok(record)
}

/// The running containers that are on a network.
///
/// # Errors
/// [`FindError`].
pub fn members(store: &Store, record: &NetworkRecord) -> Result<Vec<Container>, FindError> {
    let is_on = |container: &Container| {
        let network = container.state.network.as_ref();
        network.is_some_and(|network| network.endpoints.contains_key(&record.name))
    };
    Ok(all(store)?.into_iter().filter(is_on).collect())
}

/// Puts a container on one more network, now and whenever it starts.
///
/// # Errors
/// [`NetworkError`].
pub fn connect_network(
    store: &Store,
    text: &str,
    container: &str,
    wish: NetworkWish,
) -> Result<(), NetworkError> {
    let record = look_up(store, text)?;
    let container = find(store, container)?;
    if record.config_only {
        return Err(NetworkError::ConfigOnly);
    }
    let host = &container.state.settings.host;
    if !matches!(host.network, NetworkChoice::Bridge | NetworkChoice::Named(_)) || record.driver != "bridge" {
        return Err(NetworkError::Shared);
    }
    if host.networks.iter().any(|known| known.network == record.name) {
        let (container, network) = (container.record.name, record.name);
        return Err(NetworkError::Connected { container, network });
    }
    let wish = NetworkWish { network: record.name.clone(), ..wish };
    if container.state.is_running() {
        client::ask(store, &container, Request::Connect(wish.clone()))?;
    }
    state::change(store, &container.record.id, |state| state.settings.host.networks.push(wish))?;
    note(store, &record, "connect", Some(&container));
    Ok(())
}

/// Takes a container off a network, now and whenever it starts.
///
/// # Errors
/// [`NetworkError`].
pub fn disconnect_network(store: &Store, text: &str, container: &str) -> Result<(), NetworkError> {
    let record = look_up(store, text)?;
    let container = find(store, container)?;
    let is_on = |wish: &NetworkWish| wish.network == record.name;
    if !container.state.settings.host.networks.iter().any(is_on) {
        let (container, network) = (container.record.name, record.name);
        return Err(NetworkError::NotConnected { container, network });
    }
    if container.state.is_running() {
        client::ask(store, &container, Request::Disconnect(record.name.clone()))?;
    }
    state::change(store, &container.record.id, |state| {
        state.settings.host.networks.retain(|wish| wish.network != record.name);
    })?;
    note(store, &record, "disconnect", Some(&container));
    Ok(())
}

/// The bridge of a network.
pub(super) fn bridge_of(record: &NetworkRecord, runtime: &Path) -> Bridge {
    if record.name == DEFAULT {
        return Bridge::new(BridgeSpec::default_network(), runtime);
    }
    Bridge::new(record.bridge_spec(), runtime)
}

/// The subnet and gateway of a network; none where it has no bridge. The default network's are chosen when its bridge is
/// made, which is done here, so that what is told stays true; none where that cannot be.
pub fn addresses_of(record: &NetworkRecord, runtime: &Path) -> Option<(Subnet, Ipv4Addr)> {
    match (record.driver.as_str(), record.subnet, record.gateway) {
        ("bridge", Some(subnet), Some(gateway)) => Some((subnet, gateway)),
        ("bridge", ..) => {
            let made = bridge_of(record, runtime).ensure();
            let made = made.inspect_err(|error| tracing::debug!(%error, "a network has no addresses"));
            made.ok().map(|(subnet, gateway, _)| (subnet, gateway))
        }
        _ => None,
    }
}

/// The networks that are always there. Their ids are made up, and never change.
fn predefined() -> Vec<NetworkRecord> {
    let one = |name: &str, driver: &str, digit: &str| NetworkRecord {
        id: digit.repeat(64),
        name: name.to_owned(),
        driver: driver.to_owned(),
        ipv6: false,
        pools: Vec::new(),
        ipam_options: BTreeMap::new(),
        scope: local(),
        config_only: false,
        config_from: String::new(),
        subnet: None,
        gateway: None,
        internal: false,
        attachable: false,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
        created_at: Timestamp::UNIX_EPOCH,
    };
    vec![one(DEFAULT, "bridge", "b"), one("host", "host", "a"), one("none", "null", "0")]
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && name.len() <= 200
}

fn read(path: &Path) -> Result<Option<NetworkRecord>, NetworkError> {
    let fail = |source| NetworkError::File { path: path.to_owned(), source };
    let bytes = lighter_store::read_whole(path, lighter_store::WHOLE_BYTES)
        .map_err(|error| fail(FileError::from(error).source))?;
    bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(|error| fail(error.into()))
}

/// Writes a new record; one of the same name that came meanwhile stays.
fn write(store: &Store, record: &NetworkRecord) -> Result<(), NetworkError> {
    store.ready()?;
    let folder = store.root().join(FOLDER);
    let path = folder.join(&record.name);
    let unnamed = folder.join(format!(".{}", record.id));
    let fail = |source| NetworkError::File { path: path.clone(), source };
    let bytes = serde_json::to_vec(record).map_err(|error| fail(error.into()))?;
    fs::create_dir_all(&folder).map_err(fail)?;
    point();
    fs::write(&unnamed, bytes).map_err(fail)?;
    point();
    let linked = fs::hard_link(&unnamed, &path);
    point();
    fs::remove_file(&unnamed).map_err(fail)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(NetworkError::Exists(record.name.clone()))
        }
        linked => linked.map_err(fail),
    }
}

fn note(store: &Store, record: &NetworkRecord, action: &str, container: Option<&Container>) {
    let mut attributes = BTreeMap::from([
        ("name".to_owned(), record.name.clone()),
        ("type".to_owned(), record.driver.clone()),
    ]);
    attributes.extend(container.map(|one| ("container".to_owned(), one.record.id.to_string())));
    events::note_event(store, "network", action, &record.id, attributes);
}

#[cfg(test)]
mod tests {
    use lighter_store::ContainerId;

    use super::*;

    fn record(name: &str) -> NetworkRecord {
        NetworkRecord {
            id: ContainerId::random().to_string(),
            name: name.to_owned(),
            ..predefined().remove(0)
        }
    }

    #[test]
    fn networks_are_found_by_name_and_id() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let own = record("own");
        write(&store, &own).expect("writes");
        assert!(matches!(write(&store, &record("own")), Err(NetworkError::Exists(_))));
        assert_eq!(look_up(&store, "own").expect("is there"), own);
        assert_eq!(look_up(&store, &own.id[..20]).expect("is there"), own);
        assert_eq!(look_up(&store, "host").expect("is there").driver, "host");
        assert!(matches!(look_up(&store, "other"), Err(NetworkError::NotFound(_))));
        let names: Vec<_> = networks(&store).expect("lists").into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["bridge", "host", "none", "own"]);
    }

    #[test]
    fn names_of_networks() {
        for name in ["a", "my-net_2", "a.b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a/b", ".a", "../x"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
