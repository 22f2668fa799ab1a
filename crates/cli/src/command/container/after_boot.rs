//! `system start`: what a reboot has ended and is to be up is started.

use super::told;
use crate::args::system::SystemStart;
use crate::environment;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::container;

impl Verb for SystemStart {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let started =
            container::start_again(&store, &environment::runtime()).map_err(|error| told(&error))?;
        let mut failures = Vec::new();
        for one in started {
            match one.result {
                Ok(()) => session.print(&format!("{}\n", one.name))?,
                Err(error) => failures.push(format!("{} ({})", told(&error).text, one.name)),
            }
        }
        if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
    }
}
