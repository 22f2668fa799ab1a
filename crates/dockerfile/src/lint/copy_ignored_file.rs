//! `CopyIgnoredFile`: a COPY or ADD names what `.dockerignore` keeps out.
//!
//! With exceptions among the patterns it is not said: a folder may be ignored and something in it not.

use super::{At, Checks, Rule};
use crate::ignore::Patterns;
use crate::path::clean;

pub(crate) fn check(checks: &mut Checks, at: At<'_>, is_add: bool, source: &str, patterns: &Patterns) {
    if patterns.has_exceptions() {
        return;
    }
    let source = clean(source);
    let is_root = source == "." || source == "/";
    let ignored = if is_root { patterns.ignores_root() } else { patterns.matches(source.as_bytes()) };
    if ignored {
        let verb = if is_add { "Add" } else { "Copy" };
        let message = format!("Attempting to {verb} file {source:?} that is excluded by .dockerignore");
        checks.report(at, Rule::CopyIgnoredFile, message);
    }
}
