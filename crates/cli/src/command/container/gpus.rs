//! `--gpus`: understood, and answered as Docker does on a machine without a driver for them.

use crate::args::value::fields;

/// Says which driver is missing.
///
/// # Errors
/// Always: there is no driver.
pub(super) fn refuse(text: &str) -> Result<(), String> {
    let invalid = |cause: &str| format!("invalid argument {text:?} for \"--gpus\" flag: {cause}");
    if text.is_empty() {
        return Err(invalid("EOF"));
    }
    let (mut driver, mut capabilities) = (String::new(), Vec::new());
    for field in fields(text).map_err(|cause| invalid(&cause))? {
        let (key, value) = field.split_once('=').unwrap_or(("count", &field));
        match key {
            "driver" => value.clone_into(&mut driver),
            "count" if value != "all" && value.parse::<i32>().is_err() => {
                return Err(invalid(&format!(
                    "invalid count ({value}): value must be either \"all\" or an integer: invalid syntax"
                )));
            }
            "count" | "device" | "options" => {}
            "capabilities" => capabilities.extend(value.split(',').map(str::to_owned)),
            _ => return Err(invalid(&format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    capabilities.push("gpu".to_owned());
    Err(format!(
        "could not select device driver {driver:?} with capabilities: [[{}]]",
        capabilities.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let check = |text: &str, expected: &str| {
            assert_eq!(refuse(text).err().as_deref(), Some(expected), "{text}");
        };
        check("all", "could not select device driver \"\" with capabilities: [[gpu]]");
        check("2", "could not select device driver \"\" with capabilities: [[gpu]]");
        check(
            "driver=nvidia,\"capabilities=utility,video\",\"device=1,2\"",
            "could not select device driver \"nvidia\" with capabilities: [[utility video gpu]]",
        );
        check(
            "foo",
            "invalid argument \"foo\" for \"--gpus\" flag: invalid count (foo): value must be either \"all\" or an \
             integer: invalid syntax",
        );
        check("", "invalid argument \"\" for \"--gpus\" flag: EOF");
        check("x=y", "invalid argument \"x=y\" for \"--gpus\" flag: unexpected key 'x' in 'x=y'");
    }
}
