//! `NoEmptyContinuation`: an empty line inside of an instruction is likely a slip.

use super::{At, Checks, Rule};
use crate::diagnostic::Span;

pub(super) fn check(checks: &mut Checks, last_line: Span) {
    let at = At { span: last_line, comments: &[] };
    checks.report(at, Rule::NoEmptyContinuation, "Empty continuation line".to_owned());
}
