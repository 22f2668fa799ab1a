//! `push`: an image to its registry. Only what the registry lacks is sent, and what came from a registry goes as it came.
//!
//! A layer that has no blob yet is packed, compressed and sent in one pass; what was sent is remembered, so that the next
//! push only asks.

mod document;
mod layer;
mod pipe;

use crate::container::events::note_image;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use lighter_image::{Descriptor, DiffId, Digest, Document, Manifest, Reference, media_type, parse_document};
pub use lighter_layer::compress::Format as CompressionFormat;
use lighter_layer::compress::{Format, Workers};
use lighter_registry::{Client, FetchError, TransferEvent};
use lighter_store::{Batch, CommitError, ImageRecord, LayerError, ReadBlobError, RecordError, Store};

use crate::annotations::Notes;
use crate::archive::LayerStreamError;
use crate::image::{LookError, StoredImage, look_up};
use crate::pull::repository_of;
use layer::{Permits, Sender};

/// How many layers are on their way at once.
const TRANSFERS: usize = 4;
/// How many of them are packed at once. The threads that compress are the same for all; each has 8 MB of blocks in
/// memory where there are two of them, and four more of what is sent.
const PACKERS: usize = 2;
/// Manifests are small; what is larger is none.
const LARGEST_MANIFEST_BYTES: u64 = 4 << 20;

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It is not there, or damaged.
    #[error(transparent)]
    Look(#[from] LookError),
    /// There is no image of this repository.
    #[error("An image does not exist locally with the tag: {0}")]
    NoImage(String),
    /// There is no image of this tag, but there are others of its repository.
    #[error("tag does not exist: {0}")]
    NoTag(String),
    /// A name with a digest cannot be chosen: it follows from what is pushed.
    #[error("cannot push a digest reference")]
    Digest,
    /// The registry did not take it.
    #[error(transparent)]
    Registry(#[from] lighter_registry::PushError),
    /// A layer's bytes are nowhere.
    #[error("the bytes of layer {0} are not in the store, and no registry is known to have them")]
    Nowhere(DiffId),
    /// A layer that is elsewhere cannot be had from there.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A layer cannot be packed.
    #[error(transparent)]
    Layer(#[from] LayerStreamError),
    /// A layer cannot be compressed so.
    #[error("compressing a layer")]
    Compress(#[source] io::Error),
    /// A document could not be written.
    #[error("writing the manifest")]
    Json(#[from] serde_json::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Blob(#[from] ReadBlobError),
    /// The same.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The same.
    #[error(transparent)]
    Store(#[from] LayerError),
    /// What was pushed cannot be remembered.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The work was stopped because something else went wrong.
    #[error("cancelled")]
    Cancelled,
}

/// How layers are packed that have no blob yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushOptions {
    /// What they are compressed with.
    pub compression: Format,
    /// How much; the format's own default where nothing is said.
    pub level: Option<i32>,
    /// Whether blobs of another form are left aside, though they are there.
    pub recompress: bool,
    /// Whether the manifest is an OCI one. It is one anyway where a layer needs it.
    pub oci: bool,
    /// Whether it is put under its digest alone, not under the name's tag.
    pub by_digest: bool,
    /// How many threads compress. The bytes do not depend on it.
    pub threads: usize,
}

impl Default for PushOptions {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(2, usize::from).min(8);
        Self {
            compression: Format::Gzip,
            level: None,
            recompress: false,
            oci: false,
            by_digest: false,
            threads,
        }
    }
}

/// What happens to one layer of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEvent {
    /// It is to be pushed.
    Preparing,
    /// The registry has it.
    Exists,
    /// The registry has it in this other repository.
    Mounted(String),
    /// It is being sent.
    Transfer(TransferEvent),
    /// It was sent.
    Pushed,
}

/// Takes what happens to layers. Called from several threads.
pub type PushEvents<'a> = &'a (dyn Fn(&DiffId, PushEvent) + Sync);

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// Its name.
    pub reference: Reference,
    /// Its manifest.
    pub manifest: Descriptor,
}

/// The names of all images in a repository of the store.
///
/// # Errors
/// [`PushError::NoImage`] where there are none.
pub fn tags_of(store: &Store, repository: &Reference) -> Result<Vec<Reference>, PushError> {
    let tags = store.tags()?.into_iter().map(|tagged| tagged.reference);
    let of_it = |name: &Reference| name.tag().is_some() && name.repository() == repository.repository();
    let names: Vec<Reference> = tags.filter(of_it).collect();
    if names.is_empty() {
        return Err(PushError::NoImage(repository.familiar_repository()));
    }
    Ok(names)
}

/// Finds the image that a name is for.
///
/// # Errors
/// [`PushError`] where there is none.
pub fn find(store: &Store, reference: &Reference) -> Result<StoredImage, PushError> {
    if reference.digest().is_some() {
        return Err(PushError::Digest);
    }
    match look_up(store, &reference.clone().with_default_tag().to_string()) {
        Err(error) if error.is_missing() => {
            tags_of(store, reference)?;
            Err(PushError::NoTag(reference.familiar()))
        }
        result => Ok(result?),
    }
}

/// Pushes an image under a name, which it need not have in the store.
///
/// # Errors
/// [`PushError`]; what has been sent need not be sent again.
pub fn push(
    store: &Store,
    client: &Client,
    (image, reference): (&StoredImage, &Reference),
    options: &PushOptions,
    now: SystemTime,
    events: PushEvents<'_>,
) -> Result<PushedImage, PushError> {
    let reference = reference.clone().with_default_tag();
    let original = if options.recompress { None } else { Original::of(store, image) };
    let packers = Permits::new(PACKERS);
    let workers = Workers::new(options.threads);
    let sender = Sender {
        store,
        client,
        reference: &reference,
        options,
        events,
        packers: &packers,
        workers: &workers,
    };
    let config = (image.record.id.0, image.config_bytes.len() as u64);
    let layers = thread::scope(|scope| {
        // it waits for none of the layers, and each request is a way there and back
        let sending = scope.spawn(|| send_config(client, &reference, config, &image.config_bytes));
        let layers = send_layers(&sender, image, original.as_ref().map(|original| &original.manifest))?;
        sending.join().unwrap_or(Err(PushError::Cancelled))?;
        Ok::<_, PushError>(layers)
    })?;
    let notes = Notes::of(&image.record.annotations);
    let same = |original: &Original| {
        let digests = |layers: &[Descriptor]| layers.iter().map(|layer| layer.digest).collect::<Vec<_>>();
        digests(&original.manifest.layers) == digests(&layers)
            && (notes.is_empty() || notes.manifest == original.manifest.annotations)
    };
    let (kind, bytes) = if let Some(original) = original.filter(same) {
        (original.media_type, original.bytes)
    } else {
        let config = Descriptor::new(media_type::DOCKER_CONFIG, config.0, config.1);
        document::manifest(&config, &layers, options.oci, notes.manifest.clone())?
    };
    let manifest = Descriptor::of(kind, &bytes);
    let by_digest = repository_of(&reference);
    let named = if options.by_digest { &by_digest } else { &reference };
    let top = if notes.need_index() || !notes.manifest_descriptor.is_empty() {
        client.put_manifest(&by_digest, &manifest.media_type, &bytes)?;
        let (index, document) = notes.index_of(&manifest, image.config.platform())?;
        client.put_manifest(named, &index.media_type, &document)?;
        index
    } else {
        client.put_manifest(named, &manifest.media_type, &bytes)?;
        manifest.clone()
    };
    remember(store, image, &reference, (manifest, bytes), (&top, now))?;
    note_image(store, "push", &reference.familiar(), reference.familiar_repository().as_str());
    Ok(PushedImage { reference, manifest: top })
}

/// The manifest that an image came with, or was pushed with.
struct Original {
    manifest: Manifest,
    media_type: String,
    bytes: Vec<u8>,
}

impl Original {
    fn of(store: &Store, image: &StoredImage) -> Option<Self> {
        image.record.manifests.iter().find_map(|described| {
            let bytes = match store.read_blob(&described.digest, LARGEST_MANIFEST_BYTES) {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(%error, "leaving a manifest aside");
                    return None;
                }
            };
            match parse_document(&bytes, Some(&described.media_type)) {
                Ok(Document::Manifest(manifest))
                    if manifest.config.digest == image.record.id.0
                        && manifest.layers.len() == image.record.layers.len() =>
                {
                    Some(Self { manifest: *manifest, media_type: described.media_type.clone(), bytes })
                }
                _ => None,
            }
        })
    }
}

fn send_config(
    client: &Client,
    reference: &Reference,
    config: (Digest, u64),
    bytes: &[u8],
) -> Result<(), PushError> {
    let mut open = |offset: u64| -> io::Result<Box<dyn io::Read>> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(Box::new(io::Cursor::new(bytes[from..].to_vec())))
    };
    client.push_blob(reference, config, &[], &mut open, &lighter_registry::ignore_events)?;
    Ok(())
}

/// Brings all layers there, some at a time; how they are there.
fn send_layers(
    sender: &Sender<'_>,
    image: &StoredImage,
    original: Option<&Manifest>,
) -> Result<Vec<Descriptor>, PushError> {
    let mut wanted: BTreeMap<DiffId, Option<&Descriptor>> = BTreeMap::new();
    for (place, layer) in image.record.layers.iter().enumerate().rev() {
        (sender.events)(layer, PushEvent::Preparing);
        wanted.insert(*layer, original.map(|manifest| &manifest.layers[place]));
    }
    // a layer that an image has twice is sent once
    let threads = wanted.len().min(TRANSFERS);
    let queue = Mutex::new(wanted.into_iter());
    let done: Mutex<BTreeMap<DiffId, Descriptor>> = Mutex::default();
    let first_error: Mutex<Option<PushError>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while lock(&first_error).is_none() {
                    let Some((layer, wanted)) = lock(&queue).next() else { break };
                    match sender.send(&layer, wanted) {
                        Ok(blob) => drop(lock(&done).insert(layer, blob)),
                        Err(error) => drop(lock(&first_error).get_or_insert(error)),
                    }
                }
            });
        }
    });
    if let Some(error) = first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let layers: Option<Vec<Descriptor>> =
        image.record.layers.iter().map(|layer| done.get(layer).cloned()).collect();
    layers.ok_or(PushError::Cancelled)
}

/// Remembers what the image is called there.
fn remember(
    store: &Store,
    image: &StoredImage,
    reference: &Reference,
    (manifest, bytes): (Descriptor, Vec<u8>),
    (top, now): (&Descriptor, SystemTime),
) -> Result<(), PushError> {
    let mut batch = Batch::new();
    batch.blob(bytes);
    batch.image(ImageRecord { manifests: vec![manifest], ..image.record.clone() });
    batch.tag(&reference.with_digest(top.digest), image.record.id, now);
    store.commit(batch)?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
