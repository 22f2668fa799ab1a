//! Instructions of one word, or of plain words: WORKDIR, USER, STOPSIGNAL, MAINTAINER, EXPOSE, VOLUME.

use super::Statement;
use super::flags::Flags;
use crate::diagnostic::Code;
use crate::syntax::Word;

/// All that follows, as one.
pub(super) fn one(statement: &mut Statement<'_>) -> Option<Word> {
    let word = exactly_one(statement)?;
    Flags::none(statement)?;
    Some(word)
}

/// Flags are not looked at, as in Docker: there is none that anybody could have meant.
pub(super) fn stopsignal(statement: &mut Statement<'_>) -> Option<Word> {
    exactly_one(statement)
}

pub(super) fn expose(statement: &mut Statement<'_>) -> Option<Vec<Word>> {
    let words = statement.blanks();
    if words.is_empty() {
        return statement.at_least_one();
    }
    Flags::none(statement)?;
    Some(words)
}

pub(super) fn volume(statement: &mut Statement<'_>) -> Option<Vec<Word>> {
    let (words, _) = statement.list()?;
    if words.is_empty() {
        return statement.at_least_one();
    }
    Flags::none(statement)?;
    let trimmed: Vec<Word> =
        words.into_iter().map(|word| Word { text: word.text.trim().to_owned(), span: word.span }).collect();
    if let Some(empty) = trimmed.iter().find(|word| word.text.is_empty()) {
        return statement.fault(Code::Arguments, empty.span, "VOLUME specified can not be an empty string");
    }
    Some(trimmed)
}

fn exactly_one(statement: &mut Statement<'_>) -> Option<Word> {
    let word = statement.args_word();
    if word.text.is_empty() {
        let message = format!("{} requires exactly one argument", statement.name());
        return statement.fault(Code::Arguments, statement.span(), message);
    }
    Some(word)
}
