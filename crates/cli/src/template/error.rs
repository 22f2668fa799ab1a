//! What can be wrong with a template, worded as Go words it.

/// Why a template could not be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// The template itself is malformed.
    #[error("template: {name}:{line}: {message}")]
    Syntax {
        /// Name of the template.
        name: String,
        /// Line of the fault, from 1.
        line: usize,
        /// The fault.
        message: String,
    },
    /// The template does not fit the value it is rendered with.
    #[error("template: {name}:{line}:{column}: executing \"{name}\" at <{at}>: {message}")]
    Execution {
        /// Name of the template.
        name: String,
        /// Line of the fault, from 1.
        line: usize,
        /// Byte of the fault in that line, from 0.
        column: usize,
        /// The expression at fault.
        at: String,
        /// The fault.
        message: String,
    },
}

impl TemplateError {
    pub(super) fn syntax(source: &str, offset: usize, message: impl Into<String>) -> Self {
        let line = position(source, offset).0;
        Self::Syntax { name: String::new(), line, message: message.into() }
    }

    pub(super) fn execution(source: &str, offset: usize, at: &str, message: impl Into<String>) -> Self {
        let (line, column) = position(source, offset);
        Self::Execution { name: String::new(), line, column, at: at.to_owned(), message: message.into() }
    }

    /// The same fault of a template that has a name.
    #[must_use]
    pub(crate) fn named(mut self, new: &str) -> Self {
        let (Self::Syntax { name, .. } | Self::Execution { name, .. }) = &mut self;
        new.clone_into(name);
        self
    }
}

/// Line (from 1) and byte within it (from 0) of an offset.
fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = source.as_bytes().get(..offset).unwrap_or(source.as_bytes());
    let line = before.split(|&byte| byte == b'\n').count();
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    (line, before.len() - start)
}
