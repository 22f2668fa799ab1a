//! `start`: starts containers that are there, and shows one of them where that is asked for.

use super::keys::DetachKeys;
use super::view::{Caught, Outcome, View, show};
use super::{each, exit_code, told};
use crate::args::container::life::Start;
use crate::environment;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::container::{self, ClientError, Streams};

impl Verb for Start {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        if self.attach || self.interactive {
            return self.attached(session, &store);
        }
        let runtime = environment::runtime();
        let failed = std::cell::RefCell::new(Vec::new());
        let started = each(session, &self.containers, |name| {
            match container::start(&store, &runtime, name, None) {
                // it runs already: nothing is to be done
                Ok(_) | Err(ClientError::Running(_)) => Ok(()),
                Err(error) => {
                    failed.borrow_mut().push(name.to_owned());
                    Err(told(&error))
                }
            }
        });
        started.map_err(|failure| {
            let names = failed.borrow().join(", ");
            Failure::new(format!("{}\nError: failed to start containers: {names}", failure.text))
        })
    }
}

impl Start {
    fn attached(&self, session: &Session, store: &Store) -> Result<u8, Failure> {
        let [name] = self.containers.as_slice() else {
            return Err(Failure::new("you cannot start and attach multiple containers at once"));
        };
        let found = container::find(store, name).map_err(|error| told(&error))?;
        let settings = &found.state.settings;
        let streams = Streams { stdin: self.interactive && settings.open_stdin, stdout: true, stderr: true };
        let keys = DetachKeys::parse(self.detach_keys.as_deref()).map_err(Failure::new)?;
        let view = View { stdin: streams.stdin, tty: settings.tty, keys, sig_proxy: !settings.tty };
        let caught = Caught::begin(&view)?;
        let id = found.record.id.to_string();
        let attachment = match container::start(store, &environment::runtime(), &id, Some(streams)) {
            Err(ClientError::Running(_)) => container::attach(store, &id, streams),
            started => started,
        };
        let mut attachment = attachment.map_err(|error| told(&error))?;
        match show(session, store, &id, &mut attachment, view, caught)? {
            Outcome::Ended(code) => Ok(exit_code(code)),
            Outcome::Detached => Ok(0),
        }
    }
}
