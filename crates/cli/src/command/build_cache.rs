//! `builder du`: what the build cache occupies.

use super::builder::{ago, only_default};
use crate::args::builder::DiskUsage;
use crate::failure::Failure;
use crate::render::listing::Listing;
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::system::Usage;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::SystemTime;

const LISTING: Listing = Listing {
    table: "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "ID"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("LastUsedAt", "LAST ACCESSED"),
        ("Description", "DESCRIPTION"),
    ],
    methods: &[],
};

/// One record of the cache.
struct Record {
    id: String,
    kind: &'static str,
    description: String,
    size_bytes: u64,
    in_use: bool,
    shared: bool,
    created_at: Option<SystemTime>,
    last_used: Option<SystemTime>,
}

impl Verb for DiskUsage {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        only_default(self.builder.as_deref())?;
        let now = Timestamp::now();
        let filters: Vec<Filter> =
            self.filter.iter().map(|text| Filter::parse(text, now)).collect::<Result<_, _>>()?;
        let store = session.open_store()?;
        let usage = store.usage().map_err(|error| Failure::because(&error))?;
        let mut records = records(&usage);
        records.retain(|record| filters.iter().all(|filter| filter.holds(record)));
        let format = self.format.as_deref().filter(|format| *format != "pretty");
        if self.verbose || self.format.as_deref() == Some("pretty") {
            return session
                .print(&records.iter().map(|one| pretty(one, now)).collect::<String>())
                .map(|()| 0);
        }
        let rows: Vec<Value> = records.iter().map(|one| row(one, now)).collect();
        let mut text = LISTING.render(format, false, &rows)?;
        if format.is_none() && filters.is_empty() {
            let _ = writeln!(text, "Total:\t\t{}", units::size(usage.cache_bytes));
        }
        session.print(&text).map(|()| 0)
    }
}

fn records(usage: &Usage) -> Vec<Record> {
    let steps = usage.steps.iter().map(|step| Record {
        id: step.key.short(),
        kind: "regular",
        description: step.description.clone(),
        size_bytes: step.size_bytes,
        in_use: step.in_use,
        shared: step.shared,
        created_at: Some(step.created_at),
        last_used: Some(step.last_used),
    });
    let mounts = usage.mounts.iter().map(|mount| Record {
        id: mount.id.clone(),
        kind: "exec.cachemount",
        description: "cache mount".to_owned(),
        size_bytes: mount.size_bytes,
        in_use: mount.in_use,
        shared: false,
        created_at: None,
        last_used: mount.last_used,
    });
    steps.chain(mounts).collect()
}

fn row(record: &Record, now: Timestamp) -> Value {
    let shared = if record.shared { "*" } else { "" };
    json!({
        "ID": record.id, "Reclaimable": (!record.in_use).to_string(),
        "Size": format!("{}{shared}", units::size(record.size_bytes)),
        "LastUsedAt": record.last_used.map(|time| ago(time, now)).unwrap_or_default(),
        "Description": record.description,
    })
}

fn pretty(record: &Record, now: Timestamp) -> String {
    let mut text = format!("ID:           {}\n", record.id);
    if let Some(time) = record.created_at.and_then(|time| Timestamp::try_from(time).ok()) {
        let _ = writeln!(text, "Created at:   {}", units::time(time));
    }
    let _ = write!(
        text,
        "Mutable:      {}\nReclaimable:  {}\nShared:       {}\nSize:         {}\nDescription:  {}\n",
        record.kind != "regular",
        !record.in_use,
        record.shared,
        units::size(record.size_bytes),
        record.description
    );
    if let Some(time) = record.last_used {
        let _ = writeln!(text, "Last used:    {}", ago(time, now));
    }
    let _ = writeln!(text, "Type:         {}\n", record.kind);
    text
}

/// What a record must be to be shown.
enum Filter {
    Until(Timestamp),
    Text { field: Field, is: Is, value: String },
}

#[derive(Clone, Copy)]
enum Field {
    Id,
    Kind,
    Description,
}

#[derive(Clone, Copy)]
enum Is {
    Equal,
    Other,
    Containing,
}

impl Filter {
    fn parse(text: &str, now: Timestamp) -> Result<Self, Failure> {
        let refused = || {
            Failure::new(format!(
                "ERROR: invalid filter {text:?}: the build cache is filtered by id, type, description and until"
            ))
        };
        let (name, value) = text.split_once('=').ok_or_else(refused)?;
        let (name, is) = match name.strip_suffix(['!', '~']) {
            Some(rest) if name.ends_with('!') => (rest, Is::Other),
            Some(rest) => (rest, Is::Containing),
            None => (name, Is::Equal),
        };
        let field = match (name, is) {
            ("until", Is::Equal) => {
                let time = lighter_engine::image::parse_time(value, now).ok_or_else(refused)?;
                return Ok(Self::Until(time));
            }
            ("id", _) => Field::Id,
            ("type", _) => Field::Kind,
            ("description", _) => Field::Description,
            _ => return Err(refused()),
        };
        Ok(Self::Text { field, is, value: value.to_owned() })
    }

    fn holds(&self, record: &Record) -> bool {
        match self {
            Self::Until(time) => record
                .last_used
                .and_then(|used| Timestamp::try_from(used).ok())
                .is_some_and(|used| used < *time),
            Self::Text { field, is, value } => {
                let found = match field {
                    Field::Id => record.id.as_str(),
                    Field::Kind => record.kind,
                    Field::Description => record.description.as_str(),
                };
                match is {
                    Is::Equal => found == value,
                    Is::Other => found != value,
                    Is::Containing => found.contains(value.as_str()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_the_build_cache() {
        let record = Record {
            id: "abc".to_owned(),
            kind: "regular",
            description: "[2/2] COPY . .".to_owned(),
            size_bytes: 1,
            in_use: false,
            shared: false,
            created_at: None,
            last_used: Some(SystemTime::UNIX_EPOCH),
        };
        let check = |text: &str, expected: Option<bool>| {
            let filter = Filter::parse(text, Timestamp::now()).ok();
            assert_eq!(filter.map(|filter| filter.holds(&record)), expected, "{text}");
        };
        check("id=abc", Some(true));
        check("id!=abc", Some(false));
        check("type=exec.cachemount", Some(false));
        check("description~=COPY", Some(true));
        check("description~=RUN", Some(false));
        check("until=1h", Some(true));
        check("until=x", None);
        check("parents=x", None);
        check("id", None);
    }
}
