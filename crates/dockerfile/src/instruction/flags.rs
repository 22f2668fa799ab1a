//! Flags: which ones an instruction knows, and what they say.

use super::Statement;
use crate::diagnostic::{Code, Diagnostic};
use crate::suggest::{did_you_mean, nearest};
use crate::syntax::Word;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, `true` or `false`.
    Switch,
    /// A value, once.
    Value,
    /// A value, as often as wanted.
    Values,
}

/// The flags of an instruction, checked.
pub(super) struct Flags {
    found: Vec<(String, Word)>,
}

impl Flags {
    /// Reads the flags against those that are known. All faults are reported, not only the first.
    pub(super) fn read(statement: &mut Statement<'_>, known: &[(&str, Kind)]) -> Option<Self> {
        let mut found: Vec<(String, Word)> = Vec::new();
        let mut sound = true;
        for flag in statement.flags {
            let Some(&(_, kind)) = known.iter().find(|(name, _)| *name == flag.name) else {
                let near = nearest(&flag.name, known.iter().map(|(name, _)| name), true);
                let mut help = did_you_mean(near.map(|name| format!("--{name}")));
                if help.is_none() && known.is_empty() {
                    help = Some(format!("{} takes no flags", statement.name()));
                }
                let message = format!("unknown flag: --{}", flag.name);
                statement
                    .faults
                    .push(Diagnostic::error(Code::UnknownFlag, flag.span, message).with_help(help));
                sound = false;
                continue;
            };
            let fault = if kind != Kind::Values && found.iter().any(|(name, _)| *name == flag.name) {
                Some(format!("duplicate flag specified: --{}", flag.name))
            } else {
                check(kind, &flag.name, flag.value.as_deref())
            };
            if let Some(message) = fault {
                statement.faults.push(Diagnostic::error(Code::Flag, flag.span, message));
                sound = false;
                continue;
            }
            let text = flag.value.clone().unwrap_or_default();
            found.push((flag.name.clone(), Word { text, span: flag.span }));
        }
        sound.then_some(Self { found })
    }

    /// The flags of an instruction that knows none.
    pub(super) fn none(statement: &mut Statement<'_>) -> Option<Self> {
        Self::read(statement, &[])
    }

    /// A value, if given and not empty.
    pub(super) fn value(&self, name: &str) -> Option<Word> {
        self.values(name).into_iter().next().filter(|word| !word.text.is_empty())
    }

    pub(super) fn values(&self, name: &str) -> Vec<Word> {
        self.found.iter().filter(|(flag, _)| flag == name).map(|(_, word)| word.clone()).collect()
    }

    /// A switch, if given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        let (_, word) = self.found.iter().find(|(flag, _)| flag == name)?;
        Some(!word.text.eq_ignore_ascii_case("false"))
    }
}

fn check(kind: Kind, name: &str, value: Option<&str>) -> Option<String> {
    match (kind, value) {
        (Kind::Value | Kind::Values, None) | (Kind::Switch, Some("")) => {
            Some(format!("missing a value on flag: --{name}"))
        }
        (Kind::Switch, Some(value))
            if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") =>
        {
            Some(format!("expecting boolean value for flag --{name}, not: {value}"))
        }
        _ => None,
    }
}
