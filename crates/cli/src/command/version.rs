//! `version`.

use crate::args::version::Version;
use crate::failure::Failure;
use crate::render::document;
use crate::session::Session;
use crate::template::Schema;
use crate::verb::Verb;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The engine interface of the Docker that the command line is measured by, and the oldest that it speaks.
const API: &str = "1.51";
const OLDEST_API: &str = "1.24";

impl Verb for Version {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let facts = facts();
        let text = match &self.format {
            Some(format) => document::formatted(format, "version", &facts, &Schema::default())?,
            None => described(&facts),
        };
        session.print(&text).map(|()| 0)
    }
}

/// What there is to know. The client is the engine: both have one version.
fn facts() -> Value {
    let system = rustix::system::uname();
    let version = env!("CARGO_PKG_VERSION");
    let (os, arch) = ("linux", document::go_architecture());
    // the words of the interface that the command line follows, for scripts that ask for them; there is no Go
    let shared = json!({
        "Version": version, "Os": os, "Arch": arch, "ApiVersion": API, "APIVersion": API,
        "GitCommit": "", "GoVersion": "", "BuildTime": ""
    });
    let with = |more: Value| {
        let mut side = shared.clone();
        if let (Value::Object(side), Value::Object(more)) = (&mut side, more) {
            side.extend(more);
        }
        side
    };
    json!({
        "Client": with(json!({"DefaultAPIVersion": API, "Context": "default"})),
        "Server": with(json!({
            "Platform": {"Name": "lighter"},
            "Components": [{"Name": "Engine", "Version": version, "Details": {}}],
            "MinAPIVersion": OLDEST_API,
            "KernelVersion": system.release().to_string_lossy(), "Experimental": false
        }))
    })
}

fn described(facts: &Value) -> String {
    let field = |side: &str, name: &str| facts[side][name].as_str().unwrap_or_default().to_owned();
    let mut text = String::new();
    for (side, indent, title) in
        [("Client", " ", "Client:\n"), ("Server", "  ", "\nServer: lighter, in this process\n Engine:\n")]
    {
        text.push_str(title);
        let platform = format!("{}/{}", field(side, "Os"), field(side, "Arch"));
        let mut rows = vec![("Version:", field(side, "Version")), ("OS/Arch:", platform)];
        if side == "Server" {
            rows.push(("Kernel Version:", field(side, "KernelVersion")));
        }
        for (name, value) in rows {
            let _ = writeln!(text, "{indent}{name:<18} {value}");
        }
    }
    text
}
