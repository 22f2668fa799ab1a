//! Words and flags of a joined line, each with its place.

use super::{Flag, Joined, Word, is_go_blank};

/// The parts of an argument text between blanks; quotes mean nothing.
pub(crate) fn split_blanks(line: &Joined, start: usize, end: usize) -> Vec<Word> {
    let text = &line.text[start..end];
    if text.is_empty() {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut from = None;
    for (at, c) in text.char_indices() {
        match (is_go_blank(c), from) {
            (true, Some(first)) => {
                words.push(line.word(start + first, start + at));
                from = None;
            }
            (false, None) => from = Some(at),
            _ => {}
        }
    }
    if let Some(first) = from {
        words.push(line.word(start + first, end));
    }
    words
}

/// The words of an argument text: quotes and escapes hold them together, and stay in them.
pub(crate) fn split_words(line: &Joined, start: usize, end: usize, escape: char) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = line.text[start..end].char_indices().peekable();
    let mut current: Option<(usize, String)> = None;
    let mut quote: Option<char> = None;
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some((first, text)) = current.take() {
                let span = line.span(start + first, start + at);
                words.push(Word { text, span });
            }
            continue;
        }
        let (_, text) = current.get_or_insert_with(|| (at, String::new()));
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            // an escape at the very end is dropped
            if let Some((_, next)) = chars.next() {
                text.push(c);
                text.push(next);
            }
            continue;
        }
        text.push(c);
    }
    if let Some((first, text)) = current
        && !text.is_empty()
    {
        words.push(Word { text, span: line.span(start + first, end) });
    }
    words
}

/// Takes the flags from the front of an argument text; says where the rest begins. Quotes are taken off.
pub(super) fn take_flags(line: &Joined, start: usize, escape: char) -> (Vec<Flag>, usize) {
    let text = line.text.as_str();
    let mut flags = Vec::new();
    let mut at = start;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if !text[at..].starts_with("--") {
            return (flags, at);
        }
        let (word, end) = flag_word(text, at, escape);
        if word == "--" {
            return (flags, end);
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let name = name.strip_prefix("--").unwrap_or(name).to_owned();
        flags.push(Flag { name, value, span: line.span(at, end) });
        at = end;
    }
}

/// Where the rest begins behind the flags of a trigger.
pub(crate) fn take_inner_flags(line: &Joined, start: usize, escape: char) -> usize {
    take_flags(line, start, escape).1
}

/// One word without its quotes, and its end.
fn flag_word(text: &str, start: usize, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text[start..].char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, start + at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => {
                if let Some((_, next)) = chars.next() {
                    word.push(next);
                }
            }
            _ => word.push(c),
        }
    }
    (word, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Span;

    fn check(text: &str, expected: &[&str]) {
        let line = Joined::fixed(text, Span::default());
        let words: Vec<String> =
            split_words(&line, 0, text.len(), '\\').into_iter().map(|word| word.text).collect();
        assert_eq!(words, expected, "{text}");
    }

    #[test]
    fn quotes_and_escapes_hold_words_together() {
        check("a  b", &["a", "b"]);
        check(r#"a="b c" d"#, &[r#"a="b c""#, "d"]);
        check(r"a=b\ c d", &[r"a=b\ c", "d"]);
        check(r#"a="b\" c" d"#, &[r#"a="b\" c""#, "d"]);
        check(r"a='b\' c", &[r"a='b\'", "c"]);
        check(r"a\", &["a"]);
        check(r#""""#, &[r#""""#]);
        check("", &[]);
    }

    #[test]
    fn flags_end_where_something_else_comes() {
        let text = r#"--a=1 --b "--c" -- --d"#;
        let line = Joined::fixed(text, Span::default());
        let (flags, rest) = take_flags(&line, 0, '\\');
        assert_eq!(flags.len(), 2);
        assert_eq!(&text[rest..], r#""--c" -- --d"#);
        let text = r#"--a="x y" -- --d"#;
        let line = Joined::fixed(text, Span::default());
        let (flags, rest) = take_flags(&line, 0, '\\');
        assert_eq!(flags[0].value.as_deref(), Some("x y"));
        assert_eq!(&text[rest..], " --d");
    }
}
