//! `events`: what happened, and happens.

use super::told;
use crate::args::container::look::Events;
use crate::failure::Failure;
use crate::render::document;
use crate::session::Session;
use crate::template::Schema;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::container::{Event, EventReader};
use serde_json::{Value, json};
use std::time::Duration;

/// How often the journal is looked at that has not grown.
const PAUSE: Duration = Duration::from_millis(50);

impl Verb for Events {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let now = Timestamp::now();
        let time = |text: &Option<String>| {
            let parse = |text: &String| {
                lighter_engine::image::parse_time(text, now).ok_or_else(|| {
                    Failure::new(format!("Error: failed to parse value as time or duration: {text:?}"))
                })
            };
            text.as_ref().map(parse).transpose()
        };
        let since = time(&self.since)?.unwrap_or(now);
        let until = time(&self.until)?;
        let filters: Vec<(String, String)> =
            self.filter.iter().map(|text| filter(text)).collect::<Result<_, _>>()?;
        let store = session.open_store()?;
        let mut reader = EventReader::open(&store).map_err(|error| told(&error))?;
        loop {
            while let Some(event) = reader.next_event().map_err(|error| told(&error))? {
                if until.is_some_and(|until| event.time > until) {
                    return Ok(0);
                }
                if event.time >= since && fits(&event, &filters) {
                    session.print(&self.shown(&event)?)?;
                }
            }
            if until.is_some_and(|until| Timestamp::now() >= until) {
                return Ok(0);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Events {
    fn shown(&self, event: &Event) -> Result<String, Failure> {
        match self.format.as_deref().filter(|format| !format.is_empty()) {
            Some(format) => {
                // a template may ask for fields that the document itself does not name like that
                let shown = if format == "json" || format.contains("json .}}") {
                    described(event)
                } else {
                    with_other_names(described(event))
                };
                Ok(document::formatted(format, "", &shown, &SCHEMA)?)
            }
            None => Ok(line(event)),
        }
    }
}

/// What a template may ask for beyond the document.
const SCHEMA: Schema = Schema { text_maps: &["Attributes"], ..Schema::NOTHING };

fn filter(text: &str) -> Result<(String, String), Failure> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| Failure::new(format!("Error: invalid filter '{text}'")))?;
    match name {
        "container" | "event" | "image" | "label" | "network" | "type" | "volume" | "daemon" | "scope"
        | "plugin" | "service" | "node" | "secret" | "config" => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::new(format!("Error: invalid filter '{name}'"))),
    }
}

/// Whether of each kind of filter one holds.
fn fits(event: &Event, filters: &[(String, String)]) -> bool {
    filters.iter().all(|(kind, _)| {
        filters.iter().filter(|(other, _)| other == kind).any(|(kind, value)| holds(event, kind, value))
    })
}

fn holds(event: &Event, kind: &str, value: &str) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
    let is_it = |wanted: &str| {
        event.kind == wanted && (event.id.starts_with(value) || attribute("name") == Some(value))
    };
    match kind {
        "type" => event.kind == value,
        "event" => event.action == value || event.action.split(':').next() == Some(value),
        "image" if event.kind == "image" => {
            let name = attribute("name").unwrap_or_default();
            [event.id.as_str(), name].contains(&value) || name.split(':').next() == Some(value)
        }
        "image" => attribute("image") == Some(value),
        "label" => match value.split_once('=') {
            Some((key, value)) => attribute(key) == Some(value),
            None => attribute(value).is_some(),
        },
        "container" | "network" | "volume" => is_it(kind),
        "scope" => value == "local",
        _ => false,
    }
}

/// An event as a line: `2026-11-30T18:14:43.527347367Z container create ID (image=busybox, name=x)`.
fn line(event: &Event) -> String {
    let attributes: Vec<String> =
        event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{:.9} {} {} {}{attributes}\n", event.time, event.kind, event.action, event.id)
}

fn described(event: &Event) -> Value {
    let nanoseconds = i64::try_from(event.time.as_nanosecond()).unwrap_or(i64::MAX);
    let mut document = json!({
        "status": event.action,
        "id": event.id,
        "from": event.attributes.get("image").cloned().unwrap_or_default(),
        "Type": event.kind,
        "Action": event.action,
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "scope": "local",
        "time": event.time.as_second(),
        "timeNano": nanoseconds,
    });
    // only containers come from something, and what is of networks and volumes has no names of old
    if let Value::Object(fields) = &mut document {
        let of_old: &[&str] = match event.kind.as_str() {
            "container" => &[],
            "image" => &["from"],
            _ => &["status", "id", "from"],
        };
        fields.retain(|name, _| !of_old.contains(&name.as_str()));
    }
    document
}

/// The document with its fields under Go's names as well.
fn with_other_names(mut document: Value) -> Value {
    let names = [
        ("status", "Status"),
        ("id", "ID"),
        ("from", "From"),
        ("scope", "Scope"),
        ("time", "Time"),
        ("timeNano", "TimeNano"),
    ];
    for (name, other) in names {
        document[other] = document.get(name).cloned().unwrap_or_else(|| Value::from(""));
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn filters_of_one_kind_are_alternatives() {
        let attributes =
            BTreeMap::from([("name".to_owned(), "web".to_owned()), ("k".to_owned(), "v".to_owned())]);
        let event = Event {
            kind: "container".to_owned(),
            action: "health_status: healthy".to_owned(),
            id: "abc".to_owned(),
            attributes,
            time: Timestamp::UNIX_EPOCH,
        };
        let check = |texts: &[&str], expected| {
            let filters: Vec<_> = texts.iter().map(|text| filter(text).expect("a filter")).collect();
            assert_eq!(fits(&event, &filters), expected, "{texts:?}");
        };
        check(&[], true);
        check(&["container=web"], true);
        check(&["container=ab", "event=health_status"], true);
        check(&["event=die", "event=health_status"], true);
        check(&["event=die"], false);
        check(&["label=k=v", "type=container"], true);
        check(&["network=web"], false);
    }
}
