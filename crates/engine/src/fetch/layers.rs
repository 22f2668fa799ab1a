//! Layers of bases, when a step needs their files.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lighter_build::{CancelToken, FetchError, Work};
use lighter_image::{DiffId, error_chain};
use lighter_registry::TransferEvent;
use lighter_store::Store;

use super::Network;
use crate::pull::{FetchLayerError, LayerEvent, are_here, have_layers};

/// Unpacks the layers of a stack, bottom first; those that are there already stay as they are.
pub(super) fn unpack_all(
    store: &Store,
    network: &Network,
    layers: &[DiffId],
    work: &Work<'_>,
    cancel: &CancelToken,
) -> Result<(), FetchError> {
    let transfer = |error: FetchLayerError| match error {
        FetchLayerError::Cancelled => FetchError::Cancelled,
        _ if cancel.is_cancelled() => FetchError::Cancelled,
        error => {
            FetchError::Transfer { what: "the layers of an image".to_owned(), reason: error_chain(&error) }
        }
    };
    if are_here(store, layers).map_err(|error| transfer(error.into()))? {
        return Ok(());
    }
    let arrived: Mutex<HashMap<DiffId, (u64, Option<u64>)>> = Mutex::default();
    let tell = |layer: &DiffId, event: LayerEvent| {
        let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let (current, total) = arrived.entry(*layer).or_default();
        match event {
            LayerEvent::Transfer(TransferEvent::Started { offset_bytes, total_bytes }) => {
                (*current, *total) = (offset_bytes, total_bytes);
            }
            LayerEvent::Transfer(TransferEvent::Advanced { bytes }) => *current += bytes,
            LayerEvent::Transfer(TransferEvent::Rewound { bytes }) => {
                *current = current.saturating_sub(bytes);
            }
            LayerEvent::Unpacking => return work.progress(format!("extracting {layer}"), 0, None, false),
            LayerEvent::Complete => return work.progress(format!("extracting {layer}"), 0, None, true),
            LayerEvent::Exists
            | LayerEvent::Waiting
            | LayerEvent::Downloaded
            | LayerEvent::Transfer(TransferEvent::Retrying { .. } | TransferEvent::Finished) => return,
        }
        let done = total.is_some_and(|total| *current >= total);
        work.progress(layer.to_string(), *current, *total, done);
    };
    have_layers(store, Some(network.client(cancel)), layers, &tell).map_err(transfer)
}
