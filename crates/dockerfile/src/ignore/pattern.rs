//! One pattern: cleaned text, compiled to tokens that are matched without backtracking over the whole.

use std::fmt;

use super::ParsePatternsError;
use crate::glob;

/// One pattern of the list.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    exception: bool,
    kind: Kind,
}

/// How it is matched. The first three differ from the general rule in what they mean, not only in speed.
#[derive(Debug, Clone)]
enum Kind {
    Exact,
    /// `abc**`: all that starts with `abc`.
    Prefix(String),
    /// `**/abc` or `**abc`: all that ends so.
    Suffix(String),
    Tokens(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Char(char),
    /// `?`: any character but a slash.
    One,
    /// `*`: any characters but slashes.
    Many,
    /// `**/`: nothing, or anything.
    Folders,
    /// `**` at the end: anything.
    All,
    Class(glob::Class),
}

impl Pattern {
    /// Reads one; `None` for an empty line. A slash at the start means nothing where patterns are `rooted`, and
    /// matches nothing where they are not.
    pub(super) fn parse(line: &str, number: usize, rooted: bool) -> Result<Option<Self>, ParsePatternsError> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let (exception, rest) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if rest.is_empty() {
            return Err(ParsePatternsError::EmptyException { line: number });
        }
        let cleaned = clean(rest);
        let text = match cleaned.strip_prefix('/') {
            Some(relative) if rooted && !relative.is_empty() => relative.to_owned(),
            _ => cleaned,
        };
        let malformed = || ParsePatternsError::Malformed { line: number, pattern: text.clone() };
        if !glob::is_valid(&text) {
            return Err(malformed());
        }
        let kind = compile(&text).ok_or_else(malformed)?;
        Ok(Some(Self { text, exception, kind }))
    }

    pub(super) const fn is_exception(&self) -> bool {
        self.exception
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the path or one of its parents is matched.
    pub(super) fn matches_or_parent(&self, path: &str) -> bool {
        let mut reach = Reach::default();
        boundaries(path).any(|end| self.matches_up_to(path, end, &mut reach))
    }

    /// Whether the part of a path up to an end of a name is matched; `reach` is the same for all parts of the path.
    pub(super) fn matches_up_to(&self, path: &str, end: Boundary, reach: &mut Reach) -> bool {
        match &self.kind {
            Kind::Tokens(tokens) => reach.0.get_or_insert_with(|| run(tokens, path))[end.chars],
            Kind::Exact | Kind::Prefix(_) | Kind::Suffix(_) => self.matches(&path[..end.bytes]),
        }
    }

    /// Whether the path itself is matched.
    pub(super) fn matches(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Exact => path == self.text,
            Kind::Prefix(prefix) => path.starts_with(prefix),
            Kind::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix('/').is_some_and(|name| path == name)
            }
            Kind::Tokens(tokens) => matches(tokens, path),
        }
    }

    /// Whether it can match something inside of the folder.
    pub(super) fn may_match_below(&self, folder: &str) -> bool {
        if folder.is_empty() {
            return true;
        }
        if self.matches_or_parent(folder) {
            return true;
        }
        // part by part, as far as nothing comes that may match a slash
        let mut parts = self.text.split('/');
        for name in folder.split('/') {
            match parts.next() {
                None => return false,
                Some(part) if may_hold_slash(part) => return true,
                Some(part) => {
                    if !compile(part).is_some_and(|kind| part_matches(&kind, part, name)) {
                        return false;
                    }
                }
            }
        }
        parts.next().is_some()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.exception { "!" } else { "" }, self.text)
    }
}

/// Whether what stands between two slashes of a pattern may match one: `**`, a class that has it in it or goes on behind the
/// slash, a slash that is escaped.
fn may_hold_slash(part: &str) -> bool {
    if part.contains("**") || part.ends_with('\\') {
        return true;
    }
    let mut rest = part;
    while let Some((_, behind)) = rest.split_once('[') {
        let Some((class, next)) = behind.split_once(']') else { return true };
        let class: Vec<char> = class.chars().collect();
        let has_slash = |range: &[char]| range[1] == '-' && (range[0]..=range[2]).contains(&'/');
        if matches!(class.first(), None | Some('^'))
            || class.contains(&'\\')
            || class.windows(3).any(has_slash)
        {
            return true;
        }
        rest = next;
    }
    false
}

fn part_matches(kind: &Kind, part: &str, name: &str) -> bool {
    match kind {
        Kind::Exact => part == name,
        Kind::Tokens(tokens) => matches(tokens, name),
        Kind::Prefix(_) | Kind::Suffix(_) => true,
    }
}

/// Letters and digits that may stand behind a backslash. Docker makes regular expressions of Go of its patterns, which
/// know no others.
const GO_ESCAPES: &str = "0aftnrvCdDsSwWbBAzpPQEx";

/// Turns a pattern into the way it is matched; `None` where a class is malformed.
fn compile(text: &str) -> Option<Kind> {
    let mut tokens = Vec::new();
    let mut special = false;
    let mut starts_with_all = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let first = tokens.is_empty() && !special;
        match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                if chars.peek() == Some(&'/') {
                    chars.next();
                }
                if chars.peek().is_none() {
                    let only_plain = !special;
                    tokens.push(Token::All);
                    if only_plain && !first && !starts_with_all {
                        return Some(Kind::Prefix(text[..text.rfind("**")?].to_owned()));
                    }
                } else {
                    tokens.push(Token::Folders);
                }
                starts_with_all |= first;
                special |= !first;
            }
            '*' => {
                tokens.push(Token::Many);
                special = true;
            }
            '?' => {
                tokens.push(Token::One);
                special = true;
            }
            '[' => {
                let class = glob::Class::parse(&mut chars).filter(glob::Class::is_ordered)?;
                tokens.push(Token::Class(class));
                special = true;
            }
            '\\' => {
                let escaped = chars.next().unwrap_or('\\');
                if escaped.is_ascii_alphanumeric() && !GO_ESCAPES.contains(escaped) {
                    return None;
                }
                tokens.push(Token::Char(escaped));
                special = true;
            }
            c => tokens.push(Token::Char(c)),
        }
    }
    Some(match (starts_with_all, special) {
        (true, false) => Kind::Suffix(text[2..].to_owned()),
        (false, false) => Kind::Exact,
        (_, true) => Kind::Tokens(tokens),
    })
}

/// An end of a name in a path.
#[derive(Clone, Copy)]
pub(super) struct Boundary {
    bytes: usize,
    chars: usize,
}

/// The ends of the names of a path, first to last.
pub(super) fn boundaries(path: &str) -> impl Iterator<Item = Boundary> {
    let slashes = path.char_indices().enumerate().filter(|(_, (_, c))| *c == '/');
    let end = std::iter::once_with(|| Boundary { bytes: path.len(), chars: path.chars().count() });
    slashes.map(|(chars, (bytes, _))| Boundary { bytes, chars }).chain(end)
}

/// The parts of a path that a pattern matches, once they are known: one pass tells of all.
#[derive(Clone, Default)]
pub(super) struct Reach(Option<Vec<bool>>);

/// Whether the tokens match the whole path.
fn matches(tokens: &[Token], path: &str) -> bool {
    run(tokens, path).last() == Some(&true)
}

/// Whether the tokens match the first characters of a path, for each number of them.
fn run(tokens: &[Token], path: &str) -> Vec<bool> {
    let chars: Vec<char> = path.chars().collect();
    let mut reach = vec![false; chars.len() + 1];
    reach[0] = true;
    for token in tokens {
        reach = advance(token, &chars, &reach);
    }
    reach
}

/// Where the matching can be after a token, given where it can be before.
fn advance(token: &Token, chars: &[char], reach: &[bool]) -> Vec<bool> {
    let mut next = vec![false; reach.len()];
    match token {
        Token::All => {
            if let Some(first) = reach.iter().position(|&here| here) {
                next[first..].fill(true);
            }
        }
        Token::Folders => {
            // nothing, or anything up to and with a slash
            next.copy_from_slice(reach);
            if let Some(first) = reach.iter().position(|&here| here) {
                for at in first..chars.len() {
                    if chars[at] == '/' {
                        next[at + 1] = true;
                    }
                }
            }
        }
        Token::Many => {
            let mut open = false;
            for at in 0..reach.len() {
                open |= reach[at];
                next[at] = open;
                if chars.get(at) == Some(&'/') {
                    open = false;
                }
            }
        }
        Token::One | Token::Char(_) | Token::Class(_) => {
            for (at, &c) in chars.iter().enumerate() {
                let fits = match token {
                    Token::Char(wanted) => *wanted == c,
                    Token::Class(class) => class.contains(c),
                    Token::One | Token::Many | Token::Folders | Token::All => c != '/',
                };
                next[at + 1] = reach[at] && fits;
            }
        }
    }
    next
}

/// A path without empty and `.` parts, and with `..` resolved as far as it can be, as Go's `filepath.Clean` does.
pub(super) fn clean(path: &str) -> String {
    crate::path::clean(path)
}
