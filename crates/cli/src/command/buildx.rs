//! `buildx ls`, `inspect`, `use`, `version`: scripts ask which builders there are before they build.

use crate::args::buildx::{BuilderInspect, BuilderList, BuilderUse, BuilderVersion};
use crate::command::builder::only_default;
use crate::failure::Failure;
use crate::render::document;
use crate::render::listing::Listing;
use crate::session::Session;
use crate::verb::Verb;
use serde_json::{Value, json};

const VERSION: &str = env!("CARGO_PKG_VERSION");

const LISTING: Listing = Listing {
    table: "{{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Buildkit}}\t{{.Platforms}}",
    quiet: "{{.Name}}",
    headings: &[
        ("Name", "NAME/NODE"),
        ("DriverEndpoint", "DRIVER/ENDPOINT"),
        ("Status", "STATUS"),
        ("Buildkit", "BUILDKIT"),
        ("Platforms", "PLATFORMS"),
    ],
    methods: &[],
};

impl Verb for BuilderList {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let row = |name: &str, driver: &str, status: &str, version: &str, platforms: &str| -> Value {
            json!({
                "Name": name, "DriverEndpoint": driver, "Status": status, "Buildkit": version,
                "Platforms": platforms,
            })
        };
        let rows = [
            row("default*", "lighter", "", "", ""),
            row(r" \_ default", r" \_ default", "running", &format!("v{VERSION}"), &platform()),
        ];
        session.print(&LISTING.render(self.format.as_deref(), false, &rows)?).map(|()| 0)
    }
}

impl Verb for BuilderInspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        only_default(self.name.as_deref())?;
        let text = format!(
            "Name:   default\nDriver: lighter\n\nNodes:\nName:             default\nEndpoint:         default\n\
             Status:           running\nBuildKit version: v{VERSION}\nPlatforms:        {}\n",
            platform()
        );
        session.print(&text).map(|()| 0)
    }
}

impl Verb for BuilderUse {
    fn run(self, _session: &Session) -> Result<u8, Failure> {
        only_default(Some(&self.name)).map(|()| 0)
    }
}

impl Verb for BuilderVersion {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        session.print(&format!("lighter {VERSION}\n")).map(|()| 0)
    }
}

fn platform() -> String {
    format!("linux/{}", document::go_architecture())
}
