//! Values as Go prints them: `%v` and the rest of `printf`.

use super::datum::{Datum, Schema, Shape};
use serde_json::{Number, Value};
use std::fmt::Write as _;

/// The widest field that a verb may ask for.
const MAX_WIDTH: usize = 10_000;

/// A value as `print` and the end of an action show it.
pub(super) fn display(datum: &Datum<'_>, schema: &Schema) -> String {
    shown(&datum.value, datum.shape, schema)
}

fn shown(value: &Value, shape: Shape, schema: &Schema) -> String {
    match (value, shape) {
        (Value::Null, Shape::Missing) => "<no value>".to_owned(),
        (Value::Null, Shape::Map | Shape::Texts) => "map[]".to_owned(),
        (Value::Null, Shape::List) => "[]".to_owned(),
        (Value::Null, Shape::Plain | Shape::Duration) => "<nil>".to_owned(),
        (Value::Bool(truth), _) => truth.to_string(),
        (Value::Number(number), Shape::Duration) => duration(number.as_i64().unwrap_or_default()),
        (Value::Number(number), _) => number_text(number),
        (Value::String(text), _) => text.clone(),
        (Value::Array(list), _) => {
            let items: Vec<_> = list.iter().map(|item| shown(item, Shape::Plain, schema)).collect();
            format!("[{}]", items.join(" "))
        }
        (Value::Object(fields), shape) if shape.is_map() => {
            let mut entries: Vec<_> = fields.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entry = |(key, value)| format!("{key}:{}", shown(value, Shape::Plain, schema));
            format!("map[{}]", entries.into_iter().map(entry).collect::<Vec<_>>().join(" "))
        }
        (Value::Object(fields), _) => {
            let field = |(name, value): (&String, _)| shown(value, schema.shape_of(name), schema);
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(" "))
        }
    }
}

/// A length of time as Go writes it: `1h0m5s`, `1.5s`, `20ms`.
fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let rest = format!("{:0digits$}", value % unit);
        let text = format!("{}.{rest}", value / unit);
        format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    let text = match total {
        0 => return "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => fraction(total, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(total, 1_000_000, "ms"),
        _ => {
            let minutes = total / 60_000_000_000;
            let seconds = fraction(total % 60_000_000_000, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

/// `%v` of a float: the shortest digits that read back the same, with an exponent when it is very small or large.
fn float_text(float: f64) -> String {
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(power) if float != 0.0 && !(-4..21).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.unsigned_abs())
        }
        _ => float.to_string(),
    }
}

/// `printf`.
pub(super) fn printf(format: &str, arguments: &[Datum<'_>], schema: &Schema) -> String {
    let mut printed = String::with_capacity(format.len());
    let mut remaining = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            printed.push(c);
            continue;
        }
        let verb = Verb::read(&mut chars, &mut remaining);
        match verb.letter {
            None => printed.push_str("%!(NOVERB)"),
            Some('%') => printed.push('%'),
            Some(letter) => match remaining.next() {
                Some(argument) => printed.push_str(&verb.apply(letter, argument, schema)),
                None => {
                    let _ = write!(printed, "%!{letter}(MISSING)");
                }
            },
        }
    }
    let extra: Vec<_> =
        remaining.map(|datum| format!("{}={}", datum.type_name(), display(datum, schema))).collect();
    if !extra.is_empty() {
        let _ = write!(printed, "%!(EXTRA {})", extra.join(", "));
    }
    printed
}

/// `%-08.3f` and the like.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "these are the flags of printf, each on its own")]
struct Verb {
    left: bool,
    plus: bool,
    zero: bool,
    sharp: bool,
    blank: bool,
    width: Option<usize>,
    precision: Option<usize>,
    letter: Option<char>,
}

impl Verb {
    fn read<'d>(
        chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
        arguments: &mut impl Iterator<Item = &'d Datum<'d>>,
    ) -> Self {
        let mut verb = Self::default();
        while let Some(flag) = chars.peek() {
            match flag {
                '-' => verb.left = true,
                '+' => verb.plus = true,
                '0' => verb.zero = true,
                '#' => verb.sharp = true,
                ' ' => verb.blank = true,
                _ => break,
            }
            chars.next();
        }
        verb.width = size(chars, arguments);
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(size(chars, arguments).unwrap_or(0));
        }
        verb.letter = chars.next();
        verb
    }

    fn apply(&self, letter: char, datum: &Datum<'_>, schema: &Schema) -> String {
        match self.text(letter, datum, schema) {
            Some(text) => self.pad(text, letter),
            None => format!("%!{letter}({}={})", datum.type_name(), display(datum, schema)),
        }
    }

    /// The text of a value under a verb; none when the two do not go together.
    fn text(&self, letter: char, datum: &Datum<'_>, schema: &Schema) -> Option<String> {
        match letter {
            'v' => Some(self.natural(datum, schema)),
            's' if datum.value.is_string() || datum.value.is_array() => {
                Some(self.cut(display(datum, schema)))
            }
            's' if matches!(*datum.value, Value::Null | Value::Object(_)) => {
                Some(self.cut(display(datum, schema)))
            }
            'q' => match &*datum.value {
                Value::String(text) => Some(quote(text)),
                Value::Array(list) => list
                    .iter()
                    .map(|item| item.as_str().map(quote))
                    .collect::<Option<Vec<_>>>()
                    .map(|items| format!("[{}]", items.join(" "))),
                _ => None,
            },
            't' => datum.value.as_bool().map(|truth| truth.to_string()),
            'd' | 'b' | 'o' | 'c' | 'U' => integer(&datum.value).and_then(|n| self.integer(letter, n)),
            'x' | 'X' => self.hexadecimal(letter, datum),
            'f' | 'F' | 'e' | 'E' | 'g' | 'G' if datum.value.is_f64() => {
                self.float(letter, datum.value.as_f64()?)
            }
            'T' => Some(datum.type_name().to_owned()),
            _ => None,
        }
    }

    fn natural(&self, datum: &Datum<'_>, schema: &Schema) -> String {
        match &*datum.value {
            Value::String(text) if self.sharp => quote(text),
            Value::Number(number) if self.plus && !number.to_string().starts_with('-') => {
                format!("+{}", number_text(number))
            }
            _ => display(datum, schema),
        }
    }

    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        }
    }

    fn integer(&self, letter: char, number: i128) -> Option<String> {
        let digits = match letter {
            'b' => format!("{:b}", number.unsigned_abs()),
            'o' => format!("{:o}", number.unsigned_abs()),
            'x' => format!("{:x}", number.unsigned_abs()),
            'X' => format!("{:X}", number.unsigned_abs()),
            'c' => return u32::try_from(number).ok().and_then(char::from_u32).map(String::from),
            'U' => return Some(format!("U+{number:04X}")),
            _ => number.unsigned_abs().to_string(),
        };
        let digits = format!("{digits:0>width$}", width = self.precision.unwrap_or(0));
        let prefix =
            if self.sharp && matches!(letter, 'x' | 'X') { format!("0{letter}") } else { String::new() };
        Some(format!("{}{prefix}{digits}", self.sign(number < 0)))
    }

    fn hexadecimal(&self, letter: char, datum: &Datum<'_>) -> Option<String> {
        let Value::String(text) = &*datum.value else {
            return integer(&datum.value).and_then(|number| self.integer(letter, number));
        };
        let bytes = text
            .bytes()
            .map(|byte| if letter == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
        Some(bytes.collect())
    }

    fn float(&self, letter: char, float: f64) -> Option<String> {
        let magnitude = float.abs();
        let digits = match letter {
            'f' | 'F' => format!("{magnitude:.*}", self.precision.unwrap_or(6)),
            'e' | 'E' => {
                let text = format!("{magnitude:.*e}", self.precision.unwrap_or(6));
                let (digits, power) = text.split_once('e')?;
                let power: i32 = power.parse().ok()?;
                let sign = if power < 0 { '-' } else { '+' };
                format!("{digits}{}{sign}{:02}", letter, power.unsigned_abs())
            }
            _ => float_text(magnitude),
        };
        Some(format!("{}{digits}", self.sign(float.is_sign_negative())))
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.blank) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        }
    }

    fn pad(&self, text: String, letter: char) -> String {
        let Some(width) = self.width else { return text };
        let missing = width.saturating_sub(text.chars().count());
        if self.left {
            return text + &" ".repeat(missing);
        }
        if self.zero && !matches!(letter, 'v' | 'T') {
            let sign = text.len() - text.trim_start_matches(['+', '-']).len();
            return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
        }
        " ".repeat(missing) + &text
    }
}

/// A width or precision: digits, or `*` for the next argument.
fn size<'d>(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &mut impl Iterator<Item = &'d Datum<'d>>,
) -> Option<usize> {
    if chars.next_if_eq(&'*').is_some() {
        let given = arguments.next().and_then(|datum| datum.value.as_u64())?;
        return usize::try_from(given).ok().map(|width| width.min(MAX_WIDTH));
    }
    let mut width = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        width = Some((width.unwrap_or(0) * 10 + digit as usize).min(MAX_WIDTH));
        chars.next();
    }
    width
}

fn integer(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// A string as Go quotes it.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
