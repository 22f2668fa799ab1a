//! Switches as Go reads them.

/// A switch as Go's `strconv.ParseBool` reads it; `None` of any other text.
///
/// # Source
/// The documentation of Go's package `strconv`.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_texts_are_switches() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(go_bool(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(go_bool(text), Some(false), "{text}");
        }
        for text in ["", "yes", "tRUE", "2", " true"] {
            assert_eq!(go_bool(text), None, "{text}");
        }
    }
}
