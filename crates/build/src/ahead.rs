//! A COPY that is known to miss the cache before its key is: each file is read once, for the copy and for the key.
//!
//! Whether it misses is told by a *sketch* of what it takes, for which next to nothing is read: names, modes, sizes,
//! and what is in a few files. Every record of such a COPY leaves a mark under its definition and the sketch. Where
//! there is no mark, no record can fit. The key is that of every other way, and is looked up before the layer gets a
//! name: a mark that is missing costs a copy, and is never believed.

use std::sync::Arc;

use lighter_dockerfile::plan::{Op, Step};
use lighter_image::{Digest, error_chain};
use lighter_layer::{Extent, Listing, Packed};
use lighter_store::{Flight, Scratch};

use crate::StepError;
use crate::event::Work;
use crate::explain::{Part, PartKind};
use crate::key::{Definition, digest_of};
use crate::keyed::{Inputs, Keyed, definition_of};
use crate::op::copy::{copy_files, is_of_small_files};
use crate::op::over;
use crate::site::Site;
use crate::trees;

/// A COPY that can be done before its key is known.
pub(crate) struct Chance {
    listing: Arc<Listing>,
    mark: Digest,
    is_free: bool,
}

/// What was copied before its key was known.
pub(crate) struct Ahead {
    pub(crate) scratch: Scratch,
    pub(crate) packed: Option<Packed>,
    mark: Digest,
    /// Who comes second waits until the first has left its record.
    _flight: Flight,
}

/// Finds out whether a step is such a COPY. `is_free` says that the cache is not asked at all.
pub(crate) fn chance(
    site: &Site<'_>,
    step: &Step,
    below: &Inputs,
    is_free: bool,
) -> Result<Option<Chance>, StepError> {
    let Op::Copy(copy) = &step.op else { return Ok(None) };
    if !site.fetch.shared().is_empty() && !is_free {
        return Ok(None);
    }
    let is_worth_while = |extent: Extent| is_of_small_files(extent) && extent.unread * 2 >= extent.files;
    let Some((listing, sketch)) = trees::sketch_of_copy(site, copy, is_worth_while)? else {
        return Ok(None);
    };
    let Some(definition) = definition_of(site, step) else { return Ok(None) };
    let mark = mark_of(&definition, &sketch.digest);
    if !is_free {
        if site.store.has_steps_like(&mark) {
            return Ok(None);
        }
        // little may differ from what was copied then, and only that is to be written
        let earlier = over::earlier(site, &definition, over::parent(step, below))?;
        let known = earlier.map_or(0, |(_, inventory)| inventory.count(&sketch.samples));
        if known * 2 > sketch.samples.len() {
            return Ok(None);
        }
    }
    Ok(Some(Chance { listing, mark, is_free }))
}

impl Chance {
    /// Copies. None where another process has done so meanwhile, and where anything goes wrong: who then goes the other
    /// way comes to the bottom of it.
    pub(crate) fn take(
        &self,
        site: &Site<'_>,
        step: &Step,
        below: &Inputs,
        work: &Work<'_>,
    ) -> Result<Option<Ahead>, StepError> {
        let Op::Copy(copy) = &step.op else { return Ok(None) };
        let is_cancelled = || site.cancel.is_cancelled();
        let flight = site.store.single_flight(&self.mark, &is_cancelled).map_err(StepError::store)?;
        if !self.is_free && site.store.has_steps_like(&self.mark) {
            return Ok(None);
        }
        let scratch = site.store.new_layer().map_err(StepError::store)?;
        match copy_files(site, copy, &below.below(), &[], (&scratch, Some(&self.listing)), work) {
            Ok(packed) => Ok(Some(Ahead { scratch, packed, mark: self.mark, _flight: flight })),
            Err(StepError::Cancelled) => Err(StepError::Cancelled),
            Err(error) => {
                tracing::info!(error = error_chain(&error), "a copy is begun once more");
                Ok(None)
            }
        }
    }
}

impl Ahead {
    /// Leaves the mark of a record that had none, and forgets the copy.
    pub(crate) fn give_way(&self, site: &Site<'_>, key: &Digest) -> Result<(), StepError> {
        site.store.index_step(&self.mark, key).map_err(StepError::store)
    }
}

/// Leaves the mark of a COPY that has a record now.
pub(crate) fn mark(
    site: &Site<'_>,
    step: &Step,
    keyed: &Keyed,
    chance: Option<&Chance>,
) -> Result<(), StepError> {
    if let Some(chance) = chance {
        return site.store.index_step(&chance.mark, &keyed.key).map_err(StepError::store);
    }
    let Op::Copy(copy) = &step.op else { return Ok(()) };
    let Some((_, sketch)) = trees::sketch_of_copy(site, copy, is_of_small_files)? else { return Ok(()) };
    let mark = mark_of(&keyed.definition, &sketch.digest);
    site.store.index_step(&mark, &keyed.key).map_err(StepError::store)
}

fn mark_of(definition: &Definition, sketch: &Digest) -> Digest {
    let parts = [
        Part::new(PartKind::Instruction, "", definition.digest.to_string()),
        Part::new(PartKind::File, "", sketch.to_string()),
    ];
    digest_of("sketch", &parts)
}
