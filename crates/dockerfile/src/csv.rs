//! Fields of comma-separated values, as flags such as `--mount` have them.

/// A field up to its closing quote; two quotes are one. The text begins behind the opening quote; what stands behind
/// the closing one comes back, too.
pub fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let at = rest.find('"')?;
        field.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, rest)),
        }
    }
}
