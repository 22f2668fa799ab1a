//! HEALTHCHECK: how a container is asked whether it is well.

use lighter_image::Healthcheck;

use super::Statement;
use super::flags::{Flags, Kind};
use crate::diagnostic::{Code, Diagnostic};
use crate::duration;
use crate::suggest::{did_you_mean, nearest};
use crate::syntax::{Json, Word, parse_json, trim_start};

/// A check, as it stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The check.
    pub health: Healthcheck,
}

const FLAGS: &[(&str, Kind)] = &[
    ("interval", Kind::Value),
    ("timeout", Kind::Value),
    ("start-period", Kind::Value),
    ("start-interval", Kind::Value),
    ("retries", Kind::Value),
];

pub(super) fn read(statement: &mut Statement<'_>) -> Option<Check> {
    let text = statement.args_text().to_owned();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    if end == 0 {
        return statement.at_least_one();
    }
    let kind_span = statement.line.span(statement.args.0, statement.args.0 + end);
    let kind = text[..end].to_uppercase();
    let (_, rest) = trim_start(&text[end..]);
    let command = match parse_json(rest) {
        Json::Strings(words) => Some(words),
        Json::No => None,
        Json::Others => {
            let message = "when using JSON array syntax, arrays must be comprised of strings only";
            return statement.fault(Code::Syntax, statement.args_span(), message);
        }
    };
    if kind == "NONE" {
        if !rest.is_empty() {
            return statement.fault(
                Code::Arguments,
                statement.args_span(),
                "HEALTHCHECK NONE takes no arguments",
            );
        }
        return Some(Check { health: Healthcheck { test: vec![kind], ..Healthcheck::default() } });
    }
    let flags = Flags::read(statement, FLAGS)?;
    if kind != "CMD" {
        let message = format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)");
        let help = did_you_mean(nearest(&kind, ["CMD", "NONE"], false));
        statement.faults.push(Diagnostic::error(Code::Arguments, kind_span, message).with_help(help));
        return None;
    }
    let words = match command {
        Some(given) if !given.is_empty() => std::iter::once(kind).chain(given).collect(),
        None if !rest.is_empty() => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
        _ => {
            let message = "Missing command after HEALTHCHECK CMD";
            return statement.fault(Code::Arguments, kind_span, message);
        }
    };
    let health = Healthcheck {
        test: words,
        interval: interval(statement, flags.value("interval"), "interval")?,
        timeout: interval(statement, flags.value("timeout"), "timeout")?,
        start_period: interval(statement, flags.value("start-period"), "start-period")?,
        start_interval: interval(statement, flags.value("start-interval"), "start-interval")?,
        retries: retries(statement, flags.value("retries"))?,
    };
    Some(Check { health })
}

fn interval(statement: &mut Statement<'_>, value: Option<Word>, name: &str) -> Option<i64> {
    let Some(word) = value else { return Some(0) };
    let Some(nanos) = duration::parse(&word.text) else {
        let message = format!("time: invalid duration {:?}", word.text);
        let help = Some("a duration is a number and a unit: 500ms, 30s, 5m, 1h30m".to_owned());
        statement.faults.push(Diagnostic::error(Code::Flag, word.span, message).with_help(help));
        return None;
    };
    if nanos != 0 && nanos < duration::MILLISECOND {
        let message = format!("Interval {name:?} cannot be less than 1ms");
        return statement.fault(Code::Flag, word.span, message);
    }
    Some(nanos)
}

fn retries(statement: &mut Statement<'_>, value: Option<Word>) -> Option<i64> {
    let Some(word) = value else { return Some(0) };
    match word.text.parse::<i32>() {
        Ok(number) if number >= 0 => Some(number.into()),
        Ok(number) => {
            let message = format!("--retries cannot be negative ({number})");
            statement.fault(Code::Flag, word.span, message)
        }
        Err(_) => {
            let message = format!("--retries wants a number, not {:?}", word.text);
            statement.fault(Code::Flag, word.span, message)
        }
    }
}
