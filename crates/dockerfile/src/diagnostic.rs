//! What is wrong, or could be better, in a Dockerfile: plain data that a front renders.

use std::ops::Range;

use serde::Serialize;

/// A range of bytes in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// A span from its two ends.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The bytes' indices.
    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The smallest span that holds both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// The lines of a source, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Lines {
    /// The first line.
    pub first: u32,
    /// The last line, which belongs to it.
    pub last: u32,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It builds, but is likely not what was meant.
    Warning,
    /// It cannot be built.
    Error,
}

/// The kind of a diagnostic: stable, for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The file holds no instruction.
    Empty,
    /// A directive at the top is malformed, unknown in value, or given twice.
    Directive,
    /// A word at the start of a line is no instruction.
    UnknownInstruction,
    /// An instruction does not know the flag.
    UnknownFlag,
    /// A flag's value is missing, malformed, or contradicts another flag.
    Flag,
    /// An instruction has too few, too many, or malformed arguments.
    Arguments,
    /// A here-document has no end.
    UnterminatedHeredoc,
    /// The line cannot be split into words.
    Syntax,
    /// An instruction that must follow a FROM stands before the first one.
    NoStage,
    /// A name cannot be that of a stage.
    StageName,
    /// A stage is meant that does not exist, or only later.
    UnknownStage,
    /// Stages that need each other.
    Circular,
    /// The target is no stage.
    UnknownTarget,
    /// A variable reference is malformed, or a required variable is absent.
    Expansion,
    /// A platform is malformed.
    Platform,
    /// An image name is malformed or empty.
    ImageName,
    /// A trigger of ONBUILD is not allowed or malformed.
    Trigger,
    /// The instruction is understood, but cannot be done here.
    Unsupported,
    /// One of the build checks.
    Check(crate::lint::Rule),
}

/// A part of the source, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What.
    pub text: String,
}

/// One fault or warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line, lower case, without a full stop.
    pub message: String,
    /// Where it is wrong.
    pub span: Span,
    /// Other places that matter.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without labels or help.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            labels: Vec::new(),
            help: None,
        }
    }

    /// A warning without labels or help.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// With advice, if there is some.
    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Self {
        if help.is_some() {
            self.help = help;
        }
        self
    }

    /// With another place that matters.
    #[must_use]
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Whether it stops the build.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
