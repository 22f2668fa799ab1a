//! Stopping a build: one token, seen by every thread, that knows how to stop what is running.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Tells all that work on one build to stop. Clones are the same token.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Inner>);

type Stop = Box<dyn Fn() + Send>;

#[derive(Default)]
struct Inner {
    cancelled: AtomicBool,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    next: u64,
    stops: BTreeMap<u64, Stop>,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all to stop, and stops what [`Self::while_running`] has named. Calling it again does that again.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        for stop in running.stops.values() {
            stop();
        }
    }

    /// Whether somebody has asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Names what is to be called when somebody asks to stop, for as long as the guard lives. Where somebody has
    /// asked already, it is called at once.
    #[must_use]
    pub fn while_running(&self, stop: impl Fn() + Send + 'static) -> Guard {
        let number = {
            let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.next += 1;
            let number = running.next;
            running.stops.insert(number, Box::new(stop));
            number
        };
        if self.is_cancelled()
            && let Some(stop) =
                self.0.running.lock().unwrap_or_else(PoisonError::into_inner).stops.get(&number)
        {
            stop();
        }
        Guard { token: self.clone(), number }
    }
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled()).finish()
    }
}

/// Keeps a stop known to a [`CancelToken`].
#[derive(Debug)]
pub struct Guard {
    token: CancelToken,
    number: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut running = self.token.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.stops.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn what_runs_is_stopped_and_what_ended_is_not() {
        let token = CancelToken::new();
        let stopped = Arc::new(AtomicUsize::new(0));
        let count = |by: usize| {
            let stopped = Arc::clone(&stopped);
            move || {
                stopped.fetch_add(by, Ordering::SeqCst);
            }
        };
        let ended = token.while_running(count(100));
        let running = token.while_running(count(1));
        drop(ended);
        token.cancel();
        assert_eq!(stopped.load(Ordering::SeqCst), 1);
        drop(running);
        token.cancel();
        assert_eq!(stopped.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_starts_too_late_is_stopped_at_once() {
        let token = CancelToken::new();
        token.cancel();
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let _running = token.while_running(move || seen.store(true, Ordering::SeqCst));
        assert!(stopped.load(Ordering::SeqCst));
    }
}
