//! `completion`: the one verb that makes all others, to describe them to a shell.

mod names;

use crate::args::completion::Completion;
use crate::failure::Failure;
use crate::session::Session;
use crate::tree;
use crate::verb::{Entry, Verb};
use clap::Command;

impl Verb for Completion {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut whole(), "lighter", &mut script);
        session.print(&names::add(&String::from_utf8_lossy(&script), self.shell)).map(|()| 0)
    }
}

/// Every verb under every name, as one command.
fn whole() -> Command {
    let mut whole = Command::new("lighter").disable_help_subcommand(true);
    for entry in tree::VERBS {
        // `build` itself takes a folder: its further verbs are offered below `builder`
        for path in entry.spec.paths.iter().filter(|path| !path.starts_with("build ")) {
            let words: Vec<&'static str> = path.split(' ').collect();
            whole = with_verb(whole, &words, entry);
        }
    }
    whole
}

/// Adds a verb below the groups that its words name.
fn with_verb(command: Command, words: &[&'static str], entry: &Entry) -> Command {
    match words {
        [] => command,
        [name] => command.subcommand(entry.command(name).about(entry.spec.about).no_binary_name(false)),
        [group, rest @ ..] => {
            let known = command.find_subcommand(group).is_some();
            let command = if known {
                command
            } else {
                command.subcommand(Command::new(*group).disable_help_subcommand(true))
            };
            command.mut_subcommand(group, |inner| with_verb(inner, rest, entry))
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_whole_tree_is_sound() {
        super::whole().debug_assert();
    }
}
