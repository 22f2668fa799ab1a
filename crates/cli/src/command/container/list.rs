//! `ps`: a row for each container.

use super::{port, told};
use crate::args::container::look::List;
use crate::failure::{Failure, chain};
use crate::render::listing::{Listing, ListingError};
use crate::render::units;
use crate::session::Session;
use crate::template::TemplateError;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::Store;
use lighter_engine::container::{self, Container, ContainerFilter, MountSource, Status};
use serde_json::{Value, json};
use std::time::Duration;

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("Networks", "NETWORKS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Platform", "PLATFORM"),
];
const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const TABLE_WITH_SIZE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

/// How much of a command is shown.
const COMMAND_LENGTH: usize = 20;
/// How much of a mount's source is shown.
const MOUNT_LENGTH: usize = 15;

impl Verb for List {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let now = Timestamp::now();
        let parse = |text: &String| ContainerFilter::parse(text, now).map_err(|error| told(&error));
        let filters = self.filter.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let last = if self.latest { 1 } else { self.last };
        let store = session.open_store()?;
        let found = container::list(&store, self.all || last > 0, &filters, &mut |id, error| {
            session.remark(&format!("WARNING: leaving out container {}: {}", id.short(), chain(error)));
        });
        let mut containers = found.map_err(|error| told(&error))?;
        if let Ok(last @ 1..) = usize::try_from(last) {
            containers.truncate(last);
        }
        let listing = Listing {
            table: if self.size { TABLE_WITH_SIZE } else { TABLE },
            quiet: "{{.ID}}",
            headings: HEADINGS,
            methods: &["Label"],
        };
        if self.quiet && self.format.is_some() {
            let text = "WARNING: Ignoring custom format, because both --format and --quiet are set.";
            session.remark(text);
        }
        let format = self.format.as_deref().filter(|_| !self.quiet);
        let shows_size = |format: &str| format.contains(".Size") || format.contains("json .}}");
        let with_size = self.size || format.is_some_and(shows_size);
        let rows = containers
            .iter()
            .map(|one| self.row(&store, one, now, with_size))
            .collect::<Result<Vec<_>, _>>()?;
        let text = listing.render(format, self.quiet, &rows).map_err(|error| {
            // the words of this listing differ from those of all others
            let ListingError(error) = error;
            let what = if matches!(error, TemplateError::Syntax { .. }) { "parse" } else { "execute" };
            Failure::new(format!("failed to {what} template: {error}"))
        })?;
        session.print(&text).map(|()| 0)
    }
}

impl List {
    fn row(&self, store: &Store, one: &Container, now: Timestamp, with_size: bool) -> Result<Value, Failure> {
        let (record, state) = (&one.record, &one.state);
        let settings = &state.settings;
        let created = Timestamp::try_from(record.created_at).unwrap_or(now);
        let labels: Vec<String> =
            settings.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mounts: Vec<String> =
            settings.host.mounts.iter().filter_map(|mount| self.mount(&mount.source)).collect();
        let volumes = settings
            .host
            .mounts
            .iter()
            .filter(|mount| matches!(mount.source, MountSource::Volume { .. }))
            .count();
        let size = if with_size {
            let (own, whole) = container::sizes(store, one).map_err(|error| told(&error))?;
            format!("{} (virtual {})", units::short_size(own), units::short_size(whole))
        } else {
            "0B".to_owned()
        };
        let id = if self.no_trunc { record.id.as_str() } else { record.id.short() };
        Ok(json!({
            "Command": shown_command(&settings.command(), self.no_trunc),
            "CreatedAt": units::time(created),
            "ID": id,
            "Image": container::image_name(store, one),
            "Label": settings.labels,
            "Labels": labels.join(","),
            "LocalVolumes": volumes.to_string(),
            "Mounts": mounts.join(","),
            "Names": record.name,
            "Networks": networks(one),
            "Platform": Value::Null,
            "Ports": port::column(one),
            "RunningFor": units::age(created, now),
            "Size": size,
            "State": state.status.name(),
            "Status": status(one, now),
        }))
    }

    fn mount(&self, source: &MountSource) -> Option<String> {
        let text = match source {
            MountSource::Bind { path, .. } => path.to_string_lossy().into_owned(),
            MountSource::Volume { name, .. } | MountSource::Image { name, .. } => name.clone(),
            MountSource::Tmpfs { .. } => return None,
        };
        Some(if self.no_trunc { text } else { units::ellipsis(&text, MOUNT_LENGTH) })
    }
}

/// A command as a column of a table shows it.
pub(crate) fn shown_command(words: &[String], whole: bool) -> String {
    let command = command_line(words);
    let command = if whole { command } else { units::ellipsis(&command, COMMAND_LENGTH) };
    format!("\"{}\"", command.replace('"', "\\\""))
}

/// A command with what has spaces in quotes.
fn command_line(words: &[String]) -> String {
    let quoted = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn networks(one: &Container) -> String {
    let host = &one.state.settings.host;
    if host.networks.is_empty() {
        return container::network_mode(&host.network);
    }
    host.networks.iter().map(|wish| wish.network.as_str()).collect::<Vec<_>>().join(",")
}

/// What a container does, and since when.
fn status(one: &Container, now: Timestamp) -> String {
    let state = &one.state;
    let since = |then: Option<Timestamp>| {
        let past = then.map(|then| Duration::try_from(now.duration_since(then)).unwrap_or_default());
        units::duration(past.unwrap_or_default())
    };
    let health = state.health.as_ref().map(|health| match health.status.as_str() {
        "starting" => " (health: starting)".to_owned(),
        other => format!(" ({other})"),
    });
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}{}", since(state.started_at), health.unwrap_or_default()),
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Dead => "Dead".to_owned(),
    }
}
