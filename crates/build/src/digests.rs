//! The diff ids of new layers, taken beside the steps that come after them.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, available_parallelism};

use lighter_dockerfile::plan::Step;
use lighter_image::DiffId;
use lighter_layer::{PackOptions, Packed, Policy, Timestamp, stack_diff_id, stack_diff_ids};
use lighter_store::{LayerId, Store};

use crate::{BuildError, SharedCache, StoreError};

/// A layer whose diff id is to be taken.
struct Job {
    step: String,
    is_in_result: bool,
    layer: LayerId,
    /// Its tar stream, where that is known: it has only to be remembered.
    packed: Option<Packed>,
}

/// Takes diff ids in threads of its own, which are started when there is something to do.
pub(crate) struct Digests<'scope, 'env> {
    store: &'env Store,
    scope: &'scope Scope<'scope, 'env>,
    clamp_seconds: Option<i64>,
    /// Is told of each layer, so that it can be on its way to other machines before the build is over.
    cache: &'env dyn SharedCache,
    shared: Arc<Shared>,
    jobs: Mutex<Option<Sender<Job>>>,
    queue: Arc<Mutex<Receiver<Job>>>,
    most_threads: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: std::sync::Condvar,
}

#[derive(Default)]
struct State {
    threads: usize,
    open: usize,
    taken: HashMap<LayerId, DiffId>,
    failure: Option<BuildError>,
}

impl<'scope, 'env> Digests<'scope, 'env> {
    pub(crate) fn new(
        store: &'env Store,
        scope: &'scope Scope<'scope, 'env>,
        clamp_seconds: Option<i64>,
        cache: &'env dyn SharedCache,
    ) -> Self {
        let (jobs, queue) = channel();
        let most_threads = available_parallelism().map_or(2, usize::from);
        Self {
            store,
            scope,
            clamp_seconds,
            cache,
            shared: Arc::default(),
            jobs: Mutex::new(Some(jobs)),
            queue: Arc::new(Mutex::new(queue)),
            most_threads,
        }
    }

    /// Takes the diff id of a layer, some time before [`Self::finish`] returns.
    pub(crate) fn take(&self, step: &Step, is_in_result: bool, layer: &LayerId, packed: Option<Packed>) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open += 1;
        let needs_thread = state.threads < self.most_threads && state.open > state.threads;
        if needs_thread {
            state.threads += 1;
        }
        drop(state);
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            // the queue lives as long as this
            let _ = jobs.send(Job { step: step.name.clone(), is_in_result, layer: layer.clone(), packed });
        }
        if needs_thread {
            let (store, shared, queue) = (self.store, Arc::clone(&self.shared), Arc::clone(&self.queue));
            let (clamp_seconds, cache) = (self.clamp_seconds, self.cache);
            self.scope.spawn(move || serve(store, clamp_seconds, cache, &shared, &queue));
        }
    }

    /// Waits for all, and gives them.
    pub(crate) fn finish(&self) -> Result<HashMap<LayerId, DiffId>, BuildError> {
        self.close();
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.open > 0 && state.failure.is_none() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(std::mem::take(&mut state.taken)),
        }
    }

    fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Digests<'_, '_> {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(
    store: &Store,
    clamp_seconds: Option<i64>,
    cache: &dyn SharedCache,
    shared: &Shared,
    queue: &Mutex<Receiver<Job>>,
) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { step, is_in_result, layer, packed }) = job else { return };
        let taken = match packed {
            Some(packed) => remember(store, &layer, packed),
            None => take(store, &step, &layer, clamp_seconds),
        };
        if let Ok(diff_id) = &taken {
            cache.made(diff_id, is_in_result);
        }
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open -= 1;
        match taken {
            Ok(diff_id) => drop(state.taken.insert(layer, diff_id)),
            Err(error) => state.failure = state.failure.take().or(Some(error)),
        }
        shared.changed.notify_all();
    }
}

/// Takes the diff id of a layer, and has the store remember it; with a latest time, the one that it has then, too.
pub(crate) fn take(
    store: &Store,
    step: &str,
    layer: &LayerId,
    clamp_seconds: Option<i64>,
) -> Result<DiffId, BuildError> {
    let dirs = store.layer_dirs(layer).map_err(StoreError::from)?;
    let fail = |source| BuildError::Pack { step: step.to_owned(), source };
    let packed = match clamp_seconds {
        None => stack_diff_id(&dirs, &PackOptions::default()).map_err(fail)?,
        Some(seconds) => {
            let latest = Timestamp::at_second(seconds);
            let (packed, clamped) = stack_diff_ids(&dirs, Policy::of_process(), latest).map_err(fail)?;
            store
                .set_clamped_diff_id(layer, clamped.diff_id, clamped.size_bytes, seconds)
                .map_err(StoreError::from)?;
            packed
        }
    };
    remember(store, layer, packed)
}

/// Has the store remember a diff id.
fn remember(store: &Store, layer: &LayerId, packed: Packed) -> Result<DiffId, BuildError> {
    store.set_diff_id(layer, packed.diff_id, packed.size_bytes).map_err(StoreError::from)?;
    Ok(packed.diff_id)
}
