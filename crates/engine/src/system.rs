//! `system` and `builder`: the store as a whole, what it occupies, and what of it can go.

pub use lighter_build::plain::refusal as overlay_refusal;
use lighter_image::ImageId;
pub use lighter_sandbox::report::{
    Availability, CgroupVersion, Report as MachineReport, inspect as inspect_machine,
};
pub use lighter_store::{
    BuildId, CacheMountEntry, CollectError, FindBuildError, Freed, Problem, PruneSteps, Remedy, Report,
    StepUsage, Usage,
};
use lighter_store::{RecordError, Store};

use crate::container::{self, FindError};
use crate::image::{Filter, ListError, Removed, list};

/// Why images were not pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneImagesError {
    /// They cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// The containers that may need them cannot be listed.
    #[error(transparent)]
    Containers(#[from] FindError),
    /// What nothing needs any more cannot be removed.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The store cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Removes images that no container was made from and that fit the filters: those without a name, or with `all` the
/// others too.
///
/// # Errors
/// [`PruneImagesError`]; what was removed until then is gone.
pub fn prune_images(
    store: &Store,
    filters: &[Filter],
    all: bool,
) -> Result<(Vec<Removed>, Freed), PruneImagesError> {
    let containers = container::all(store)?;
    let is_used = |image: &ImageId| containers.iter().any(|container| container.record.image == Some(*image));
    let mut removed = Vec::new();
    for image in list(store, filters)? {
        if (all || image.references.is_empty()) && !is_used(&image.id) {
            for tagged in store.tags_of(&image.id)? {
                store.untag(&tagged.reference)?;
                removed.push(Removed::Untagged(tagged.reference));
            }
            if store.remove_image_with(&image.id, &[])?.is_some() {
                removed.push(Removed::Deleted(image.id));
            }
        }
    }
    Ok((removed, store.collect_garbage()?))
}
