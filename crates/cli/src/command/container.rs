//! The verbs of containers, volumes and networks.

mod after_boot;
mod attach;
mod begin;
mod cidfile;
mod copy;
mod create;
mod events;
mod exec;
mod files;
mod gpus;
mod inspect;
mod keys;
mod life;
mod limits;
pub(crate) mod list;
mod logs;
pub(crate) mod network;
mod pools;
mod port;
pub(crate) mod prune;
mod request;
mod run;
mod security;
mod start;
mod stats;
pub(crate) mod terminal;
mod top;
mod update;
mod view;
pub(crate) mod volume;

pub(crate) use inspect::of_kind as inspected;

use crate::failure::Failure;
use crate::session::Session;
use std::error::Error;

/// A container's exit code as this program's own.
fn exit_code(code: i32) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

/// An error about a container.
fn told(error: &(dyn Error + 'static)) -> Failure {
    Failure::because(error)
}

/// Does something with each of several things, and prints the name of each that it could be done with; in the end all
/// that went wrong is told.
///
/// # Errors
/// Where something went wrong.
fn each(
    session: &Session,
    names: &[String],
    act: impl Fn(&str) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut failures = Vec::new();
    for name in names {
        match act(name) {
            Ok(()) => session.print(&format!("{name}\n"))?,
            Err(failure) => failures.push(failure.text),
        }
    }
    if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
}
