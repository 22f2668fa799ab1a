//! `UndefinedArgInFrom`: a FROM uses a variable that no ARG before the first FROM declares.

use super::{At, Checks, Rule};
use crate::suggest::nearest_in_checks;

pub(crate) fn check<'a>(
    checks: &mut Checks,
    at: At<'_>,
    missing: impl Iterator<Item = &'a String>,
    declared: &[&str],
) {
    for name in missing.filter(|name| !declared.contains(&name.as_str())) {
        let hint = nearest_in_checks(name, declared).map(|near| format!(" (did you mean {near}?)"));
        let message = format!("FROM argument '{name}' is not declared{}", hint.unwrap_or_default());
        checks.report(at, Rule::UndefinedArgInFrom, message);
    }
}
