//! `StageNameCasing`: stage names are written small, since `FROM` finds them only so.

use super::{At, Checks, Rule};
use crate::instruction::From;

pub(super) fn check(checks: &mut Checks, at: At<'_>, from: &From) {
    let Some((_, name)) = &from.written else { return };
    if name.text != name.text.to_lowercase() {
        let message = format!("Stage name '{}' should be lowercase", name.text);
        checks.report(at, Rule::StageNameCasing, message);
    }
}
