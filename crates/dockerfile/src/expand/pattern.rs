//! Patterns inside of `${}`: `*` and `?`, and nothing else.

use super::ExpandError;

/// A pattern, ready to be matched.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Char(char),
    One,
    Many,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, ExpandError> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => match chars.peek().copied() {
                    // escaped for the braces' sake only
                    Some('}' | '/') => continue,
                    Some(escaped @ ('*' | '?' | '\\')) => {
                        chars.next();
                        Token::Char(escaped)
                    }
                    other => {
                        let escaped = other.map(String::from).unwrap_or_default();
                        return Err(ExpandError::Pattern { pattern: text.to_owned(), escaped });
                    }
                },
                c => Token::Char(c),
            });
        }
        Ok(Self(tokens))
    }

    pub(super) fn without_prefix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let end = self.end(&chars, longest).unwrap_or(0);
        chars[end..].iter().collect()
    }

    pub(super) fn without_suffix(&self, value: &str, longest: bool) -> String {
        let mut chars: Vec<char> = value.chars().rev().collect();
        let reversed = Self(self.0.iter().rev().copied().collect());
        let end = reversed.end(&chars, longest).unwrap_or(0);
        chars.drain(..end);
        chars.iter().rev().collect()
    }

    /// With the first match, or all, replaced; each as long as it can be.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        let mut after_match = false;
        while at <= chars.len() {
            match self.end(&chars[at..], true) {
                // nothing, right behind a match, is no further match
                Some(0) if after_match => after_match = false,
                Some(length) => {
                    out.push_str(replacement);
                    at += length;
                    if !all {
                        break;
                    }
                    after_match = length > 0;
                    if after_match {
                        continue;
                    }
                }
                None => after_match = false,
            }
            if let Some(&c) = chars.get(at) {
                out.push(c);
            }
            at += 1;
        }
        out.extend(chars.get(at..).unwrap_or_default());
        out
    }

    /// Where the shortest or longest match from the start ends. A wildcard never matches a line feed.
    fn end(&self, chars: &[char], longest: bool) -> Option<usize> {
        let mut reach = vec![0];
        for token in &self.0 {
            let mut next: Vec<usize> = Vec::new();
            for &at in &reach {
                match token {
                    Token::Char(wanted) if chars.get(at) == Some(wanted) => next.push(at + 1),
                    Token::One if chars.get(at).is_some_and(|&c| c != '\n') => next.push(at + 1),
                    Token::Char(_) | Token::One => {}
                    Token::Many => {
                        let line = chars[at..].iter().position(|&c| c == '\n');
                        let stop = line.map_or(chars.len(), |length| at + length);
                        let from = next.last().map_or(at, |&last| at.max(last + 1));
                        next.extend(from..=stop);
                    }
                }
            }
            if next.is_empty() {
                return None;
            }
            reach = next;
        }
        if longest { reach.last().copied() } else { reach.first().copied() }
    }
}
