//! `WorkdirRelativePath`: a relative WORKDIR before any absolute one depends on the base image.

use super::{At, Checks, Rule};

pub(crate) fn check(checks: &mut Checks, at: At<'_>, path: &str, is_set: bool) {
    if !is_set && !path.starts_with('/') {
        let message =
            format!("Relative workdir {path:?} can have unexpected results if the base image changes");
        checks.report(at, Rule::WorkdirRelativePath, message);
    }
}
