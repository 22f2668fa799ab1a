//! Rates, weights and rules of devices.

use crate::args::value::bytes;

/// A device of the host and a number: its rate, or its weight.
pub(crate) type DeviceValue = (String, u64);

/// `--device-read-bps` and its kin: `DEVICE:SIZE`.
///
/// # Errors
/// A text that is none; the words are Docker's.
pub(crate) fn byte_rate(text: &str) -> Result<DeviceValue, String> {
    let (path, rate) = parts(text)?;
    let rate = bytes(rate).map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a \
             positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok((path, rate))
}

/// `--device-read-iops` and its kin: `DEVICE:NUMBER`.
///
/// # Errors
/// A text that is none; the words are Docker's.
pub(crate) fn rate(text: &str) -> Result<DeviceValue, String> {
    let (path, rate) = parts(text)?;
    let rate = number(rate).ok_or_else(|| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive \
             integer"
        )
    })?;
    Ok((path, rate))
}

/// `--blkio-weight-device`: `DEVICE:WEIGHT`, 10 to 1000, or 0.
///
/// # Errors
/// A text that is none; the words are Docker's.
pub(crate) fn weight(text: &str) -> Result<DeviceValue, String> {
    let (path, weight) = parts(text)?;
    let weight = number(weight).filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    Ok((path, weight.ok_or_else(|| format!("invalid weight for device: {text}"))?))
}

/// `--device-cgroup-rule`: `c 10:200 rwm`.
///
/// # Errors
/// A text that is none; the words are Docker's.
pub(crate) fn rule(text: &str) -> Result<String, String> {
    let is_number =
        |part: &str| part == "*" || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let is_rule = match text.split(' ').collect::<Vec<_>>()[..] {
        ["a" | "b" | "c", numbers, access] => {
            let is_access =
                (1..=3).contains(&access.len()) && access.bytes().all(|byte| b"rwm".contains(&byte));
            let numbers = numbers.split_once(':');
            is_access && numbers.is_some_and(|(major, minor)| is_number(major) && is_number(minor))
        }
        _ => false,
    };
    if is_rule { Ok(text.to_owned()) } else { Err(format!("invalid device cgroup format '{text}'")) }
}

fn parts(text: &str) -> Result<(String, &str), String> {
    match text.split_once(':') {
        None | Some(("", _)) => Err(format!("bad format: {text}")),
        Some((path, value)) if path.starts_with("/dev/") => Ok((path.to_owned(), value)),
        Some(_) => Err(format!("bad format for device path: {text}")),
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_weights() {
        let path = || "/dev/a".to_owned();
        assert_eq!(byte_rate("/dev/a:1mb"), Ok((path(), 1 << 20)));
        assert_eq!(rate("/dev/a:100"), Ok((path(), 100)));
        assert_eq!(weight("/dev/a:0"), Ok((path(), 0)));
        assert_eq!(weight("/dev/a:1000"), Ok((path(), 1000)));
        for text in ["/dev/a:x", "/dev/a:-1", "/dev/a:1:2", "/dev/a:"] {
            assert!(byte_rate(text).is_err_and(|text| text.starts_with("invalid rate")), "{text}");
            assert!(rate(text).is_err_and(|text| text.ends_with("positive integer")), "{text}");
            assert!(weight(text).is_err(), "{text}");
        }
        assert!(rate("/dev/a:1k").is_err() && weight("/dev/a:9").is_err() && weight("/dev/a:1001").is_err());
        for text in ["/dev/a", ":1"] {
            assert_eq!(rate(text), Err(format!("bad format: {text}")));
        }
        assert_eq!(byte_rate("a:1"), Err("bad format for device path: a:1".to_owned()));
    }

    #[test]
    fn rules() {
        for text in ["a *:* rwm", "c 1:3 mr", "b 7:* r"] {
            assert_eq!(rule(text).as_deref(), Ok(text));
        }
        for text in ["", "a", "c 1:3", "x 1:3 r", "c 1:3 x", "c 1:3 rwmm", "c a:b r", "c 1:3  r", "c : r"] {
            assert_eq!(rule(text), Err(format!("invalid device cgroup format '{text}'")));
        }
    }
}
