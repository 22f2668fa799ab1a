//! `stop`, `restart`, `kill`, `wait`, `pause`, `unpause`, `rm`, `rename`.

use super::{each, told};
use crate::args::container::life::{Kill, Pause, Remove, Rename, Restart, Stop, Unpause, Wait};
use crate::environment;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::container::{self, ClientError, RemoveError};
use std::cell::Cell;

impl Verb for Stop {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        each(session, &self.containers, |name| {
            container::stop(&store, name, self.signal.as_deref(), self.timeout).map_err(|error| match error {
                ClientError::NoSignal(_) => {
                    Failure::new(format!("Error: cannot stop container: {name}: {error}"))
                }
                error => told(&error),
            })
        })
    }
}

impl Verb for Restart {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let runtime = environment::runtime();
        each(session, &self.containers, |name| {
            container::restart(&store, &runtime, name, self.signal.as_deref(), self.timeout)
                .map_err(|error| told(&error))
        })
    }
}

impl Verb for Kill {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let signal = self.signal.as_deref().unwrap_or("KILL");
        each(session, &self.containers, |name| {
            container::kill(&store, name, signal).map_err(|error| {
                let failure = told(&error);
                let text = failure.text.trim_start_matches("Error: ");
                Failure::new(format!("Error: cannot kill container: {name}: {text}"))
            })
        })
    }
}

impl Verb for Wait {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let mut failures = Vec::new();
        for name in &self.containers {
            match container::wait(&store, name) {
                Ok(code) => session.print(&format!("{code}\n"))?,
                Err(error) => failures.push(told(&error).text),
            }
        }
        if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
    }
}

impl Verb for Pause {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        each(session, &self.containers, |name| {
            container::pause(&store, name, true).map_err(|error| told(&error))
        })
    }
}

impl Verb for Unpause {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        each(session, &self.containers, |name| {
            container::pause(&store, name, false).map_err(|error| told(&error))
        })
    }
}

impl Verb for Remove {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        if self.link {
            return each(session, &self.containers, |name| {
                container::remove_link(&store, name).map_err(|error| told(&error))
            });
        }
        let missing = Cell::new(0);
        let removed = each(session, &self.containers, |name| {
            container::remove(&store, name, self.force, self.volumes).map_err(|error| {
                missing.set(missing.get() + usize::from(is_missing(&error)));
                told(&error)
            })
        });
        match removed {
            // with --force, one that is not there is as good as removed
            Err(failure) if self.force && failure.text.lines().count() == missing.get() => {
                session.remark(&failure.text);
                Ok(0)
            }
            removed => removed,
        }
    }
}

fn is_missing(error: &RemoveError) -> bool {
    matches!(error, RemoveError::Find(find) if find.is_missing())
}

impl Verb for Rename {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let renamed = container::rename(&store, &self.container, &self.name);
        renamed.map(|()| 0).map_err(|error| {
            let text = told(&error).text;
            Failure::new(format!("{text}\nError: failed to rename container named {}", self.container))
        })
    }
}
