//! `InvalidDefaultArgInFrom`: without any `--build-arg` a FROM would name no image.

use lighter_image::Reference;

use super::{At, Checks, Rule};

pub(crate) fn check(checks: &mut Checks, at: At<'_>, written: &str, by_default: &str) {
    if by_default.parse::<Reference>().is_err() {
        let message = format!("Default value for ARG {written} results in empty or invalid base image name");
        checks.report(At { comments: &[], ..at }, Rule::InvalidDefaultArgInFrom, message);
    }
}
