//! Errors as text.

use std::error::Error;

/// An error and its causes in one line: `a: b: c`.
///
/// A cause that the text before it ends with is left out, as many errors of other crates repeat theirs.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_follow_and_are_not_said_twice() {
        let check = |text, expected: &str| {
            assert_eq!(error_chain(&Outer { text, source: io::Error::other("no room") }), expected);
        };
        check("writing `a`", "writing `a`: no room");
        check("writing `a`: no room", "writing `a`: no room");
    }
}
