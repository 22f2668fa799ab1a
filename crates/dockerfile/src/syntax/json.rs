//! The JSON form of arguments.

/// What an argument text is, read as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array of something else: a fault.
    Others,
    /// No array: the other form counts.
    No,
}

/// Reads an argument text as an array of strings.
pub(crate) fn parse_json(text: &str) -> Json {
    let text = text.trim();
    if !text.starts_with('[') {
        return Json::No;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Json::No };
    values
        .into_iter()
        .map(|value| if let serde_json::Value::String(text) = value { Some(text) } else { None })
        .collect::<Option<_>>()
        .map_or(Json::Others, Json::Strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_others_and_neither() {
        assert_eq!(parse_json(r#" ["a", "b\n"] "#), Json::Strings(vec!["a".into(), "b\n".into()]));
        assert_eq!(parse_json("[]"), Json::Strings(Vec::new()));
        assert_eq!(parse_json("[1]"), Json::Others);
        assert_eq!(parse_json(r#"[["a"]]"#), Json::Others);
        assert_eq!(parse_json("['a']"), Json::No);
        assert_eq!(parse_json(r#"["a" "b"]"#), Json::No);
        assert_eq!(parse_json("a"), Json::No);
    }
}
