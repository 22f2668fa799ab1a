//! Lines as the language sees them: joined over continuations, with a way back to the source.

use serde::Serialize;

use crate::diagnostic::Span;

/// A piece of text, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Word {
    /// The text, as written: quotes and variables included.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// Lines that continue each other, as one text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    pub(crate) text: String,
    /// Where in the text a piece begins, and where that is in the source. Ascending.
    pub(crate) pieces: Vec<(usize, usize)>,
    /// A fixed place for everything, for text that does not stand in the file.
    pub(crate) fixed: Option<Span>,
}

impl Joined {
    /// A text that stands in another place than it is read from.
    #[cfg(test)]
    pub(crate) fn fixed(text: &str, span: Span) -> Self {
        Self { text: text.to_owned(), pieces: Vec::new(), fixed: Some(span) }
    }

    pub(crate) fn push(&mut self, piece: &str, source: usize) {
        self.pieces.push((self.text.len(), source));
        self.text.push_str(piece);
    }

    /// The place in the source.
    fn source(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|&(start, _)| start <= at);
        match index.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some(&(start, source)) => source + (at - start),
            None => at,
        }
    }

    /// The span of a part of the text.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        if let Some(span) = self.fixed {
            return span;
        }
        if end <= start {
            let at = self.source(start);
            return Span::new(at, at);
        }
        // the end belongs to the piece of the last character
        Span::new(self.source(start), self.source(end - 1) + 1)
    }

    /// A part of the text as a word.
    pub(crate) fn word(&self, start: usize, end: usize) -> Word {
        Word { text: self.text[start..end].to_owned(), span: self.span(start, end) }
    }
}

/// What separates words: blanks, but no line feed, as Docker has it.
pub(crate) const fn is_go_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// The text without leading white space, and how much that was.
pub(crate) fn trim_start(text: &str) -> (usize, &str) {
    let trimmed = text.trim_start();
    (text.len() - trimmed.len(), trimmed)
}
