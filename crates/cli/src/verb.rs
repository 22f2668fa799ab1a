//! A verb of the command line: what it is called, what it takes, what runs it.

use crate::args;
use crate::failure::Failure;
use crate::session::Session;
use clap::{ArgMatches, Command};
use std::ffi::OsString;

/// What the command line says about a verb, its options aside.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Every way to type it, the one of its group first: `image ls`, `image list`, `images`.
    pub(crate) paths: &'static [&'static str],
    /// What stands behind it: `[OPTIONS] IMAGE [COMMAND] [ARG...]`.
    pub(crate) usage: &'static str,
    /// What it does, in one line, or more for its own help.
    pub(crate) about: &'static str,
    /// How many arguments it takes beside its options.
    pub(crate) arity: Arity,
}

impl Spec {
    /// What it does, as a list of verbs says it: the first line, which is no sentence there.
    pub(crate) fn summary(&self) -> &'static str {
        self.about.lines().next().unwrap_or_default().trim_end_matches('.')
    }
}

/// How many arguments a verb takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    /// None at all.
    None,
    /// So many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// From the one to the other.
    Between(usize, usize),
}

/// The typed arguments of a verb.
pub(crate) trait Arguments: clap::Args {
    /// What the command line says about the verb.
    const SPEC: Spec;
}

/// A verb: its arguments, and what is done with them.
pub(crate) trait Verb: Arguments {
    /// Does it; says the exit code.
    ///
    /// # Errors
    /// What is told to the user, with its exit code.
    fn run(self, session: &Session) -> Result<u8, Failure>;
}

/// A line of the table of verbs: nothing of a verb is made before it is the one that was typed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) spec: &'static Spec,
    options: fn(Command) -> Command,
    run: fn(&mut ArgMatches, &Session) -> Result<u8, Failure>,
}

impl Entry {
    /// The line of a verb.
    pub(crate) const fn of<V: Verb>() -> Self {
        Self { spec: &V::SPEC, options: V::augment_args, run: run::<V> }
    }

    /// The verb's options and arguments, under the words that were typed.
    pub(crate) fn command(&self, path: &'static str) -> Command {
        args::as_docker_reads((self.options)(Command::new(path).no_binary_name(true)))
    }

    /// Reads the words behind the verb, and runs it.
    ///
    /// # Errors
    /// A fault of the words, or of the verb.
    pub(crate) fn call(
        &self,
        path: &'static str,
        words: &[OsString],
        session: &Session,
    ) -> Result<u8, Failure> {
        match args::read(self, path, words)? {
            args::Read::Help(text) => session.print(&text).map(|()| 0),
            args::Read::Matches(mut matches) => (self.run)(&mut matches, session),
        }
    }
}

fn run<V: Verb>(matches: &mut ArgMatches, session: &Session) -> Result<u8, Failure> {
    V::from_arg_matches_mut(matches).map_err(|error| Failure::new(error.to_string()))?.run(session)
}
