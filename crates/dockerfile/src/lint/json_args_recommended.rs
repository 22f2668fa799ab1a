//! `JSONArgsRecommended`: a command in the shell form does not get the signals of the container.

use super::{At, Checks, Rule};

pub(crate) fn check(checks: &mut Checks, at: At<'_>, keyword: &str) {
    let message = format!(
        "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
    );
    checks.report(at, Rule::JsonArgsRecommended, message);
}
