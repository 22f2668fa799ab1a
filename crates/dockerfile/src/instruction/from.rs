//! FROM: where a stage begins.

use super::Statement;
use super::flags::{Flags, Kind};
use crate::diagnostic::Code;
use crate::syntax::Word;

/// `FROM [--platform=P] BASE [AS NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// An image, a stage, or `scratch`; variables are those before the first FROM.
    pub base: Word,
    /// The stage's name, in lower case, where it has one.
    pub name: Option<Word>,
    /// The name as written, and the `AS` before it.
    pub written: Option<(Word, Word)>,
    /// For what platform the base shall be.
    pub platform: Option<Word>,
    /// What the comment before it says about the stage.
    pub description: Option<String>,
}

pub(super) fn read(statement: &mut Statement<'_>) -> Option<From> {
    let words = statement.blanks();
    let (base, written) = match &words[..] {
        [base] => (base.clone(), None),
        [base, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
            (base.clone(), Some((keyword.clone(), name.clone())))
        }
        _ => {
            let message = "FROM requires either one or three arguments";
            statement.fault::<()>(Code::Arguments, statement.args_span(), message);
            if let Some(fault) = statement.faults.last_mut() {
                fault.help = Some("write `FROM image` or `FROM image AS name`".to_owned());
            }
            return None;
        }
    };
    let name = written.as_ref().map(|(_, name)| stage_name(statement, name));
    let flags = Flags::read(statement, &[("platform", Kind::Value)])?;
    // a faulty name leaves no stage
    let name = match name {
        Some(None) => return None,
        Some(Some(name)) => Some(name),
        None => None,
    };
    let description = name.as_ref().and_then(|name| describe(statement.comments, &name.text));
    Some(From { base, name, written, platform: flags.value("platform"), description })
}

fn stage_name(statement: &mut Statement<'_>, name: &Word) -> Option<Word> {
    let lower = name.text.to_lowercase();
    let valid = lower.starts_with(|c: char| c.is_ascii_lowercase())
        && lower
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    if valid {
        return Some(Word { text: lower, span: name.span });
    }
    let message = format!(
        "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
        name.text
    );
    statement.fault(Code::StageName, name.span, message)
}

/// What the comments say about a name: `# NAME description`.
pub(super) fn describe(comments: &[String], name: &str) -> Option<String> {
    comments.iter().find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
}
