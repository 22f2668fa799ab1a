//! `InvalidDefinitionDescription`: a comment right before a stage or an ARG describes it, and begins with its name.
//!
//! An experiment: it must be asked for.

use super::{At, Checks, Rule};

pub(super) fn check(checks: &mut Checks, at: At<'_>, instruction: &str, names: &[&str]) {
    let (Some(comment), Some(first)) = (at.comments.last(), names.first()) else { return };
    let begins_with = comment.split(' ').next().unwrap_or_default();
    if names.contains(&begins_with) {
        return;
    }
    let example = if names.len() > 1 { "<arg_key>" } else { first };
    let message = format!("Comment for {instruction} should follow the format: `# {example} <description>`");
    checks.report(at, Rule::InvalidDefinitionDescription, message);
}
