//! `LegacyKeyValueFormat`: `ENV name value` is the old form of `ENV name=value`.

use super::{At, Checks, Rule};

pub(crate) fn check(checks: &mut Checks, at: At<'_>, keyword: &str) {
    let message =
        format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format");
    checks.report(at, Rule::LegacyKeyValueFormat, message);
}
