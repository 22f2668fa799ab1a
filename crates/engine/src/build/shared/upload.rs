//! Layers on their way to other machines: packed once for each way to pack them, and sent to registries while the build
//! goes on.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;

use lighter_build::CancelToken;
use lighter_image::{Descriptor, DiffId, Digest, Reference};
use lighter_registry::{Client, ignore_events};
use lighter_store::Store;

use super::SharedError;
use super::export::{style, target};
use crate::build::CacheLocation;
use crate::build::outputs::{PackStyle, pack_shared};
use crate::fetch::Network;

/// How many layers are sent at once while steps are still running.
const SENDERS: usize = 2;

/// What is done once for each key, by whoever comes first.
struct Once<K, V>(Mutex<HashMap<K, Arc<Mutex<Option<V>>>>>);

impl<K: Eq + Hash, V: Clone> Once<K, V> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// Does it, unless it has been done; after a failure the next one tries again.
    fn get<E>(&self, key: K, work: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let slot = Arc::clone(lock(&self.0).entry(key).or_default());
        let mut slot = lock(&slot);
        if let Some(done) = &*slot {
            return Ok(done.clone());
        }
        let done = work()?;
        *slot = Some(done.clone());
        Ok(done)
    }
}

/// Packs and sends layers.
pub(in crate::build) struct Uploads<'a> {
    pub(super) store: &'a Store,
    network: &'a Network,
    cancel: &'a CancelToken,
    targets: Vec<Target>,
    packed: Once<(PackStyle, DiffId), Descriptor>,
    sent: Once<(String, PackStyle, DiffId), Descriptor>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// A registry that layers are sent to.
struct Target {
    reference: Reference,
    /// Whether all layers are wanted, not those of the result alone.
    all: bool,
    style: PackStyle,
}

#[derive(Default)]
struct Queue {
    layers: VecDeque<(DiffId, bool)>,
    is_closed: bool,
}

impl<'a> Uploads<'a> {
    /// Takes the places of `--cache-to`.
    pub(in crate::build) fn new(
        store: &'a Store,
        network: &'a Network,
        cancel: &'a CancelToken,
        locations: &[CacheLocation],
    ) -> Result<Self, SharedError> {
        let registries = locations.iter().filter(|location| location.kind == "registry");
        let targets = registries
            .map(|location| {
                let all = location.is_on("mode", "max");
                Ok(Target { reference: target(location)?, all, style: style(location)? })
            })
            .collect::<Result<_, SharedError>>()?;
        Ok(Self {
            store,
            network,
            cancel,
            targets,
            packed: Once::new(),
            sent: Once::new(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Sends layers as they come, in threads that end with [`Self::close`].
    pub(in crate::build) fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        if !self.targets.is_empty() {
            for _ in 0..SENDERS {
                scope.spawn(|| self.serve());
            }
        }
    }

    /// Ends the threads. What they have not sent yet is left to whoever asks for it.
    pub(in crate::build) fn close(&self) {
        lock(&self.queue).is_closed = true;
        self.changed.notify_all();
    }

    /// Has a layer sent beside the build.
    pub(super) fn add(&self, layer: &DiffId, is_in_result: bool) {
        lock(&self.queue).layers.push_back((*layer, is_in_result));
        self.changed.notify_one();
    }

    fn serve(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.layers.is_empty() && !queue.is_closed {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.is_closed || self.cancel.is_cancelled() {
                return;
            }
            let Some((layer, is_in_result)) = queue.layers.pop_front() else { return };
            drop(queue);
            for target in self.targets.iter().filter(|target| target.all || is_in_result) {
                if let Err(error) = self.send(&target.reference, target.style, &layer) {
                    // it is tried again at the end, and told of then
                    tracing::debug!(%error, %layer, "a layer is not sent yet");
                }
            }
        }
    }

    /// The registry's client.
    pub(super) fn client(&self) -> &Client {
        self.network.client(self.cancel)
    }

    /// A layer as a blob of the store.
    pub(super) fn pack(&self, style: PackStyle, layer: &DiffId) -> Result<Descriptor, SharedError> {
        self.packed.get((style, *layer), || {
            Ok(pack_shared(self.store, &|| self.client(), layer, style).map_err(Box::new)?)
        })
    }

    /// A layer as a blob of a repository.
    pub(super) fn send(
        &self,
        to: &Reference,
        style: PackStyle,
        layer: &DiffId,
    ) -> Result<Descriptor, SharedError> {
        self.sent.get((to.repository(), style, *layer), || {
            let blob = self.pack(style, layer)?;
            self.send_blob(to, &blob)?;
            Ok(blob)
        })
    }

    /// Puts a blob of the store into a repository.
    pub(super) fn send_blob(&self, to: &Reference, blob: &Descriptor) -> Result<(), SharedError> {
        let mut open = |offset: u64| -> io::Result<Box<dyn io::Read>> {
            let mut file = self.store.open_blob(&blob.digest).map_err(io::Error::other)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
            Ok(Box::new(file))
        };
        let named = (blob.digest, blob.size);
        self.client().push_blob(to, named, &[], &mut open, &ignore_events).map_err(Box::new)?;
        Ok(())
    }

    /// Puts a small blob into a repository.
    pub(super) fn send_bytes(&self, to: &Reference, bytes: &[u8]) -> Result<(), SharedError> {
        let mut open = |offset: u64| -> io::Result<Box<dyn io::Read>> {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            Ok(Box::new(io::Cursor::new(bytes[from..].to_vec())))
        };
        let named = (Digest::of(bytes), bytes.len() as u64);
        self.client().push_blob(to, named, &[], &mut open, &ignore_events).map_err(Box::new)?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_not_done_again_but_after_a_failure() {
        let once = Once::<u8, u8>::new();
        assert_eq!(once.get(1, || Err("no")), Err("no"));
        assert_eq!(once.get(1, || Ok::<_, ()>(7)), Ok(7));
        assert_eq!(once.get(1, || Err("never asked")), Ok(7));
        assert_eq!(once.get(2, || Ok::<_, ()>(8)), Ok(8));
    }
}
