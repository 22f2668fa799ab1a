//! Patterns inside of `${}`: `*` and `?`, and nothing else.

use std::cell::Cell;

use super::{ExpandError, LONGEST_BYTES};

/// How many steps the matching of one pattern may take: a tenth of a second, more or less.
const MOST_STEPS: usize = 1 << 25;

/// A pattern, ready to be matched.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
    steps_left: Cell<usize>,
}

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
        Ok(Self::of(tokens))
    }

    const fn of(tokens: Vec<Token>) -> Self {
        Self { tokens, steps_left: Cell::new(MOST_STEPS) }
    }

    pub(super) fn without_prefix(&self, value: &str, longest: bool) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let end = self.end(&chars, longest)?.unwrap_or(0);
        Ok(chars[end..].iter().collect())
    }

    pub(super) fn without_suffix(&self, value: &str, longest: bool) -> Result<String, ExpandError> {
        let mut chars: Vec<char> = value.chars().rev().collect();
        let reversed = Self::of(self.tokens.iter().rev().copied().collect());
        let end = reversed.end(&chars, longest)?.unwrap_or(0);
        chars.drain(..end);
        Ok(chars.iter().rev().collect())
    }

    /// With the first match, or all, replaced; each as long as it can be.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        let mut after_match = false;
        while at <= chars.len() {
            match self.end(&chars[at..], true)? {
                // nothing, right behind a match, is no further match
                Some(0) if after_match => after_match = false,
                Some(length) => {
                    out.push_str(replacement);
                    if out.len() > LONGEST_BYTES {
                        return Err(ExpandError::TooLong);
                    }
                    at += length;
                    if !all {
                        break;
                    }
                    after_match = length > 0;
                    if after_match {
                        continue;
                    }
                }
                // what a wildcard does not reach from here, it does not from further on in the line
                None if self.tokens.first() == Some(&Token::Many) => {
                    after_match = false;
                    let end = line_end(&chars, at);
                    out.extend(&chars[at..end]);
                    at = end;
                }
                None => after_match = false,
            }
            if let Some(&c) = chars.get(at) {
                out.push(c);
            }
            at += 1;
        }
        out.extend(chars.get(at..).unwrap_or_default());
        Ok(out)
    }

    /// Where the shortest or longest match from the start ends. A wildcard never matches a line feed.
    fn end(&self, chars: &[char], longest: bool) -> Result<Option<usize>, ExpandError> {
        let mut reach = vec![0];
        for token in &self.tokens {
            let mut next: Vec<usize> = Vec::new();
            let mut line: Option<usize> = None;
            for &at in &reach {
                match token {
                    Token::Char(wanted) if chars.get(at) == Some(wanted) => next.push(at + 1),
                    Token::One if chars.get(at).is_some_and(|&c| c != '\n') => next.push(at + 1),
                    Token::Char(_) | Token::One => {}
                    Token::Many => {
                        let stop = line.filter(|stop| at <= *stop).unwrap_or_else(|| line_end(chars, at));
                        line = Some(stop);
                        let from = next.last().map_or(at, |&last| at.max(last + 1));
                        next.extend(from..=stop);
                    }
                }
            }
            let left = self.steps_left.get().checked_sub(reach.len() + next.len());
            self.steps_left.set(left.ok_or(ExpandError::Steps)?);
            if next.is_empty() {
                return Ok(None);
            }
            reach = next;
        }
        Ok(if longest { reach.last().copied() } else { reach.first().copied() })
    }
}

/// Where the line ends that a place is in.
fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |length| at + length)
}
