//! Images whose layers may still be elsewhere: a build fetches no more of its base than its steps need.

use crate::failure::Failure;
use crate::registry;
use crate::session::Session;
use lighter_engine::Store;
use lighter_engine::image::StoredImage;
use lighter_engine::pull::have_layers;
use std::sync::Arc;

/// Whether the bytes of all layers are here.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn is_whole(store: &Store, image: &StoredImage) -> Result<bool, Failure> {
    for diff_id in &image.record.layers {
        if store.layer_by_diff_id(diff_id).map_err(|error| Failure::because(&error))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fetches the layers of an image that are not here.
///
/// # Errors
/// When one of them cannot be had.
pub(super) fn complete(session: &Session, store: &Store, image: &StoredImage) -> Result<(), Failure> {
    if is_whole(store, image)? {
        return Ok(());
    }
    let client = registry::client(session, &Arc::default())?;
    have_layers(store, Some(&client), &image.record.layers, &|_, _| {})
        .map_err(|error| Failure::because(&error))
}
