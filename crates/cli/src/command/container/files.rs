//! `diff`, `commit`, `export`.

use super::told;
use crate::args::container::files::{Commit, Export};
use crate::args::container::look::Diff;
use crate::failure::Failure;
use crate::registry;
use crate::render::output_file;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::container::{self, CommitRequest};
use std::io::Write;
use std::time::SystemTime;

impl Verb for Diff {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let changes = container::diff(&store, &self.container).map_err(|error| told(&error))?;
        let mut text = Vec::new();
        for change in changes {
            text.extend_from_slice(format!("{} ", change.kind.letter()).as_bytes());
            text.extend_from_slice(change.path.as_bytes());
            text.push(b'\n');
        }
        let mut stdout = session.stdout();
        stdout.write_all(&text)?;
        stdout.flush()?;
        Ok(0)
    }
}

impl Verb for Commit {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let name = self.repository.as_deref().map(registry::tagged).transpose()?;
        let request = CommitRequest {
            name,
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes: self.change,
            pause: self.pause,
        };
        let store = session.open_store()?;
        let made = container::commit(&store, &self.container, &request, SystemTime::now());
        let id = made.map_err(|error| told(&error))?;
        session.print(&format!("{id}\n")).map(|()| 0)
    }
}

impl Verb for Export {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        if self.output.is_none() && session.writes_to_terminal() {
            return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
        }
        let store = session.open_store()?;
        let export = |out: &mut dyn Write| {
            container::export(&store, &self.container, out).map_err(|error| told(&error))
        };
        match &self.output {
            Some(path) => output_file::whole(path, output_file::PRIVATE, export)?,
            None => export(&mut session.stdout())?,
        }
        Ok(0)
    }
}
