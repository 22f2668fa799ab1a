//! One image of the store, with its configuration.

use lighter_image::{ImageConfig, ImageId};
use lighter_store::{ImageRecord, ReadBlobError, RecordError, ResolveError, ResolvedBy, Store};

/// Why an image could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no such image, or more than one.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Its record is damaged or cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its configuration is damaged or cannot be read.
    #[error("reading the configuration of image {image}")]
    Blob {
        /// The image.
        image: ImageId,
        /// What is wrong.
        #[source]
        source: ReadBlobError,
    },
    /// Its configuration is no configuration.
    #[error("the configuration of image {image} cannot be understood")]
    Config {
        /// The image.
        image: ImageId,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl LookError {
    /// Whether there is simply no such image.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Resolve(ResolveError::NotFound(_)))
    }
}

/// An image of the store, with its configuration.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// What the store says of it.
    pub record: ImageRecord,
    /// Its configuration.
    pub config: ImageConfig,
    /// The configuration's bytes, whose digest is the image's id.
    pub config_bytes: Vec<u8>,
    /// What it was found by.
    pub found_by: ResolvedBy,
}

/// Configurations are small; what is larger is none.
const LARGEST_CONFIG_BYTES: u64 = 8 << 20;

/// Finds an image by name, by id, or by the start of its id.
///
/// # Errors
/// [`LookError`], where there is none, or it is damaged.
pub fn look_up(store: &Store, text: &str) -> Result<StoredImage, LookError> {
    let resolved = store.resolve(text)?;
    let missing = || ResolveError::NotFound(text.to_owned());
    let record = store.image(&resolved.image)?.ok_or_else(missing)?;
    with_config(store, record, resolved.by)
}

/// Reads the configuration of an image.
pub(super) fn with_config(
    store: &Store,
    record: ImageRecord,
    found_by: ResolvedBy,
) -> Result<StoredImage, LookError> {
    let image = record.id;
    let config_bytes = store
        .read_blob(&image.0, LARGEST_CONFIG_BYTES)
        .map_err(|source| LookError::Blob { image, source })?;
    let config =
        serde_json::from_slice(&config_bytes).map_err(|source| LookError::Config { image, source })?;
    Ok(StoredImage { record, config, config_bytes, found_by })
}
