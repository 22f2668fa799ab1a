//! `images`: what the store holds.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lighter_image::{ImageId, Reference};
use lighter_store::{ResolvedBy, Store};

use super::content_bytes;
use super::filter::{Filter, fits};
use super::size::SizeError;
use super::stored::{LookError, StoredImage, look_up, with_config};

/// Why images could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// One of them, or one that a filter names, could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The store cannot be read.
    #[error(transparent)]
    Record(#[from] lighter_store::RecordError),
    /// One of them could not be measured.
    #[error(transparent)]
    Size(#[from] SizeError),
}

/// An image as listings show it.
#[derive(Debug, Clone)]
pub struct ImageSummary {
    /// Its id.
    pub id: ImageId,
    /// Its names that fit the filters, sorted.
    pub references: Vec<Reference>,
    /// When it was made, where that is known.
    pub created: Option<Timestamp>,
    /// The sizes of its files together, in bytes.
    pub size_bytes: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it runs on.
    pub platform: lighter_image::Platform,
}

/// Lists the images that fit all filters (of several by reference, one is enough), the newest first.
///
/// # Errors
/// [`ListError`], where the store cannot be read or a filter names an image that is not there.
pub fn list(store: &Store, filters: &[Filter]) -> Result<Vec<ImageSummary>, ListError> {
    let bounds = Bounds::of(store, filters)?;
    let mut names: BTreeMap<ImageId, Vec<Reference>> = BTreeMap::new();
    for tagged in store.tags()? {
        names.entry(tagged.image).or_default().push(tagged.reference);
    }
    let mut summaries = Vec::new();
    for record in store.images()? {
        let references = names.remove(&record.id).unwrap_or_default();
        let image = match with_config(store, record, ResolvedBy::Id) {
            Ok(image) => image,
            Err(error) => {
                tracing::warn!(%error, "leaving out an image");
                continue;
            }
        };
        let Some(references) = wanted_names(references, filters) else { continue };
        if !filters.iter().all(|filter| accepts(filter, &image, &references)) || !bounds.accept(&image) {
            continue;
        }
        summaries.push(summary(store, &image, references)?);
    }
    summaries.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.references.cmp(&b.references)));
    Ok(summaries)
}

/// The names that fit; `None` where names are asked for and none fits.
fn wanted_names(references: Vec<Reference>, filters: &[Filter]) -> Option<Vec<Reference>> {
    let patterns: Vec<&str> = filters
        .iter()
        .filter_map(|filter| match filter {
            Filter::Reference(pattern) => Some(pattern.as_str()),
            _ => None,
        })
        .collect();
    if patterns.is_empty() {
        return Some(references);
    }
    let fitting: Vec<Reference> = references
        .into_iter()
        .filter(|reference| patterns.iter().any(|pattern| fits(reference, pattern)))
        .collect();
    (!fitting.is_empty()).then_some(fitting)
}

fn accepts(filter: &Filter, image: &StoredImage, references: &[Reference]) -> bool {
    let labels = &image.config.config.labels;
    let has = |key: &String, value: &Option<String>| {
        labels.get(key).is_some_and(|have| value.as_ref().is_none_or(|value| value == have))
    };
    match filter {
        Filter::Dangling(dangling) => references.is_empty() == *dangling,
        Filter::Label(key, value) => has(key, value),
        Filter::NoLabel(key, value) => !has(key, value),
        Filter::Until(time) => created(image).is_some_and(|created| created < *time),
        Filter::Before(_) | Filter::Since(_) | Filter::Reference(_) => true,
    }
}

/// The times between which images must have been made.
struct Bounds {
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Bounds {
    fn of(store: &Store, filters: &[Filter]) -> Result<Self, LookError> {
        let mut bounds = Self { before: None, since: None };
        for filter in filters {
            match filter {
                Filter::Before(name) => bounds.before = created(&look_up(store, name)?),
                Filter::Since(name) => bounds.since = created(&look_up(store, name)?),
                _ => {}
            }
        }
        Ok(bounds)
    }

    fn accept(&self, image: &StoredImage) -> bool {
        let created = created(image);
        self.before.is_none_or(|before| created.is_some_and(|created| created < before))
            && self.since.is_none_or(|since| created.is_some_and(|created| created > since))
    }
}

fn created(image: &StoredImage) -> Option<Timestamp> {
    image.config.created.as_ref()?.parse().ok()
}

fn summary(
    store: &Store,
    image: &StoredImage,
    references: Vec<Reference>,
) -> Result<ImageSummary, SizeError> {
    let mut size_bytes = 0;
    for layer in &image.record.layers {
        size_bytes += content_bytes(store, layer)?;
    }
    Ok(ImageSummary {
        id: image.record.id,
        references,
        created: created(image),
        size_bytes,
        labels: image.config.config.labels.clone(),
        platform: image.config.platform(),
    })
}
