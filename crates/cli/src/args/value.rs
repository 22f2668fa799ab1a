//! Values of options that have a form of their own.

use lighter_dockerfile::csv::quoted_field;

/// `--ulimit NAME=SOFT[:HARD]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ulimit {
    pub(crate) name: String,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A filter: `name=value`.
///
/// # Errors
/// A text without `=`.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    if text.contains('=') {
        Ok(text.to_owned())
    } else {
        Err("bad format of filter (expected name=value)".to_owned())
    }
}

/// A size as Docker reads it: `64m`, `1.5GB`, `1024`; units are powers of 1024.
///
/// # Errors
/// A text that is none.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(invalid()),
    };
    let size = number * 1024_f64.powi(power);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and the end is checked"
    )]
    if size < 9e18 { Ok(size as u64) } else { Err(invalid()) }
}

/// A size, or -1 for none.
///
/// # Errors
/// A text that is neither.
pub(crate) fn swap(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        _ => bytes(text).and_then(|size| i64::try_from(size).map_err(|_| format!("invalid size: '{text}'"))),
    }
}

/// `NAME=SOFT[:HARD]`; -1 is unlimited.
///
/// # Errors
/// A text that is none.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let limit = |text: &str| match text {
        "-1" => Ok(u64::MAX),
        _ => text.parse::<u64>().map_err(|_| format!("invalid ulimit value: {text}")),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let limits = Ulimit { name: name.to_owned(), soft: limit(soft)?, hard: limit(hard)? };
    if limits.soft > limits.hard {
        Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"))
    } else {
        Ok(limits)
    }
}

/// `KEY=VALUE,KEY=VALUE` as Docker reads it: commas may stand inside of double quotes, which are doubled there.
///
/// # Errors
/// A quote that does not end, or stands where none may.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted).ok_or_else(|| format!("unterminated quote in {text:?}"))?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err(format!("bare \" in {text:?}"));
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(format!("extraneous or missing \" in {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text, expected| assert_eq!(bytes(text).ok(), expected, "{text}");
        check("0", Some(0));
        check("1024", Some(1024));
        check("32m", Some(32 << 20));
        check("1.5k", Some(1536));
        check("1GB", Some(1 << 30));
        check("2 MiB", Some(2 << 20));
        check("x", None);
        check("", None);
        check("-1", None);
        check("1mm", None);
        check("99999999p", None);
        assert_eq!(bytes("x"), Err("invalid size: 'x'".to_owned()));
        assert_eq!(swap("-1"), Ok(-1));
    }

    #[test]
    fn ulimits() {
        let limits = |name: &str, soft, hard| Ok(Ulimit { name: name.to_owned(), soft, hard });
        assert_eq!(ulimit("nofile=123:456"), limits("nofile", 123, 456));
        assert_eq!(ulimit("core=-1"), limits("core", u64::MAX, u64::MAX));
        assert!(ulimit("nofile").is_err() && ulimit("frob=1").is_err() && ulimit("nofile=2:1").is_err());
        assert!(ulimit("nofile=x").is_err());
    }

    #[test]
    fn lists_of_fields() {
        let check = |text, expected: &[&str]| {
            assert_eq!(
                fields(text).as_deref(),
                Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            );
        };
        check("a", &["a"]);
        check("type=local,dest=x", &["type=local", "dest=x"]);
        check("\"a=1,2\",b", &["a=1,2", "b"]);
        check("\"a\"\"b\"", &["a\"b"]);
        check("a,,", &["a", "", ""]);
        assert!(fields("\"a").is_err() && fields("a\"b").is_err() && fields("\"a\"b").is_err());
    }
}
