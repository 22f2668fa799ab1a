//! Variables in the words of instructions: `$v`, `${v}`, and what can stand behind the name.
//!
//! The same reader takes quotes and escapes off, and splits a text into words, as a shell would. It never
//! recurses deeper than a hundred references within each other.

mod pattern;

use std::collections::BTreeSet;

use pattern::Pattern;

/// How deep references can be nested.
const DEPTH: usize = 100;
/// How much all values in one text may come to: variables that hold each other twice grow without bound.
const LONGEST_BYTES: usize = 1 << 20;

/// Where values come from.
pub trait Variables {
    /// The value of a name, if it is set.
    fn get(&self, name: &str) -> Option<&str>;
}

/// No variables at all.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Variables for Nothing {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// Every variable is set, to nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anything;

impl Variables for Anything {
    fn get(&self, _name: &str) -> Option<&str> {
        Some("")
    }
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A `'` without its partner.
    #[error("unexpected end of statement while looking for matching single-quote")]
    SingleQuote,
    /// A `"` without its partner.
    #[error("unexpected end of statement while looking for matching double-quote")]
    DoubleQuote,
    /// A `${` without its `}`.
    #[error("syntax error: missing '}}'")]
    Unclosed,
    /// A `${v/p` without its second slash.
    #[error("syntax error: missing '/' in ${{}}")]
    NoReplacement,
    /// Something like `${}`.
    #[error("syntax error: bad substitution")]
    Bad,
    /// Something unknown behind the name.
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    /// `${v?}` and no value.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the file says about it.
        message: String,
    },
    /// A pattern that cannot be read.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape '\\{escaped}'")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What must not be escaped.
        escaped: String,
    },
    /// References inside of references, without end.
    #[error("substitutions are nested too deeply")]
    Depth,
    /// Values that come to more than any text should.
    #[error("the values in it come to more than {LONGEST_BYTES} bytes")]
    TooLong,
    /// A pattern that is tried without end.
    #[error("the pattern takes too long to match")]
    Steps,
}

/// What a text became.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The whole text.
    pub text: String,
    /// The same, as the words that blanks outside of quotes make of it.
    pub words: Vec<String>,
    /// The variables in it that are set.
    pub used: BTreeSet<String>,
    /// The variables in it that are not set.
    pub missing: BTreeSet<String>,
}

/// How a text is read.
#[expect(clippy::struct_excessive_bools, reason = "four independent switches")]
#[derive(Debug, Clone, Copy)]
pub struct Lexer {
    /// What escapes.
    pub escape: char,
    /// Quotes stay in the text.
    pub keep_quotes: bool,
    /// Escapes stay in the text.
    pub keep_escapes: bool,
    /// Quotes mean nothing.
    pub ignore_quotes: bool,
    /// References to what is not set stay in the text.
    pub keep_unset: bool,
}

impl Lexer {
    /// The usual way: quotes and escapes are taken off.
    pub const fn new(escape: char) -> Self {
        Self { escape, keep_quotes: false, keep_escapes: false, ignore_quotes: false, keep_unset: false }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// What is malformed in it, or a value that it demands.
    pub fn expand(self, text: &str, variables: &dyn Variables) -> Result<Expanded, ExpandError> {
        if !text.contains(['$', '\'', '"', '<', self.escape]) {
            let words = text.split_whitespace().map(str::to_owned).collect();
            return Ok(Expanded { text: text.to_owned(), words, ..Expanded::default() });
        }
        let mut reader = Reader {
            lexer: self,
            chars: text.chars().collect(),
            at: 0,
            variables,
            depth: 0,
            put_bytes: 0,
            used: BTreeSet::new(),
            missing: BTreeSet::new(),
        };
        let (text, words) = reader.until(None, self.keep_escapes)?;
        Ok(Expanded { text, words, used: reader.used, missing: reader.missing })
    }
}

struct Reader<'a> {
    lexer: Lexer,
    chars: Vec<char>,
    at: usize,
    variables: &'a dyn Variables,
    depth: usize,
    /// How much has been put in the place of references.
    put_bytes: usize,
    used: BTreeSet<String>,
    missing: BTreeSet<String>,
}

/// Words in the making.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
}

impl Words {
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.current.push(c);
        } else if !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.current.is_empty() {
            self.done.push(self.current);
        }
        self.done
    }
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Reads up to a character, or to the end.
    fn until(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
    ) -> Result<(String, Vec<String>), ExpandError> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.at += 1;
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.push(c));
                    text.push_str(&value);
                }
                '\'' | '"' if !self.lexer.ignore_quotes => {
                    let quoted =
                        if c == '"' { self.double_quoted(keep_escapes)? } else { self.single_quoted()? };
                    words.current.push_str(&quoted);
                    text.push_str(&quoted);
                }
                '<' => {
                    let mark = self.heredoc_mark();
                    words.current.push_str(&mark);
                    text.push_str(&mark);
                }
                _ if c == self.lexer.escape => {
                    self.at += 1;
                    if keep_escapes {
                        words.current.push(c);
                        text.push(c);
                    }
                    let Some(escaped) = self.next() else { break };
                    words.current.push(escaped);
                    text.push(escaped);
                }
                _ => {
                    self.at += 1;
                    words.push(c);
                    text.push(c);
                }
            }
        }
        if stop.is_some() { Err(ExpandError::Unclosed) } else { Ok((text, words.finish())) }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.at += 1;
        if self.lexer.keep_quotes {
            text.push('\'');
        }
        loop {
            match self.next().ok_or(ExpandError::SingleQuote)? {
                '\'' => break,
                c => text.push(c),
            }
        }
        if self.lexer.keep_quotes {
            text.push('\'');
        }
        Ok(text)
    }

    fn double_quoted(&mut self, keep_escapes: bool) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.at += 1;
        if self.lexer.keep_quotes {
            text.push('"');
        }
        loop {
            match self.peek().ok_or(ExpandError::DoubleQuote)? {
                '"' => break,
                '$' => text.push_str(&self.dollar()?),
                c if c == self.lexer.escape => {
                    self.at += 1;
                    if keep_escapes {
                        text.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == self.lexer.escape => {
                            self.at += 1;
                            text.push(escaped);
                        }
                        Some(_) => text.push(c),
                    }
                }
                c => {
                    self.at += 1;
                    text.push(c);
                }
            }
        }
        self.at += 1;
        if self.lexer.keep_quotes {
            text.push('"');
        }
        Ok(text)
    }

    /// `<`, or `<<` with the blanks behind it: the name of a here-document may stand apart.
    fn heredoc_mark(&mut self) -> String {
        self.at += 1;
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.at += 1;
        let mut mark = "<<".to_owned();
        while let Some(blank @ ('\t' | '\r' | ' ')) = self.peek() {
            self.at += 1;
            mark.push(blank);
        }
        mark
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        let value = self.reference()?;
        self.put_bytes += value.len();
        if self.put_bytes > LONGEST_BYTES { Err(ExpandError::TooLong) } else { Ok(value) }
    }

    fn reference(&mut self) -> Result<String, ExpandError> {
        self.at += 1;
        if self.peek() == Some('{') {
            self.at += 1;
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(ExpandError::Depth);
            }
            let value = self.braced()?;
            self.depth -= 1;
            return Ok(value);
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.value(&name) {
            Some(value) => value,
            None if self.lexer.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    fn braced(&mut self) -> Result<String, ExpandError> {
        match self.peek() {
            None => return Err(ExpandError::Unclosed),
            Some('{' | '}' | ':') => return Err(ExpandError::Bad),
            Some(_) => {}
        }
        let name = self.name();
        match self.next().ok_or(ExpandError::Unclosed)? {
            '}' => Ok(match self.value(&name) {
                Some(value) => value,
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            ':' => {
                let kind = self.next().ok_or(ExpandError::Unclosed)?;
                if matches!(kind, '#' | '%') {
                    return Err(ExpandError::Modifier(format!(":{kind}")));
                }
                self.modified(&name, kind, true, false)
            }
            kind @ ('+' | '-' | '?') => self.modified(&name, kind, false, false),
            kind @ ('#' | '%') => self.modified(&name, kind, false, true),
            '/' => self.replaced(&name),
            other => Err(ExpandError::Modifier(other.to_string())),
        }
    }

    /// `${v-word}` and its kin. With `empty_is_unset` there was a colon.
    fn modified(
        &mut self,
        name: &str,
        kind: char,
        empty_is_unset: bool,
        keep_escapes: bool,
    ) -> Result<String, ExpandError> {
        let (word, _) = self.until(Some('}'), keep_escapes).map_err(|error| self.unclosed(error))?;
        let value = self.value(name);
        let colon = if empty_is_unset { ":" } else { "" };
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}{colon}{kind}{word}}}"));
        }
        let there = value.as_deref().is_some_and(|value| !(empty_is_unset && value.is_empty()));
        match kind {
            '-' | '?' if there => Ok(value.unwrap_or_default()),
            '-' => Ok(word),
            '+' => Ok(if there { word } else { String::new() }),
            '?' => {
                let state = if value.is_some() { "empty" } else { "unset" };
                let message = if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
            '#' | '%' => {
                let (longest, pattern) = match word.strip_prefix(kind) {
                    Some(pattern) => (true, pattern),
                    None => (false, word.as_str()),
                };
                let pattern = Pattern::parse(pattern)?;
                let value = value.unwrap_or_default();
                if kind == '#' {
                    pattern.without_prefix(&value, longest)
                } else {
                    pattern.without_suffix(&value, longest)
                }
            }
            other => Err(ExpandError::Modifier(format!("{colon}{other}"))),
        }
    }

    /// `${v/pattern/replacement}`, and with two slashes for all places.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.at += 1;
        }
        let (pattern, _) = self.until(Some('/'), true).map_err(|error| match self.peek() {
            None => ExpandError::NoReplacement,
            Some(_) => error,
        })?;
        let (replacement, _) = self.until(Some('}'), true).map_err(|error| self.unclosed(error))?;
        let value = self.value(name);
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        Pattern::parse(&pattern)?.replace(&value.unwrap_or_default(), &replacement, all)
    }

    /// At the end of the text, an unclosed brace is what is wrong.
    fn unclosed(&self, error: ExpandError) -> ExpandError {
        match (self.peek(), &error) {
            (None, ExpandError::Unclosed | ExpandError::SingleQuote | ExpandError::DoubleQuote) => {
                ExpandError::Unclosed
            }
            _ => error,
        }
    }

    /// A name: letters, digits, underscores; or a number; or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let numeric = self.peek().is_some_and(char::is_numeric);
        while let Some(c) = self.peek() {
            let special = name.is_empty() && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!');
            let fits = if numeric { c.is_numeric() } else { c.is_alphanumeric() || c == '_' };
            if !fits && !special {
                break;
            }
            self.at += 1;
            name.push(c);
            if special {
                break;
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.variables.get(name).map(str::to_owned);
        let names = if value.is_some() { &mut self.used } else { &mut self.missing };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }
}

#[cfg(test)]
mod tests;
