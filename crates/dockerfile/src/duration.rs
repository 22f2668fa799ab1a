//! Durations as Go reads and writes them, in nanoseconds.

pub(crate) const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLISECOND;

const UNITS: &[(&str, i64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", MILLISECOND),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

/// Reads `1h30m`, `-1.5s`, `0`.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, *scale)?)?;
        rest = tail;
    }
    Some(if negative { -total } else { total })
}

fn scaled(number: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    let mut rest = 0_i128;
    let mut divisor = 1_i128;
    for digit in fraction.chars().take(18) {
        rest = rest * 10 + i128::from(digit.to_digit(10)?);
        divisor *= 10;
    }
    nanos = nanos.checked_add(i64::try_from(rest * i128::from(scale) / divisor).ok()?)?;
    Some(nanos)
}

/// Writes `1h30m0s`, `500ms`, `0s`.
pub(crate) fn format(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let second = SECOND.unsigned_abs();
    if total == 0 {
        return "0s".to_owned();
    }
    if total < second {
        let (unit, name) = match total {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", decimal(total, unit));
    }
    let hours = total / (3_600 * second);
    let minutes = total / (60 * second) % 60;
    let seconds = decimal(total % (60 * second), second);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// A number of units with as many digits behind the point as it needs.
fn decimal(value: u64, unit: u64) -> String {
    let whole = value / unit;
    let mut rest = value % unit;
    if rest == 0 {
        return whole.to_string();
    }
    let mut text = format!("{whole}.");
    let mut unit = unit;
    while rest > 0 {
        unit /= 10;
        text.push_str(&(rest / unit).to_string());
        rest %= unit;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written_as_go_does() {
        for (text, nanos, written) in [
            ("5m", 300 * SECOND, "5m0s"),
            ("1m30s", 90 * SECOND, "1m30s"),
            ("500ms", SECOND / 2, "500ms"),
            ("1.5s", SECOND * 3 / 2, "1.5s"),
            ("0", 0, "0s"),
            ("100us", 100_000, "100µs"),
            ("2h", 7200 * SECOND, "2h0m0s"),
            (".25h", 900 * SECOND, "15m0s"),
            ("-3s", -3 * SECOND, "-3s"),
            ("1ns", 1, "1ns"),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
            assert_eq!(format(nanos), written, "{text}");
        }
        for text in ["", "5", "s", "5x", "1m30", ".s", "99999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
