//! The result's layers as blobs, packed as asked for.

use std::io::Write;

use lighter_build::Built;
use lighter_image::{Descriptor, DiffId, Digest, Hasher, ImageId, media_type};
use lighter_layer::compress::{Encoder, Format};
use lighter_registry::{Client, ignore_events};
use lighter_store::{BlobWriter, Expected, Store};

use super::OutputError;
use super::sink::failed;
use crate::archive::{stream_length, write_layer};
use crate::build::{Compression, OutputOptions};

/// How many threads pack one layer.
const THREADS: usize = 2;

/// How layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::build) struct PackStyle {
    /// How the bytes are packed.
    pub(in crate::build) compression: Compression,
    /// How well; none for what is usual.
    pub(in crate::build) level: Option<i32>,
    /// Whether layers that came packed otherwise are packed anew.
    pub(in crate::build) force: bool,
}

impl PackStyle {
    /// The style that an output asks for; `usual` where it does not say.
    pub(super) fn of(options: &OutputOptions, usual: Compression) -> Self {
        Self {
            compression: options.compression.unwrap_or(usual),
            level: options.compression_level,
            force: options.force_compression,
        }
    }

    const fn format(self) -> Format {
        match self.compression {
            Compression::Uncompressed => Format::Plain,
            Compression::Gzip => Format::Gzip,
            Compression::Zstd => Format::Zstd,
        }
    }

    const fn media_type(self) -> &'static str {
        match self.compression {
            Compression::Uncompressed => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        }
    }
}

/// An image whose layers are blobs.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<PackedLayer>,
}

/// A layer as a blob.
#[derive(Debug, Clone)]
pub(super) struct PackedLayer {
    pub(super) descriptor: Descriptor,
    source: Source,
}

/// Where the bytes of a blob come from.
#[derive(Debug, Clone)]
enum Source {
    /// The uncompressed stream of a layer.
    Stream(DiffId),
    /// A blob of the store.
    Blob(Digest),
}

impl Packed {
    /// Packs what was built.
    pub(super) fn new(store: &Store, built: &Built, style: PackStyle) -> Result<Self, OutputError> {
        let layers = built.layers.iter().map(|layer| pack_one(store, &layer.diff_id, style));
        Ok(Self { config: built.config_bytes.clone(), layers: layers.collect::<Result<_, _>>()? })
    }

    /// The image's id.
    pub(super) fn image(&self) -> ImageId {
        ImageId(Digest::of(&self.config))
    }
}

fn pack_one(store: &Store, diff_id: &DiffId, style: PackStyle) -> Result<PackedLayer, OutputError> {
    if let Some(blob) = received(store, diff_id, style)? {
        let source = Source::Blob(blob.digest);
        return Ok(PackedLayer { descriptor: blob, source });
    }
    if style.compression == Compression::Uncompressed {
        let size_bytes = stream_length(store, diff_id)?;
        let descriptor = Descriptor::new(media_type::OCI_LAYER, diff_id.0, size_bytes);
        return Ok(PackedLayer { descriptor, source: Source::Stream(*diff_id) });
    }
    let (digest, size) = compressed(store, diff_id, style)?;
    let descriptor = Descriptor::new(style.media_type(), digest, size);
    Ok(PackedLayer { descriptor, source: Source::Blob(digest) })
}

/// A layer as a blob of the store, for other machines. One that only registries have is fetched as it is there.
pub(in crate::build) fn pack_shared<'a>(
    store: &Store,
    client: &dyn Fn() -> &'a Client,
    diff_id: &DiffId,
    style: PackStyle,
) -> Result<Descriptor, OutputError> {
    if let Some(blob) = received(store, diff_id, style)? {
        return Ok(blob);
    }
    if store.layer_by_diff_id(diff_id)?.is_none()
        && let Some(known) = store.known_layer(diff_id)?
    {
        for blob in &known.blobs {
            for source in &known.sources {
                let fetched = client().fetch_blob(source, blob, Hasher::new(), &ignore_events);
                let fetched = fetched.map_err(|error| OutputError::Blobs(Box::new(error)))?;
                store.put_blob(fetched, Expected::by(blob))?;
                if let Some(blob) = received(store, diff_id, style)? {
                    return Ok(blob);
                }
            }
        }
    }
    let (digest, size) = compressed(store, diff_id, style)?;
    Ok(Descriptor::new(style.media_type(), digest, size))
}

/// The blob that a layer was received as, if the store has it: it need not be packed again.
fn received(store: &Store, diff_id: &DiffId, style: PackStyle) -> Result<Option<Descriptor>, OutputError> {
    let known = store.known_layer(diff_id)?.map(|known| known.blobs).unwrap_or_default();
    for blob in known {
        let media_type = match media_type::layer_compression(&blob.media_type) {
            Some(media_type::Compression::Gzip) => media_type::OCI_LAYER_GZIP,
            Some(media_type::Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
            Some(media_type::Compression::None) => media_type::OCI_LAYER,
            None => continue,
        };
        if style.force && media_type != style.media_type() {
            continue;
        }
        if store.has_blob(&blob.digest)? {
            return Ok(Some(Descriptor::new(media_type, blob.digest, blob.size)));
        }
    }
    Ok(None)
}

/// Packs a layer into a blob of the store.
fn compressed(store: &Store, diff_id: &DiffId, style: PackStyle) -> Result<(Digest, u64), OutputError> {
    let fail = |source| failed("a packed layer", source);
    let mut blob: BlobWriter = store.blob_writer()?;
    let mut encoder = Encoder::new(&mut blob, style.format(), style.level, THREADS).map_err(fail)?;
    write_layer(store, diff_id, &mut encoder)?;
    encoder.finish().map_err(fail)?;
    Ok(blob.finish(Expected::default())?)
}

impl PackedLayer {
    /// Writes the blob's bytes.
    pub(super) fn write(&self, store: &Store, out: &mut dyn Write) -> Result<(), OutputError> {
        match &self.source {
            Source::Stream(diff_id) => drop(write_layer(store, diff_id, out)?),
            Source::Blob(digest) => {
                store.copy_blob(digest, out).map_err(|source| failed("a layer", source))??;
            }
        }
        Ok(())
    }
}
