//! Sizes and times as Docker words them.

use std::time::Duration;

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// A size with four significant digits: `1.986MB`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes, 1000, &DECIMAL, 4)
}

/// A size with three significant digits, as lists of images show it: `1.99MB`.
pub(crate) fn short_size(bytes: u64) -> String {
    scaled(bytes, 1000, &DECIMAL, 3)
}

/// A size in powers of 1024 with four significant digits: `15.62GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024, &BINARY, 4)
}

#[expect(clippy::cast_precision_loss, reason = "at most four digits of it are shown")]
fn scaled(bytes: u64, base: u64, units: &[&str; 9], digits: usize) -> String {
    let base = base as f64;
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// A number rounded to so many significant digits, without trailing zeros; digits before the point always stay.
fn significant(value: f64, digits: usize) -> String {
    let whole = format!("{value:.0}").len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A duration in words: `About a minute`, `3 hours`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long ago something was: `2 minutes ago`.
pub(crate) fn age(then: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let past = Duration::try_from(now.duration_since(then)).unwrap_or_default();
    format!("{} ago", duration(past))
}

/// A time as Go prints it: `2026-11-30 17:25:11 +0000 UTC`.
pub(crate) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// Text cut to so many characters, the last of them `…` when something is missing.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |bytes, four: &str, three: &str| {
            assert_eq!(size(bytes), four);
            assert_eq!(short_size(bytes), three);
        };
        check(0, "0B", "0B");
        check(999, "999B", "999B");
        check(1000, "1kB", "1kB");
        check(1_985_872, "1.986MB", "1.99MB");
        check(15_360_000, "15.36MB", "15.4MB");
        check(123_456_789, "123.5MB", "123MB");
        check(1_100_000_000, "1.1GB", "1.1GB");
        check(999_960, "1000kB", "1000kB");
        assert_eq!(binary_size(16_777_216_000), "15.62GiB");
    }

    #[test]
    fn durations() {
        let check = |seconds, expected: &str| assert_eq!(duration(Duration::from_secs(seconds)), expected);
        check(0, "Less than a second");
        check(1, "1 second");
        check(59, "59 seconds");
        check(60, "About a minute");
        check(119, "About a minute");
        check(120, "2 minutes");
        check(3599, "59 minutes");
        check(3600, "About an hour");
        check(5400, "2 hours");
        check(47 * 3600, "47 hours");
        check(48 * 3600, "2 days");
        check(14 * 86400, "2 weeks");
        check(60 * 86400, "2 months");
        check(730 * 86400, "2 years");
    }

    #[test]
    fn cutting() {
        assert_eq!(ellipsis("abc", 3), "abc");
        assert_eq!(ellipsis("abcd", 3), "ab…");
        assert_eq!(ellipsis("", 0), "");
    }
}
