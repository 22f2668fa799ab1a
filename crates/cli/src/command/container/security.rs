//! `--security-opt`: the file of a profile becomes its text, which is kept with the container.

use crate::failure::in_plain_words;
use lighter_engine::container::LONGEST_PROFILE_BYTES;
use std::fs::File;
use std::io::Read as _;

/// The options as the engine takes them.
///
/// # Errors
/// Those without a value, and profiles that are not JSON.
pub(super) fn options(texts: &[String]) -> Result<Vec<String>, String> {
    texts.iter().map(|text| option(text)).collect()
}

fn option(text: &str) -> Result<String, String> {
    if text == "no-new-privileges" {
        return Ok(text.to_owned());
    }
    match text.split_once('=').or_else(|| text.split_once(':')) {
        None | Some((_, "")) => Err(format!("Invalid --security-opt: {text:?}")),
        Some(("seccomp", path)) if !matches!(path, "builtin" | "unconfined") => {
            Ok(format!("seccomp={}", profile(path)?))
        }
        Some(_) => Ok(text.to_owned()),
    }
}

/// The text of a profile, without its blanks.
fn profile(path: &str) -> Result<String, String> {
    let opening = |cause: String| format!("opening seccomp profile ({path}) failed: {cause}");
    let file = File::open(path)
        .map_err(|error| opening(format!("open {path}: {}", in_plain_words(error.to_string()))))?;
    let mut bytes = Vec::new();
    file.take(LONGEST_PROFILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| opening(format!("read {path}: {}", in_plain_words(error.to_string()))))?;
    if bytes.len() > LONGEST_PROFILE_BYTES {
        return Err(opening(format!("it has more than {LONGEST_PROFILE_BYTES} bytes")));
    }
    serde_json::from_slice::<serde_json::Value>(&bytes)
        .map(|document| document.to_string())
        .map_err(|error| format!("compacting json for seccomp profile ({path}) failed: {error}"))
}
