//! Verifying a layer's directory against its diff id.

use std::fs::File;
use std::path::{Path, PathBuf};

use lighter_image::{DiffId, Digest};
use lighter_layer::compress::Decoder;
use lighter_layer::{ApplyOptions, PackOptions, View};

use crate::Store;
use crate::error::{At as _, FileError, RecordError, if_there};
use crate::id::LayerId;
use crate::layer::{LayerError, LayerMeta};

/// What the verification of a layer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The directory gives the bytes that its diff id names.
    Intact,
    /// It gives others.
    Damaged,
    /// There is nothing to compare it with.
    Unverifiable,
}

/// Why a layer could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no such layer in this store.
    #[error("layer {0} is not in the store")]
    Missing(LayerId),
    /// Its record is damaged or cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was learned cannot be written down.
    #[error("remembering what layer {id} packs to")]
    Remember {
        /// The layer.
        id: LayerId,
        /// The cause.
        #[source]
        source: Box<LayerError>,
    },
}

impl Store {
    /// Reads a whole layer and compares it with its diff id.
    ///
    /// A received layer has the tar of somebody else, which cannot be made again from the directory: it is
    /// compared with what its blob unpacks to, and what both pack to is remembered for the next time.
    ///
    /// # Errors
    /// When there is no such layer, or its record cannot be read. A directory that cannot be packed is not
    /// an error but [`Verdict::Damaged`].
    pub fn verify_layer(&self, id: &LayerId) -> Result<Verdict, VerifyError> {
        let meta = self.layer_meta(id)?.ok_or_else(|| VerifyError::Missing(id.clone()))?;
        let Some(diff_id) = meta.diff_id else { return Ok(Verdict::Unverifiable) };
        let Some(found) = packed_digest(&self.layer_dirs(id)?) else { return Ok(Verdict::Damaged) };
        match meta {
            _ if found == diff_id.0 => Ok(Verdict::Intact),
            LayerMeta { packed: Some(packed), .. } if packed == found => Ok(Verdict::Intact),
            LayerMeta { packed: None, received: true, .. } => self.compare_with_blob(id, &diff_id, found),
            _ => Ok(Verdict::Damaged),
        }
    }

    /// Unpacks the blob of a received layer once more, and compares what both directories pack to.
    fn compare_with_blob(
        &self,
        id: &LayerId,
        diff_id: &DiffId,
        found: Digest,
    ) -> Result<Verdict, VerifyError> {
        let Some(known) = self.read_known(diff_id)? else { return Ok(Verdict::Unverifiable) };
        for blob in &known.blobs {
            let Some(path) = self.find_blob(&blob.digest)? else { continue };
            let Some(file) = if_there(File::open(&path).at("opening", &path))? else { continue };
            let again = self.new_layer()?;
            if !unpacks_to(file, &again.fs(), &self.below(diff_id)?, diff_id) {
                // the blob is damaged itself, or needs layers that are not here
                continue;
            }
            if packed_digest(&[again.fs()]) != Some(found) {
                return Ok(Verdict::Damaged);
            }
            return match self.change_layer_meta(id, |meta| meta.packed = Some(found)) {
                Ok(()) => Ok(Verdict::Intact),
                Err(source) => Err(VerifyError::Remember { id: id.clone(), source: Box::new(source) }),
            };
        }
        Ok(Verdict::Unverifiable)
    }

    /// The directories below a layer, bottom first, in some image that has it.
    fn below(&self, diff_id: &DiffId) -> Result<Vec<PathBuf>, RecordError> {
        'images: for image in self.images()? {
            let Some(position) = image.layers.iter().position(|layer| layer == diff_id) else { continue };
            let mut paths = Vec::new();
            for layer in &image.layers[..position] {
                let unpacked = self.read_known(layer)?.and_then(|known| known.layer);
                match unpacked {
                    Some(layer) if self.has_layer_dirs(&layer) => paths.extend(self.layer_dirs(&layer)?),
                    _ => continue 'images,
                }
            }
            return Ok(paths);
        }
        Ok(Vec::new())
    }
}

/// The digest of the tar that a layer directory packs to; `None` where it cannot be read.
fn packed_digest(dirs: &[PathBuf]) -> Option<Digest> {
    match lighter_layer::stack_diff_id(dirs, &PackOptions::default()) {
        Ok(packed) => Some(packed.diff_id.0),
        Err(error) => {
            tracing::warn!(%error, path = ?dirs.last(), "a layer cannot be read");
            None
        }
    }
}

/// Unpacks a blob; whether it is the layer that it should be.
fn unpacks_to(blob: File, into: &Path, below: &[PathBuf], diff_id: &DiffId) -> bool {
    let unpack = || -> Result<DiffId, Box<dyn std::error::Error>> {
        let options = ApplyOptions { below: View::open(below)?, ..ApplyOptions::default() };
        Ok(lighter_layer::apply(Decoder::new(blob)?, into, &options)?.diff_id)
    };
    match unpack() {
        Ok(found) => found == *diff_id,
        Err(error) => {
            tracing::warn!(%error, %diff_id, "a layer's blob cannot be unpacked");
            false
        }
    }
}
