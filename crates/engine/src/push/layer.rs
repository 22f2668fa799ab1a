//! One layer on its way to a registry.

use std::cell::Cell;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use lighter_image::{Descriptor, DiffId, Hasher, Reference, media_type};
use lighter_layer::compress::{Encoder, Format, Workers};
use lighter_registry::{Client, Pushed, ignore_events};
use lighter_store::{KnownLayer, Store};

use super::pipe::{PipeWriter, pipe};
use super::{PushError, PushEvent, PushEvents, PushOptions};
use crate::archive::write_layer;
use crate::pull::repository_of;

/// How often a layer is packed anew because the registry has lost what was sent.
const ATTEMPTS: u32 = 3;

/// Brings layers into one repository.
pub(super) struct Sender<'a> {
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) reference: &'a Reference,
    pub(super) options: &'a PushOptions,
    pub(super) events: PushEvents<'a>,
    pub(super) packers: &'a Permits,
    pub(super) workers: &'a Workers,
}

/// Lets so many do something at once.
#[derive(Debug)]
pub(super) struct Permits {
    left: Mutex<usize>,
    returned: Condvar,
}

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        Self { left: Mutex::new(count), returned: Condvar::new() }
    }

    /// Waits until it may be done, for as long as the permit is held.
    fn take(&self) -> Permit<'_> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while *left == 0 {
            left = self.returned.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= 1;
        Permit(self)
    }
}

/// One of the [`Permits`], which goes back when it is dropped.
#[derive(Debug)]
struct Permit<'a>(&'a Permits);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}

impl Sender<'_> {
    /// Brings a layer there; as the blob that is wanted, if that can be done.
    pub(super) fn send(&self, layer: &DiffId, wanted: Option<&Descriptor>) -> Result<Descriptor, PushError> {
        let known = self.store.known_layer(layer)?.unwrap_or_else(|| KnownLayer::new(*layer));
        let here = self.store.layer_by_diff_id(layer)?.is_some();
        let mut candidates: Vec<&Descriptor> = wanted.into_iter().collect();
        candidates.extend(known.blobs.iter().filter(|blob| self.fits(blob)));
        for blob in candidates {
            if let Some(pushed) = self.send_blob(layer, blob, &known, here)? {
                let blob = Descriptor::new(&blob.media_type, blob.digest, blob.size);
                self.remember(layer, &blob)?;
                (self.events)(layer, pushed);
                return Ok(blob);
            }
        }
        if !here && known.blobs.is_empty() {
            return Err(PushError::Nowhere(*layer));
        }
        let blob = self.pack(layer)?;
        self.remember(layer, &blob)?;
        (self.events)(layer, PushEvent::Pushed);
        Ok(blob)
    }

    /// Whether a blob that is known has the form that is asked for.
    fn fits(&self, blob: &Descriptor) -> bool {
        let format = match media_type::layer_compression(&blob.media_type) {
            Some(media_type::Compression::Gzip) => Format::Gzip,
            Some(media_type::Compression::Zstd) => Format::Zstd,
            Some(media_type::Compression::None) => Format::Plain,
            None => return false,
        };
        format == self.options.compression && (!self.options.recompress || self.options.level.is_none())
    }

    /// Brings a blob that is known there; `None` where it must be made first.
    fn send_blob(
        &self,
        layer: &DiffId,
        blob: &Descriptor,
        known: &KnownLayer,
        can_be_packed: bool,
    ) -> Result<Option<PushEvent>, PushError> {
        let same_registry = |source: &&Reference| source.domain() == self.reference.domain();
        let mount_from: Vec<String> =
            known.sources.iter().filter(same_registry).map(|source| source.path().to_owned()).collect();
        let must_be_made = Cell::new(false);
        let mut open = |offset: u64| -> io::Result<Box<dyn Read>> {
            // a damaged one is found out here, and not by a registry that may believe us
            if let Some(mut file) = self.store.open_intact_blob(&blob.digest).map_err(io::Error::other)? {
                file.seek(SeekFrom::Start(offset))?;
                return Ok(Box::new(file));
            }
            if can_be_packed || known.sources.is_empty() {
                must_be_made.set(true);
                return Err(io::Error::new(io::ErrorKind::NotFound, "it is not in the store"));
            }
            self.fetched(blob, known, offset)
        };
        let progress = |event| (self.events)(layer, PushEvent::Transfer(event));
        let pushed = self.client.push_blob(
            self.reference,
            (blob.digest, blob.size),
            &mount_from,
            &mut open,
            &progress,
        );
        match pushed {
            Ok(Pushed::Existed) => Ok(Some(PushEvent::Exists)),
            Ok(Pushed::Mounted(from)) => Ok(Some(PushEvent::Mounted(from))),
            Ok(Pushed::Uploaded) => Ok(Some(PushEvent::Pushed)),
            Err(_) if must_be_made.get() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes of a blob that only other registries have, from this one on.
    fn fetched(&self, blob: &Descriptor, known: &KnownLayer, offset: u64) -> io::Result<Box<dyn Read>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no registry is known to have it");
        for source in &known.sources {
            match self.client.fetch_blob(source, blob, Hasher::new(), &ignore_events) {
                Ok(mut stream) => {
                    // the bytes before count for the digest, so they are read once more
                    let skipped = io::copy(&mut (&mut stream).take(offset), &mut io::sink())?;
                    if skipped == offset {
                        return Ok(Box::new(stream));
                    }
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Packs, compresses and sends a layer in one pass.
    fn pack(&self, layer: &DiffId) -> Result<Descriptor, PushError> {
        let mut attempt = 1;
        loop {
            match self.pack_once(layer) {
                Err(PushError::Registry(lighter_registry::PushError::Lost { .. })) if attempt < ATTEMPTS => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn pack_once(&self, layer: &DiffId) -> Result<Descriptor, PushError> {
        let permit = self.packers.take();
        let (writer, mut reader) = pipe();
        let progress = |event| (self.events)(layer, PushEvent::Transfer(event));
        let (packed, sent) = thread::scope(|scope| {
            // the next layer is packed while the last bytes of this one are sent
            let packing = scope.spawn(move || {
                let packed = self.compress(layer, writer);
                drop(permit);
                packed
            });
            let sent = self.client.push_stream(self.reference, &mut reader, &progress);
            // a packer that waits for its bytes to be taken sees that nobody will
            drop(reader);
            (packing.join(), sent)
        });
        match (packed, sent) {
            (Ok(Ok(())), Ok((digest, size_bytes))) => {
                Ok(Descriptor::new(self.media_type(), digest, size_bytes))
            }
            // what the packer says counts more than the end that the sender has seen for it
            (Ok(Err(error)), Err(lighter_registry::PushError::Source { .. }) | Ok(_)) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Err(_), Ok(_)) => Err(PushError::Cancelled),
        }
    }

    fn compress(&self, layer: &DiffId, writer: PipeWriter) -> Result<(), PushError> {
        let PushOptions { compression, level, .. } = *self.options;
        let encoder = Encoder::with_workers(writer, compression, level, self.workers);
        let mut encoder = encoder.map_err(PushError::Compress)?;
        write_layer(self.store, layer, &mut encoder)?;
        encoder.finish().and_then(PipeWriter::finish).map_err(PushError::Compress)
    }

    const fn media_type(&self) -> &'static str {
        match self.options.compression {
            Format::Zstd => media_type::OCI_LAYER_ZSTD,
            Format::Plain => media_type::OCI_LAYER,
            Format::Gzip | Format::Bzip2 | Format::Xz => media_type::OCI_LAYER_GZIP,
        }
    }

    /// Remembers that the repository has this layer, and as which blob.
    fn remember(&self, layer: &DiffId, blob: &Descriptor) -> Result<(), PushError> {
        let known = KnownLayer {
            blobs: vec![blob.clone()],
            sources: vec![repository_of(self.reference)],
            ..KnownLayer::new(*layer)
        };
        Ok(self.store.know_layer(&known)?)
    }
}
