//! Formatting: one way to write a file, with the same meaning and the same comments.
//!
//! Keywords are in capitals, continuations are indented by four blanks, blanks at the ends of lines go, several
//! empty lines become one. Nothing within quotes, here-documents, and values that are taken as they are is touched.

mod layout;

use crate::diagnostic::Diagnostic;
use crate::instruction::Command;
use crate::syntax::{File, Instruction, parse};

use layout::Layout;

/// Formats a file.
///
/// # Errors
/// What is wrong with it: a faulty file is left alone.
pub fn format(source: &[u8]) -> Result<String, Vec<Diagnostic>> {
    let parsed = parse(source);
    let faults: Vec<Diagnostic> = parsed.diagnostics.into_iter().filter(Diagnostic::is_error).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(write(&parsed.file))
}

fn write(file: &File) -> String {
    let source = file.source();
    let mut out = String::with_capacity(source.len());
    let mut at = source.len() - source.trim_start_matches('\u{feff}').len();
    for instruction in &file.instructions {
        let start = line_start(source, instruction.span.start);
        between(&source[at..start.max(at)], &mut out);
        statement(file, instruction, &mut out);
        at = line_end(source, instruction.span.end);
    }
    between(&source[at..], &mut out);
    let end = out.trim_end_matches('\n').len();
    out.truncate(end);
    out.push('\n');
    out
}

/// Where the line of a place begins.
fn line_start(source: &str, at: usize) -> usize {
    source[..at].rfind('\n').map_or(0, |at| at + 1)
}

/// Where the line behind a place begins.
fn line_end(source: &str, at: usize) -> usize {
    source[at..].find('\n').map_or(source.len(), |found| at + found + 1)
}

/// Comments and empty lines.
fn between(text: &str, out: &mut String) {
    for line in text.lines() {
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() && (out.is_empty() || out.ends_with("\n\n")) {
            // an empty line at the very top keeps a comment from being a directive
            if out.is_empty() {
                out.push('\n');
            }
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
}

fn statement(file: &File, instruction: &Instruction, out: &mut String) {
    let source = file.source();
    let body_end = instruction.heredocs.first().map_or(instruction.span.end, |heredoc| heredoc.span.start);
    let body = &source[instruction.span.start..body_end];
    let layout = Layout { escape: file.escape(), is_free: is_free(instruction) };
    out.push_str(&layout.write(body, &instruction.keyword.text));
    if instruction.heredocs.is_empty() {
        return;
    }
    // here-documents stay as they are, their end marks included
    out.push_str(&source[body_end..instruction.span.end]);
    out.push('\n');
}

/// Whether blanks between words mean nothing, so that continuations can be indented.
pub(crate) fn is_free(instruction: &Instruction) -> bool {
    match &instruction.command {
        Some(Command::Env(pairs) | Command::Label(pairs)) => !pairs.is_legacy,
        Some(
            Command::Add(_)
            | Command::Arg(_)
            | Command::Cmd(_)
            | Command::Copy(_)
            | Command::Entrypoint(_)
            | Command::Expose(_)
            | Command::From(_)
            | Command::Healthcheck(_)
            | Command::Run(_)
            | Command::Shell(_)
            | Command::Volume(_),
        ) => true,
        Some(
            Command::Maintainer(_)
            | Command::Onbuild(_)
            | Command::Stopsignal(_)
            | Command::User(_)
            | Command::Workdir(_),
        )
        | None => false,
    }
}

#[cfg(test)]
mod tests;
