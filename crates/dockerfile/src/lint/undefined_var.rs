//! `UndefinedVar`: an instruction uses a variable that nothing before it sets.

use std::collections::BTreeSet;

use super::{At, Checks, Rule};
use crate::suggest::nearest_in_checks;

pub(crate) fn check(
    checks: &mut Checks,
    at: At<'_>,
    missing: &BTreeSet<String>,
    declared: &[String],
    known: &[&str],
) {
    for name in missing.iter().filter(|name| !declared.contains(name)) {
        let hint = nearest_in_checks(name, known).map(|near| format!(" (did you mean ${near}?)"));
        let message = format!("Usage of undefined variable '${name}'{}", hint.unwrap_or_default());
        checks.report(at, Rule::UndefinedVar, message);
    }
}
