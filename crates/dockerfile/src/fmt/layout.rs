//! The lines of one instruction.

const INDENT: usize = 4;

/// How an instruction is laid out.
pub(super) struct Layout {
    pub(super) escape: char,
    /// Blanks at the joints of lines mean nothing.
    pub(super) is_free: bool,
}

/// What a line is within an instruction.
enum Line<'a> {
    Comment(&'a str),
    Text { text: &'a str, goes_on: bool },
}

/// A line, and what can be done with it.
struct Piece<'l> {
    line: &'l Line<'l>,
    can_be_indented: bool,
    is_exact_at_end: bool,
}

impl Layout {
    /// The instruction's lines, without its here-documents.
    pub(super) fn write(&self, body: &str, keyword: &str) -> String {
        let lines = self.lines(body);
        let pieces = self.pieces(&lines);
        let free = pieces.iter().filter(|piece| piece.can_be_indented);
        let base = free.filter_map(|piece| indent_of(piece.line)).min().unwrap_or(0);
        let last_text = lines.iter().rposition(|line| matches!(line, Line::Text { .. })).unwrap_or(0);
        let mut out = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            match piece.line {
                // a comment behind the end of the instruction is no part of it
                Line::Comment(comment) => {
                    let is_inside = index < last_text && piece.can_be_indented;
                    out.push_str(&" ".repeat(if is_inside { INDENT } else { 0 }));
                    out.push_str(comment);
                }
                Line::Text { text, goes_on } => {
                    let start = match index {
                        0 => first(text, keyword),
                        _ if piece.can_be_indented => indented(text, base),
                        _ => (*text).to_owned(),
                    };
                    out.push_str(&self.end(&start, *goes_on, piece.is_exact_at_end));
                }
            }
            out.push('\n');
        }
        out
    }

    /// The lines, and where blanks can be put or taken.
    fn pieces<'l>(&self, lines: &'l [Line<'l>]) -> Vec<Piece<'l>> {
        let mut pieces = Vec::new();
        let mut quotes = Quotes::default();
        let mut is_joined = false;
        for (index, line) in lines.iter().enumerate() {
            let can_be_indented = index > 0 && self.is_free && !quotes.is_open() && !is_joined;
            let mut is_exact_at_end = false;
            if let Line::Text { text, .. } = line {
                quotes.read(text, self.escape);
                let rest = lines.get(index + 1..).unwrap_or_default();
                // a line without text hands on what stands before it
                is_joined = (is_joined || !text.is_empty()) && is_glued(text, rest);
                is_exact_at_end = quotes.is_open() || is_joined;
            }
            let can_be_indented = match line {
                Line::Comment(_) => !quotes.is_open(),
                Line::Text { .. } => can_be_indented,
            };
            pieces.push(Piece { line, can_be_indented, is_exact_at_end });
        }
        pieces
    }

    fn lines<'a>(&self, body: &'a str) -> Vec<Line<'a>> {
        let mut lines = Vec::new();
        for (index, raw) in body.lines().enumerate() {
            if index > 0 && raw.trim().is_empty() {
                continue;
            }
            if index > 0 && raw.trim_start().starts_with('#') {
                lines.push(Line::Comment(raw.trim()));
                continue;
            }
            let raw = raw.trim_end_matches('\r');
            let trimmed = raw.trim_end_matches([' ', '\t']);
            match trimmed.strip_suffix(self.escape) {
                Some(text) if !text.ends_with(self.escape) => lines.push(Line::Text { text, goes_on: true }),
                _ => lines.push(Line::Text { text: raw, goes_on: false }),
            }
        }
        lines
    }

    /// A line with its mark of continuation.
    fn end(&self, text: &str, goes_on: bool, is_exact: bool) -> String {
        match (goes_on, is_exact || !self.is_free) {
            (true, true) => format!("{text}{}", self.escape),
            (true, false) => format!("{} {}", text.trim_end(), self.escape),
            (false, _) => text.trim_end().to_owned(),
        }
    }
}

/// The first line: the keyword in capitals, one blank behind it.
fn first(text: &str, keyword: &str) -> String {
    // a keyword that goes on in the next line stays as it is
    let Some(rest) = text.strip_prefix(keyword) else { return text.to_owned() };
    let blanks = rest.len() - rest.trim_start().len();
    let upper = keyword.to_uppercase();
    if blanks == 0 {
        return format!("{upper}{rest}");
    }
    let rest = rest.trim_start();
    let rest = if upper == "FROM" { with_capital_as(rest) } else { rest.to_owned() };
    format!("{upper} {rest}")
}

/// `AS` in capitals, where it is the last word but one.
fn with_capital_as(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.len().checked_sub(2).map(|at| (at, words[at])) {
        Some((at, word)) if word.eq_ignore_ascii_case("as") => {
            let mut words = words;
            words[at] = "AS";
            words.join(" ")
        }
        _ => text.to_owned(),
    }
}

/// Deeper lines stay as much deeper as they were.
fn indented(text: &str, base: usize) -> String {
    let more = width(text).saturating_sub(base);
    format!("{}{}", " ".repeat(INDENT + more), text.trim_start())
}

fn indent_of(line: &Line<'_>) -> Option<usize> {
    match line {
        Line::Text { text, .. } if !text.trim().is_empty() => Some(width(text)),
        Line::Text { .. } | Line::Comment(_) => None,
    }
}

/// How wide the blanks at the start are; a tab is as wide as an indent.
fn width(text: &str) -> usize {
    let blanks = text.chars().take_while(|c| c.is_whitespace());
    blanks.map(|c| if c == '\t' { INDENT } else { 1 }).sum()
}

/// Whether a word goes on from this line to the next, so that no blank may come between.
fn is_glued(text: &str, rest: &[Line<'_>]) -> bool {
    let next = rest.iter().find_map(|line| match line {
        Line::Text { text, .. } => Some(*text).filter(|text| !text.is_empty()),
        Line::Comment(_) => None,
    });
    let ends_in_word = !text.ends_with(char::is_whitespace);
    ends_in_word && next.is_some_and(|next| !next.starts_with(char::is_whitespace))
}

/// Whether quotes are open.
#[derive(Default)]
struct Quotes {
    open: Option<char>,
}

impl Quotes {
    const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn read(&mut self, text: &str, escape: char) {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match self.open {
                None if matches!(c, '\'' | '"' | '`') && c != escape => self.open = Some(c),
                Some(open) if c == open => self.open = None,
                Some('\'') => {}
                _ if c == escape || c == '\\' => {
                    chars.next();
                }
                _ => {}
            }
        }
    }
}
