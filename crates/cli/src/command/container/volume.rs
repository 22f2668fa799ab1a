//! `volume create`, `ls`, `rm`, `inspect`, `prune`.

use super::{each, told};
use crate::args::container::volume::{VolumeCreate, VolumeInspect, VolumeList, VolumePrune, VolumeRemove};
use crate::command::inspect::all;
use crate::failure::Failure;
use crate::render::listing::Listing;
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::container::{self, Volume, VolumeInfo, written_time};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::SystemTime;

const LISTING: Listing = Listing {
    table: "{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
    headings: &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Scope", "SCOPE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
    ],
    methods: &["Label"],
};
const UNKNOWN: &str = "N/A";
const ANONYMOUS: &str =
    "WARNING! This will remove anonymous local volumes not used by at least one container.";
const ALL: &str = "WARNING! This will remove all local volumes not used by at least one container.";

impl Verb for VolumeCreate {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        if self.name.is_some() && self.named.is_some() {
            return Err(Failure::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        let store = session.open_store()?;
        let labels = self.label.into_iter().collect();
        let options = self.opt.into_iter().collect();
        let name = self.name.or(self.named).filter(|name| !name.is_empty());
        let name = name.as_deref();
        let made = container::create_volume(&store, name, &self.driver, labels, &options, SystemTime::now());
        session.print(&format!("{}\n", made.map_err(|error| told(&error))?)).map(|()| 0)
    }
}

impl Verb for VolumeList {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let filters: Vec<Filter> =
            self.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_, _>>()?;
        let store = session.open_store()?;
        let volumes = container::volumes(&store).map_err(|error| told(&error))?;
        let shown = volumes.iter().filter(|one| filters.iter().all(|filter| filter.holds(one)));
        let rows: Vec<Value> = shown.map(row).collect();
        session.print(&LISTING.render(self.format.as_deref(), self.quiet, &rows)?).map(|()| 0)
    }
}

impl Verb for VolumeRemove {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        each(session, &self.names, |name| {
            container::remove_volume(&store, name, self.force).map_err(|error| told(&error))
        })
    }
}

impl Verb for VolumeInspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        all(session, &self.names, self.format.as_deref(), |name| {
            container::find_volume(&store, name).map(|found| described(&found)).map_err(|error| told(&error))
        })
    }
}

impl Verb for VolumePrune {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let filters: Vec<Filter> =
            self.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_, _>>()?;
        let with_named = self.all || filters.contains(&Filter::All(true));
        let warning = if with_named { ALL } else { ANONYMOUS };
        let question = format!("{warning}\nAre you sure you want to continue?");
        if !self.force && !session.confirms(&question)? {
            return Ok(0);
        }
        let (text, freed) = prune(&session.open_store()?, with_named, &filters)?;
        session.print(&format!("{text}Total reclaimed space: {}\n", units::size(freed))).map(|()| 0)
    }
}

/// Removes the anonymous volumes that no container uses and that the filters pick; what is told of it, and how many
/// bytes that has freed.
///
/// # Errors
/// A filter that is none, and a volume that cannot be removed.
pub(crate) fn prune_anonymous(store: &Store, filters: &[String]) -> Result<(String, u64), Failure> {
    let filters: Vec<Filter> = filters.iter().map(|text| Filter::parse(text)).collect::<Result<_, _>>()?;
    prune(store, false, &filters)
}

fn prune(store: &Store, with_named: bool, filters: &[Filter]) -> Result<(String, u64), Failure> {
    let fits = |volume: &Volume| filters.iter().all(|filter| filter.holds_for(volume));
    let pruned = container::prune_volumes(store, with_named, &fits).map_err(|error| told(&error))?;
    let text = match pruned.removed.as_slice() {
        [] => String::new(),
        removed => format!("Deleted Volumes:\n{}\n\n", removed.join("\n")),
    };
    Ok((text, pruned.freed_bytes))
}

/// A condition on volumes.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    All(bool),
    Dangling(bool),
    Driver(String),
    Label(String, Option<String>),
    NoLabel(String, Option<String>),
    Name(String),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, Failure> {
        let name = text.split('=').next().unwrap_or_default();
        let invalid = || Failure::new(format!("Error: invalid filter '{name}'"));
        let (name, value) = text.split_once('=').ok_or_else(invalid)?;
        let label = || match value.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (value.to_owned(), None),
        };
        let truth = || crate::args::switch(value).map_err(|_| invalid());
        Ok(match name {
            "all" => Self::All(truth()?),
            "dangling" => Self::Dangling(truth()?),
            "driver" => Self::Driver(value.to_owned()),
            "label" => Self::Label(label().0, label().1),
            "label!" => Self::NoLabel(label().0, label().1),
            "name" => Self::Name(value.to_owned()),
            _ => return Err(invalid()),
        })
    }

    fn holds(&self, one: &VolumeInfo) -> bool {
        match self {
            Self::Dangling(dangling) => one.users.is_empty() == *dangling,
            _ => self.holds_for(&one.volume),
        }
    }

    fn holds_for(&self, volume: &Volume) -> bool {
        let has = |key: &String, value: &Option<String>| {
            volume.labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        match self {
            Self::All(_) | Self::Dangling(_) => true,
            Self::Driver(driver) => driver == "local",
            Self::Label(key, value) => has(key, value),
            Self::NoLabel(key, value) => !has(key, value),
            Self::Name(name) => container::matcher(name)(&volume.name),
        }
    }
}

fn row(one: &VolumeInfo) -> Value {
    let labels: Vec<String> = one.volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Availability": UNKNOWN,
        "Driver": "local",
        "Group": UNKNOWN,
        "Label": one.volume.labels,
        "Labels": labels.join(","),
        "Links": UNKNOWN,
        "Mountpoint": one.path.to_string_lossy(),
        "Name": one.volume.name,
        "Scope": "local",
        "Size": UNKNOWN,
        "Status": UNKNOWN,
    })
}

/// A volume as Docker's engine describes it.
pub(super) fn described(one: &VolumeInfo) -> Value {
    let or_none = |map: &BTreeMap<String, String>| if map.is_empty() { Value::Null } else { json!(map) };
    let anonymous = BTreeMap::from([("com.docker.volume.anonymous".to_owned(), String::new())]);
    let labels =
        if one.volume.anonymous && one.volume.labels.is_empty() { &anonymous } else { &one.volume.labels };
    json!({
        "CreatedAt": written_time(one.volume.created_at),
        "Driver": "local",
        "Labels": or_none(labels),
        "Mountpoint": one.path.to_string_lossy(),
        "Name": one.volume.name,
        "Options": or_none(&one.volume.options),
        "Scope": "local",
    })
}
