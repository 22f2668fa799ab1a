//! `history`: the steps that made an image, the last first.

use jiff::Timestamp;
use lighter_image::ImageId;
use lighter_store::Store;

use super::content_bytes;
use super::size::SizeError;
use super::stored::StoredImage;

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// The image, where this is its last step.
    pub image: Option<ImageId>,
    /// When, where that is known.
    pub created: Option<Timestamp>,
    /// By what.
    pub created_by: String,
    /// With what note.
    pub comment: String,
    /// The sizes of the files that it brought, in bytes.
    pub size_bytes: u64,
}

/// Tells how an image was made, the last step first.
///
/// # Errors
/// [`SizeError`], where a layer cannot be measured.
pub fn history(store: &Store, image: &StoredImage) -> Result<Vec<HistoryRow>, SizeError> {
    let mut layers = image.record.layers.iter();
    let mut rows = Vec::new();
    for step in &image.config.history {
        let layer = if step.empty_layer { None } else { layers.next() };
        rows.push(HistoryRow {
            image: None,
            created: step.created.as_ref().and_then(|created| created.parse().ok()),
            created_by: step.created_by.clone(),
            comment: step.comment.clone(),
            size_bytes: layer.map_or(Ok(0), |layer| content_bytes(store, layer))?,
        });
    }
    rows.reverse();
    if let Some(last) = rows.first_mut() {
        last.image = Some(image.record.id);
    }
    Ok(rows)
}
