//! Errors of the wire: they keep the request, the status, and what the server itself had to say.

use std::fmt;
use std::io;
use std::time::Duration;

use serde::Deserialize;

use super::tls::TlsError;
use super::url::{Url, UrlError};
use crate::cancel::Cancelled;
use crate::credential::CredentialError;

/// How much of a server's own words is kept.
const LONGEST_WORDS: usize = 400;

/// Names a request in messages: its method and its address, without the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestName {
    /// The method.
    pub method: &'static str,
    /// The address.
    pub url: Url,
}

impl fmt::Display for RequestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

/// Why a request had no good answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The host's name is not known.
    #[error("looking up `{host}`")]
    Resolve {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// No connection came to stand.
    #[error("connecting to `{host}`")]
    Connect {
        /// The host and port.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection could not be made a secure one.
    #[error("secure connection to `{host}`")]
    Tls {
        /// The host and port.
        host: String,
        /// What is wrong.
        source: TlsError,
    },
    /// The proxy is not usable.
    #[error("proxy `{proxy}`: {reason}")]
    Proxy {
        /// The proxy, without user and password.
        proxy: String,
        /// What is wrong.
        reason: String,
    },
    /// The connection broke.
    #[error("{request}")]
    Io {
        /// What was asked.
        request: RequestName,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing came for too long.
    #[error("{request}: timed out ({phase})")]
    Timeout {
        /// What was asked.
        request: RequestName,
        /// What was waited for.
        phase: &'static str,
    },
    /// The answer is not http as it should be.
    #[error("{request}: {reason}")]
    Protocol {
        /// What was asked.
        request: RequestName,
        /// What is wrong.
        reason: String,
    },
    /// The server said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The server wants a name and a password, and there are none for it.
    #[error("no basic auth credentials for `{host}`: authentication required")]
    NoCredentials {
        /// The registry.
        host: String,
    },
    /// The server asks for an authentication that is not known or not safe.
    #[error("authentication with `{host}`: {reason}")]
    Challenge {
        /// The registry.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host is not one that can be worked with.
    #[error("registry `{host}`: {reason}")]
    Host {
        /// The registry.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The stored credentials could not be had.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The answer points to somewhere that is not followed.
    #[error("{request}: redirect: {reason}")]
    Redirect {
        /// What was asked.
        request: RequestName,
        /// Why it is not followed.
        reason: String,
    },
    /// The answer names an address that is none.
    #[error("{request}")]
    Address {
        /// What was asked.
        request: RequestName,
        /// What it is.
        source: UrlError,
    },
    /// The answer is longer than it may be.
    #[error("{request}: the answer is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// What was asked.
        request: RequestName,
        /// The limit.
        limit_bytes: u64,
    },
    /// The caller wants no more of it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Whether it makes sense to ask once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    /// Once: it takes long, and hardly ever helps.
    Once,
    /// As often as the policy says, and not before this long.
    Yes(Option<Duration>),
}

impl TransportError {
    /// The status of the answer, where there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Whether the server knows no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether it is about who asks.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::NoCredentials { .. }) || matches!(self.status(), Some(401 | 403))
    }

    pub(crate) fn again(&self) -> Again {
        match self {
            Self::Io { .. } => Again::Yes(None),
            Self::Timeout { .. } => Again::Once,
            Self::Connect { source, .. } => match source.kind() {
                io::ErrorKind::TimedOut => Again::Once,
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Again::Yes(None),
                _ => Again::Never,
            },
            Self::Refused(refusal) => match refusal.status {
                408 | 429 | 500 | 502 | 503 | 504 => Again::Yes(refusal.retry_after),
                _ => Again::Never,
            },
            _ => Again::Never,
        }
    }
}

/// A server's "no".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked.
    pub request: RequestName,
    /// The status of the answer.
    pub status: u16,
    /// The server's diagnosis.
    pub errors: Vec<ServerError>,
    /// When the server says to come back.
    pub retry_after: Option<Duration>,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.request, self.status, reason_phrase(self.status))?;
        for error in &self.errors {
            write!(f, ": {error}")?;
        }
        Ok(())
    }
}

impl Refusal {
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code == code)
    }
}

fn reason_phrase(status: u16) -> &'static str {
    let status = ureq::http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("unknown status")
}

/// One error as a registry tells it.
///
/// # Source
/// OCI distribution-spec, "Error Codes".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The code, as `MANIFEST_UNKNOWN`; empty where the server gave only text.
    pub code: String,
    /// What the server says.
    pub message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.to_ascii_lowercase().replace('_', " ");
        match (code.is_empty(), self.message.is_empty()) {
            (false, true) => f.write_str(&code),
            (true, _) => f.write_str(&self.message),
            (false, false) if self.message.eq_ignore_ascii_case(&code) => f.write_str(&code),
            (false, false) => write!(f, "{code}: {}", self.message),
        }
    }
}

/// Reads what a server says about its refusal; anything that is not the specified form is kept as text.
pub(crate) fn read_errors(content_type: &str, body: &[u8]) -> Vec<ServerError> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<Entry>,
        /// What token servers say instead.
        details: Option<String>,
        error: Option<String>,
        error_description: Option<String>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    if let Ok(document) = serde_json::from_slice::<Document>(body) {
        let entry = |code: &str, message: &str| ServerError { code: plain(code), message: plain(message) };
        if !document.errors.is_empty() {
            return document.errors.iter().take(5).map(|e| entry(&e.code, &e.message)).collect();
        }
        let words = document.error_description.or(document.details);
        if document.error.is_some() || words.is_some() {
            let code = document.error.unwrap_or_default();
            return vec![entry(&code, &words.unwrap_or_default())];
        }
    }
    let words = String::from_utf8_lossy(body);
    let is_page = content_type.contains("html") || words.trim_start().starts_with('<');
    let message = plain(words.trim());
    if is_page || message.is_empty() {
        return Vec::new();
    }
    vec![ServerError { code: String::new(), message }]
}

/// Foreign words, short and without anything that a terminal would obey.
pub(super) fn plain(words: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let mut text: String = words.chars().take(LONGEST_WORDS).map(visible).collect();
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, body: &str, expected: &[&str]) {
        let errors = read_errors(content_type, body.as_bytes());
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(shown, expected, "{body}");
    }

    #[test]
    fn the_servers_own_words_are_kept() {
        let json = "application/json";
        check(
            json,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
            &["manifest unknown"],
        );
        check(json, r#"{"errors":[{"code":"DENIED","message":"not you"}]}"#, &["denied: not you"]);
        check(json, r#"{"details":"incorrect username or password"}"#, &["incorrect username or password"]);
        check(json, r#"{"error":"invalid_grant","error_description":"no"}"#, &["invalid grant: no"]);
        check("text/plain", "go away\n", &["go away"]);
        check("text/html", "<html>", &[]);
        check("text/plain", "a\u{1b}[31mb", &["a [31mb"]);
        check(json, r#"{"errors":"#, &[r#"{"errors":"#]);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let url = Url::parse("http://r.test/v2/").expect("an address");
        let request = RequestName { method: "GET", url };
        let refused = |status| {
            let retry_after = Some(Duration::from_secs(3));
            let request = request.clone();
            TransportError::Refused(Box::new(Refusal { request, status, errors: Vec::new(), retry_after }))
        };
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(refused(status).again(), Again::Yes(Some(Duration::from_secs(3))), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 416, 501] {
            assert_eq!(refused(status).again(), Again::Never, "{status}");
        }
    }
}
