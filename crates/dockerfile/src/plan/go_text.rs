//! Texts in Go's notation, as they stand in the history of images.

use lighter_image::Healthcheck;

use crate::duration;

/// A text in double quotes, as Go's `%q`.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&by_number(u32::from(c))),
        }
    }
    out.push('"');
    out
}

fn by_number(number: u32) -> String {
    match number {
        0..0x80 => format!("\\x{number:02x}"),
        0x80..0x1_0000 => format!("\\u{number:04x}"),
        _ => format!("\\U{number:08x}"),
    }
}

/// What Go prints as it is: all but control characters, odd spaces and what has no assigned meaning.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Rust escapes what is not printable, and combining marks, which Go prints.
    let escaped = c.escape_debug().len() > 1;
    !c.is_control() && !c.is_whitespace() && (!escaped || is_combining(c))
}

fn is_combining(c: char) -> bool {
    matches!(u32::from(c), 0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x1ab0..=0x1aff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f)
}

/// A list as Go's `%q`: `["a" "b"]`.
pub(super) fn quoted_list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("[{}]", words.join(" "))
}

/// A list as Go's `%v`: `[a b]`.
pub(super) fn list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// A health check as Docker's history has it: a structure in Go's `%q`.
pub(super) fn healthcheck(health: &Healthcheck) -> String {
    let durations = [health.interval, health.timeout, health.start_period, health.start_interval]
        .map(|nanos| quote(&duration::format(nanos)));
    let retries = u32::try_from(health.retries).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    format!("&{{{} {} {}}}", quoted_list(&health.test), durations.join(" "), quoted_char(retries))
}

/// A number in Go's `%q` is the character with that number.
fn quoted_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = quote(&c.to_string());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_quotes() {
        assert_eq!(quote("c\"\u{1}é\n\u{200b}"), r#""c\"\x01é\n\u200b""#);
        assert_eq!(quoted_list(&["a b".into(), String::new()]), r#"["a b" ""]"#);
        assert_eq!(list(&["a b".into(), "c".into()]), "[a b c]");
        let health = Healthcheck {
            test: vec!["CMD".into(), "x".into()],
            interval: 300_000_000_000,
            retries: 3,
            ..Healthcheck::default()
        };
        assert_eq!(healthcheck(&health), r#"&{["CMD" "x"] "5m0s" "0s" "0s" "0s" '\x03'}"#);
    }
}
