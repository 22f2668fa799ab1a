//! `# check=`: which rules are looked at, and what they lead to.

use lighter_image::go_bool;

use super::Rule;
use crate::syntax::split_directive;

/// What a `# check=` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `skip=all`.
    pub skips_all: bool,
    /// `skip=Rule,Rule`.
    pub skips: Vec<String>,
    /// `experimental=all`.
    pub tries_all: bool,
    /// `experimental=Rule,Rule`.
    pub tries: Vec<String>,
    /// `error=true`.
    pub warnings_are_errors: bool,
}

/// Why a `# check=` says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid check option {0:?}")]
pub struct ParseOptionsError(pub String);

impl Options {
    /// Reads the value of the directive, up to its first blank.
    ///
    /// # Errors
    /// An unknown key, or a key without a value.
    pub fn parse(value: &str) -> Result<Self, ParseOptionsError> {
        let mut options = Self::default();
        let value = value.trim();
        if value.is_empty() {
            return Ok(options);
        }
        let list = |value: &str| value.split(',').map(|rule| rule.trim().to_owned()).collect();
        for part in value.splitn(3, ';') {
            let wrong = || ParseOptionsError(part.to_owned());
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            match (key.trim(), value.trim()) {
                ("skip", "all") => options.skips_all = true,
                ("skip", rules) => options.skips = list(rules),
                ("experimental", "all") => options.tries_all = true,
                ("experimental", rules) => options.tries = list(rules),
                ("error", switch) => options.warnings_are_errors = go_bool(switch).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            }
        }
        Ok(options)
    }

    /// What a comment before an instruction says about it alone.
    pub(super) fn from_comments(comments: &[String]) -> Option<Self> {
        comments.iter().find_map(|comment| {
            let (name, value) = split_directive(comment)?;
            let value = value.split(' ').next().unwrap_or(value);
            (name == "check").then(|| Self::parse(value).ok()).flatten()
        })
    }

    pub(super) fn allows(&self, rule: Rule) -> bool {
        let named = |rules: &[String]| rules.iter().any(|name| name == rule.name());
        if rule.is_experimental() {
            return self.tries_all || named(&self.tries);
        }
        !self.skips_all && !named(&self.skips)
    }
}
