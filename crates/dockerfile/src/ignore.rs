//! Patterns of `.dockerignore` and `--exclude`.

mod pattern;

use std::borrow::Cow;

use pattern::{Boundary, Pattern, Reach, boundaries, clean};
use serde::Serialize;

/// Why a list of patterns cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePatternsError {
    /// A `!` with nothing behind it.
    #[error("line {line}: {}", self.reason())]
    EmptyException {
        /// The line, counted from 1.
        line: usize,
    },
    /// A pattern that cannot be read.
    #[error("line {line}: {} `{pattern}`", self.reason())]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// The pattern.
        pattern: String,
    },
}

impl ParsePatternsError {
    /// What is wrong, without the line.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::EmptyException { .. } => "illegal exclusion pattern: \"!\"",
            Self::Malformed { .. } => "syntax error in pattern",
        }
    }
}

/// An ordered list of patterns: the last one that matches a path, or a folder that it is in, decides.
///
/// # Source
/// Docker's documentation of `.dockerignore`, and what its builder does.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
}

impl Serialize for Patterns {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.patterns.iter().map(Pattern::to_string))
    }
}

impl Patterns {
    /// Reads an ignore file: a pattern a line; lines that start with `#` are comments.
    ///
    /// # Errors
    /// A line that is no pattern.
    pub fn parse(file: &[u8]) -> Result<Self, ParsePatternsError> {
        let text = String::from_utf8_lossy(file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file));
        let mut patterns = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            patterns.extend(Pattern::parse(line, index + 1, true)?);
        }
        Ok(Self { patterns })
    }

    /// Reads patterns one by one, as those of `--exclude`: one that starts with a slash matches nothing, as in Docker.
    ///
    /// # Errors
    /// One that is no pattern; its line is its place.
    pub fn new<I>(patterns: I) -> Result<Self, ParsePatternsError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut all = Vec::new();
        for (index, pattern) in patterns.into_iter().enumerate() {
            all.extend(Pattern::parse(pattern.as_ref(), index + 1, false)?);
        }
        Ok(Self { patterns: all })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether one of them brings something back.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(Pattern::is_exception)
    }

    /// Whether the path is ignored: it or a folder that it is in is matched. Paths are relative to the root.
    pub fn matches(&self, path: &[u8]) -> bool {
        let path = tidy(path);
        if path.is_empty() {
            return false;
        }
        if !self.has_exceptions() {
            return self.patterns.iter().any(|pattern| pattern.matches_or_parent(&path));
        }
        let mut reached = vec![(false, Reach::default()); self.patterns.len()];
        boundaries(&path).fold(false, |_, end| self.decide(&path, end, &mut reached))
    }

    /// Whether a path is ignored, given which patterns have matched the folder that it is in. A pattern that could
    /// change nothing for a folder is not tried there, and so not handed down.
    fn decide(&self, path: &str, end: Boundary, reached: &mut [(bool, Reach)]) -> bool {
        let mut ignored = false;
        for (pattern, (reached, reach)) in self.patterns.iter().zip(reached) {
            *reached |= pattern.is_exception() == ignored && pattern.matches_up_to(path, end, reach);
            if *reached {
                ignored = !pattern.is_exception();
            }
        }
        ignored
    }

    /// Whether something below an ignored folder may be brought back: if not, the folder need not be entered.
    pub fn may_match_below(&self, folder: &[u8]) -> bool {
        let folder = tidy(folder);
        self.patterns.iter().any(|pattern| pattern.is_exception() && pattern.may_match_below(&folder))
    }

    /// Whether the root's whole content is matched by one pattern.
    pub(crate) fn ignores_root(&self) -> bool {
        self.patterns
            .iter()
            .any(|pattern| matches!(pattern.text(), "*" | "**" | "**/*") && !pattern.is_exception())
    }
}

/// A path without slashes at its ends or `.` parts.
fn tidy(path: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(path);
    let plain = !text.starts_with('/')
        && !text.ends_with('/')
        && !text.starts_with("./")
        && !text.contains("//")
        && !text.contains("/.")
        && text != ".";
    if plain {
        return text;
    }
    let cleaned = clean(&format!("/{text}"));
    Cow::Owned(cleaned.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests;
