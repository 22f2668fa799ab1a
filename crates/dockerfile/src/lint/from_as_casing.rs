//! `FromAsCasing`: `AS` is written as its `FROM` is.

use super::{At, Checks, Rule};
use crate::instruction::From;

pub(super) fn check(checks: &mut Checks, at: At<'_>, keyword: &str, from: &From) {
    let Some((written, _)) = &from.written else { return };
    let fits = if keyword == keyword.to_lowercase() {
        written.text == written.text.to_lowercase()
    } else if keyword == keyword.to_uppercase() {
        written.text == written.text.to_uppercase()
    } else {
        // a FROM that is neither has a check of its own
        true
    };
    if !fits {
        let message = format!("'{}' and '{keyword}' keywords' casing do not match", written.text);
        checks.report(at, Rule::FromAsCasing, message);
    }
}
