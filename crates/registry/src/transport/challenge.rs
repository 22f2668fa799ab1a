//! Challenges: what a server says about how it wants to be asked.

use ureq::http::HeaderMap;

/// The most that is read of one challenge.
const LONGEST: usize = 8 << 10;

/// One way to authenticate that a server offers.
///
/// # Source
/// RFC 9110, section 11.6.1; Docker's token authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password in each request.
    Basic,
    /// A token from another server.
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// What the token server calls this registry.
        service: Option<String>,
        /// What is needed for what was asked.
        scope: Option<String>,
    },
}

/// The challenges of an answer: the safest first. What cannot be read is left out.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = headers
        .get_all("www-authenticate")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|value| value.len() <= LONGEST)
        .flat_map(split)
        .filter_map(|(scheme, parameters)| read(&scheme, &parameters))
        .collect();
    found.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    found
}

fn read(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let get = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Challenge::Bearer {
            realm: get("realm")?,
            service: get("service"),
            scope: get("scope"),
        });
    }
    None
}

type Parameters = Vec<(String, String)>;

/// Splits a header's value into its challenges: a word begins one, `name=value` belongs to the last.
fn split(value: &str) -> Vec<(String, Parameters)> {
    let mut all: Vec<(String, Parameters)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return all;
        }
        let after = after.trim_start_matches([' ', '\t']);
        if let Some(after) = after.strip_prefix('=') {
            let (text, remaining) = take_value(after.trim_start_matches([' ', '\t']));
            if let Some((_, parameters)) = all.last_mut() {
                parameters.push((word.to_owned(), text));
            }
            rest = remaining;
        } else {
            all.push((word.to_owned(), Vec::new()));
            rest = after;
        }
    }
}

/// Takes a token or a quoted text off the front.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (value, behind) = unquoted(quoted);
    (value, behind.unwrap_or_default())
}

/// A quoted text from behind its first quote, with what was escaped in it, and what comes behind it: None where it has no
/// end.
///
/// # Source
/// RFC 9110, section 5.6.4.
pub(super) fn unquoted(quoted: &str) -> (String, Option<&str>) {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, Some(&quoted[at + 1..])),
            '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
            other => text.push(other),
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(value: &str, expected: &[Challenge]) {
        let mut headers = HeaderMap::new();
        headers.insert("www-authenticate", value.parse().expect("a value"));
        assert_eq!(challenges(&headers), expected, "{value}");
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: &str| text.to_owned();
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(owned), scope: scope.map(owned) }
    }

    #[test]
    fn challenges_are_read() {
        check("Basic realm=\"x\"", &[Challenge::Basic]);
        check("basic", &[Challenge::Basic]);
        check(
            r#"Bearer realm="https://a.test/token",service="r.test",scope="repository:a/b:pull,push""#,
            &[bearer("https://a.test/token", Some("r.test"), Some("repository:a/b:pull,push"))],
        );
        check(
            r#"Basic realm="a, b", BEARER realm = https://a.test , service="q\"s""#,
            &[bearer("https://a.test", Some("q\"s"), None), Challenge::Basic],
        );
        check("Bearer service=x", &[]);
        check("Negotiate", &[]);
        check(r#"Bearer realm="unclosed"#, &[bearer("unclosed", None, None)]);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fail(value in "[ -~]{0,80}") {
            split(&value);
        }
    }
}
