//! The text of `--help`, laid out as Docker lays out its own.

use crate::verb::Spec;
use clap::{Arg, ArgAction, Command};
use std::fmt::Write as _;

/// The width when the terminal does not tell its own.
const WIDTH: usize = 80;
/// A line may be so much longer than the width before it is broken.
const SLOP: usize = 5;

/// The help of a verb.
pub(super) fn of_verb(spec: &Spec, path: &str, command: &Command) -> String {
    let mut text = format!("Usage:  lighter {path}");
    for part in [" ", spec.usage, "\n\n", spec.about, "\n"] {
        text.push_str(part);
    }
    if spec.paths.len() > 1 {
        let names: Vec<_> = spec.paths.iter().map(|path| format!("lighter {path}")).collect();
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    let rows = options(command);
    if !rows.is_empty() {
        let _ = write!(text, "\nOptions:\n{}", columns(&rows, width()));
    }
    text
}

/// The options of a verb, and what they do.
pub(crate) fn options(command: &Command) -> Vec<(String, String)> {
    let mut options: Vec<_> = command.get_opts().filter(|arg| !arg.is_hide_set()).collect();
    options.sort_by_key(|arg| arg.get_long());
    options.into_iter().map(|arg| (left(arg), right(arg))).collect()
}

/// Rows of two columns, the second broken at the width.
pub(crate) fn columns(rows: &[(String, String)], width: usize) -> String {
    let start = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (left, right) in rows {
        let mut lines = right.split('\n').flat_map(|line| wrapped(line, width.saturating_sub(start).max(24)));
        let _ = writeln!(text, "{left:start$}{}", lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "{:start$}{line}", "");
        }
    }
    text
}

/// How wide help may be.
pub(crate) fn width() -> usize {
    rustix::termios::tcgetwinsize(rustix::stdio::stdout())
        .map_or(WIDTH, |size| usize::from(size.ws_col).max(40) - 1)
}

fn left(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let name = match arg.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    match kind(arg) {
        Some(kind) => format!("{name} {kind}"),
        None => name,
    }
}

/// What kind of value a flag takes, in Docker's words; switches take none.
fn kind(arg: &Arg) -> Option<String> {
    if arg.get_num_args().is_some_and(|range| range.min_values() == 0)
        || matches!(arg.get_action(), ArgAction::Help)
    {
        return None;
    }
    let named = arg.get_value_names().and_then(|names| names.first()).map(std::string::ToString::to_string);
    match named {
        Some(name) if name.chars().any(|c| c.is_ascii_lowercase()) => Some(name),
        _ if matches!(arg.get_action(), ArgAction::Append) => Some("list".to_owned()),
        _ => Some("string".to_owned()),
    }
}

fn right(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy());
    match default.as_deref() {
        None | Some("false" | "") => help,
        Some(value) if kind(arg).as_deref() == Some("string") => format!("{help} (default {value:?})"),
        Some(value) => format!("{help} (default {value})"),
    }
}

/// A line, broken between words.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (at, word) in line.split(' ').enumerate() {
        let last = lines.len() - 1;
        let used = lines[last].chars().count();
        let fits = used + 1 + word.chars().count() <= width;
        if at == 0 || fits || line.chars().count() <= width + SLOP {
            lines[last].push_str(if at == 0 { "" } else { " " });
            lines[last].push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
