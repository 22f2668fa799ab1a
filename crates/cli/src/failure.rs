//! Every way to fail: what is told, and the exit code.

use crate::render::listing::ListingError;
use crate::template::TemplateError;
use lighter_image::error_chain;
use std::error::Error;
use std::io;

/// The exit code of a verb that failed.
const FAILED: u8 = 1;
/// The exit code of a template that cannot be read.
const BAD_TEMPLATE: u8 = 64;
/// The exit code of a verb that was interrupted, as a shell counts it.
const INTERRUPTED: u8 = 130;
/// The exit code when nobody reads the output any more, as a shell counts it.
const BROKEN_PIPE: u8 = 141;

/// Why the program ends without success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What is written to standard error; empty when all has been said.
    pub(crate) text: String,
    /// The exit code.
    pub(crate) code: u8,
}

impl Failure {
    /// A failure with a text of its own.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: in_plain_words(text.into()), code: FAILED }
    }

    /// An error of a library, with all its causes.
    pub(crate) fn because(error: &(dyn Error + 'static)) -> Self {
        Self::new(format!("Error: {}", chain(error)))
    }

    /// Nobody reads the output any more: no news to tell.
    pub(crate) fn nobody_reads() -> Self {
        Self::silent(BROKEN_PIPE)
    }

    /// A failure that has been told already.
    pub(crate) fn silent(code: u8) -> Self {
        Self { text: String::new(), code }
    }

    /// The user has stopped it.
    pub(crate) fn interrupted() -> Self {
        Self::silent(INTERRUPTED)
    }

    /// With another text.
    #[must_use]
    pub(crate) fn with_text(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// With another exit code.
    #[must_use]
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::because(&error)
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        let code = match error {
            TemplateError::Syntax { .. } => BAD_TEMPLATE,
            TemplateError::Execution { .. } => FAILED,
        };
        Self::new(format!("template parsing error: {error}")).with_code(code)
    }
}

impl From<ListingError> for Failure {
    fn from(error: ListingError) -> Self {
        Self::new(error.to_string())
    }
}

/// An error and its causes, as people are told of them.
pub(crate) fn chain(error: &dyn Error) -> String {
    harmless(&in_plain_words(error_chain(error)))
}

/// The longest text that is shown whole; of a longer one, this much of its beginning and half as much of its end.
const LONGEST_TEXT: usize = 4096;

/// A text with names in it that others chose: nothing in it that a terminal would obey, and no end of it.
fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() && !matches!(c, '\n' | '\t')) || turns(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if shown.len() > LONGEST_TEXT * 2 {
        let head = shown.floor_char_boundary(LONGEST_TEXT);
        let tail = shown.ceil_char_boundary(shown.len() - LONGEST_TEXT / 2);
        shown.replace_range(head..tail, " … ");
    }
    shown
}

/// What the system says, as Docker says it: in lower case, without the number of the error.
pub(crate) fn in_plain_words(mut text: String) -> String {
    const NUMBER: &str = " (os error ";
    while let Some(at) = text.find(NUMBER) {
        let digits = at + NUMBER.len();
        let Some(length) = text[digits..].find(')') else { break };
        let Ok(number) = text[digits..digits + length].parse() else { break };
        let said = io::Error::from_raw_os_error(number).to_string();
        let words = said.strip_suffix(&text[at..=digits + length]).unwrap_or_default();
        let start = at - if text[..at].ends_with(words) { words.len() } else { 0 };
        let lower = text[start..at].to_lowercase();
        text.replace_range(start..=digits + length, &lower);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("writing {what}")]
    struct Writing {
        what: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_are_chained() {
        let error = Writing { what: "x", source: io::Error::from(io::ErrorKind::NotFound) };
        assert_eq!(Failure::because(&error).text, "Error: writing x: entity not found");
        assert_eq!(Failure::because(&error).code, 1);
        let error = Writing { what: "x", source: io::Error::from_raw_os_error(2) };
        assert_eq!(Failure::because(&error).text, "Error: writing x: no such file or directory");
        let check = |text: &str, expected| assert_eq!(Failure::new(text).text, expected);
        check("Is a directory (os error 21): No such (os error x)", "is a directory: No such (os error x)");
        check("Other (os error 2) (os error 13", "Other (os error 13");
    }

    #[test]
    fn names_that_others_chose_are_shown_and_not_obeyed() {
        let check = |name: &'static str, expected: &str| {
            let error = Writing { what: name, source: io::Error::from(io::ErrorKind::NotFound) };
            assert_eq!(chain(&error), format!("writing {expected}: entity not found"));
        };
        check("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}");
        check("a\rb\u{9b}2J\u{202e}", "a\\rb\\u{9b}2J\\u{202e}");
        check("ü\n\tx", "ü\n\tx");
        let long =
            chain(&Writing { what: "é".repeat(9000).leak(), source: io::Error::from_raw_os_error(36) });
        assert!(long.len() < 6200 && long.starts_with("writing éé"), "{}", long.len());
        assert!(long.contains("é … é") && long.ends_with("too long"), "{long}");
    }
}
