//! `ConsistentInstructionCasing`: all instructions are in capitals, or all are not.
//!
//! The majority decides; a file without one shall be in capitals. What stands before the first FROM does not count.

use super::{At, Checks, Rule};
use crate::syntax::File;

pub(super) fn check(file: &File, checks: &mut Checks) {
    let keywords: Vec<_> = file
        .stages
        .iter()
        .flat_map(|stage| std::iter::once(stage.from).chain(stage.instructions.iter().copied()))
        .map(|index| &file.instructions[index])
        .collect();
    let lower = keywords.iter().filter(|it| is_lower(&it.keyword.text)).count();
    let upper =
        keywords.iter().filter(|it| !is_lower(&it.keyword.text) && is_upper(&it.keyword.text)).count();
    let wants_lower = lower > upper;
    for instruction in keywords {
        let name = &instruction.keyword.text;
        let (fits, casing) =
            if wants_lower { (is_lower(name), "lowercase") } else { (is_upper(name), "uppercase") };
        if !fits {
            let message =
                format!("Command '{name}' should match the case of the command majority ({casing})");
            let at = At { span: instruction.span, comments: &[] };
            checks.report(at, Rule::ConsistentInstructionCasing, message);
        }
    }
}

fn is_lower(text: &str) -> bool {
    text == text.to_lowercase()
}

fn is_upper(text: &str) -> bool {
    text == text.to_uppercase()
}
