//! What fuzzers need of the inside of this crate: the headers that servers send, each with what must hold for any text.

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use crate::transport::challenge::{Challenge, challenges};
use crate::transport::retry::retry_after;
use crate::transport::warning::warnings;
use crate::{Url, pull, tags};

/// The longest value of any test that is quick.
const LONGEST: usize = 4 << 10;

/// Reads lines as the headers of an answer, and checks what was understood.
///
/// # Panics
/// Where something was understood that nobody said.
pub fn check_headers(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(16) {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(0));
        let value = HeaderValue::from_bytes(value.strip_prefix(b":").unwrap_or(value));
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    challenges(&headers).iter().for_each(check_challenge);
    let _ = retry_after(&headers);
    for text in warnings(&headers) {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    for value in headers.values().filter_map(|value| value.to_str().ok()).filter(|text| text.len() < LONGEST)
    {
        check_value(value);
    }
}

/// What was read of a challenge is read the same where it is written with care.
fn check_challenge(challenge: &Challenge) {
    let Challenge::Bearer { realm, service, scope } = challenge else { return };
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
    let mut text = format!("Bearer realm={}", quoted(realm));
    for (name, value) in [("service", service), ("scope", scope)] {
        text.extend(value.iter().map(|value| format!(",{name}={}", quoted(value))));
    }
    let mut headers = HeaderMap::new();
    headers.insert("www-authenticate", text.parse().expect("what came in a header may stand in one"));
    // escapes make it longer, and there is a bound
    if text.len() < LONGEST {
        assert_eq!(challenges(&headers), std::slice::from_ref(challenge), "{text}");
    }
}

fn check_value(value: &str) {
    if let Some(link) = tags::read_link(value) {
        assert!(value.contains(&format!("<{link}>")), "{value}");
        let base = Url::parse("https://registry.test:5000/v2/a/tags/list?n=1").expect("an address");
        if let Ok(joined) = base.join(link) {
            let elsewhere = link.contains("//") || link.contains("://");
            assert!(elsewhere || joined.same_origin(&base), "{link} leads to {joined}");
        }
    }
    if let Some(start) = pull::read_content_range(value) {
        assert!(value.contains(&start.to_string()), "{value}");
    }
}
