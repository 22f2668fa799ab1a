//! CMD, ENTRYPOINT, SHELL: a command, as words or for a shell.

use super::Statement;
use super::flags::Flags;
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::{Json, Word};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A line for the shell.
    Shell(Word),
    /// The words themselves.
    Exec(Vec<String>),
}

pub(super) fn read(statement: &mut Statement<'_>) -> Option<CommandLine> {
    let line = form(statement)?;
    Flags::none(statement)?;
    Some(line)
}

/// The JSON form, else the shell form.
pub(super) fn form(statement: &mut Statement<'_>) -> Option<CommandLine> {
    Some(match statement.json()? {
        Json::Strings(words) => CommandLine::Exec(words),
        Json::No | Json::Others => CommandLine::Shell(statement.args_word()),
    })
}

/// SHELL takes the JSON form only.
pub(super) fn shell(statement: &mut Statement<'_>) -> Option<Vec<String>> {
    let form = form(statement)?;
    Flags::none(statement)?;
    match form {
        CommandLine::Exec(words) if words.is_empty() => statement.at_least_one(),
        CommandLine::Shell(word) if word.text.is_empty() => statement.at_least_one(),
        CommandLine::Exec(words) => Some(words),
        CommandLine::Shell(word) => {
            let message = format!("SHELL requires the arguments to be in JSON form, not: {}", word.text);
            let words: Vec<String> = word.text.split_whitespace().map(|word| format!("{word:?}")).collect();
            let help = format!("write `SHELL [{}]`", words.join(", "));
            let fault = Diagnostic::error(Code::Arguments, word.span, message);
            statement.faults.push(fault.with_help(Some(help)));
            None
        }
    }
}
