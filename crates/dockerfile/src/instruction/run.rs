//! RUN: a command, and what it can see.

use super::flags::{Flags, Kind};
use super::mount::Mount;
use super::{CommandLine, Statement, command_line};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::{Device, RunNetwork, RunSecurity};
use crate::suggest::{did_you_mean, nearest};
use crate::syntax::Word;

/// `RUN [flags] command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLine {
    /// The command.
    pub command: CommandLine,
    /// `--mount`, unexpanded.
    pub mounts: Vec<Word>,
    /// `--network`.
    pub network: Option<RunNetwork>,
    /// `--security`.
    pub security: RunSecurity,
    /// `--device`.
    pub devices: Vec<Device>,
}

const FLAGS: &[(&str, Kind)] =
    &[("mount", Kind::Values), ("network", Kind::Value), ("security", Kind::Value), ("device", Kind::Values)];

pub(super) fn read(statement: &mut Statement<'_>) -> Option<RunLine> {
    let flags = Flags::read(statement, FLAGS);
    let command = command_line::form(statement)?;
    let flags = flags?;
    if matches!(&command, CommandLine::Exec(words) if words.is_empty()) {
        return statement.at_least_one();
    }
    let network = match flags.values("network").into_iter().next() {
        None => None,
        Some(word) => Some(network(statement, &word)?),
    };
    let security = match flags.values("security").into_iter().next() {
        None => RunSecurity::Sandbox,
        Some(word) => security(statement, &word)?,
    };
    let mounts = flags.values("mount");
    let before = statement.faults.len();
    for mount in &mounts {
        if let Err((code, message, help)) = Mount::check(&mount.text) {
            statement.faults.push(Diagnostic::error(code, mount.span, message).with_help(help));
        }
    }
    let mut devices = Vec::new();
    for word in flags.values("device") {
        devices.push(device(statement, &word)?);
    }
    (statement.faults.len() == before).then_some(RunLine { command, mounts, network, security, devices })
}

fn network(statement: &mut Statement<'_>, word: &Word) -> Option<RunNetwork> {
    match word.text.as_str() {
        "default" => Some(RunNetwork::Default),
        "none" => Some(RunNetwork::None),
        "host" => Some(RunNetwork::Host),
        other => {
            let message = format!("invalid network mode {other:?}");
            let help = did_you_mean(nearest(other, ["default", "none", "host"], true));
            statement.faults.push(Diagnostic::error(Code::Flag, word.span, message).with_help(help));
            None
        }
    }
}

fn security(statement: &mut Statement<'_>, word: &Word) -> Option<RunSecurity> {
    match word.text.as_str() {
        "sandbox" => Some(RunSecurity::Sandbox),
        "insecure" => Some(RunSecurity::Insecure),
        other => {
            let message = format!("security {other:?} is not valid");
            let help = did_you_mean(nearest(other, ["sandbox", "insecure"], true));
            statement.faults.push(Diagnostic::error(Code::Flag, word.span, message).with_help(help));
            None
        }
    }
}

/// `name=NAME,required`, or the name alone.
fn device(statement: &mut Statement<'_>, word: &Word) -> Option<Device> {
    let mut device = Device { name: String::new(), required: false };
    for field in word.text.split(',') {
        match field.split_once('=') {
            Some(("name", name)) => name.clone_into(&mut device.name),
            None if field == "required" => device.required = true,
            Some(("required", value)) => {
                let Ok(required) = value.parse() else {
                    let message = format!("invalid value for required: {value}");
                    return statement.fault(Code::Flag, word.span, message);
                };
                device.required = required;
            }
            // a name of CDI holds a `=` itself
            _ if device.name.is_empty() => field.clone_into(&mut device.name),
            _ => {
                let message = format!("unexpected key '{field}' in '{}'", word.text);
                return statement.fault(Code::Flag, word.span, message);
            }
        }
    }
    if device.name.is_empty() {
        return statement.fault(Code::Flag, word.span, "invalid device name: it is empty");
    }
    Some(device)
}
