//! `attach`: the streams of a running container on the caller's.

use super::keys::DetachKeys;
use super::view::{Caught, Outcome, View, show};
use super::{exit_code, terminal, told};
use crate::args::container::exec::Attach;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::container::{self, Status, Streams};

impl Verb for Attach {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let found = container::find(&store, &self.container).map_err(|error| told(&error))?;
        match found.state.status {
            Status::Running => {}
            Status::Paused => {
                return Err(Failure::new("You cannot attach to a paused container, unpause it first"));
            }
            Status::Restarting => {
                return Err(Failure::new(
                    "You cannot attach to a restarting container, wait until it is running",
                ));
            }
            _ => return Err(Failure::new("You cannot attach to a stopped container, start it first")),
        }
        let settings = &found.state.settings;
        let streams = Streams { stdin: !self.no_stdin && settings.open_stdin, stdout: true, stderr: true };
        if streams.stdin && settings.tty && !session.reads_from_terminal() {
            return Err(Failure::new("the input device is not a TTY"));
        }
        let keys = DetachKeys::parse(self.detach_keys.as_deref()).map_err(Failure::new)?;
        let sig_proxy = self.sig_proxy && !settings.tty;
        let view = View { stdin: streams.stdin, tty: settings.tty, keys, sig_proxy };
        let caught = Caught::begin(&view)?;
        let id = found.record.id.to_string();
        let mut attachment = container::attach(&store, &id, streams).map_err(|error| told(&error))?;
        if settings.tty {
            ask_to_draw(&store, &id);
        }
        match show(session, &store, &id, &mut attachment, view, caught)? {
            Outcome::Ended(code) => Ok(exit_code(code)),
            Outcome::Detached => Err(Failure::new("read escape sequence")),
        }
    }
}

/// Makes programs draw their screen anew: a size that is wrong, for the moment until the view sets the right one.
fn ask_to_draw(store: &Store, id: &str) {
    if let Some((rows, columns)) = terminal::window()
        && let Err(error) = container::resize(store, id, rows.saturating_add(1), columns.saturating_add(1))
    {
        tracing::debug!(%error, "nothing is drawn anew");
    }
}
