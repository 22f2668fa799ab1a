//! Cuts a Go template into text and tokens.

use super::error::TemplateError;

/// One token, with the byte offset where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) offset: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text outside of any action, trimmed as the markers beside it ask.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// White space between two words of an action; it decides whether `.a .b` is one operand or two.
    Space,
    /// A keyword or the name of a function.
    Word(String),
    /// `.`
    Dot,
    /// `.name`
    Field(String),
    /// `$` or `$name`, with the dollar sign.
    Variable(String),
    /// A quoted, raw or character literal, decoded.
    Literal(Literal),
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
}

/// A constant of the template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Integer(i64),
    Float(f64),
}

/// Cuts `source` into tokens.
///
/// # Errors
/// An action, comment or string that is never closed, or a character that Go's template language lacks.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new() };
    let mut trim_start = false;
    loop {
        let rest = &source[lexer.at..];
        let Some(open) = rest.find("{{") else {
            lexer.push_text(rest, trim_start, false);
            return Ok(lexer.tokens);
        };
        let inside = &rest[open + 2..];
        let trims_left = is_left_trim(inside);
        lexer.push_text(&rest[..open], trim_start, trims_left);
        lexer.at += open;
        let body = if trims_left { 4 } else { 2 };
        trim_start = match rest[open + body..].strip_prefix("/*") {
            Some(_) => lexer.comment(body)?,
            None => lexer.action(body)?,
        };
    }
}

fn is_left_trim(inside: &str) -> bool {
    let mut chars = inside.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn push_text(&mut self, text: &str, trim_start: bool, trim_end: bool) {
        let mut kept = text;
        if trim_start {
            kept = kept.trim_start_matches(is_space);
        }
        if trim_end {
            kept = kept.trim_end_matches(is_space);
        }
        if !kept.is_empty() {
            self.tokens.push(Token { kind: Kind::Text(kept.to_owned()), offset: self.at });
        }
    }

    /// Skips a comment; says whether the text after it is to be trimmed.
    fn comment(&mut self, body: usize) -> Result<bool, TemplateError> {
        let start = self.at;
        let rest = &self.source[start + body..];
        let end = rest.find("*/").ok_or_else(|| self.fault("unclosed comment"))? + 2;
        let (trims, close) = closing(&rest[end..]);
        if close == 0 {
            return Err(self.fault("comment ends before closing delimiter"));
        }
        self.at = start + body + end + close;
        Ok(trims)
    }

    /// Reads one action; says whether the text after it is to be trimmed.
    fn action(&mut self, body: usize) -> Result<bool, TemplateError> {
        self.push(Kind::Open, self.at);
        self.at += body;
        loop {
            let rest = &self.source[self.at..];
            let (trims, close) = closing(rest);
            if close > 0 {
                self.push(Kind::Close, self.at);
                self.at += close;
                return Ok(trims);
            }
            let Some(first) = rest.chars().next() else { return Err(self.fault("unclosed action")) };
            let (kind, length) = self.token(first, rest)?;
            self.push(kind, self.at);
            self.at += length;
        }
    }

    fn push(&mut self, kind: Kind, offset: usize) {
        self.tokens.push(Token { kind, offset });
    }

    fn token(&self, first: char, rest: &str) -> Result<(Kind, usize), TemplateError> {
        let simple = |kind, length| Ok((kind, length));
        match first {
            c if is_space(c) => simple(Kind::Space, rest.len() - rest.trim_start_matches(is_space).len()),
            ':' if rest.starts_with(":=") => simple(Kind::Declare, 2),
            ':' => Err(self.fault("expected :=")),
            '=' => simple(Kind::Assign, 1),
            '|' => simple(Kind::Pipe, 1),
            ',' => simple(Kind::Comma, 1),
            '(' => simple(Kind::LeftParen, 1),
            ')' => simple(Kind::RightParen, 1),
            '"' => self.quoted(rest),
            '`' => self.raw(rest),
            '\'' => self.character(rest),
            '$' => {
                let name = word(&rest[1..]);
                Ok((Kind::Variable(format!("${name}")), 1 + name.len()))
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let name = word(&rest[1..]);
                let kind = if name.is_empty() { Kind::Dot } else { Kind::Field(name.to_owned()) };
                Ok((kind, 1 + name.len()))
            }
            '+' | '-' | '.' | '0'..='9' => self.number(rest),
            c if is_alphanumeric(c) => {
                let name = word(rest);
                Ok((Kind::Word(name.to_owned()), name.len()))
            }
            c => Err(self.fault(format!("unexpected {c:?} in command"))),
        }
    }

    fn quoted(&self, rest: &str) -> Result<(Kind, usize), TemplateError> {
        let mut escaped = false;
        for (index, c) in rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let text = unescape(&rest[1..index]).ok_or_else(|| self.fault("invalid syntax"))?;
                    return Ok((Kind::Literal(Literal::Text(text)), index + 1));
                }
                _ => {}
            }
        }
        Err(self.fault("unterminated quoted string"))
    }

    fn raw(&self, rest: &str) -> Result<(Kind, usize), TemplateError> {
        let end = rest[1..].find('`').ok_or_else(|| self.fault("unterminated raw quoted string"))?;
        Ok((Kind::Literal(Literal::Text(rest[1..=end].to_owned())), end + 2))
    }

    fn character(&self, rest: &str) -> Result<(Kind, usize), TemplateError> {
        let skip = if rest[1..].starts_with('\\') { 2 } else { 1 };
        let unterminated = || self.fault("unterminated character constant");
        let searched = rest.get(skip + 1..).ok_or_else(unterminated)?;
        let end = searched.find('\'').ok_or_else(unterminated)? + skip + 1;
        let text = unescape(&rest[1..end]).ok_or_else(|| self.fault("malformed character constant"))?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok((Kind::Literal(Literal::Integer(i64::from(u32::from(c)))), end + 1)),
            _ => Err(self.fault("malformed character constant")),
        }
    }

    fn number(&self, rest: &str) -> Result<(Kind, usize), TemplateError> {
        let mut length = 0;
        let mut previous = ' ';
        for c in rest.chars() {
            let sign = matches!(c, '+' | '-') && (length == 0 || matches!(previous, 'e' | 'E'));
            if !(sign || c == '.' || is_alphanumeric(c)) {
                break;
            }
            length += c.len_utf8();
            previous = c;
        }
        let text = &rest[..length];
        let literal = integer(text).map(Literal::Integer).or_else(|| text.parse().ok().map(Literal::Float));
        let literal = literal.ok_or_else(|| self.fault(format!("bad number syntax: {text:?}")))?;
        Ok((Kind::Literal(literal), length))
    }

    fn fault(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::syntax(self.source, self.at, message)
    }
}

/// How long the closing delimiter at the start of `rest` is (0: there is none), and whether it trims.
fn closing(rest: &str) -> (bool, usize) {
    if rest.starts_with("}}") {
        return (false, 2);
    }
    let trimmed = rest.trim_start_matches(is_space);
    let spaces = rest.len() - trimmed.len();
    if spaces > 0 && trimmed.starts_with("-}}") { (true, spaces + 3) } else { (false, 0) }
}

fn word(rest: &str) -> &str {
    &rest[..rest.find(|c| !is_alphanumeric(c)).unwrap_or(rest.len())]
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = digits.replace('_', "");
    let radix = |prefixes: [&str; 2], radix| {
        prefixes.iter().find_map(|p| digits.strip_prefix(p)).map(|d| i64::from_str_radix(d, radix).ok())
    };
    let value = radix(["0x", "0X"], 16)
        .or_else(|| radix(["0o", "0O"], 8))
        .or_else(|| radix(["0b", "0B"], 2))
        .unwrap_or_else(|| digits.parse().ok())?;
    Some(if negative { -value } else { value })
}

/// Decodes the escapes of a Go string literal.
fn unescape(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            decoded.push(c);
            continue;
        }
        decoded.push(match chars.next()? {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' => code_point(&mut chars, 2)?,
            'u' => code_point(&mut chars, 4)?,
            'U' => code_point(&mut chars, 8)?,
            same @ ('\\' | '"' | '\'') => same,
            _ => return None,
        });
    }
    Some(decoded)
}

fn code_point(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let code = chars.as_str().get(..digits)?;
    *chars = chars.as_str()[digits..].chars();
    char::from_u32(u32::from_str_radix(code, 16).ok()?)
}
