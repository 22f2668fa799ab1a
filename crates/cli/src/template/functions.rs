//! The functions a template can call: Go's own and Docker's.

use super::datum::{Datum, Schema, Shape};
use super::format;
use serde_json::{Number, Value};
use std::cmp::Ordering;
use std::fmt::Write as _;

const NAMES: [&str; 26] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt", "le", "gt",
    "ge", "json", "split", "join", "title", "lower", "upper", "pad", "truncate", "html", "js", "urlquery",
];

/// Whether a function of that name exists.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function; of `and` and `or`, which look at operands one by one, only the fault is known here.
///
/// # Errors
/// What Go says of arguments that do not fit.
pub(super) fn call<'a>(name: &str, args: &[Datum<'a>], schema: &Schema) -> Result<Datum<'a>, String> {
    if let (true, "json" | "split" | "join" | "pad" | "truncate", Some(heading)) =
        (schema.heading, name, args.first())
    {
        return Ok(heading.clone());
    }
    match name {
        "and" | "or" => Err(arity(name, "at least 1", args.len())),
        "not" => one(name, args).map(|datum| (!datum.truth()).into()),
        "len" => one(name, args).and_then(length),
        "index" => index(args),
        "slice" => slice(args),
        "print" => Ok(print(args, schema).into()),
        "println" => Ok(println(args, schema).into()),
        "printf" => {
            let (format, rest) = args.split_first().ok_or_else(|| arity(name, "at least 1", 0))?;
            Ok(format::printf(text(name, format)?, rest, schema).into())
        }
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => compare(name, args).map(Into::into),
        "json" => one(name, args).map(|datum| json(datum, schema).into()),
        "html" => Ok(html(&print(args, schema)).into()),
        "js" => Ok(javascript(&print(args, schema)).into()),
        "urlquery" => Ok(url_query(&print(args, schema)).into()),
        _ => strings(name, args),
    }
}

fn strings<'a>(name: &str, args: &[Datum<'a>]) -> Result<Datum<'a>, String> {
    match name {
        "lower" => Ok(text(name, one(name, args)?)?.to_lowercase().into()),
        "upper" => Ok(text(name, one(name, args)?)?.to_uppercase().into()),
        "title" => Ok(title(text(name, one(name, args)?)?).into()),
        "split" => {
            let [whole, separator] = two(name, args)?;
            Ok(Value::from(split(text(name, whole)?, text(name, separator)?)).into())
        }
        "join" => {
            let [list, separator] = two(name, args)?;
            join(list, text(name, separator)?)
        }
        "truncate" => {
            let [whole, length] = two(name, args)?;
            let length = position(length)?;
            Ok(text(name, whole)?.chars().take(length).collect::<String>().into())
        }
        "pad" => match args {
            [whole, before, after] => {
                let spaces = |datum| position(datum).map(|n| " ".repeat(n.min(10_000)));
                let whole = text(name, whole)?;
                let padded = format!("{}{whole}{}", spaces(before)?, spaces(after)?);
                Ok(if whole.is_empty() { String::new() } else { padded }.into())
            }
            _ => Err(arity(name, "3", args.len())),
        },
        _ => Err(format!("{name:?} is not a defined function")),
    }
}

fn arity(name: &str, wanted: &str, given: usize) -> String {
    format!("wrong number of args for {name}: want {wanted} got {given}")
}

fn one<'d, 'a>(name: &str, args: &'d [Datum<'a>]) -> Result<&'d Datum<'a>, String> {
    if let [datum] = args { Ok(datum) } else { Err(arity(name, "1", args.len())) }
}

fn two<'d, 'a>(name: &str, args: &'d [Datum<'a>]) -> Result<[&'d Datum<'a>; 2], String> {
    if let [first, second] = args { Ok([first, second]) } else { Err(arity(name, "2", args.len())) }
}

fn text<'d>(name: &str, datum: &'d Datum<'_>) -> Result<&'d str, String> {
    datum.text().ok_or_else(|| {
        format!("wrong type for value in call of {name}: expected string; got {}", datum.type_name())
    })
}

fn length<'a>(datum: &Datum<'a>) -> Result<Datum<'a>, String> {
    let length = match &*datum.value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        Value::Null if datum.shape.is_map() || datum.shape == Shape::List => 0,
        Value::Null => return Err("error calling len: len of nil pointer".to_owned()),
        _ => return Err(format!("error calling len: len of type {}", datum.type_name())),
    };
    Ok(Value::from(length).into())
}

fn index<'a>(args: &[Datum<'a>]) -> Result<Datum<'a>, String> {
    let (collection, keys) = args.split_first().ok_or_else(|| arity("index", "at least 1", 0))?;
    let mut found = collection.clone();
    for key in keys {
        found = match &*found.value {
            Value::Array(list) => {
                let at = within(key, list.len(), "index")?;
                if at == list.len() {
                    return Err(format!("error calling index: index out of range: {at}"));
                }
                found.element(at)
            }
            Value::String(text) => {
                let at = within(key, text.len(), "index")?;
                let byte = text.as_bytes().get(at);
                let byte = byte.ok_or_else(|| format!("error calling index: index out of range: {at}"))?;
                Value::from(*byte).into()
            }
            Value::Object(_) => {
                let key = key.text().ok_or_else(|| {
                    format!("error calling index: value has type {}; should be string", key.type_name())
                })?;
                found.entry(key).unwrap_or_else(|| found.zero_entry())
            }
            Value::Null if found.shape.is_map() => found.zero_entry(),
            Value::Null if found.shape == Shape::List => {
                return Err(format!("error calling index: index out of range: {}", key.value));
            }
            Value::Null => return Err("error calling index: index of untyped nil".to_owned()),
            _ => return Err(format!("error calling index: can't index item of type {}", found.type_name())),
        };
    }
    Ok(found)
}

/// A position up to and with `length`.
fn within(key: &Datum<'_>, length: usize, name: &str) -> Result<usize, String> {
    let Some(number) = key.value.as_i64() else {
        return Err(format!("error calling {name}: cannot index slice/array with type {}", key.type_name()));
    };
    match usize::try_from(number) {
        Ok(at) if at <= length => Ok(at),
        _ => Err(format!("error calling {name}: index out of range: {number}")),
    }
}

fn slice<'a>(args: &[Datum<'a>]) -> Result<Datum<'a>, String> {
    let (collection, bounds) = args.split_first().ok_or_else(|| arity("slice", "at least 1", 0))?;
    if bounds.len() > 2 {
        return Err(format!("error calling slice: too many slice indexes: {}", bounds.len()));
    }
    let length = match &*collection.value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        _ => return Err(format!("error calling slice: can't slice item of type {}", collection.type_name())),
    };
    let start = bounds.first().map_or(Ok(0), |bound| within(bound, length, "slice"))?;
    let end = bounds.get(1).map_or(Ok(length), |bound| within(bound, length, "slice"))?;
    if start > end {
        return Err(format!("error calling slice: invalid slice index: {start} > {end}"));
    }
    Ok(match &*collection.value {
        Value::String(text) => String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned().into(),
        Value::Array(list) => Value::Array(list[start..end].to_vec()).into(),
        _ => Datum::missing(),
    })
}

/// Go's `Sprint`: a space between two operands when neither is a string.
fn print(args: &[Datum<'_>], schema: &Schema) -> String {
    let mut printed = String::new();
    for (at, datum) in args.iter().enumerate() {
        if at > 0 && !datum.value.is_string() && !args[at - 1].value.is_string() {
            printed.push(' ');
        }
        printed.push_str(&format::display(datum, schema));
    }
    printed
}

fn println(args: &[Datum<'_>], schema: &Schema) -> String {
    args.iter().map(|datum| format::display(datum, schema)).collect::<Vec<_>>().join(" ") + "\n"
}

fn compare(name: &str, args: &[Datum<'_>]) -> Result<bool, String> {
    let (first, others) = args.split_first().ok_or_else(|| arity(name, "at least 1", 0))?;
    let wrap = |fault: &str| format!("error calling {name}: {fault}");
    if others.is_empty() {
        return Err(wrap("missing argument for comparison"));
    }
    if name == "eq" {
        for other in others {
            if equal(first, other).map_err(wrap)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let [other] = others else { return Err(arity(name, "2", args.len())) };
    if name == "ne" {
        return equal(first, other).map(|same| !same).map_err(wrap);
    }
    let order = order(first, other).map_err(wrap)?;
    Ok(match name {
        "lt" => order == Ordering::Less,
        "le" => order != Ordering::Greater,
        "gt" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

fn equal(left: &Datum<'_>, right: &Datum<'_>) -> Result<bool, &'static str> {
    match (&*left.value, &*right.value) {
        (Value::Null, _) | (_, Value::Null) => Ok(left.value == right.value),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err("non-comparable type")
        }
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::String(left), Value::String(right)) => Ok(left == right),
        (Value::Number(left), Value::Number(right)) => same_kind(left, right)
            .then(|| number_order(left, right) == Some(Ordering::Equal))
            .ok_or("incompatible types for comparison"),
        _ => Err("incompatible types for comparison"),
    }
}

fn order(left: &Datum<'_>, right: &Datum<'_>) -> Result<Ordering, &'static str> {
    match (&*left.value, &*right.value) {
        (Value::String(left), Value::String(right)) => Ok(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) if same_kind(left, right) => {
            number_order(left, right).ok_or("invalid type for comparison")
        }
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) => {
            Err("incompatible types for comparison")
        }
        _ => Err("invalid type for comparison"),
    }
}

fn same_kind(left: &Number, right: &Number) -> bool {
    left.is_f64() == right.is_f64()
}

fn number_order(left: &Number, right: &Number) -> Option<Ordering> {
    let integer =
        |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn json(datum: &Datum<'_>, schema: &Schema) -> String {
    let text = match &*datum.value {
        value if schema.json.is_some() => schema.json.map_or_else(String::new, |write| write(value)),
        Value::Object(map) if schema.methods.iter().any(|method| map.contains_key(*method)) => {
            let shown = map.iter().filter(|(key, _)| !schema.methods.contains(&key.as_str()));
            Value::Object(shown.map(|(key, value)| (key.clone(), value.clone())).collect()).to_string()
        }
        value => value.to_string(),
    };
    if schema.row && datum.value.is_object() { html_safe(&text) } else { text }
}

/// JSON with what is special in HTML as escapes, as Go marshals it.
/// JSON with what has a meaning in HTML written as escapes, as Go does it unless told otherwise.
pub(crate) fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn position(datum: &Datum<'_>) -> Result<usize, String> {
    let number = datum.value.as_i64().ok_or_else(|| format!("expected integer; found {}", datum.value))?;
    Ok(usize::try_from(number).unwrap_or(0))
}

fn split(whole: &str, separator: &str) -> Vec<String> {
    match separator {
        "" => whole.chars().map(String::from).collect(),
        _ => whole.split(separator).map(str::to_owned).collect(),
    }
}

fn join<'a>(list: &Datum<'a>, separator: &str) -> Result<Datum<'a>, String> {
    let wrong = || format!("wrong type for value; expected []string; got {}", list.type_name());
    match &*list.value {
        Value::Null => Ok(String::new().into()),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
            Ok(items.ok_or_else(wrong)?.join(separator).into())
        }
        _ => Err(wrong()),
    }
}

/// Go's `strings.Title`: the first letter of every word in upper case, the rest as it is.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric() || matches!(c, '_' | '\'');
    }
    titled
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\0' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn javascript(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => escaped.extend(['\\', c]),
            '<' | '>' | '&' | '=' | '\0'..' ' => {
                let _ = write!(escaped, "\\u{:04X}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn url_query(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}
