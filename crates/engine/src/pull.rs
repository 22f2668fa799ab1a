//! `pull`: an image from its registry.

mod arrival;
mod layers;
mod unpack;

use crate::container::events::note_image;
use std::collections::BTreeMap;
use std::time::SystemTime;

use lighter_image::{Descriptor, DiffId, Digest, ImageConfig, ImageId, Platform, Reference};
use lighter_registry::{Client, ResolveError, Resolved};
use lighter_store::{Batch, CommitError, ImageRecord, KnownLayer, LayerError, RecordError, Store};

use crate::image::{LookError, look_up};
pub use layers::{FetchLayerError, LayerEvent, LayerEvents, are_here, have_layers};

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry does not have it, or it is not what it should be.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Its configuration is none.
    #[error("the configuration of {reference} cannot be understood")]
    Config {
        /// The image.
        reference: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Its configuration and its manifest do not fit together.
    #[error("{reference} names {named} layers in its configuration, and {given} in its manifest")]
    Layers {
        /// The image.
        reference: String,
        /// How many its configuration names.
        named: usize,
        /// How many its manifest gives.
        given: usize,
    },
    /// A layer could not be had.
    #[error(transparent)]
    Layer(#[from] FetchLayerError),
    /// The store cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The same.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The same.
    #[error(transparent)]
    Store(#[from] LayerError),
    /// An image of the store is damaged.
    #[error(transparent)]
    Look(#[from] LookError),
}

/// Takes what happens; layers are known by the digests of their blobs. Called from several threads.
pub type PullEvents<'a> = &'a (dyn Fn(&Digest, LayerEvent) + Sync);

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its id.
    pub image: ImageId,
    /// Its name.
    pub reference: Reference,
    /// The digest that the name stands for: of the index, or of the manifest where there is none.
    pub digest: Digest,
    /// What it runs on.
    pub platform: Platform,
    /// Whether the name stood for something else until now.
    pub is_newer: bool,
}

/// An image that is known by its documents; its layers may still be elsewhere.
#[derive(Debug, Clone)]
pub struct KnownImage {
    /// What the store will say of it.
    pub record: ImageRecord,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its documents, which the store must hold for it.
    documents: Vec<Vec<u8>>,
    /// The digest that its name stands for.
    pub digest: Digest,
    layers: Vec<Descriptor>,
}

/// Pulls an image under its name. `found` is called as soon as it is known which image that is; events are told only of
/// layers of an image that is not here.
///
/// # Errors
/// [`PullError`]; the name stands for what it stood for then, and what has come so far need not come again.
pub fn pull(
    store: &Store,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    now: SystemTime,
    (found, events): (&dyn Fn(), PullEvents<'_>),
) -> Result<Pulled, PullError> {
    let reference = reference.clone().with_default_tag();
    let known = learn(store, client, &reference, platform, now)?;
    found();
    let silent = store.image(&known.record.id)?.is_some() && are_here(store, &known.record.layers)?;
    let events = if silent { &|_: &Digest, _: LayerEvent| {} } else { events };
    let blobs: BTreeMap<DiffId, Digest> =
        known.record.layers.iter().copied().zip(known.layers.iter().map(|layer| layer.digest)).collect();
    have_layers(store, Some(client), &known.record.layers, &by_blob(&blobs, events))?;
    let image = known.record.id;
    let mut batch = Batch::new();
    for document in known.documents {
        batch.blob(document);
    }
    batch.image(known.record);
    batch.tag(&reference, image, now);
    batch.tag(&reference.with_digest(known.digest), image, now);
    let before = store.tagged(&reference)?;
    store.commit(batch)?;
    let name = reference.familiar();
    note_image(store, "pull", &name, reference.familiar_repository().as_str());
    let is_newer = before.is_none_or(|before| before.image != image);
    let platform = known.config.platform();
    Ok(Pulled { image, reference, digest: known.digest, platform, is_newer })
}

/// Asks a registry what an image is, and remembers where its layers can be had. No layer is fetched, and the image gets
/// no name.
///
/// # Errors
/// [`PullError`], where the registry does not have it, or it is not what it should be.
pub fn learn(
    store: &Store,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    now: SystemTime,
) -> Result<KnownImage, PullError> {
    let resolved = client.resolve(reference, platform)?;
    let config: ImageConfig = serde_json::from_slice(&resolved.config)
        .map_err(|source| PullError::Config { reference: reference.familiar(), source })?;
    let layers = config.rootfs.diff_ids.clone();
    let given = resolved.parsed.layers.clone();
    if layers.len() != given.len() {
        let reference = reference.familiar();
        return Err(PullError::Layers { reference, named: layers.len(), given: given.len() });
    }
    let repository = repository_of(reference);
    for (diff_id, blob) in layers.iter().zip(&given) {
        let known = KnownLayer {
            blobs: vec![Descriptor::new(&blob.media_type, blob.digest, blob.size)],
            sources: vec![repository.clone()],
            ..KnownLayer::new(*diff_id)
        };
        store.know_layer(&known)?;
    }
    Ok(known_image(resolved, config, layers, given, now))
}

/// Sees to it that the image with this name is here, with the bytes of all of its layers: pulled where the store does
/// not have it, completed where some of its layers are only known.
///
/// # Errors
/// [`PullError`].
pub fn missing(
    store: &Store,
    client: &Client,
    name: &str,
    platform: &Platform,
    now: SystemTime,
    events: PullEvents<'_>,
) -> Result<(), PullError> {
    let image = match look_up(store, name) {
        Ok(image) => image,
        Err(error) if error.is_missing() => {
            let reference = client.config().registries.read_name(name).map_err(ResolveError::from)?;
            return pull(store, client, &reference, platform, now, (&|| {}, events)).map(drop);
        }
        Err(error) => return Err(error.into()),
    };
    if are_here(store, &image.record.layers)? {
        return Ok(());
    }
    let mut blobs = BTreeMap::new();
    for layer in &image.record.layers {
        let known = store.known_layer(layer)?;
        let blob = known.and_then(|known| known.blobs.first().map(|blob| blob.digest));
        blobs.insert(*layer, blob.unwrap_or(layer.0));
    }
    have_layers(store, Some(client), &image.record.layers, &by_blob(&blobs, events))?;
    Ok(())
}

/// Tells of blobs what happens to layers.
fn by_blob<'a>(
    blobs: &'a BTreeMap<DiffId, Digest>,
    events: PullEvents<'a>,
) -> impl Fn(&DiffId, LayerEvent) + Sync + 'a {
    |layer, event| {
        if let Some(blob) = blobs.get(layer) {
            events(blob, event);
        }
    }
}

fn known_image(
    resolved: Resolved,
    config: ImageConfig,
    layers: Vec<DiffId>,
    given: Vec<Descriptor>,
    now: SystemTime,
) -> KnownImage {
    let id = ImageId(Digest::of(&resolved.config));
    let mut documents = vec![resolved.config, resolved.manifest.bytes];
    documents.extend(resolved.index.map(|index| index.bytes));
    let manifests = vec![resolved.manifest.descriptor];
    KnownImage {
        record: ImageRecord { manifests, ..ImageRecord::new(id, layers, now) },
        config,
        documents,
        digest: resolved.descriptor.digest,
        layers: given,
    }
}

/// The repository alone: where else a blob may be had does not depend on a tag.
pub(crate) fn repository_of(reference: &Reference) -> Reference {
    let name = reference.repository();
    name.parse().unwrap_or_else(|_| reference.clone())
}
