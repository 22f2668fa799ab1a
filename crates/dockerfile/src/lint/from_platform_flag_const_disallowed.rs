//! `FromPlatformFlagConstDisallowed`: a fixed platform in FROM keeps an image from being built for others.
//!
//! It is not said where the stage's name says that it is for that platform.

use lighter_image::Platform;

use super::{At, Checks, Rule};
use crate::expand::Expanded;

pub(crate) fn check(checks: &mut Checks, at: At<'_>, stage: &str, platform: &Expanded) {
    if !platform.used.is_empty() || !platform.missing.is_empty() {
        return;
    }
    let Ok(parsed) = platform.text.parse::<Platform>() else { return };
    if stage.contains(&parsed.os) || stage.contains(&parsed.architecture) {
        return;
    }
    let message = format!("FROM --platform flag should not use constant value {:?}", platform.text);
    checks.report(at, Rule::FromPlatformFlagConstDisallowed, message);
}
