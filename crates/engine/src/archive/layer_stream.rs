//! A layer's uncompressed tar stream, made again from its directory, or taken from the blob it came as.

use std::io::{self, Read as _, Write};
use std::path::PathBuf;

use lighter_image::{DiffId, Hasher};
use lighter_layer::compress::Decoder;
use lighter_layer::{PackError, PackOptions, Timestamp, pack_stack};
use lighter_store::{LayerError, LayerId, ReadBlobError, RecordError, Store};

/// Why a layer's stream could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerStreamError {
    /// The store cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The same.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The blob it came as cannot be read.
    #[error(transparent)]
    Blob(#[from] ReadBlobError),
    /// Its bytes are not here, and nobody said where they are.
    #[error("the bytes of layer {0} are not in the store")]
    NotHere(DiffId),
    /// Its directory cannot be packed.
    #[error("packing layer {diff_id}")]
    Pack {
        /// The layer.
        diff_id: DiffId,
        /// What is wrong.
        #[source]
        source: PackError,
    },
    /// The blob it came as cannot be unpacked.
    #[error("unpacking the blob of layer {diff_id}")]
    Unpack {
        /// The layer.
        diff_id: DiffId,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// Its bytes are not what its name says: it was damaged, and is gone from the store now.
    #[error("layer {expected} is damaged: its directory gives {found}; build or pull the image again")]
    Damaged {
        /// What it should be.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// The stream could not be written.
    #[error("writing")]
    Write(#[source] io::Error),
}

/// Where a layer's stream comes from.
enum Origin {
    /// Its directory gives it.
    Directory(LayerId, Vec<PathBuf>),
    /// Only the blob it came as does.
    Blob(Box<lighter_image::Descriptor>),
}

/// Writes a layer's uncompressed tar stream, and verifies it while it goes by. Its length in bytes.
///
/// # Errors
/// [`LayerStreamError`]; what was written until then is worthless.
pub fn write_layer(store: &Store, diff_id: &DiffId, out: &mut dyn Write) -> Result<u64, LayerStreamError> {
    let (found, size_bytes) = match origin(store, diff_id)? {
        Origin::Directory(id, dirs) => {
            let latest = store.known_layer(diff_id)?.and_then(|known| known.clamp_mtime_seconds);
            let options =
                PackOptions { clamp_mtime: latest.map(Timestamp::at_second), ..PackOptions::default() };
            let packed = pack_stack(&dirs, out, &options)
                .map_err(|source| LayerStreamError::Pack { diff_id: *diff_id, source })?;
            if packed.diff_id != *diff_id {
                store.drop_layer(&id)?;
            }
            (packed.diff_id, packed.size_bytes)
        }
        Origin::Blob(blob) => unpack_blob(store, diff_id, &blob, out)?,
    };
    if found != *diff_id {
        return Err(LayerStreamError::Damaged { expected: *diff_id, found });
    }
    Ok(size_bytes)
}

/// The length of a layer's uncompressed tar stream in bytes; measured where nobody has noted it.
///
/// # Errors
/// As [`write_layer`].
pub(crate) fn stream_length(store: &Store, diff_id: &DiffId) -> Result<u64, LayerStreamError> {
    match store.known_layer(diff_id)?.and_then(|known| known.size_bytes) {
        Some(size_bytes) => Ok(size_bytes),
        None => write_layer(store, diff_id, &mut io::sink()),
    }
}

fn origin(store: &Store, diff_id: &DiffId) -> Result<Origin, LayerStreamError> {
    let layer = store.layer_by_diff_id(diff_id)?;
    let packed = match &layer {
        Some(id) => store.layer_meta(id)?.and_then(|meta| meta.packed),
        None => None,
    };
    // a layer from elsewhere has the tar of somebody else: what it came as is asked first
    if packed != Some(diff_id.0) {
        let blobs = store.known_layer(diff_id)?.map(|known| known.blobs).unwrap_or_default();
        for blob in blobs {
            if store.has_blob(&blob.digest).map_err(LayerError::from)? {
                return Ok(Origin::Blob(Box::new(blob)));
            }
        }
    }
    match layer {
        Some(id) => Ok(Origin::Directory(id.clone(), store.layer_dirs(&id)?)),
        None => Err(LayerStreamError::NotHere(*diff_id)),
    }
}

fn unpack_blob(
    store: &Store,
    diff_id: &DiffId,
    blob: &lighter_image::Descriptor,
    out: &mut dyn Write,
) -> Result<(DiffId, u64), LayerStreamError> {
    let in_blob = |source| LayerStreamError::Unpack { diff_id: *diff_id, source };
    let mut stream = Decoder::new(store.open_blob(&blob.digest)?).map_err(in_blob)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                // where the blob itself is damaged, it is in the way of a whole one
                store.open_intact_blob(&blob.digest)?;
                return Err(in_blob(source));
            }
        };
        hasher.update(&buffer[..length]);
        out.write_all(&buffer[..length]).map_err(LayerStreamError::Write)?;
    }
    let size_bytes = hasher.size_bytes();
    let found = DiffId(hasher.finish());
    if found != *diff_id {
        store.discard_blob(&blob.digest).map_err(LayerError::from)?;
    }
    Ok((found, size_bytes))
}
