//! `SecretsUsedInArgOrEnv`: what ARG and ENV hold stands in the image for all to read.
//!
//! A name is suspicious if one of its words between underscores is; `public`, `file` and `version` clear it.

use super::{At, Checks, Rule};

const SUSPICIOUS: &[&str] =
    &["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
const HARMLESS: &[&str] = &["public", "file", "version"];

pub(crate) fn check(checks: &mut Checks, at: At<'_>, instruction: &str, name: &str) {
    if is_secret(name) {
        let message =
            format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
        checks.report(at, Rule::SecretsUsedInArgOrEnv, message);
    }
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    has(SUSPICIOUS) && !has(HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in ["API_KEY", "token", "GITHUB_TOKEN", "secret_MESSAGE", "MY_AUTH_X"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["KEYBOARD", "PUBLIC_KEY", "TOKEN_FILE", "KEY_VERSION", "AUTHOR"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
