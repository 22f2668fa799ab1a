//! `MaintainerDeprecated`: a label names the author nowadays.

use super::{At, Checks, Rule};

pub(super) fn check(checks: &mut Checks, at: At<'_>) {
    let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
    checks.report(at, Rule::MaintainerDeprecated, message);
}
