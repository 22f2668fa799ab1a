//! Go's `text/template`, as far as `--format` uses it, over JSON.
//!
//! Text to tokens (`lexer`), tokens to a tree (`parser`, `syntax`), the tree over a value to text (`execute`), with
//! Go's and Docker's functions. What Go's types know and JSON does not, the caller says in a [`Schema`].

mod datum;
mod error;
mod execute;
mod format;
mod functions;
mod lexer;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;

pub(crate) use datum::Schema;
pub(crate) use error::TemplateError;
pub(crate) use functions::html_safe;

use serde_json::Value;

/// A template, ready to be rendered any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    source: String,
    tree: syntax::Tree,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Its first fault, as [`TemplateError::Syntax`].
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        Ok(Self { source: source.to_owned(), tree: parser::parse(source)? })
    }

    /// Renders the template over a value.
    ///
    /// # Errors
    /// Where the template does not fit the value, as [`TemplateError::Execution`].
    pub(crate) fn render(&self, dot: &Value, schema: &Schema) -> Result<String, TemplateError> {
        execute::render(&self.tree, &self.source, dot, schema)
    }
}
