//! Go's `filepath.Match`: what COPY understands in the names of its sources.

use std::iter::Peekable;

/// Whether a whole name is matched: `*` and `?` never match a slash. `None` for a malformed pattern.
///
/// # Source
/// Go, `path/filepath`, `Match`.
pub fn matches(pattern: &str, name: &str) -> Option<bool> {
    let tokens = parse(pattern)?;
    let chars: Vec<char> = name.chars().collect();
    Some(run(&tokens, &chars))
}

/// Whether the pattern can be read.
pub fn is_valid(pattern: &str) -> bool {
    parse(pattern).is_some()
}

/// Whether there is something in it that is no plain character: `*`, `?`, `[`.
pub fn has_wildcards(pattern: &str) -> bool {
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    false
}

/// A pattern's folder before the first part with a wildcard, and the rest: `("a/b", "c*/d")` of `a/b/c*/d`.
///
/// The folder can be opened as it is, so that nothing beside it needs to be read. An escaped character is none of a
/// folder that can be opened, so it counts as a wildcard here.
pub fn split(pattern: &str) -> (&str, &str) {
    let wild = pattern.find(['*', '?', '[', '\\']);
    let cut = wild.map_or(pattern.len(), |at| pattern[..at].rfind('/').map_or(0, |slash| slash + 1));
    let (folder, rest) = pattern.split_at(cut);
    let trimmed = folder.strip_suffix('/').filter(|folder| !folder.is_empty());
    (trimmed.unwrap_or(folder), rest)
}

/// A set of characters: `[a-z]`, `[^a-z]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Reads one whose `[` is already taken.
    pub(crate) fn parse<I: Iterator<Item = char>>(chars: &mut Peekable<I>) -> Option<Self> {
        let negated = chars.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                return Some(Self { negated, ranges });
            }
            let low = class_char(chars)?;
            let high = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { low };
            ranges.push((low, high));
        }
    }

    /// Whether no range of it is written backwards: `[z-a]`.
    pub(crate) fn is_ordered(&self) -> bool {
        self.ranges.iter().all(|(low, high)| low <= high)
    }

    /// Whether the character is in it.
    pub(crate) fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|&(low, high)| low <= c && c <= high) != self.negated
    }
}

fn class_char<I: Iterator<Item = char>>(chars: &mut Peekable<I>) -> Option<char> {
    let c = match chars.next()? {
        '-' | ']' => return None,
        '\\' => chars.next()?,
        c => c,
    };
    // an unclosed class is malformed
    chars.peek()?;
    Some(c)
}

enum Token {
    Char(char),
    One,
    Many,
    Class(Class),
}

fn parse(pattern: &str) -> Option<Vec<Token>> {
    let mut chars = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Many,
            '?' => Token::One,
            '[' => Token::Class(Class::parse(&mut chars)?),
            '\\' => Token::Char(chars.next()?),
            c => Token::Char(c),
        });
    }
    Some(tokens)
}

/// Greedy with one point to come back to: the last `*` is the only one that matters.
fn run(tokens: &[Token], chars: &[char]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if token < tokens.len() && matches!(tokens[token], Token::Many) {
            star = Some((token, at));
            token += 1;
            continue;
        }
        let step = match (tokens.get(token), chars.get(at)) {
            (None, None) => return true,
            (Some(token), Some(&c)) => match token {
                Token::Char(wanted) => *wanted == c,
                Token::One => c != '/',
                Token::Class(class) => c != '/' && class.contains(c),
                Token::Many => false,
            },
            _ => false,
        };
        if step {
            token += 1;
            at += 1;
            continue;
        }
        match star {
            Some((star_token, star_at)) if chars.get(star_at).is_some_and(|&c| c != '/') => {
                star = Some((star_token, star_at + 1));
                token = star_token + 1;
                at = star_at + 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: Option<bool>) {
        assert_eq!(matches(pattern, name), expected, "{pattern} ~ {name}");
    }

    #[test]
    fn as_go_matches() {
        check("abc", "abc", Some(true));
        check("*c", "abc", Some(true));
        check("a*", "ab/c", Some(false));
        check("a*/b", "a/c/b", Some(false));
        check("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true));
        check("a*b?c*x", "abxbbxdbxebxczzx", Some(true));
        check("a*b?c*x", "abxbbxdbxebxczzy", Some(false));
        check("ab[c]", "abc", Some(true));
        check("ab[^c]", "abc", Some(false));
        check("ab[b-d]", "abc", Some(true));
        check("a\\*b", "a*b", Some(true));
        check("a?b", "a/b", Some(false));
        check("[]a]", "]", None);
        check("[-]", "-", None);
        check("[x-]", "x", None);
        check("[\\-x]", "-", Some(true));
        check("a[", "a", None);
        check("*x", "xxx", Some(true));
        check("**", "a/b", Some(false));
    }

    #[test]
    fn the_folder_before_the_first_wildcard() {
        for (pattern, expected) in [
            ("/a/b/c*/d", ("/a/b", "c*/d")),
            ("*", ("", "*")),
            ("/*", ("/", "*")),
            ("/a/b", ("/a/b", "")),
            ("a/\\*x", ("a", "\\*x")),
        ] {
            assert_eq!(split(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn wildcards_can_be_escaped() {
        assert!(has_wildcards("a*"));
        assert!(!has_wildcards("a\\*"));
    }
}
