//! `builder`: the build cache, cache mounts, and the history of builds.

use super::build::shell;
use crate::args::builder::{Debug, Explain, HistoryLogs, HistoryLs, HistoryRm, MountsLs, MountsRm};
use crate::failure::Failure;
use crate::render::listing::Listing;
use crate::render::progress::{self, Mode};
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::Store;
use lighter_engine::build::{
    BuildRecord, Event, EventKind, Explanation, Finish, KeptRoot, KeptSource, Reason, Vertex, debug, history,
};
use lighter_engine::system::BuildId;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// Refuses a builder instance that is not the one there is.
///
/// # Errors
/// Any name but "default".
pub(crate) fn only_default(builder: Option<&str>) -> Result<(), Failure> {
    match builder {
        None | Some("" | "default") => Ok(()),
        Some(name) => {
            Err(Failure::new(format!("ERROR: no builder {name:?} found: lighter has one, \"default\"")))
        }
    }
}

impl Verb for MountsLs {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let now = Timestamp::now();
        let mounts = store.cache_mounts().map_err(|error| Failure::because(&error))?;
        let rows: Vec<Value> = mounts
            .iter()
            .map(|mount| {
                json!({
                    "ID": mount.id, "Size": units::size(mount.size_bytes), "InUse": mount.in_use.to_string(),
                    "LastUsed": mount.last_used.map_or_else(|| "N/A".to_owned(), |time| ago(time, now)),
                })
            })
            .collect();
        let listing = Listing {
            table: "{{.ID}}\t{{.Size}}\t{{.LastUsed}}\t{{.InUse}}",
            quiet: "{{.ID}}",
            headings: &[("ID", "MOUNT ID"), ("Size", "SIZE"), ("LastUsed", "LAST USED"), ("InUse", "IN USE")],
            methods: &[],
        };
        session.print(&listing.render(self.format.as_deref(), self.quiet, &rows)?).map(|()| 0)
    }
}

impl Verb for MountsRm {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let mut failures = Vec::new();
        for id in &self.ids {
            match store.remove_cache_mount(id) {
                Ok(true) => session.print(&format!("{id}\n"))?,
                Ok(false) => failures.push(format!("Error: no such cache mount, or it is in use: {id}")),
                Err(error) => failures.push(Failure::because(&error).text),
            }
        }
        if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
    }
}

impl Verb for HistoryLs {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let now = Timestamp::now();
        let mut rows = Vec::new();
        for id in store.builds().map_err(|error| Failure::because(&error))? {
            let record: Option<BuildRecord> = store.build(&id).map_err(|error| Failure::because(&error))?;
            if let Some(record) = record {
                rows.push(row(&id, &record, now, self.no_trunc));
            }
        }
        let listing = Listing {
            table: "{{.ID}}\t{{.Name}}\t{{.Status}}\t{{.CreatedAt}}\t{{.Duration}}",
            quiet: "{{.ID}}",
            headings: &[
                ("ID", "BUILD ID"),
                ("Name", "NAME"),
                ("Status", "STATUS"),
                ("CreatedAt", "CREATED AT"),
                ("Duration", "DURATION"),
            ],
            methods: &[],
        };
        session.print(&listing.render(self.format.as_deref(), self.quiet, &rows)?).map(|()| 0)
    }
}

fn row(id: &BuildId, record: &BuildRecord, now: Timestamp, whole: bool) -> Value {
    let target = record.target.as_ref().map(|target| format!(" ({target})")).unwrap_or_default();
    let name = format!("{}/{}{target}", record.context.trim_end_matches('/'), record.dockerfile);
    let status = match &record.finish {
        Finish::Succeeded { .. } => "Completed",
        Finish::Failed { .. } => "Error",
        Finish::Cancelled => "Canceled",
    };
    let cached = record.steps.iter().filter(|step| step.is_cached).count();
    let created = record
        .started
        .parse::<Timestamp>()
        .map_or_else(|_| record.started.clone(), |then| units::age(then, now));
    json!({
        "ID": id.to_string(), "Name": if whole { name } else { units::ellipsis(&name, 40) }, "Status": status, "CreatedAt": created,
        "Duration": format!("{:.1}s", Duration::from_micros(record.took_us).as_secs_f64()),
        "Steps": record.steps.len().to_string(), "CachedSteps": cached.to_string(), "Tags": record.tags.join(","),
    })
}

impl Verb for HistoryLogs {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let mode = match self.progress.as_str() {
            "plain" => Mode::Plain,
            "rawjson" => Mode::RawJson,
            other => return Err(Failure::new(format!("Error: --progress={other}: it is plain or rawjson"))),
        };
        let store = session.open_store()?;
        let id = named(&store, self.build.as_deref())?;
        session.print(&progress::replayed(mode, &events(&store, &id)?, Timestamp::now())).map(|()| 0)
    }
}

impl Verb for HistoryRm {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let builds = match (self.all, self.builds.is_empty()) {
            (true, _) => store.builds().map_err(|error| Failure::because(&error))?,
            (false, true) => return Err(Failure::new("Error: name a build, or use --all")),
            (false, false) => {
                self.builds.iter().map(|name| named(&store, Some(name))).collect::<Result<_, _>>()?
            }
        };
        for id in builds {
            store.remove_build(&id).map_err(|error| Failure::because(&error))?;
        }
        Ok(0)
    }
}

impl Verb for Explain {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let id = named(&store, self.build.as_deref())?;
        let events = events(&store, &id)?;
        let told = told(&events);
        let explained = if told.is_empty() { found_out(&store, &id)? } else { told };
        let mut text = String::new();
        for (name, explanation) in &explained {
            let _ = match self.format.as_str() {
                "json" => writeln!(text, "{}", json!({"step": name, "explanation": explanation})),
                "text" => writeln!(text, "{name}\n{}", progress::explained(explanation)),
                other => return Err(Failure::new(format!("Error: --format={other}: it is text or json"))),
            };
        }
        if explained.is_empty() && self.format != "json" {
            text.push_str("Every step came from the cache.\n");
        }
        session.print(&text).map(|()| 0)
    }
}

/// What a build with `--explain` has told of its steps.
fn told(events: &[Event]) -> Vec<(String, Explanation)> {
    let mut names: BTreeMap<Vertex, &str> = BTreeMap::new();
    let mut explained = Vec::new();
    for event in events {
        match &event.kind {
            EventKind::Announced { name, .. } => drop(names.insert(event.vertex, name)),
            EventKind::Explained(explanation) => {
                let name = names.get(&event.vertex).copied().unwrap_or_default();
                explained.push((name.to_owned(), explanation.clone()));
            }
            _ => {}
        }
    }
    explained
}

/// What can still be found out of the steps of a build. Of a step of which nothing is known any more, that is said.
fn found_out(store: &Store, id: &BuildId) -> Result<Vec<(String, Explanation)>, Failure> {
    let record: Option<BuildRecord> = store.build(id).map_err(|error| Failure::because(&error))?;
    let Some(record) = record else { return Ok(Vec::new()) };
    let explained =
        history::explain(store, id, &record).map_err(|error| Failure::because(&error))?.into_iter();
    let or_gone = |explanation: Option<Explanation>| {
        explanation.unwrap_or(Explanation { reason: Reason::Pruned, changes: Vec::new(), more: 0 })
    };
    Ok(explained.map(|(name, explanation)| (name, or_gone(explanation))).collect())
}

impl Verb for Debug {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let kept = self.kept(&store)?;
        for mount in &kept.mounts {
            if let KeptSource::Gone(what) = &mount.source {
                session.remark(&format!("not mounted at {}: {what}", mount.target));
            }
        }
        let attach = shell::attach();
        let code = debug(&store, &kept, &self.command, attach.as_ref());
        let code = code.map_err(|error| Failure::because(&error))?;
        Ok(u8::try_from(code).unwrap_or(u8::MAX))
    }
}

impl Debug {
    /// The root that the named build has kept, else the last one that was kept.
    fn kept(&self, store: &Store) -> Result<KeptRoot, Failure> {
        if let Some(name) = &self.build {
            let (id, record) = history::find(store, name).map_err(|error| Failure::because(&error))?;
            let nothing = || Failure::new(format!("Error: build {id} has kept no root"));
            return record.kept.ok_or_else(nothing);
        }
        let builds = history::builds(store).map_err(|error| Failure::because(&error))?;
        let nothing = || Failure::new("Error: no build has kept a root: build with --on-error=keep first");
        builds.into_iter().find_map(|(_, record)| record.kept).ok_or_else(nothing)
    }
}

/// The build that was named, else the last one.
fn named(store: &Store, name: Option<&str>) -> Result<BuildId, Failure> {
    if let Some(name) = name {
        store.find_build(name).map_err(|error| Failure::because(&error))
    } else {
        let last = store.builds().map_err(|error| Failure::because(&error))?.into_iter().next();
        last.ok_or_else(|| Failure::new("Error: there is no build yet"))
    }
}

/// What a build told while it went on.
fn events(store: &Store, id: &BuildId) -> Result<Vec<Event>, Failure> {
    let path = store.build_dir(id).join("events");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::new(format!("Error: reading {}: {error}", path.display())))?;
    // the last line of a build that was killed may be cut short
    Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect())
}

/// How long ago something was.
pub(crate) fn ago(time: SystemTime, now: Timestamp) -> String {
    Timestamp::try_from(time).map_or_else(|_| "N/A".to_owned(), |time| units::age(time, now))
}
