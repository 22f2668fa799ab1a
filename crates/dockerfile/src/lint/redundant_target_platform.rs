//! `RedundantTargetPlatform`: `FROM --platform=$TARGETPLATFORM` is what happens anyway.

use super::{At, Checks, Rule};
use crate::expand::Expanded;

pub(crate) fn check(
    checks: &mut Checks,
    at: At<'_>,
    written: &str,
    platform: &Expanded,
    target: Option<&str>,
) {
    let only = platform.used.len() == 1 && platform.missing.is_empty();
    if only && platform.used.contains("TARGETPLATFORM") && Some(platform.text.as_str()) == target {
        let message = format!(
            "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
        );
        checks.report(at, Rule::RedundantTargetPlatform, message);
    }
}
