//! `DuplicateStageName`: two stages of one name; the later hides the earlier.

use std::collections::HashSet;

use super::{At, Checks, Rule};
use crate::instruction::From;

pub(super) fn check<'a>(stages: impl Iterator<Item = (At<'a>, &'a From)>, checks: &mut Checks) {
    let mut seen = HashSet::new();
    for (at, from) in stages {
        let Some(name) = &from.name else { continue };
        if !seen.insert(name.text.as_str()) {
            let message = format!("Duplicate stage name {:?}, stage names should be unique", name.text);
            checks.report(At { comments: &[], ..at }, Rule::DuplicateStageName, message);
        }
    }
}
