//! What a listing of images leaves out.

use lighter_dockerfile::glob;
use lighter_image::Reference;

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFilterError {
    /// It has no `=`.
    #[error("invalid filter `{0}`: expected name=value")]
    Form(String),
    /// Images cannot be filtered by that.
    #[error(
        "invalid filter `{0}`: images are filtered by before, dangling, label, label!, reference, since, until"
    )]
    Name(String),
    /// The value does not fit.
    #[error("invalid filter `{name}={value}`: {reason}")]
    Value {
        /// The filter.
        name: String,
        /// Its value.
        value: String,
        /// What it should be.
        reason: &'static str,
    },
}

/// One condition on images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Whether it has no name.
    Dangling(bool),
    /// It has the label, with this value if one is given.
    Label(String, Option<String>),
    /// It has not the label, or not with this value.
    NoLabel(String, Option<String>),
    /// It was made before that image.
    Before(String),
    /// It was made after that image.
    Since(String),
    /// It was made before this time.
    Until(jiff::Timestamp),
    /// One of its names fits the pattern.
    Reference(String),
}

impl Filter {
    /// Reads `name=value`; `now` is what durations count back from.
    ///
    /// # Errors
    /// [`ParseFilterError`] for anything that images cannot be filtered by.
    pub fn parse(text: &str, now: jiff::Timestamp) -> Result<Self, ParseFilterError> {
        let (name, value) = text.split_once('=').ok_or_else(|| ParseFilterError::Form(text.to_owned()))?;
        let (name, negated) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
        let label = |value: &str| match value.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (value.to_owned(), None),
        };
        let refused =
            |reason| ParseFilterError::Value { name: name.to_owned(), value: value.to_owned(), reason };
        match (name, negated) {
            ("dangling", false) => match value {
                "true" | "1" => Ok(Self::Dangling(true)),
                "false" | "0" => Ok(Self::Dangling(false)),
                _ => Err(refused("expected true or false")),
            },
            ("label", false) => Ok(Self::Label(label(value).0, label(value).1)),
            ("label", true) => Ok(Self::NoLabel(label(value).0, label(value).1)),
            ("before", false) => Ok(Self::Before(value.to_owned())),
            ("since", false) => Ok(Self::Since(value.to_owned())),
            ("until", false) => parse_time(value, now)
                .map(Self::Until)
                .ok_or_else(|| refused("expected a time or a duration")),
            ("reference", false) if !glob::is_valid(value) => Err(refused("syntax error in pattern")),
            ("reference", false) => Ok(Self::Reference(value.to_owned())),
            _ => Err(ParseFilterError::Name(text.to_owned())),
        }
    }
}

/// Reads a time (RFC 3339, a date, or seconds since 1970) or a duration before `now` (`10m`, `1h30m`).
pub fn parse_time(text: &str, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time);
    }
    if let Some(time) = unix_time(text) {
        return Some(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        return date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    }
    let duration: jiff::SignedDuration = text.parse().ok()?;
    now.checked_sub(duration).ok()
}

/// Seconds since 1970, with a fraction or without: `1700000000.25`.
fn unix_time(text: &str) -> Option<jiff::Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    jiff::Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

/// Whether a name fits a pattern: in full, or in the familiar form, with or without the tag.
pub(super) fn fits(reference: &Reference, pattern: &str) -> bool {
    let forms = [
        reference.familiar(),
        reference.familiar_repository(),
        reference.to_string(),
        reference.repository(),
    ];
    forms.iter().any(|form| glob::matches(pattern, form).unwrap_or(false))
}
