//! ENV and LABEL: names and values.

use super::Statement;
use super::flags::Flags;
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::{Word, is_go_blank};

/// `NAME=VALUE…`, or the old form `NAME VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    /// In order.
    pub pairs: Vec<Pair>,
    /// Whether it is the old form.
    pub is_legacy: bool,
}

/// A name and a value, unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Word,
    /// The value.
    pub value: Word,
}

pub(super) fn read(statement: &mut Statement<'_>) -> Option<Pairs> {
    let words = statement.words();
    let Some(first) = words.first() else {
        return statement.at_least_one();
    };
    let pairs = if first.text.contains('=') { modern(statement, &words)? } else { legacy(statement)? };
    Flags::none(statement)?;
    if let Some(blank) = pairs.pairs.iter().find(|pair| pair.name.text.is_empty()) {
        let message = format!("{} names can not be blank", statement.name());
        return statement.fault(Code::Arguments, blank.name.span, message);
    }
    Some(pairs)
}

fn modern(statement: &mut Statement<'_>, words: &[Word]) -> Option<Pairs> {
    let mut pairs = Vec::new();
    for word in words {
        let Some((name, value)) = word.text.split_once('=') else {
            let message =
                format!("Syntax error - can't find = in {:?}. Must be of the form: name=value", word.text);
            let help = "put quotes around a value with blanks".to_owned();
            statement.faults.push(Diagnostic::error(Code::Syntax, word.span, message).with_help(Some(help)));
            return None;
        };
        let part = |text: &str| Word { text: text.to_owned(), span: word.span };
        pairs.push(Pair { name: part(name), value: part(value) });
    }
    Some(Pairs { pairs, is_legacy: false })
}

/// The name up to the first blank, and all the rest, as it is.
fn legacy(statement: &mut Statement<'_>) -> Option<Pairs> {
    let text = statement.args_text();
    let Some(end) = text.find(is_go_blank) else {
        let message = format!("{} must have two arguments", statement.name());
        return statement.fault(Code::Syntax, statement.args_span(), message);
    };
    let start = end + (text[end..].len() - text[end..].trim_start_matches(is_go_blank).len());
    let (from, to) = statement.args;
    let name = statement.line.word(from, from + end);
    let value = statement.line.word(from + start, to);
    Some(Pairs { pairs: vec![Pair { name, value }], is_legacy: true })
}
