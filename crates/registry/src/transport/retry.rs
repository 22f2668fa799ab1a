//! Retries: how often, and how long to wait before each.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use lighter_image::error_chain;
use ureq::http::HeaderMap;

use super::error::{Again, TransportError};
use crate::cancel::{Cancel, Cancelled};
use crate::config::Retries;
use crate::event::{Events, TransferEvent};

/// Counts the attempts at one thing.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: Retries,
    failed: u32,
}

impl Attempts {
    pub(crate) fn new(policy: Retries) -> Self {
        Self { policy, failed: 0 }
    }

    /// Something was achieved: earlier failures do not count any more.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Waits until the next attempt, or gives the failure back where there is to be none.
    pub(crate) fn after(
        &mut self,
        error: TransportError,
        cancel: &Cancel,
        events: Events<'_>,
    ) -> Result<(), TransportError> {
        let again = error.again();
        self.decide(error, again, cancel, events)
    }

    /// The same for a failure that is worth another attempt for reasons of the caller's.
    pub(crate) fn after_all(
        &mut self,
        error: TransportError,
        cancel: &Cancel,
        events: Events<'_>,
    ) -> Result<(), TransportError> {
        self.decide(error, Again::Yes(None), cancel, events)
    }

    fn decide(
        &mut self,
        error: TransportError,
        again: Again,
        cancel: &Cancel,
        events: Events<'_>,
    ) -> Result<(), TransportError> {
        self.failed += 1;
        let asked = match again {
            Again::Once if self.failed < 2.min(self.policy.attempts) => None,
            Again::Yes(asked) if self.failed < self.policy.attempts => asked,
            _ => return Err(error),
        };
        if asked.is_some_and(|asked| asked > self.policy.longest_asked) {
            return Err(error);
        }
        let wait = self.wait(asked);
        tracing::debug!(%error, attempt = self.failed, ?wait, "trying again");
        events(TransferEvent::Retrying { attempt: self.failed, wait, reason: error_chain(&error) });
        cancel.wait(wait).map_err(|Cancelled| TransportError::Cancelled(Cancelled))
    }

    /// Twice as long each time, half of it by chance, and never less than was asked for.
    fn wait(&self, asked: Option<Duration>) -> Duration {
        let doubled = self.policy.first_wait.saturating_mul(1 << self.failed.saturating_sub(1).min(16));
        let whole = doubled.min(self.policy.longest_wait);
        let jittered = whole / 2 + whole.mul_f64(chance() / 2.0);
        asked.map_or(jittered, |asked| asked + jittered / 4)
    }
}

/// Runs an operation until it succeeds, or fails in a way that will not change.
pub(crate) fn run<T>(
    policy: Retries,
    cancel: &Cancel,
    events: Events<'_>,
    mut operation: impl FnMut() -> Result<T, TransportError>,
) -> Result<T, TransportError> {
    let mut attempts = Attempts::new(policy);
    loop {
        cancel.check()?;
        match operation() {
            Ok(value) => return Ok(value),
            Err(error) => attempts.after(error, cancel, events)?,
        }
    }
}

/// How long a server asks to wait: seconds, or a date, which is compared with the server's own clock.
///
/// # Source
/// RFC 9110, section 10.2.3.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text("retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok();
    let wait = date(value)?.duration_since(&date(text("date")?)?);
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// A number from 0 to 1; the standard library's hash keys are random enough to spread waits.
fn chance() -> f64 {
    let random = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ignore_events;
    use crate::transport::error::{Refusal, RequestName};
    use crate::transport::url::Url;

    fn refused(status: u16) -> TransportError {
        let url = Url::parse("http://r.test/").expect("an address");
        let request = RequestName { method: "GET", url };
        TransportError::Refused(Box::new(Refusal { request, status, errors: Vec::new(), retry_after: None }))
    }

    fn quick() -> Retries {
        Retries { first_wait: Duration::from_millis(1), ..Retries::default() }
    }

    #[test]
    fn it_ends_after_the_last_attempt() {
        let mut calls = 0;
        let outcome: Result<(), _> = run(quick(), &Cancel::never(), &ignore_events, || {
            calls += 1;
            Err(refused(503))
        });
        assert_eq!((calls, outcome.expect_err("refused").status()), (5, Some(503)));
    }

    #[test]
    fn what_will_not_change_is_not_repeated() {
        let mut calls = 0;
        let outcome: Result<(), _> = run(quick(), &Cancel::never(), &ignore_events, || {
            calls += 1;
            Err(refused(404))
        });
        assert!(outcome.is_err());
        assert_eq!(calls, 1);
    }

    #[test]
    fn waits_grow_within_bounds() {
        let policy = Retries::default();
        for failed in 1..40 {
            let attempts = Attempts { policy, failed };
            let wait = attempts.wait(None);
            assert!(wait >= policy.first_wait / 2 && wait <= policy.longest_wait, "{failed}: {wait:?}");
            assert!(attempts.wait(Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_read() {
        let check = |pairs: &[(&'static str, &str)], expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a value"));
            }
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{pairs:?}");
        };
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        check(&[("retry-after", "7")], Some(7));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT"), date], Some(3));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT"), date], Some(0));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")], None);
        check(&[("retry-after", "soon"), date], None);
        check(&[], None);
    }
}
