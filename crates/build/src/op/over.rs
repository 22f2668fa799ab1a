//! A COPY that stood here before, with other files: only what differs is written, into a directory that lies on the
//! earlier layer's.

use lighter_dockerfile::plan::{Op, Step};
use lighter_image::Digest;
use lighter_layer::Inventory;
use lighter_store::{LayerId, NewLayer};

use super::copy::{copy_difference, is_of_folder};
use crate::StepError;
use crate::event::Work;
use crate::key::Definition;
use crate::keyed::{Inputs, Keyed, stands_on_parent};
use crate::record;
use crate::site::Site;

/// How many earlier records are looked at.
const MOST_CANDIDATES: usize = 4;

/// The identity of the layers that a step's result depends on.
pub(crate) fn parent(step: &Step, below: &Inputs) -> Option<Digest> {
    stands_on_parent(step).then(|| below.parent.identity())
}

/// Makes the layer of a COPY from what differs, if an earlier one is here and that is worth while.
///
/// The difference is always one to a layer that was copied whole: no layer lies on more than one other.
pub(crate) fn copy_over_earlier(
    site: &Site<'_>,
    step: &Step,
    keyed: &Keyed,
    below: &Inputs,
    work: &Work<'_>,
) -> Result<Option<LayerId>, StepError> {
    let Op::Copy(copy) = &step.op else { return Ok(None) };
    let store = site.store;
    if !is_of_folder(copy) || !store.has_steps_like(&keyed.definition.digest) {
        return Ok(None);
    }
    let parent = parent(step, below);
    let Some((base, inventory)) = earlier(site, &keyed.definition, parent)? else { return Ok(None) };
    let scratch = store.new_layer().map_err(StepError::store)?;
    let earlier = (&*store.layer_path(&base), &inventory);
    if !copy_difference(site, copy, &below.below(), earlier, &scratch, work)? {
        return Ok(None);
    }
    if site.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    let new = NewLayer { base: Some(base), ..NewLayer::default() };
    store.commit_layer(scratch, new).map(Some).map_err(StepError::store)
}

/// The layer of an earlier COPY that was copied whole, and what was copied then.
pub(crate) fn earlier(
    site: &Site<'_>,
    definition: &Definition,
    parent: Option<Digest>,
) -> Result<Option<(LayerId, Inventory)>, StepError> {
    let store = site.store;
    let records = store.latest_steps_like(&definition.digest, MOST_CANDIDATES);
    for record in records.map_err(StepError::store)? {
        let Some(made) = record::made_on(&record, parent.as_ref()) else { continue };
        let Some(meta) = store.layer_meta(&made).map_err(StepError::store)? else { continue };
        let base = meta.base.unwrap_or(made);
        if !store.is_usable(&base).map_err(StepError::store)? {
            continue;
        }
        if let Some(inventory) = Inventory::load(&store.layer_inventory(&base)) {
            return Ok(Some((base, inventory)));
        }
    }
    Ok(None)
}
