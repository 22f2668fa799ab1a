//! From a plan to an image: the cache is looked through first, then what is missing is run, then the parts are put
//! together.

use std::collections::HashMap;
use std::time::SystemTime;

use lighter_dockerfile::plan::{Step, StepId};
use lighter_image::{DiffId, Digest, ImageConfig, ImageId};
use lighter_layer::Packed;
use lighter_store::{LayerId, Store};

use crate::digests::Digests;
use crate::event::{Reporter, Vertex};
use crate::fetch::Fetch;
use crate::op::Tail;
use crate::schedule::Graph;
use crate::site::Site;
use crate::snapshot::{Layer, Snapshot};
use crate::solve::{Outcome, Solver, rfc3339};
use crate::{BuildError, Inputs, SharedRecord, StepError, StepFailure};

/// What a build has made.
#[derive(Debug, Clone)]
pub struct Built {
    /// The image's configuration, complete.
    pub config: ImageConfig,
    /// The same as the document that the id is the digest of.
    pub config_bytes: Vec<u8>,
    /// The image's id.
    pub image: ImageId,
    /// The layers, bottom first.
    pub layers: Vec<BuiltLayer>,
    /// What became of each step, in the plan's order. Steps that were not needed are not there.
    pub steps: Vec<BuiltStep>,
    /// What other machines can use, where that was asked for.
    pub shared: Vec<SharedRecord>,
}

/// A layer of what was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltLayer {
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// Its directory in the store, where its bytes are here.
    pub layer: Option<LayerId>,
    /// The step of the plan that has made it; none for the base image's.
    pub step: Option<StepId>,
}

impl BuiltLayer {
    /// Whether a step of the plan has made it; the others are the base image's.
    pub const fn is_own(&self) -> bool {
        self.step.is_some()
    }
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltStep {
    /// Its place in the plan.
    pub step: StepId,
    /// The key that it is known by; none for an image.
    pub key: Option<Digest>,
    /// Whether it was known.
    pub is_cached: bool,
    /// For a step that ran: the key of what had stood in its place before.
    pub previous: Option<Digest>,
}

/// Builds.
///
/// Nothing is named here: the caller commits the configuration, the image and its names in one batch.
///
/// # Errors
/// [`BuildError::Step`] for the first step that fails; by then everything that was running has ended.
pub fn build(
    store: &Store,
    inputs: &Inputs,
    fetch: &dyn Fetch,
    reporter: &Reporter<'_>,
) -> Result<Built, BuildError> {
    let site = Site::new(store, inputs, fetch, reporter);
    let inner = site.cancel.clone();
    let _stop = inputs.cancel.while_running(move || inner.cancel());
    let result = std::thread::scope(|scope| {
        let digests = Digests::new(store, scope, inputs.clamp_seconds, fetch.shared());
        let on_new_layer = |step: &Step, layer: &Layer, packed: Option<Packed>| {
            if let Some(id) = &layer.stored.layer {
                digests.take(step, inputs.plan.layers_from.contains(&step.id), id, packed);
            }
        };
        let solver = Solver::new(&site, announce(&site), &on_new_layer);
        let outcomes = solve(&site, &solver);
        site.listings.save();
        let outcomes = outcomes?;
        let digests = digests.finish()?;
        let mut built = assemble(&site, &outcomes, &digests)?;
        if inputs.is_shared {
            built.shared = solver.shared(&settle(outcomes, &digests));
        }
        Ok(built)
    });
    match result {
        Err(BuildError::Step(failure)) if matches!(failure.cause, StepError::Cancelled) => {
            Err(BuildError::Cancelled)
        }
        Err(_) if inputs.cancel.is_cancelled() => Err(BuildError::Cancelled),
        result => result,
    }
}

/// Outcomes with the diff ids that were taken meanwhile.
fn settle(outcomes: Vec<Option<Outcome>>, digests: &HashMap<LayerId, DiffId>) -> Vec<Option<Outcome>> {
    let mut settled = outcomes;
    for outcome in settled.iter_mut().flatten() {
        outcome.snapshot = outcome.snapshot.with_diff_ids(digests);
        if let Some(stored) = outcome.made.as_mut().map(|made| &mut made.layer.stored)
            && let (None, Some(id)) = (stored.diff_id, &stored.layer)
        {
            stored.diff_id = digests.get(id).copied();
        }
    }
    settled
}

/// Finds or makes what the plan's result needs.
fn solve(site: &Site<'_>, solver: &Solver<'_>) -> Result<Vec<Option<Outcome>>, BuildError> {
    let plan = &site.inputs.plan;
    let graph: Vec<Vec<usize>> =
        plan.steps.iter().map(|step| step.inputs().into_iter().map(StepId::index).collect()).collect();
    let mut known: Vec<Option<Outcome>> = vec![None; graph.len()];
    for (index, inputs) in graph.iter().enumerate() {
        let ready: Option<Vec<Outcome>> = inputs.iter().map(|input| known[*input].clone()).collect();
        if let Some(ready) = ready {
            known[index] = solver.look(plan.steps[index].id, &ready).map_err(BuildError::Step)?;
        }
    }
    let Some(result) = plan.result else { return Ok(known) };
    let id = |index: usize| plan.steps[index].id;
    let wanted: Vec<usize> =
        plan.layers_from.iter().map(|step| step.index()).chain([result.index()]).collect();
    let graph = Graph {
        inputs: &graph,
        known,
        wanted,
        jobs: site.inputs.jobs.max(1),
        work: &|index, inputs: &[Outcome]| solver.solve(id(index), inputs),
        stop: &|| site.cancel.cancel(),
        panicked: &|index, text| -> Box<StepFailure> {
            let step = &plan.steps[index];
            solver.failure(step, StepError::Panic(text), Tail::default())
        },
    };
    graph.run().map_err(BuildError::Step)
}

/// Makes all steps known.
fn announce(site: &Site<'_>) -> Vec<Vertex> {
    let mut vertices: Vec<Vertex> = Vec::new();
    for step in &site.inputs.plan.steps {
        let inputs = step.inputs().into_iter().map(|input| vertices[input.index()]).collect();
        vertices.push(site.reporter.announce(step.name.clone(), inputs));
    }
    vertices
}

/// Puts the image together.
fn assemble(
    site: &Site<'_>,
    outcomes: &[Option<Outcome>],
    digests: &HashMap<LayerId, DiffId>,
) -> Result<Built, BuildError> {
    let plan = &site.inputs.plan;
    let outcome = |id: StepId| outcomes[id.index()].as_ref();
    let mut layers = Vec::new();
    if let Some(base) = plan.base.and_then(outcome) {
        layers.extend(received(&base.snapshot));
    }
    let mut times = Vec::new();
    for id in &plan.layers_from {
        let Some(made) = outcome(*id).and_then(|outcome| outcome.made.as_ref()) else { continue };
        let stored = &made.layer.stored;
        let known = stored.layer.as_ref().and_then(|layer| digests.get(layer).copied());
        let diff_id = match (known.or(stored.diff_id), &stored.layer) {
            (Some(diff_id), _) => diff_id,
            (None, Some(layer)) => {
                crate::digests::take(site.store, &plan.step(*id).name, layer, site.inputs.clamp_seconds)?
            }
            (None, None) => continue,
        };
        layers.push(BuiltLayer { diff_id, layer: stored.layer.clone(), step: Some(*id) });
        times.push(made.created_at);
    }
    let mut config = plan.config.clone();
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    if let Some(epoch) = plan.epoch {
        date_by_epoch(&mut config, plan.base_history_len, epoch);
    }
    date(&mut config, plan.base_history_len, &times);
    let config_bytes = config.to_json().map_err(BuildError::Config)?;
    let image = ImageId(Digest::of(&config_bytes));
    let steps = plan.steps.iter().filter_map(|step| {
        let outcome = outcome(step.id)?;
        let (key, is_cached, previous) = (outcome.key, outcome.is_cached, outcome.previous);
        Some(BuiltStep { step: step.id, key, is_cached, previous })
    });
    Ok(Built { steps: steps.collect(), config, config_bytes, image, layers, shared: Vec::new() })
}

fn received(snapshot: &Snapshot) -> Vec<BuiltLayer> {
    let layers = snapshot.layers();
    layers
        .into_iter()
        .filter_map(|layer| {
            let (diff_id, id) = (layer.stored.diff_id?, layer.stored.layer.clone());
            Some(BuiltLayer { diff_id, layer: id, step: None })
        })
        .collect()
}

/// With an epoch, that is when everything of this build was made.
fn date_by_epoch(config: &mut ImageConfig, base_history_len: usize, epoch: i64) {
    let created = jiff::Timestamp::from_second(epoch).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
    for entry in config.history.iter_mut().skip(base_history_len) {
        entry.created.get_or_insert_with(|| created.clone());
    }
    config.created.get_or_insert(created);
}

/// Fills in when the steps were made. As BuildKit has it, the first entry without a layer has the time of the next layer,
/// later ones that of the layer before; where there is no next one, all have the last. The image is as old as its last
/// entry.
fn date(config: &mut ImageConfig, base_history_len: usize, times: &[SystemTime]) {
    let mut times = times.iter();
    for entry in config.history.iter_mut().skip(base_history_len).filter(|entry| !entry.empty_layer) {
        let time = times.next();
        if entry.created.is_none() {
            entry.created = time.map(|time| rfc3339(*time));
        }
    }
    let first_undated = config.history.iter().position(|entry| entry.created.is_none());
    let after = first_undated
        .and_then(|first| config.history[first..].iter().find_map(|entry| entry.created.clone()));
    let before = config.history.iter().rev().find_map(|entry| entry.created.clone());
    let mut last = after.or(before);
    let mut passed_gap = false;
    for entry in &mut config.history {
        if entry.created.is_none() {
            passed_gap = true;
            entry.created.clone_from(&last);
        } else if passed_gap {
            last.clone_from(&entry.created);
        }
    }
    if config.created.is_none() {
        config.created = config.history.iter().rev().find_map(|entry| entry.created.clone());
    }
}

#[cfg(test)]
mod tests {
    use lighter_image::History;

    use super::*;

    fn check(entries: &[(Option<&str>, bool)], base: usize, times: &[u64], expected: &[Option<&str>]) {
        let history = entries.iter().map(|(created, empty_layer)| History {
            created: created.map(str::to_owned),
            empty_layer: *empty_layer,
            ..History::default()
        });
        let mut config = ImageConfig { history: history.collect(), ..ImageConfig::default() };
        let time = |seconds: &u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(*seconds);
        date(&mut config, base, &times.iter().map(time).collect::<Vec<_>>());
        let dates: Vec<Option<&str>> = config.history.iter().map(|entry| entry.created.as_deref()).collect();
        assert_eq!(dates, expected);
        assert_eq!(config.created.as_deref(), dates.last().copied().flatten());
    }

    const ONE: Option<&str> = Some("1970-01-01T00:00:01Z");
    const TWO: Option<&str> = Some("1970-01-01T00:00:02Z");
    const BASE: Option<&str> = Some("1969-01-01T00:00:00Z");

    #[test]
    fn an_epoch_is_the_time_of_all_but_the_base() {
        let entry =
            |created: Option<&str>| History { created: created.map(str::to_owned), ..History::default() };
        let mut config = ImageConfig { history: vec![entry(None), entry(None)], ..ImageConfig::default() };
        date_by_epoch(&mut config, 1, 1);
        assert_eq!((config.history[0].created.as_deref(), config.history[1].created.as_deref()), (None, ONE));
        assert_eq!(config.created.as_deref(), ONE);
    }

    #[test]
    fn entries_without_a_layer_have_the_time_of_one_beside() {
        check(&[(None, false), (None, true), (None, false)], 0, &[1, 2], &[ONE, TWO, TWO]);
        check(&[(None, false), (None, false), (None, true)], 0, &[1, 2], &[ONE, TWO, TWO]);
        check(&[(BASE, false), (None, true), (None, false)], 1, &[1], &[BASE, ONE, ONE]);
        check(&[(BASE, false), (None, true)], 1, &[], &[BASE, BASE]);
        check(&[(None, true)], 0, &[], &[None]);
        check(&[(ONE, true), (ONE, false)], 0, &[2], &[ONE, ONE]);
    }
}
