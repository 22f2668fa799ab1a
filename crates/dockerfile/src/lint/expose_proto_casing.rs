//! `ExposeProtoCasing`: a protocol in EXPOSE is written small.

use super::{At, Checks, Rule};

pub(crate) fn check(checks: &mut Checks, at: At<'_>, port: &str, protocol: &str) {
    if protocol != protocol.to_lowercase() {
        let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
        checks.report(at, Rule::ExposeProtoCasing, message);
    }
}
