//! Ctrl-C and its like: the first asks all work to stop, in order; a second one ends the program at once.

use crate::failure::Failure;
use lighter_engine::build::CancelToken;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Listens as long as it lives.
#[derive(Debug)]
pub(crate) struct Watch(Handle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Lets a write beyond what `ulimit -f` allows fail like any other, instead of ending the program without a word.
/// Programs that are executed have the signal's usual effect again.
pub(crate) fn survive_file_limit() {
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, Arc::default()) {
        tracing::warn!(%error, "a file that grows beyond its limit will end the program");
    }
}

/// Lets ended children be waited for, whatever this program was started with.
pub(crate) fn hear_of_children() {
    if let Err(error) = lighter_engine::hear_of_children() {
        tracing::warn!(%error, "how a child ends may not be known");
    }
}

/// Cancels a token when the program is asked to end.
///
/// # Errors
/// When signals cannot be listened to.
pub(crate) fn cancels(token: &CancelToken) -> Result<Watch, Failure> {
    let token = token.clone();
    watch(move || token.cancel())
}

/// Sets a flag when the program is asked to end.
///
/// # Errors
/// When signals cannot be listened to.
pub(crate) fn sets(flag: &Arc<AtomicBool>) -> Result<Watch, Failure> {
    let flag = Arc::clone(flag);
    watch(move || flag.store(true, Ordering::Relaxed))
}

fn watch(stop: impl Fn() + Send + 'static) -> Result<Watch, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    std::thread::spawn(move || {
        let mut asked = false;
        for signal in &mut signals {
            if asked && let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
                tracing::warn!(%error, signal, "the signal could not be obeyed");
            }
            asked = true;
            stop();
        }
    });
    Ok(Watch(handle))
}
