//! Early cutoff: a step whose inputs were made anew, but turned out the same, is not run again.
//!
//! The quick key has said no. Where an earlier record has the same definition, its inputs are compared with the ones of
//! now by content: layers by the digest of their tar stream with all times left out, selected files by their tree
//! digest. This reads layers, so it is tried only when nothing cheaper tells them apart.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use lighter_dockerfile::plan::{Files, MountKind, Op, Step, StepId};
use lighter_image::{DiffId, ImagePath};
use lighter_layer::{PackOptions, Timestamp, View, stack_diff_id};
use lighter_store::{LayerId, StepInput, Store};

use crate::StepError;
use crate::event::Work;
use crate::explain::{Part, PartKind};
use crate::keyed::{Inputs, Keyed, PARENT, source_name, stands_on_parent};
use crate::record::{self, Made, layers_below};
use crate::site::Site;
use crate::snapshot::{Layer, Snapshot};
use crate::trees;

/// How many earlier records are looked at.
const MOST_CANDIDATES: usize = 4;

/// What has been found out about layers: the digests of their tar streams without times.
#[derive(Debug, Default)]
pub(crate) struct Contents(Mutex<HashMap<LayerId, Option<DiffId>>>);

impl Contents {
    /// The digest of a layer without times; none for a layer that cannot be read.
    fn of(&self, store: &Store, layer: &LayerId) -> Option<DiffId> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(layer) {
            return *known;
        }
        let options = PackOptions { clamp_mtime: Some(Timestamp::default()), ..PackOptions::default() };
        let dirs =
            store.layer_dirs(layer).inspect_err(|error| tracing::debug!(%layer, %error, "not comparable"));
        let packed = dirs.ok().map(|dirs| stack_diff_id(&dirs, &options));
        let taken = match packed {
            Some(Ok(packed)) => Some(packed.diff_id),
            Some(Err(error)) => {
                tracing::debug!(%layer, %error, "an earlier layer cannot be compared");
                None
            }
            None => None,
        };
        lock().insert(layer.clone(), taken);
        taken
    }
}

/// Finds the result of an earlier run of the step on the same inputs under other names.
pub(crate) fn find(
    site: &Site<'_>,
    step: &Step,
    Keyed { definition, inputs, source, .. }: &Keyed,
    below: &Inputs,
    work: &Work<'_>,
) -> Result<Option<Made>, StepError> {
    let store = site.store;
    if !store.has_steps_like(&definition.digest) {
        return Ok(None);
    }
    let candidates =
        store.latest_steps_like(&definition.digest, MOST_CANDIDATES).map_err(StepError::store)?;
    for candidate in candidates {
        // what was copied differs: its preimage, a line for each file, need not be read
        if record::has_other_source(&candidate, source.as_ref()) {
            continue;
        }
        let old = store.step_inputs(&candidate.key).map_err(StepError::store)?;
        if !others_agree(inputs, &old) || !layers_agree(site, step, &old, below, work)? {
            continue;
        }
        if let Some(made) = record::find(store, &candidate.key).map_err(StepError::store)? {
            return Ok(Some(made));
        }
    }
    Ok(None)
}

/// Whether all inputs agree that are no layers: files of contexts, addresses, commits.
fn others_agree(new: &[Part], old: &[StepInput]) -> bool {
    let is_layers = |part: &Part| match part.kind {
        PartKind::Base | PartKind::Parent => true,
        PartKind::File | PartKind::Mount => part.name.starts_with(crate::keyed::STAGE),
        _ => false,
    };
    let told: Vec<StepInput> = new.iter().filter(|part| !is_layers(part)).map(record::input_of).collect();
    // an answer that says less than the one before is another one
    let is_answer = |input: &&StepInput| record::is_of_kind(input, PartKind::Url);
    told.iter().all(|input| old.contains(input))
        && old.iter().filter(is_answer).all(|input| told.contains(input))
}

/// Whether the layers below and those of the other trees say the same.
fn layers_agree(
    site: &Site<'_>,
    step: &Step,
    old: &[StepInput],
    below: &Inputs,
    work: &Work<'_>,
) -> Result<bool, StepError> {
    if stands_on_parent(step) && !same_layers(site, &layers_below(old, PARENT), &below.parent) {
        return Ok(false);
    }
    for (id, snapshot) in &below.others {
        let before = layers_below(old, &source_name(below, *id));
        if !same_layers(site, &before, snapshot) && !same_files(site, step, *id, &before, snapshot, work)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two stacks of layers say the same, times aside.
fn same_layers(site: &Site<'_>, old: &[Layer], new: &Snapshot) -> bool {
    let new = new.layers();
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same_layer(site, old, new))
}

fn same_layer(site: &Site<'_>, old: &Layer, new: &Layer) -> bool {
    if old.identity == new.identity {
        return true;
    }
    if let (Some(old), Some(new)) = (old.stored.diff_id, new.stored.diff_id)
        && old == new
    {
        return true;
    }
    if let (Some(old), Some(new)) = (old.source, new.source)
        && old != new
    {
        return false;
    }
    let (Some(old), Some(new)) = (&old.stored.layer, &new.stored.layer) else { return false };
    if old == new {
        return true;
    }
    let length = |id: &LayerId| site.store.layer_meta(id).ok().flatten().and_then(|meta| meta.size_bytes);
    if let (Some(old), Some(new)) = (length(old), length(new))
        && old != new
    {
        return false;
    }
    let content = |id: &LayerId| site.contents.of(site.store, id);
    content(new).is_some_and(|new| content(old) == Some(new))
}

/// Whether what a step takes of another tree is the same, though the tree is not.
fn same_files(
    site: &Site<'_>,
    step: &Step,
    id: StepId,
    old: &[Layer],
    new: &Snapshot,
    work: &Work<'_>,
) -> Result<bool, StepError> {
    let Some(old) = view_of(site, old) else { return Ok(false) };
    let new = site.view(new, work)?;
    match &step.op {
        Op::Copy(copy) => {
            let new = trees::of_stage(&new, copy)?;
            // what was there before may lack what is there now
            Ok(trees::of_stage(&old, copy).is_ok_and(|old| old == new))
        }
        Op::Run(run) => {
            for mount in &run.mounts {
                let (MountKind::Bind { from, source } | MountKind::Cache { from, source, .. }) = &mount.kind
                else {
                    continue;
                };
                if *from != Files::Step(id) {
                    continue;
                }
                let path = ImagePath::new(source);
                let new = trees::of_path(&new, &path)?;
                if !trees::of_path(&old, &path).is_ok_and(|old| old == new) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Op::Image(_) | Op::Workdir(_) => Ok(false),
    }
}

/// A view of layers from an earlier build, where all of them are still here.
fn view_of(site: &Site<'_>, layers: &[Layer]) -> Option<View> {
    let mut paths: Vec<PathBuf> = Vec::with_capacity(layers.len());
    for layer in layers {
        let id = layer.id_in(site.store).ok().flatten()?;
        if !site.store.is_usable(&id).unwrap_or(false) {
            return None;
        }
        paths.extend(site.store.layer_dirs(&id).ok()?);
    }
    View::open(&paths).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_time_is_another_one() {
        let digest = Part::new(PartKind::Url, "http://h/f", "sha256:1");
        let time = Part::new(PartKind::Url, "time of http://h/f", "5");
        let old = [&digest, &time].map(record::input_of);
        assert!(others_agree(&[digest.clone(), time], &old));
        assert!(!others_agree(std::slice::from_ref(&digest), &old));
        assert!(others_agree(std::slice::from_ref(&digest), &old[..1]));
    }
}
