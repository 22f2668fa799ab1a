//! Warnings: what registries want people to know. Nothing is done because of them but to pass them on.

use std::sync::{Mutex, PoisonError};

use ureq::http::HeaderMap;

use super::challenge::unquoted;
use super::error::plain;

/// The code of a warning that is for people, and its agent: all others are of caches.
const FOR_PEOPLE: &str = "299 - ";
/// How many bytes of warnings are kept, of all that come.
const MOST_BYTES: usize = 4096;

/// What a registry wants people to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which registry.
    pub host: String,
    /// Its words, without anything that a terminal would obey.
    pub text: String,
}

/// All warnings that have come, each once.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<Vec<Warning>>);

impl Warnings {
    /// Takes those of an answer.
    pub(crate) fn note(&self, host: &str, headers: &HeaderMap) {
        if !headers.contains_key("warning") {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in warnings(headers) {
            let warning = Warning { host: host.to_owned(), text };
            let kept: usize = all.iter().map(|warning| warning.text.len()).sum();
            if kept + warning.text.len() <= MOST_BYTES && !all.contains(&warning) {
                all.push(warning);
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Warning> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The warnings for people in the headers of an answer.
///
/// # Source
/// OCI distribution-spec, "Warnings"; RFC 7234, section 5.5.
pub(crate) fn warnings(headers: &HeaderMap) -> Vec<String> {
    let mut found = Vec::new();
    for value in headers.get_all("warning") {
        let value = String::from_utf8_lossy(value.as_bytes());
        let mut rest = &*value;
        while let Some((before, quoted)) = rest.split_once('"') {
            // without an end it is nobody's text
            let (text, Some(behind)) = unquoted(quoted) else { break };
            let is_for_people = before.trim_start_matches([',', ' ', '\t']) == FOR_PEOPLE;
            let text = plain(text.trim());
            if is_for_people && !text.is_empty() {
                found.push(text);
            }
            rest = behind;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = ureq::http::HeaderValue::from_bytes(value).expect("a header's value");
            headers.append("warning", value);
        }
        headers
    }

    #[test]
    fn only_what_is_for_people_is_read() {
        let check = |values: &[&[u8]], expected: &[&str]| assert_eq!(warnings(&headers(values)), expected);
        check(&[], &[]);
        check(&[br#"299 - "old""#], &["old"]);
        check(&[br#"299 - "one", 299 - "two, or \"three\" \\""#], &["one", r#"two, or "three" \"#]);
        check(&[br#"299 - "one""#, br#"299 - "two""#], &["one", "two"]);
        // of caches, with a date, of another agent, and broken
        check(&[br#"110 - "stale", 299 - "told""#], &["told"]);
        check(&[br#"299 - "told" "Wed, 21 Oct 2015 07:28:00 GMT""#], &["told"]);
        check(&[br#"299 proxy "other""#, br#"299 - "no end"#, b"299 - none", b"", br#"299 - """#], &[]);
        // what a terminal would obey cannot stand in a header, or is left out
        check(&[b"299 - \"a\tb\xc2\x9b31m\""], &["a b 31m"]);
    }

    #[test]
    fn each_is_kept_once_and_not_too_many_are() {
        let kept = Warnings::default();
        kept.note("one", &headers(&[br#"299 - "old""#, br#"299 - "old""#]));
        kept.note("one", &headers(&[br#"299 - "old""#]));
        kept.note("two", &headers(&[br#"299 - "old""#]));
        let warning = |host: &str| Warning { host: host.to_owned(), text: "old".to_owned() };
        assert_eq!(kept.all(), [warning("one"), warning("two")]);
        for number in 0..1000 {
            kept.note("one", &headers(&[format!("299 - \"{number:0100}\"").as_bytes()]));
        }
        let bytes: usize = kept.all().iter().map(|warning| warning.text.len()).sum();
        assert!((3900..=MOST_BYTES).contains(&bytes), "{bytes}");
    }
}
