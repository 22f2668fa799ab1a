//! `ps`: which containers are shown, and what is found out about each.

use jiff::Timestamp;
use lighter_image::ImagePath;
use lighter_store::Store;

use super::settings::{MountSource, NetworkChoice};
use super::state::{Container, Damaged, FindError, Status, find, sound};
use crate::image::look_up;

/// Why a text is not a filter.
#[derive(Debug, thiserror::Error)]
pub enum ContainerFilterError {
    /// It has no `=`.
    #[error("invalid filter `{0}`: expected name=value")]
    Form(String),
    /// Containers cannot be filtered by that.
    #[error("invalid filter '{0}'")]
    Name(String),
    /// The value does not fit.
    #[error("invalid filter '{name}={value}'{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Value {
        /// The filter.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It names no port.
    #[error("error while looking up for {name} {value}: {reason}")]
    Port {
        /// The filter.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It names a container that is not there.
    #[error(transparent)]
    Find(#[from] FindError),
}

/// One condition on containers; of several of one kind, one must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerFilter {
    /// Its image descends from this one.
    Ancestor(String),
    /// It was made before that container.
    Before(String),
    /// It was made after that container.
    Since(String),
    /// It was made before this time.
    Until(Timestamp),
    /// It ended with this code.
    Exited(i32),
    /// Its health.
    Health(String),
    /// Its id begins so.
    Id(String),
    /// It has the label, with this value if one is given.
    Label(String, Option<String>),
    /// It has not the label, or not with this value.
    NoLabel(String, Option<String>),
    /// Its name fits.
    Name(String),
    /// It is on this network.
    Network(String),
    /// One of these ports of the host leads to it.
    Publish(Ports),
    /// It listens on one of these ports.
    Expose(Ports),
    /// True for every container, or for none.
    Constant(bool),
    /// What it does; none for what no container here ever does.
    Status(Option<Status>),
    /// It uses this volume, or mounts something there.
    Volume(String),
}

impl ContainerFilter {
    /// Reads `name=value`; `now` is what durations count back from.
    ///
    /// # Errors
    /// [`ContainerFilterError`] for anything that containers cannot be filtered by.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, ContainerFilterError> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| ContainerFilterError::Form(text.to_owned()))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
        let refused_because =
            |reason: String| ContainerFilterError::Value { name: name.clone(), value: value.clone(), reason };
        let refused = || refused_because(String::new());
        let ports = || {
            Ports::parse(&value).map_err(|reason| ContainerFilterError::Port {
                name: name.clone(),
                value: value.clone(),
                reason,
            })
        };
        let label = |value: &str| match value.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (value.to_owned(), None),
        };
        Ok(match name.as_str() {
            "ancestor" => Self::Ancestor(value),
            "before" => Self::Before(value),
            "since" => Self::Since(value),
            "until" => Self::Until(crate::image::parse_time(&value, now).ok_or_else(refused)?),
            "exited" => {
                let reason = || format!("strconv.Atoi: parsing {value:?}: invalid syntax");
                Self::Exited(value.parse().map_err(|_| refused_because(reason()))?)
            }
            "is-task" => match value.as_str() {
                "true" | "1" => Self::Constant(false),
                "false" | "0" => Self::Constant(true),
                _ => return Err(refused()),
            },
            "isolation" => Self::Constant(matches!(value.as_str(), "" | "default")),
            "health" => match value.as_str() {
                "starting" | "healthy" | "unhealthy" | "none" => Self::Health(value),
                _ => {
                    let known = "none, starting, healthy, unhealthy";
                    let reason = format!("invalid value for health ({value}): must be one of {known}");
                    return Err(refused_because(reason));
                }
            },
            "id" => Self::Id(value),
            "label" => Self::Label(label(&value).0, label(&value).1),
            "label!" => Self::NoLabel(label(&value).0, label(&value).1),
            "name" => Self::Name(value),
            "network" => Self::Network(value),
            "publish" => Self::Publish(ports()?),
            "expose" => Self::Expose(ports()?),
            "status" if value == "removing" => Self::Status(None),
            "status" => {
                let known = "created, running, paused, restarting, removing, exited, dead";
                let reason = || format!("invalid value for state ({value}): must be one of {known}");
                Self::Status(Some(status(&value).ok_or_else(|| refused_because(reason()))?))
            }
            "volume" => Self::Volume(value),
            _ => return Err(ContainerFilterError::Name(name)),
        })
    }

    /// Whether it says something about containers that do not run.
    pub const fn looks_at_all(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::Status(_))
    }

    fn holds(&self, store: &Store, container: &Container) -> Result<bool, ContainerFilterError> {
        let (record, state) = (&container.record, &container.state);
        let settings = &state.settings;
        let has = |key: &String, value: &Option<String>| {
            settings.labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        Ok(match self {
            Self::Ancestor(image) => descends(store, container, image),
            Self::Before(other) => record.created_at < find(store, other)?.record.created_at,
            Self::Since(other) => record.created_at > find(store, other)?.record.created_at,
            Self::Until(time) => Timestamp::try_from(record.created_at).is_ok_and(|made| made < *time),
            Self::Exited(code) => state.status == Status::Exited && state.exit_code == *code,
            Self::Health(health) => {
                state.health.as_ref().map_or("none", |one| one.status.as_str()) == health.as_str()
            }
            Self::Id(id) => record.id.as_str().starts_with(id.as_str()),
            Self::Label(key, value) => has(key, value),
            Self::NoLabel(key, value) => !has(key, value),
            Self::Name(pattern) => {
                let fits = matcher(pattern);
                fits(&record.name) || fits(&format!("/{}", record.name))
            }
            Self::Network(name) => on_network(container, name),
            Self::Publish(ports) => {
                let mut bindings = state.network.iter().flat_map(|network| &network.bindings);
                bindings.any(|one| ports.hold(one.host.port(), &one.transport.to_string()))
            }
            Self::Expose(ports) => settings.exposed_ports.iter().any(|port| {
                let (number, transport) = port.split_once('/').unwrap_or((port, "tcp"));
                number.parse().is_ok_and(|number| ports.hold(number, transport))
            }),
            Self::Constant(holds) => *holds,
            Self::Status(status) => Some(state.status) == *status,
            Self::Volume(volume) => settings.host.mounts.iter().any(|mount| {
                let is_source = match &mount.source {
                    MountSource::Volume { name, .. } | MountSource::Image { name, .. } => name == volume,
                    MountSource::Bind { path, .. } => path.as_os_str() == volume.as_str(),
                    MountSource::Tmpfs { .. } => false,
                };
                is_source || ImagePath::new(&mount.target) == ImagePath::new(volume)
            }),
        })
    }
}

/// Ports of one transport, in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
    transport: String,
}

impl Ports {
    /// Reads `80`, `80/udp`, `8000-8010/tcp`.
    fn parse(text: &str) -> Result<Self, String> {
        let (range, transport) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| {
            text.parse::<u16>().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("invalid range specified for port: {range}"));
        }
        if !matches!(transport, "tcp" | "udp" | "sctp") {
            return Err(format!("invalid protocol: {transport}"));
        }
        Ok(Self { first, last, transport: transport.to_owned() })
    }

    fn hold(&self, port: u16, transport: &str) -> bool {
        transport == self.transport && (self.first..=self.last).contains(&port)
    }
}

fn status(text: &str) -> Option<Status> {
    let all =
        [Status::Created, Status::Running, Status::Paused, Status::Restarting, Status::Exited, Status::Dead];
    all.into_iter().find(|status| status.name() == text)
}

fn on_network(container: &Container, name: &str) -> bool {
    let host = &container.state.settings.host;
    let is_named = match &host.network {
        NetworkChoice::Host => name == "host",
        NetworkChoice::None => name == "none",
        _ => host.networks.iter().any(|wish| wish.network == name),
    };
    let endpoints = container.state.network.iter().flat_map(|network| network.endpoints.values());
    is_named || endpoints.into_iter().any(|endpoint| name.len() > 2 && endpoint.network_id.starts_with(name))
}

/// Whether a container's image is this one, or was made from it.
fn descends(store: &Store, container: &Container, image: &str) -> bool {
    let Ok(ancestor) = look_up(store, image) else { return false };
    if container.record.image == Some(ancestor.record.id) {
        return true;
    }
    let Some(own) = container.record.image else { return false };
    let Ok(Some(own)) = store.image(&own) else { return false };
    !ancestor.record.layers.is_empty() && own.layers.starts_with(&ancestor.record.layers)
}

/// Says whether a name has something in it that fits a regular expression; a text that is none fits itself.
pub fn matcher(pattern: &str) -> impl Fn(&str) -> bool + use<> {
    let (expression, plain) = (regex_lite::Regex::new(pattern).ok(), pattern.to_owned());
    move |name: &str| expression.as_ref().map_or(name == plain, |expression| expression.is_match(name))
}

/// The containers that fit, the youngest first; without `all` only those that run, unless a filter speaks of others.
/// One that is damaged does not hide the others: `damaged` is told of it.
///
/// # Errors
/// [`ContainerFilterError::Find`].
pub fn list(
    store: &Store,
    with_all: bool,
    filters: &[ContainerFilter],
    damaged: Damaged<'_>,
) -> Result<Vec<Container>, ContainerFilterError> {
    let with_all = with_all || filters.iter().any(ContainerFilter::looks_at_all);
    let mut containers = Vec::new();
    for container in sound(store, damaged)? {
        let is_up = container.state.is_running() || container.state.status == Status::Restarting;
        if (with_all || is_up) && all_hold(store, &container, filters)? {
            containers.push(container);
        }
    }
    Ok(containers)
}

/// Whether of each kind of filter one holds, and all labels do.
fn all_hold(
    store: &Store,
    container: &Container,
    filters: &[ContainerFilter],
) -> Result<bool, ContainerFilterError> {
    use std::mem::discriminant;
    for (place, filter) in filters.iter().enumerate() {
        let same = |other: &&ContainerFilter| discriminant(*other) == discriminant(filter);
        let must_all = matches!(filter, ContainerFilter::Label(..) | ContainerFilter::NoLabel(..));
        if !must_all && filters[..place].iter().any(|other| same(&other)) {
            continue;
        }
        let mut holds = false;
        for other in filters.iter().filter(same).filter(|other| !must_all || *other == filter) {
            holds |= other.holds(store, container)?;
        }
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How a container's image is called now: as it was asked for, or by its id where that name means another by now.
pub fn image_name(store: &Store, container: &Container) -> String {
    let settings = &container.state.settings;
    match (look_up(store, &settings.image_name), container.record.image) {
        (Ok(found), Some(own)) if found.record.id == own => settings.image_name.clone(),
        (_, Some(own)) => own.0.short(),
        _ => settings.image_name.clone(),
    }
}

/// What a container occupies: its own files, and those with its image's.
///
/// # Errors
/// [`FindError`], where something cannot be read.
pub fn sizes(store: &Store, container: &Container) -> Result<(u64, u64), FindError> {
    let upper = store.container_paths(&container.record.id).upper;
    let own = files_bytes(&upper);
    let mut whole = own;
    if let Some(image) = container.record.image.and_then(|id| store.image(&id).ok().flatten()) {
        for diff_id in &image.layers {
            whole += crate::image::content_bytes(store, diff_id).unwrap_or_default();
        }
    }
    Ok((own, whole))
}

/// The sizes of a tree's regular files together.
pub(super) fn files_bytes(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes += files_bytes(&entry.path()),
            Ok(found) if found.is_file() => bytes += found.len(),
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_names() {
        let check =
            |pattern, name, expected| assert_eq!(matcher(pattern)(name), expected, "{pattern} {name}");
        check("we", "web", true);
        check("^web$", "web", true);
        check("^we$", "web", false);
        check("w.b", "web", true);
        check("^w.*2$", "web-2", true);
        check("x", "web", false);
        check("", "web", true);
        check("^/web", "/web", true);
        check("w(eb|ab)$", "web", true);
        check("w[a-d]b", "web", false);
        check("(", "(", true);
    }

    #[test]
    fn ports_in_a_row() {
        let ports = Ports::parse("79-81/udp").expect("ports");
        assert!(ports.hold(80, "udp") && !ports.hold(80, "tcp") && !ports.hold(82, "udp"));
        for text in ["bad", "9-8", "80/frob", "70000"] {
            assert!(Ports::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn filters_are_read() {
        let parse = |text| ContainerFilter::parse(text, Timestamp::UNIX_EPOCH);
        assert_eq!(parse("status=exited").ok(), Some(ContainerFilter::Status(Some(Status::Exited))));
        assert_eq!(parse("label=a=b").ok(), Some(ContainerFilter::Label("a".into(), Some("b".into()))));
        for text in ["x", "status=x", "frob=1", "exited=x", "health=x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
