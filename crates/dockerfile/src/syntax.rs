//! Text becomes a tree: lines are joined, split into words, and read as instructions.
//!
//! Parsing never fails and never stops at the first fault: a faulty instruction stays in the tree without a
//! [`Instruction::command`], and all faults are handed out beside the tree.

mod directive;
mod heredoc;
mod json;
mod line;
mod reader;
mod words;

use crate::diagnostic::{Diagnostic, Lines, Span};
use crate::instruction::Command;

pub(crate) use directive::split as split_directive;
pub use directive::{Directive, Directives, detect_syntax};
pub(crate) use heredoc::HeredocWord;
pub use heredoc::{Heredoc, strip_tabs};
pub(crate) use json::{Json, parse_json};
pub use line::Word;
pub(crate) use line::{Joined, is_go_blank, trim_start};
pub(crate) use reader::parse_trigger;
pub(crate) use words::{split_blanks, split_words, take_inner_flags};

/// What a text was read as.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The tree.
    pub file: File,
    /// All that is wrong with the text, in order.
    pub diagnostics: Vec<Diagnostic>,
}

/// A Dockerfile.
#[derive(Debug, Clone)]
pub struct File {
    source: String,
    /// The directives at the top.
    pub directives: Directives,
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
    /// The stages, in order: where each has its instructions.
    pub stages: Vec<Stage>,
    /// The instructions before the first stage: all ARGs, unless the file is faulty.
    pub globals: Vec<usize>,
    /// What is wrong with the text: with an error among it nothing can be planned.
    pub(crate) diagnostics: Vec<Diagnostic>,
    line_starts: Vec<usize>,
}

/// One FROM, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The FROM, by its place in [`File::instructions`].
    pub from: usize,
    /// What follows, by place.
    pub instructions: Vec<usize>,
}

/// One instruction.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// Its first word, as written.
    pub keyword: Word,
    /// All of it, here-documents included.
    pub span: Span,
    /// The same, in lines.
    pub lines: Lines,
    /// Its lines joined, without what surrounds them.
    pub text: String,
    /// The flags, in order.
    pub flags: Vec<Flag>,
    /// The here-documents, in order.
    pub heredocs: Vec<Heredoc>,
    /// The comments right before it, without their marks.
    pub comments: Vec<String>,
    /// The last line of one that has an empty line within its continuations.
    pub empty_continuation: Option<Span>,
    /// What it says; `None` where it is faulty.
    pub command: Option<Command>,
}

/// A flag of an instruction: `--name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: String,
    /// What follows the `=`.
    pub value: Option<String>,
    /// Where.
    pub span: Span,
}

/// Reads a Dockerfile.
///
/// Bytes that are not UTF-8 are replaced; spans are places in [`File::source`].
pub fn parse(source: &[u8]) -> Parsed {
    reader::read(source)
}

impl File {
    /// The text that spans are places in.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The character that escapes: a backslash, or a backtick by directive.
    pub const fn escape(&self) -> char {
        self.directives.escape
    }

    /// The line of a byte, counted from 1.
    pub fn line_of(&self, offset: usize) -> u32 {
        let line = self.line_starts.partition_point(|&start| start <= offset);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    /// The lines of a span.
    pub fn lines_of(&self, span: Span) -> Lines {
        let last = if span.end > span.start { span.end - 1 } else { span.start };
        Lines { first: self.line_of(span.start), last: self.line_of(last) }
    }
}

#[cfg(test)]
mod tests;
