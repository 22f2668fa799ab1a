//! `ReservedStageName`: `scratch` and `context` mean something already.

use super::{At, Checks, Rule};
use crate::instruction::From;

pub(super) fn check(checks: &mut Checks, at: At<'_>, from: &From) {
    let Some(name) = &from.name else { return };
    if matches!(name.text.as_str(), "scratch" | "context") {
        let message = format!("Stage name should not use the same name as reserved stage {:?}", name.text);
        checks.report(At { comments: &[], ..at }, Rule::ReservedStageName, message);
    }
}
