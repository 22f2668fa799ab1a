//! `ExposeInvalidFormat`: EXPOSE takes ports of the container, no addresses or ports of the host.

use super::{At, Checks, Rule};

pub(crate) fn check(checks: &mut Checks, at: At<'_>, port: &str) {
    let message =
        format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
    checks.report(at, Rule::ExposeInvalidFormat, message);
}
