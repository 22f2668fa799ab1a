//! `history`: how an image was made.

use crate::args::history::History;
use crate::command::platform;
use crate::failure::Failure;
use crate::render::listing::Listing;
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::image::{self, HistoryRow};
use serde_json::{Value, json};

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
/// How much of a command is shown.
const COMMAND_WIDTH: usize = 45;
/// How much of a comment is shown.
const COMMENT_WIDTH: usize = 45;

impl Verb for History {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let image = image::look_up(&store, &self.image).map_err(|error| Failure::because(&error))?;
        platform::check(self.platform.as_deref(), &self.image, &image)?;
        let steps = image::history(&store, &image).map_err(|error| Failure::because(&error))?;
        let now = Timestamp::now();
        let rows: Vec<Value> = steps.iter().map(|step| self.row(step, now)).collect();
        let table = if self.human {
            "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
        } else {
            "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
        };
        let listing = Listing { table, quiet: "{{.ID}}", headings: HEADINGS, methods: &[] };
        session.print(&listing.render(self.format.as_deref(), self.quiet, &rows)?).map(|()| 0)
    }
}

impl History {
    fn row(&self, step: &HistoryRow, now: Timestamp) -> Value {
        let cut =
            |text: &str, width| if self.no_trunc { text.to_owned() } else { units::ellipsis(text, width) };
        // a step that does not say when it was made counts as one of 1970
        let created = step.created.unwrap_or(Timestamp::UNIX_EPOCH);
        let id = step.image.map_or_else(
            || "<missing>".to_owned(),
            |id| if self.no_trunc { id.to_string() } else { id.0.short() },
        );
        json!({
            "Comment": cut(&step.comment, COMMENT_WIDTH),
            "CreatedAt": created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "CreatedBy": cut(&step.created_by.replace('\t', " "), COMMAND_WIDTH),
            "CreatedSince": if created <= Timestamp::UNIX_EPOCH { "N/A".to_owned() } else { units::age(created, now) },
            "ID": id,
            "Size": if self.human { units::short_size(step.size_bytes) } else { step.size_bytes.to_string() },
        })
    }
}
