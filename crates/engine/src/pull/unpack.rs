//! Layers that are unpacked side by side: each by itself as far as that goes, and given its name only when all that lies
//! below it is there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use lighter_image::{Descriptor, DiffId, Digest, media_type};
use lighter_layer::compress::Decoder;
use lighter_layer::{
    Applied, ApplyError, ApplyOptions, PackOptions, ReadAhead, View, apply, diff_id, inherit_root,
};
use lighter_store::{LayerError, LayerId, NewLayer, Scratch};

use super::arrival::Follower;
use super::layers::{Coming, FetchLayerError, LayerEvent, Work};

/// How many layers are unpacked at once, at most: each takes a few megabytes and up to three threads.
const UNPACKERS: usize = 4;

/// The layers of a call, in their order: those that are here.
#[derive(Debug)]
pub(super) struct Stack {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    here: Vec<Option<LayerId>>,
    has_failed: bool,
}

impl Stack {
    pub(super) fn new(here: Vec<Option<LayerId>>) -> Self {
        Self { state: Mutex::new(State { here, has_failed: false }), changed: Condvar::new() }
    }

    fn put(&self, place: usize, id: LayerId) {
        self.lock().here[place] = Some(id);
        self.changed.notify_all();
    }

    fn fail(&self) {
        self.lock().has_failed = true;
        self.changed.notify_all();
    }

    /// What lies below a place, if all of it is there.
    fn below(&self, place: usize) -> Option<Vec<LayerId>> {
        self.lock().here[..place].iter().cloned().collect()
    }

    /// Waits for what lies below a place.
    fn wait_below(&self, place: usize) -> Result<Vec<LayerId>, FetchLayerError> {
        let mut state = self.lock();
        loop {
            if state.has_failed {
                return Err(FetchLayerError::Cancelled);
            }
            if let Some(below) = state.here[..place].iter().cloned().collect() {
                return Ok(below);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A layer that was unpacked by itself: the directory, what was seen, and the blob.
type Alone = (Scratch, Applied, Descriptor);

impl Work<'_> {
    /// Unpacks all that comes.
    pub(super) fn unpack_all(&self, coming: &[Coming], stack: &Stack) -> Result<(), FetchLayerError> {
        let next = AtomicUsize::new(0);
        let first: Mutex<Option<(usize, FetchLayerError)>> = Mutex::default();
        let unpack = || {
            while let Some(one) = coming.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.unpack(one, stack) {
                    Ok(id) => {
                        (self.events)(&one.layer, LayerEvent::Complete);
                        stack.put(one.place, id);
                    }
                    Err(error) => {
                        self.stop.store(true, Ordering::Relaxed);
                        stack.fail();
                        keep_first(&first, one.place, error);
                    }
                }
            }
        };
        let threads = thread::available_parallelism().map_or(2, usize::from).min(UNPACKERS).min(coming.len());
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(unpack);
            }
            unpack();
        });
        match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some((_, error)) => Err(error),
        }
    }

    /// Unpacks a layer. One process does it, the others wait for it; nobody who does waits for what lies below, which
    /// may be what another process unpacks that waits for this one.
    fn unpack(&self, one: &Coming, stack: &Stack) -> Result<LayerId, FetchLayerError> {
        // not the digest itself: a blob that is not packed has the same one
        let key = Digest::of(format!("layer {}", one.layer));
        let is_stopped = || self.is_stopped();
        let mut alone = None;
        if stack.below(one.place).is_none() {
            let _flight = self.store.single_flight(&key, &is_stopped)?;
            if self.store.layer_by_diff_id(&one.layer)?.is_none() {
                alone = self.unpack_alone(one)?;
            }
        }
        let mut below: Vec<PathBuf> = Vec::new();
        for id in stack.wait_below(one.place)? {
            below.extend(self.store.layer_dirs(&id).map_err(LayerError::from)?);
        }
        let options = ApplyOptions { below: View::open(&below)?, ..ApplyOptions::default() };
        let _flight = self.store.single_flight(&key, &is_stopped)?;
        if let Some(id) = self.store.layer_by_diff_id(&one.layer)? {
            return Ok(id);
        }
        let (scratch, applied, blob) = match alone {
            Some(alone) => {
                inherit_root(&alone.0.fs(), &alone.1, &options)?;
                alone
            }
            None => self.unpack_on(one, &options)?,
        };
        self.keep(&one.layer, &blob, scratch, applied)
    }

    /// Unpacks a layer by itself; `None` where that is not possible.
    fn unpack_alone(&self, one: &Coming) -> Result<Option<Alone>, FetchLayerError> {
        let options = ApplyOptions { alone: true, ..ApplyOptions::default() };
        match self.unpack_on(one, &options) {
            Ok(alone) => Ok(Some(alone)),
            Err(error) if needs_below(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn unpack_on(&self, one: &Coming, options: &ApplyOptions) -> Result<Alone, FetchLayerError> {
        let Coming { layer, arrival, .. } = one;
        loop {
            let mut follower = arrival.follow();
            let beginning = follower.start();
            (self.events)(layer, LayerEvent::Unpacking);
            let scratch = self.store.new_layer()?;
            let applied = match unpack_into(&scratch, layer, follower, options) {
                Err(error) if needs_below(&error) => return Err(error),
                applied => applied,
            };
            // whatever came of it: what counts is whether the blob was right
            let blob = arrival.wait()?;
            match applied {
                Ok(applied) => return Ok((scratch, applied, blob)),
                Err(_) if arrival.is_past(beginning) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives an unpacked layer its name, if it is what it should be.
    fn keep(
        &self,
        layer: &DiffId,
        blob: &Descriptor,
        scratch: Scratch,
        applied: Applied,
    ) -> Result<LayerId, FetchLayerError> {
        if applied.diff_id != *layer {
            // nothing can be made of it, here or next time: an image that says so must not stand in the way of others
            // that have the layer from elsewhere
            self.store.discard_blob(&blob.digest)?;
            self.store.forget_blob(layer, &blob.digest)?;
            let (expected, found) = (*layer, applied.diff_id);
            return Err(FetchLayerError::DiffId { blob: blob.digest, expected, found });
        }
        let mut new = NewLayer {
            diff_id: Some(*layer),
            size_bytes: Some(applied.size_bytes),
            blobs: vec![blob.clone()],
            ..NewLayer::default()
        };
        if media_type::layer_compression(&blob.media_type) == Some(media_type::Compression::None) {
            // an unpacked blob is only worth keeping where its stream cannot be made again
            let packed = diff_id(&scratch.fs(), &PackOptions::default()).map_err(Box::new)?;
            new.packed = (packed.diff_id != *layer).then_some(packed.diff_id.0);
        }
        Ok(self.store.commit_layer(scratch, new)?)
    }
}

fn needs_below(error: &FetchLayerError) -> bool {
    matches!(error, FetchLayerError::Apply { source, .. } if matches!(**source, ApplyError::NeedsBelow { .. }))
}

/// Keeps the failure that counts: of the lowest layer, and of those that did not only end because another one failed.
fn keep_first(first: &Mutex<Option<(usize, FetchLayerError)>>, place: usize, error: FetchLayerError) {
    let rank = |place: usize, error: &FetchLayerError| {
        (matches!(error, FetchLayerError::Cancelled | FetchLayerError::Wait(_)), place)
    };
    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
    if first.as_ref().is_none_or(|(other, kept)| rank(place, &error) < rank(*other, kept)) {
        *first = Some((place, error));
    }
}

/// Unpacks what a follower reads.
fn unpack_into(
    scratch: &Scratch,
    layer: &DiffId,
    follower: Follower,
    options: &ApplyOptions,
) -> Result<Applied, FetchLayerError> {
    let unpacked = Decoder::of_verified(follower).map_err(|error| ApplyError::Archive(error.into()));
    let applied = unpacked.and_then(|stream| apply(ReadAhead::new(stream), &scratch.fs(), options));
    applied.map_err(|source| FetchLayerError::Apply { diff_id: *layer, source: Box::new(source) })
}
