//! `MultipleInstructionsDisallowed`: of two CMDs, ENTRYPOINTs or HEALTHCHECKs in a stage only the last counts.
//!
//! The one that does not count is marked.

use super::{At, Checks, Rule};
use crate::diagnostic::Span;

pub(crate) fn check(checks: &mut Checks, at: At<'_>, keyword: &str, earlier: Option<Span>) {
    if let Some(span) = earlier {
        let message = format!(
            "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
        );
        checks.report(At { span, ..at }, Rule::MultipleInstructionsDisallowed, message);
    }
}
