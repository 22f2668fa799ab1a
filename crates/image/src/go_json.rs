//! JSON as Go's encoder writes it, byte for byte: documents that Docker makes too must get the same digest.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

/// Writes a value on one line, with the characters escaped that are special in HTML.
///
/// # Errors
/// Where the value cannot be written as JSON, for example a map whose keys are no text.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, HtmlSafe))?;
    Ok(bytes)
}

struct HtmlSafe;

impl Formatter for HtmlSafe {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(place) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..place])?;
            let special = rest[place..].chars().next().unwrap_or_default();
            rest = &rest[place + special.len_utf8()..];
            write!(writer, "\\u{:04x}", u32::from(special))?;
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped_and_the_rest_is_not() {
        let written = to_vec(&"a<b>&c\u{2028}\"é/\u{1}\n").expect("writes");
        let text = String::from_utf8(written).expect("text");
        assert_eq!(text, r#""a\u003cb\u003e\u0026c\u2028\"é/\u0001\n""#);
    }
}
