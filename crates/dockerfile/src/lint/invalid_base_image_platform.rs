//! `InvalidBaseImagePlatform`: a base image is for another platform than it was asked for.

use lighter_image::Platform;

use super::{At, Checks, Rule};

pub(crate) fn check(checks: &mut Checks, at: At<'_>, image: &str, expected: &Platform, actual: &Platform) {
    if expected.os == actual.os && expected.architecture == actual.architecture {
        return;
    }
    let message = format!(
        "Base image {image} was pulled with platform {:?}, expected {:?} for current build",
        actual.to_string(),
        expected.to_string()
    );
    checks.report(at, Rule::InvalidBaseImagePlatform, message);
}
