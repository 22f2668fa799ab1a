//! ONBUILD: instructions for the builds on top of this image.

use super::flags::Flags;
use super::{Statement, read as read_instruction};
use crate::diagnostic::{Code, Span};
use crate::syntax::{Joined, Word, is_go_blank, take_inner_flags};

/// An instruction that is kept as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The text, here-documents included.
    pub text: String,
    /// The first word, as written.
    pub keyword: Word,
}

pub(super) fn read(statement: &mut Statement<'_>) -> Option<Trigger> {
    let (keyword, args) = inner(statement.line, statement.args, statement.escape);
    if keyword.text.is_empty() {
        return statement.at_least_one();
    }
    Flags::none(statement)?;
    match keyword.text.to_uppercase().as_str() {
        "ONBUILD" => {
            let message = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
            return statement.fault(Code::Trigger, keyword.span, message);
        }
        name @ ("MAINTAINER" | "FROM") => {
            let message = format!("{name} isn't allowed as an ONBUILD trigger");
            return statement.fault(Code::Trigger, keyword.span, message);
        }
        _ => {}
    }
    well_formed(statement, &keyword, args)?;
    let mut text = statement.line.text[after_keyword(statement)..].to_owned();
    for heredoc in statement.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    Some(Trigger { text, keyword })
}

/// Only what cannot be split into words is a fault now; the rest is one where the trigger is pulled.
fn well_formed(statement: &mut Statement<'_>, keyword: &Word, args: (usize, usize)) -> Option<()> {
    let mut faults = Vec::new();
    let mut trigger = Statement {
        line: statement.line,
        keyword,
        flags: &[],
        args,
        heredocs: statement.heredocs,
        comments: &[],
        escape: statement.escape,
        faults: &mut faults,
    };
    read_instruction(&mut trigger);
    faults.retain(|fault| fault.code == Code::Syntax);
    let sound = faults.is_empty();
    statement.faults.append(&mut faults);
    sound.then_some(())
}

/// The trigger's first word, and where its arguments are.
pub(super) fn inner(line: &Joined, args: (usize, usize), escape: char) -> (Word, (usize, usize)) {
    let text = &line.text[args.0..args.1];
    let end = args.0 + text.find(is_go_blank).unwrap_or(text.len());
    let keyword = if text.is_empty() {
        Word { text: String::new(), span: Span::default() }
    } else {
        line.word(args.0, end)
    };
    let rest = take_inner_flags(line, end, escape);
    let tail = &line.text[rest..];
    let start = rest + (tail.len() - tail.trim_start().len());
    (keyword, (start, start + tail.trim().len()))
}

/// Where the text behind the first word begins.
fn after_keyword(statement: &Statement<'_>) -> usize {
    let text = statement.line.text.as_str();
    let start = text.len() - text.trim_start().len() + statement.keyword.text.len();
    start + (text[start..].len() - text[start..].trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']).len())
}
