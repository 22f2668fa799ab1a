//! Values of options of containers that have a form of their own.

use lighter_engine::container::is_namespaced_sysctl;
use std::net::IpAddr;

/// `-e NAME[=VALUE]`.
///
/// # Errors
/// A text without a name.
pub(crate) fn variable(text: &str) -> Result<String, String> {
    match text.split('=').next() {
        None | Some("") => Err(format!("invalid environment variable: {text}")),
        Some(_) => Ok(text.to_owned()),
    }
}

/// `KEY=VALUE`; without a value it is empty.
///
/// # Errors
/// A text without a key.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key {
        "" => Err(format!("invalid argument: {text}")),
        _ => Ok((key.to_owned(), value.to_owned())),
    }
}

/// `KEY=VALUE`; without a value it is empty, and so may be the key.
///
/// # Errors
/// None: what it means is seen later.
#[expect(clippy::unnecessary_wraps, reason = "parsers of values can fail")]
pub(crate) fn loose_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((key.to_owned(), value.to_owned()))
}

/// `--label KEY[=VALUE]`.
///
/// # Errors
/// A key that is none.
pub(crate) fn label(text: &str) -> Result<String, String> {
    match text.split('=').next().unwrap_or_default() {
        "" => Err(format!("invalid label '{text}': empty name")),
        key if key.contains(char::is_whitespace) => Err(format!("label '{key}' contains whitespaces")),
        _ => Ok(text.to_owned()),
    }
}

/// `--sysctl KEY=VALUE`: those that are a container's own.
///
/// # Errors
/// A setting of the whole machine.
pub(crate) fn sysctl(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if is_namespaced_sysctl(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// `--add-host NAME:ADDRESS`.
///
/// # Errors
/// A text that is none.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let (name, address) =
        text.split_once(['=', ':']).ok_or_else(|| format!("bad format for add-host: {text:?}"))?;
    if name.is_empty() {
        return Err(format!("bad format for add-host: {text:?}"));
    }
    let plain = address.trim_start_matches('[').trim_end_matches(']');
    match plain.parse::<IpAddr>() {
        Err(_) if address != "host-gateway" => Err(format!("invalid IP address in add-host: {address:?}")),
        _ => Ok(text.to_owned()),
    }
}

/// `-a`: a stream.
///
/// # Errors
/// A word that names none.
pub(crate) fn stream(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    match name.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(name),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// `--cpus`, in billionths.
///
/// # Errors
/// A text that is no such number.
pub(crate) fn cpus(text: &str) -> Result<u64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(whole) || !is_plain(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(invalid());
    }
    let digits = format!("{whole}{fraction:0<9}");
    digits.parse().map_err(|_| invalid())
}

/// A duration as Go reads it, in nanoseconds.
///
/// # Errors
/// A text that is none, or one that is negative.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            "" if !number.is_empty() => return Err(format!("time: missing unit in duration {text:?}")),
            _ => return Err(invalid()),
        };
        let number: f64 = number.parse().map_err(|_| invalid())?;
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
        let nanoseconds = (number * scale) as i64;
        total = total.saturating_add(nanoseconds);
        rest = tail;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(total) }
}

/// `--dns`.
///
/// # Errors
/// A text that is no address.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    text.trim().parse().map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// `--mac-address`.
///
/// # Errors
/// A text that is none.
pub(crate) fn hardware_address(text: &str) -> Result<String, String> {
    let bytes: Vec<&str> = text.split([':', '-']).collect();
    let is_byte = |word: &&str| word.len() == 2 && u8::from_str_radix(word, 16).is_ok();
    if bytes.len() == 6 && bytes.iter().all(is_byte) {
        Ok(bytes.join(":").to_ascii_lowercase())
    } else {
        Err(format!("{text} is not a valid mac address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_processors() {
        let check = |text, expected| assert_eq!(cpus(text).ok(), expected, "{text}");
        check("1", Some(1_000_000_000));
        check("0.5", Some(500_000_000));
        check(".25", Some(250_000_000));
        check("1.0000000001", None);
        check("x", None);
        check("-1", None);
        check("", None);
    }

    #[test]
    fn durations() {
        let check = |text, expected| assert_eq!(duration(text).ok(), expected, "{text}");
        check("0", Some(0));
        check("1.5s", Some(1_500_000_000));
        check("1m30s", Some(90_000_000_000));
        check("250ms", Some(250_000_000));
        check("5", None);
        check("s", None);
        check("", None);
        check("1x", None);
    }

    #[test]
    fn words() {
        assert_eq!(stream("STDIN").as_deref(), Ok("stdin"));
        assert!(stream("x").is_err());
        assert_eq!(variable("A").as_deref(), Ok("A"));
        assert!(variable("=x").is_err());
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(hardware_address("02-42-AC-11-00-02").as_deref(), Ok("02:42:ac:11:00:02"));
        assert!(hardware_address("02:42").is_err());
    }
}
