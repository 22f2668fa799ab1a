//! clap's complaints in Docker's words.

use crate::failure::Failure;
use crate::verb::{Arity, Spec};
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::error::Error as _;
use std::ffi::OsString;

/// The exit code of an option that cannot be understood.
const BAD_OPTION: u8 = 125;

/// The failure that tells what is wrong with the words behind a verb.
pub(super) fn worded(
    error: &clap::Error,
    spec: &Spec,
    path: &str,
    command: &Command,
    words: &[OsString],
) -> Failure {
    let typed = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::UnknownArgument if typed.starts_with('-') => unknown_flag(&typed, words),
        ErrorKind::UnknownArgument
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::TooFewValues
        | ErrorKind::TooManyValues => return arity(spec, path),
        ErrorKind::InvalidValue if context(error, ContextKind::InvalidValue).is_none_or(|v| v.is_empty()) => {
            missing_value(&typed, words)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
            let cause = error.source().map(ToString::to_string);
            let cause = match cause.or_else(|| choices(error)) {
                Some(cause) if cause == "invalid digit found in string" => {
                    format!("strconv.ParseInt: parsing {value:?}: invalid syntax")
                }
                cause => cause.unwrap_or_else(|| "invalid syntax".to_owned()),
            };
            format!("invalid argument {value:?} for \"{}\" flag: {cause}", spelled(&typed, command))
        }
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        _ => error.to_string().trim_end().to_owned(),
    };
    let text = format!(
        "{message}\n\nUsage:  lighter {path} {}\n\nRun 'lighter {path} --help' for more information",
        spec.usage
    );
    Failure::new(text).with_code(BAD_OPTION)
}

/// The failure of a verb that was given too many or too few arguments.
fn arity(spec: &Spec, path: &str) -> Failure {
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let wanted = match spec.arity {
        Arity::None => "accepts no arguments".to_owned(),
        Arity::Exactly(n) => format!("requires {n} {}", plural(n)),
        Arity::AtLeast(n) => format!("requires at least {n} {}", plural(n)),
        Arity::AtMost(n) => format!("requires at most {n} {}", plural(n)),
        Arity::Between(least, most) => {
            format!("requires at least {least} and at most {most} {}", plural(most))
        }
    };
    let hint = if matches!(spec.arity, Arity::AtLeast(_)) { "See" } else { "Run" };
    Failure::new(format!(
        "lighter: 'lighter {path}' {wanted}\n\nUsage:  lighter {path} {}\n\n{hint} 'lighter {path} --help' for more information",
        spec.usage
    ))
}

fn unknown_flag(typed: &str, words: &[OsString]) -> String {
    if typed.starts_with("--") {
        return format!("unknown flag: {}", typed.split('=').next().unwrap_or(typed));
    }
    let letter = typed.chars().nth(1).unwrap_or('-');
    let joined = |word: &&OsString| {
        word.to_str().is_some_and(|w| w.starts_with('-') && !w.starts_with("--") && w.contains(letter))
    };
    let word = words.iter().find(joined).and_then(|word| word.to_str()).unwrap_or(typed);
    format!("unknown shorthand flag: '{letter}' in {word}")
}

/// A flag without its value is always the last word.
fn missing_value(typed: &str, words: &[OsString]) -> String {
    match words.last().and_then(|word| word.to_str()) {
        Some(word) if word.starts_with("--") => format!("flag needs an argument: {word}"),
        Some(word) if word.starts_with('-') => {
            format!("flag needs an argument: '{}' in {word}", word.chars().last().unwrap_or('-'))
        }
        _ => format!("flag needs an argument: {}", typed.split(' ').next().unwrap_or(typed)),
    }
}

/// A flag with its short form: `-m, --memory`.
fn spelled(typed: &str, command: &Command) -> String {
    let long = typed.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or(typed);
    match command.get_arguments().find(|arg| arg.get_long() == Some(long)).and_then(clap::Arg::get_short) {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

fn choices(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::ValidValue)? {
        ContextValue::Strings(values) => Some(format!("must be one of {}", values.join(", "))),
        _ => None,
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}
