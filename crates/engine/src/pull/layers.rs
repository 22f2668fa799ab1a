//! Layers that are elsewhere: their blobs come side by side and are kept as they came, and they are unpacked side by
//! side, each while it is still coming. Pulls, builds and containers all get their layers here.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lighter_image::{Descriptor, DiffId, Digest};
use lighter_layer::{ApplyError, PackError, ViewError, WriteError};
use lighter_registry::{Client, FetchError, TransferEvent};
use lighter_store::{
    FileError, KnownLayer, LayerError, PutBlobError, ReadBlobError, RecordError, Store, WaitError,
};

use super::arrival::Arrival;
use super::unpack::Stack;

/// How many blobs come at once.
const TRANSFERS: usize = 4;
/// How much is taken from a connection at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Why a layer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchLayerError {
    /// Nobody says where its bytes are.
    #[error("the bytes of layer {0} are not in the store, and no registry is known to have them")]
    Nowhere(DiffId),
    /// The registry does not give it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The connection broke, or what came was wrong.
    #[error("fetching blob {blob}")]
    Broken {
        /// The blob.
        blob: Digest,
        /// What is wrong.
        #[source]
        source: std::io::Error,
    },
    /// It cannot be unpacked.
    #[error("unpacking layer {diff_id}")]
    Apply {
        /// The layer.
        diff_id: DiffId,
        /// What is wrong.
        #[source]
        source: Box<ApplyError>,
    },
    /// It is not what its image says.
    #[error("digest mismatch: layer {blob} unpacks to {found}, but its image says {expected}")]
    DiffId {
        /// The blob.
        blob: Digest,
        /// What it should be.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// What was unpacked cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// What was unpacked cannot be changed.
    #[error(transparent)]
    Style(#[from] WriteError),
    /// The same.
    #[error(transparent)]
    Pack(#[from] Box<PackError>),
    /// What has come cannot be written.
    #[error("storing blob {blob}")]
    Write {
        /// The blob.
        blob: Digest,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The same.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The same.
    #[error(transparent)]
    Store(#[from] LayerError),
    /// The same.
    #[error(transparent)]
    Put(#[from] PutBlobError),
    /// The same.
    #[error(transparent)]
    Blob(#[from] ReadBlobError),
    /// It was not waited for any longer.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The work was stopped.
    #[error("cancelled")]
    Cancelled,
}

/// What happens to one layer of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerEvent {
    /// It is there already.
    Exists,
    /// Its blob is to be fetched.
    Waiting,
    /// Its blob is being sent.
    Transfer(TransferEvent),
    /// Its blob is there.
    Downloaded,
    /// It is being unpacked.
    Unpacking,
    /// It is there.
    Complete,
}

/// Takes what happens to layers. Called from several threads.
pub type LayerEvents<'a> = &'a (dyn Fn(&DiffId, LayerEvent) + Sync);

/// Whether all of these layers are here, unpacked.
///
/// # Errors
/// Where the store cannot be read.
pub fn are_here(store: &Store, layers: &[DiffId]) -> Result<bool, LayerError> {
    for layer in layers {
        if store.layer_by_diff_id(layer)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sees to it that the store has these layers unpacked, which lie on each other in this order. Without a client, only
/// blobs of the store are unpacked; with one, it is the client's cancellation that stops the work.
///
/// # Errors
/// [`FetchLayerError`] for the first that cannot be had; blobs that have come stay, and parts of blobs too.
pub fn have_layers(
    store: &Store,
    client: Option<&Client>,
    layers: &[DiffId],
    events: LayerEvents<'_>,
) -> Result<(), FetchLayerError> {
    let mut here = Vec::with_capacity(layers.len());
    let mut coming = Vec::new();
    for (place, layer) in layers.iter().enumerate() {
        let id = store.layer_by_diff_id(layer)?;
        events(layer, if id.is_some() { LayerEvent::Exists } else { LayerEvent::Waiting });
        if id.is_none() {
            coming.push(Coming { place, layer: *layer, arrival: Arc::default() });
        }
        here.push(id);
    }
    if coming.is_empty() {
        return Ok(());
    }
    let work = Work {
        store,
        client,
        events,
        queue: Mutex::new(coming.iter().collect()),
        stop: AtomicBool::new(false),
    };
    let stack = Stack::new(here);
    thread::scope(|scope| {
        for _ in 0..coming.len().min(TRANSFERS) {
            scope.spawn(|| work.transfer());
        }
        work.unpack_all(&coming, &stack)
    })
}

/// A layer on its way.
pub(super) struct Coming {
    /// Where it lies in the stack.
    pub(super) place: usize,
    pub(super) layer: DiffId,
    pub(super) arrival: Arc<Arrival>,
}

/// What the threads of one call share.
pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    client: Option<&'a Client>,
    pub(super) events: LayerEvents<'a>,
    queue: Mutex<VecDeque<&'a Coming>>,
    pub(super) stop: AtomicBool,
}

impl Work<'_> {
    /// Fetches one blob after the other.
    fn transfer(&self) {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(Coming { layer, arrival, .. }) = next else { return };
            if let Err(error) = self.fetch(layer, arrival) {
                // the others end, too: their error would only be that they were stopped
                self.stop.store(true, Ordering::Relaxed);
                arrival.fail(error);
            }
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.client.is_some_and(|client| client.cancel().is_set())
    }

    /// Sees to it that the store has a blob of a layer.
    fn fetch(&self, layer: &DiffId, arrival: &Arrival) -> Result<(), FetchLayerError> {
        let known = self.store.known_layer(layer)?.unwrap_or_else(|| KnownLayer::new(*layer));
        for blob in &known.blobs {
            if self.is_stored(blob, arrival)? {
                (self.events)(layer, LayerEvent::Downloaded);
                return Ok(());
            }
        }
        let mut last = FetchLayerError::Nowhere(*layer);
        let Some(client) = self.client else { return Err(last) };
        for blob in &known.blobs {
            // two processes that want the same blob fetch it once
            let _flight = self.store.single_flight(&blob.digest, &|| self.is_stopped())?;
            if self.is_stored(blob, arrival)? {
                (self.events)(layer, LayerEvent::Downloaded);
                return Ok(());
            }
            for source in &known.sources {
                match self.fetch_from(client, source, layer, blob, arrival) {
                    Ok(()) => return Ok(()),
                    Err(FetchLayerError::Cancelled) => return Err(FetchLayerError::Cancelled),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    fn is_stored(&self, blob: &Descriptor, arrival: &Arrival) -> Result<bool, FetchLayerError> {
        // it has lain there since a pull that broke off: what has become of it is seen in time to fetch it anew
        let Some(file) = self.store.open_intact_blob(&blob.digest)? else { return Ok(false) };
        arrival.is_stored(blob.clone(), file);
        Ok(true)
    }

    /// Fetches what is missing of a blob; whoever follows it reads it as it comes.
    fn fetch_from(
        &self,
        client: &Client,
        source: &lighter_image::Reference,
        layer: &DiffId,
        blob: &Descriptor,
        arrival: &Arrival,
    ) -> Result<(), FetchLayerError> {
        let mut partial = self.store.resume_blob(&blob.digest)?;
        if partial.written_bytes() > blob.size {
            partial.discard()?;
            partial = self.store.resume_blob(&blob.digest)?;
        }
        let progress = |event| (self.events)(layer, LayerEvent::Transfer(event));
        let mut stream = client.fetch_blob(source, blob, partial.seen().clone(), &progress)?;
        arrival.begin(partial.file(), partial.written_bytes());
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            if self.is_stopped() {
                return Err(FetchLayerError::Cancelled);
            }
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    let written = partial.write_all(&piece[..length]);
                    written.map_err(|source| FetchLayerError::Write { blob: blob.digest, source })?;
                    arrival.advance(partial.written_bytes());
                }
                Err(error) => {
                    if error.kind() == std::io::ErrorKind::InvalidData {
                        // wrong bytes are no part of the blob
                        partial.discard()?;
                    }
                    return Err(broken(blob, error));
                }
            }
        }
        // the stream has ended without an error: the bytes are right
        partial.finish()?;
        arrival.is_whole(blob.clone());
        (self.events)(layer, LayerEvent::Downloaded);
        Ok(())
    }
}

/// The failure of a stream, which mostly has the registry's own inside.
fn broken(blob: &Descriptor, error: std::io::Error) -> FetchLayerError {
    match error.downcast::<FetchError>() {
        Ok(error) => FetchLayerError::Fetch(error),
        Err(source) => FetchLayerError::Broken { blob: blob.digest, source },
    }
}
