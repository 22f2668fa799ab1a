//! `context ls`, `inspect`, `show`, `use`: scripts ask where the daemon is; there is none, and one place to work in.

use crate::args::context::{ContextInspect, ContextList, ContextShow, ContextUse};
use crate::failure::Failure;
use crate::render::document;
use crate::render::listing::Listing;
use crate::session::Session;
use crate::verb::Verb;
use serde_json::{Value, json};

const DEFAULT: &str = "default";
/// Where a daemon would be.
const ENDPOINT: &str = "lighter";

const LISTING: Listing = Listing {
    table: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    quiet: "{{.Name}}",
    headings: &[
        ("Current", ""),
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
    ],
    methods: &[],
};

impl Verb for ContextList {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let row = json!({
            "Current": true,
            "Description": "This machine, without a daemon",
            "DockerEndpoint": ENDPOINT,
            "Error": "",
            "Name": DEFAULT,
        });
        session.print(&LISTING.render(self.format.as_deref(), self.quiet, &[row])?).map(|()| 0)
    }
}

impl Verb for ContextInspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        self.names.iter().try_for_each(|name| known(name))?;
        let one = json!({
            "Name": DEFAULT,
            "Metadata": {},
            "Endpoints": { "docker": { "Host": ENDPOINT, "SkipTLSVerify": false } },
            "TLSMaterial": {},
            "Storage": { "MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>" },
        });
        let all: Vec<Value> = vec![one; self.names.len().max(1)];
        session.print(&document::inspected(self.format.as_deref(), &all)?).map(|()| 0)
    }
}

impl Verb for ContextShow {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        session.print(&format!("{DEFAULT}\n")).map(|()| 0)
    }
}

impl Verb for ContextUse {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        known(&self.name)?;
        session.print(&format!("{DEFAULT}\n"))?;
        session.remark(&format!("Current context is now {DEFAULT:?}"));
        Ok(0)
    }
}

fn known(name: &str) -> Result<(), Failure> {
    if name == DEFAULT {
        return Ok(());
    }
    Err(Failure::new(format!("context {name:?}: context not found: lighter has one, {DEFAULT:?}")))
}
