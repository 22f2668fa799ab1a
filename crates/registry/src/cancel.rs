//! Cancellation: every loop and every wait of this crate asks whether it should go on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a wait may go on before it asks again.
const SLICE: Duration = Duration::from_millis(50);

/// The operation was cancelled by its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Tells whether work should stop. Cheap to clone and to ask.
#[derive(Clone)]
pub struct Cancel(Arc<dyn Fn() -> bool + Send + Sync>);

impl Cancel {
    /// Never stops.
    pub fn never() -> Self {
        Self::when(|| false)
    }

    /// Stops once this says so.
    pub fn when(is_set: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_set))
    }

    /// Stops once this flag is set.
    pub fn flag(flag: Arc<AtomicBool>) -> Self {
        Self::when(move || flag.load(Ordering::Relaxed))
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        (self.0)()
    }

    /// Passes where work may go on.
    ///
    /// # Errors
    /// [`Cancelled`] where it may not.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_set() { Err(Cancelled) } else { Ok(()) }
    }

    /// Waits, unless the work is cancelled meanwhile.
    ///
    /// # Errors
    /// [`Cancelled`] as soon as that is the case.
    pub fn wait(&self, duration: Duration) -> Result<(), Cancelled> {
        let end = Instant::now() + duration;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::never()
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_set()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_cancelled() {
        let flag = Arc::new(AtomicBool::new(true));
        let cancel = Cancel::flag(flag.clone());
        assert_eq!(cancel.wait(Duration::from_hours(1)), Err(Cancelled));
        flag.store(false, Ordering::Relaxed);
        assert_eq!(cancel.wait(Duration::ZERO), Ok(()));
    }
}
