//! What the user typed: one file per verb with its options, and the reading of them as Docker reads its own.
//!
//! Docker's flags follow Go's `pflag`: a switch takes `=false`, a value may begin with a hyphen, the last of several
//! wins, `-it` and `-p80` are joined. clap does the work; [`as_docker_reads`] sets it up for that, and `fault` words its
//! complaints.

pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod buildx;
pub(crate) mod completion;
pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod dockerfile;
mod fault;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod images;
pub(crate) mod imagetools;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod manifest;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rmi;
pub(crate) mod save;
pub(crate) mod search;
pub(crate) mod system;
pub(crate) mod tag;
#[cfg(test)]
mod tests;
pub(crate) mod value;
pub(crate) mod version;

use crate::failure::Failure;
use crate::verb::Entry;
use clap::builder::TypedValueParser as _;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};
use lighter_image::go_bool;
use std::any::TypeId;
use std::ffi::OsString;

/// What came of the words behind a verb.
pub(crate) enum Read {
    /// Help was asked for: its text.
    Help(String),
    /// The arguments.
    Matches(ArgMatches),
}

/// Reads the words behind a verb.
///
/// # Errors
/// A fault of the words, in Docker's words.
pub(crate) fn read(entry: &Entry, path: &'static str, words: &[OsString]) -> Result<Read, Failure> {
    let mut command = entry.command(path);
    match command.try_get_matches_from_mut(words) {
        Ok(matches) => Ok(Read::Matches(matches)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Ok(Read::Help(help::of_verb(entry.spec, path, &command)))
        }
        Err(error) => Err(fault::worded(&error, entry.spec, path, &command, words)),
    }
}

/// Sets a command up to read its words as Docker's would.
pub(crate) fn as_docker_reads(command: Command) -> Command {
    let takes_h = command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print usage").hide(!takes_h);
    let help = if takes_h { help } else { help.short('h') };
    command.disable_help_flag(true).args_override_self(true).arg(help).mut_args(as_pflag)
}

fn as_pflag(arg: Arg) -> Arg {
    if arg.is_positional() || matches!(arg.get_action(), ArgAction::Help) {
        return arg;
    }
    if arg.get_value_parser().type_id() != TypeId::of::<bool>() {
        return arg.allow_hyphen_values(true);
    }
    let arg = match arg.get_default_values() {
        [] => arg.default_value("false"),
        _ => arg,
    };
    let reader = if arg.get_id() == "disable_content_trust" { distrust } else { switch };
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(clap::builder::StringValueParser::new().try_map(move |text| reader(&text)))
}

/// `--disable-content-trust`, which is on and stays so: nobody is to think that signatures were looked at.
fn distrust(text: &str) -> Result<bool, String> {
    if switch(text)? {
        Ok(true)
    } else {
        Err("content trust is not supported: no signature is verified".to_owned())
    }
}

/// A switch, with Go's words for any other text.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    go_bool(text).ok_or_else(|| format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))
}
