//! `--platform` of the verbs that look at images of the store: lighter keeps one platform of each name.

use crate::failure::Failure;
use lighter_engine::image::StoredImage;
use lighter_image::Platform;

/// Refuses an image that is not for the platform that was asked for.
///
/// # Errors
/// A text that is no platform, or an image for another one.
pub(crate) fn check(wanted: Option<&str>, name: &str, image: &StoredImage) -> Result<(), Failure> {
    let Some(wanted) = wanted else { return Ok(()) };
    let platform = parse(wanted)?;
    let found = image.config.platform();
    if found.satisfies(&platform) {
        Ok(())
    } else {
        Err(Failure::new(format!("Error: {}", mismatch(name, &found, &platform))))
    }
}

/// What is said of an image that is for another platform than was asked for.
pub(crate) fn mismatch(name: &str, found: &Platform, wanted: &Platform) -> String {
    format!(
        "image with reference {name} was found but its platform ({found}) does not match the specified platform ({wanted})"
    )
}

/// Reads a platform.
///
/// # Errors
/// A text that is none.
pub(crate) fn parse(text: &str) -> Result<Platform, Failure> {
    text.parse().map_err(|error| Failure::because(&error))
}
