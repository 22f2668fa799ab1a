//! Directives: `# escape=` and others, which only count at the very top.

use crate::diagnostic::{Code, Diagnostic, Span};
use crate::suggest;

/// What the directives say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: a hint that is never fetched.
    pub syntax: Option<Directive>,
    /// `# escape=`.
    pub escape: char,
    /// `# check=`.
    pub check: Option<Directive>,
    /// Where the directives end.
    pub(crate) end: usize,
}

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// What follows the `=`, without blanks around it.
    pub value: String,
    /// The line.
    pub span: Span,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: '\\', check: None, end: 0 }
    }
}

/// Reads directives line by line, until something else comes.
#[derive(Debug, Default)]
pub(super) struct DirectiveReader {
    done: bool,
    has_escape: bool,
    pub(super) found: Directives,
}

impl DirectiveReader {
    /// Takes a line without its end and leading blanks; says whether it was a directive.
    pub(super) fn line(&mut self, line: &str, span: Span, faults: &mut Vec<Diagnostic>) -> bool {
        if self.done {
            return false;
        }
        let Some((name, value)) = line.strip_prefix('#').and_then(split) else {
            self.done = true;
            return false;
        };
        let directive = Directive { value: value.to_owned(), span };
        let repeated = match name.as_str() {
            "syntax" => self.found.syntax.replace(directive).is_some(),
            "check" => self.found.check.replace(directive).is_some(),
            "escape" => {
                self.escape(value, span, faults);
                std::mem::replace(&mut self.has_escape, true)
            }
            _ => {
                self.done = true;
                return false;
            }
        };
        self.found.end = span.end;
        if repeated {
            let message = format!("only one {name} parser directive can be used");
            faults.push(Diagnostic::error(Code::Directive, span, message));
        }
        true
    }

    fn escape(&mut self, value: &str, span: Span, faults: &mut Vec<Diagnostic>) {
        match value {
            "\\" => self.found.escape = '\\',
            "`" => self.found.escape = '`',
            _ => {
                let message = format!("invalid escape token '{value}' does not match ` or \\");
                faults.push(
                    Diagnostic::error(Code::Directive, span, message)
                        .with_help(Some("only a backslash or a backtick can be the escape".to_owned())),
                );
            }
        }
    }
}

/// `name = value`, the name in lower case.
pub(crate) fn split(comment: &str) -> Option<(String, &str)> {
    let (name, value) = comment.trim_start().split_once('=')?;
    let name = name.trim_end();
    let value = value.trim();
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    (word && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

/// A directive that looks misspelt, for a hint.
pub(super) fn misspelt(comment: &str) -> Option<String> {
    let (name, _) = split(comment)?;
    suggest::nearest(&name, ["syntax", "escape", "check"], false)
}

/// The frontend that a file asks for, also where the file is no Dockerfile: `# syntax=`, `// syntax=`, or a JSON
/// object with `syntax`, each perhaps after a line that starts with `#!`.
pub fn detect_syntax(source: &str) -> Option<String> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let source = match source.strip_prefix("#!") {
        Some(rest) => rest.split_once('\n').map_or("", |(_, rest)| rest),
        None => source,
    };
    let first_word = |value: &str| value.split(' ').next().unwrap_or(value).to_owned();
    for mark in ["#", "//"] {
        for line in source.lines() {
            match line.strip_prefix(mark).and_then(split) {
                Some((name, value)) if name == "syntax" => return Some(first_word(value)),
                Some((name, _)) if name == "escape" || name == "check" => {}
                _ => break,
            }
        }
    }
    let object: serde_json::Value = serde_json::from_str(source).ok()?;
    object.get("syntax")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frontend_is_found_in_every_form() {
        for (source, expected) in [
            ("# syntax=docker/dockerfile:1\nFROM a", Some("docker/dockerfile:1")),
            ("#!/bin/x\n#syntax = a b\n", Some("a")),
            ("# escape=`\n# syntax=x", Some("x")),
            ("# comment\n# syntax=x", None),
            ("// syntax=x\n{}", Some("x")),
            ("{\"syntax\": \"x\"}", Some("x")),
            ("FROM a", None),
        ] {
            assert_eq!(detect_syntax(source).as_deref(), expected, "{source}");
        }
    }
}
