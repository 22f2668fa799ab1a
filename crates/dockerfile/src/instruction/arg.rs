//! ARG: variables that the request can set.

use super::{Statement, from};
use crate::diagnostic::Code;
use crate::syntax::Word;

/// `ARG NAME[=DEFAULT]…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The variables, in order.
    pub items: Vec<ArgItem>,
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgItem {
    /// Its name.
    pub name: Word,
    /// Its default, unexpanded.
    pub default: Option<Word>,
    /// What the comment before it says about it.
    pub description: Option<String>,
}

pub(super) fn read(statement: &mut Statement<'_>) -> Option<Arg> {
    let words = statement.words();
    if words.is_empty() {
        return statement.at_least_one();
    }
    let mut items = Vec::new();
    for word in words {
        let (name, default) = match word.text.split_once('=') {
            Some(("", _)) => {
                return statement.fault(Code::Arguments, word.span, "ARG names can not be blank");
            }
            Some((name, default)) => (name, Some(Word { text: default.to_owned(), span: word.span })),
            None => (word.text.as_str(), None),
        };
        let description = from::describe(statement.comments, name);
        items.push(ArgItem { name: Word { text: name.to_owned(), span: word.span }, default, description });
    }
    Some(Arg { items })
}
