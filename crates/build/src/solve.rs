//! One step: is it known, is it known under another key, or is it to be run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use lighter_dockerfile::plan::{Op, Source, Step, StepId};
use lighter_image::Digest;
use lighter_layer::Packed;
use lighter_store::{NewLayer, Scratch};

use crate::ahead::{self, Ahead, Chance};
use crate::cutoff;
use crate::event::{EventKind, Vertex, Work};
use crate::kept;
use crate::keyed::{Inputs, Keyed, PARENT, source_name};
use crate::op::{self, Tail, over};
use crate::record::{self, Made};
use crate::shared::{self, SharedRecord, SharedStep};
use crate::site::Site;
use crate::snapshot::{Layer, Snapshot};
use crate::why;
use crate::{KeptRoot, OnError, StepError, StepFailure};

/// What became of a step.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What its users stand on.
    pub(crate) snapshot: Snapshot,
    /// The layer that it added; none for an image.
    pub(crate) made: Option<Made>,
    /// The key that it is known by; none for an image.
    pub(crate) key: Option<Digest>,
    /// Whether it was known.
    pub(crate) is_cached: bool,
    /// For a step that ran: the key of what had stood in its place before.
    pub(crate) previous: Option<Digest>,
}

/// Solves the steps of one build.
pub(crate) struct Solver<'a> {
    pub(crate) site: &'a Site<'a>,
    /// The place of each step in the stream of events.
    pub(crate) vertices: Vec<Vertex>,
    keyed: Mutex<HashMap<StepId, Arc<Keyed>>>,
    /// What can be copied before its key is known.
    chances: Mutex<HashMap<StepId, Arc<Chance>>>,
    /// The roots of steps that failed.
    kept: Mutex<HashMap<StepId, KeptRoot>>,
    /// The keys that this build has made: good even where the cache must not be used.
    made: Mutex<HashSet<Digest>>,
    /// The steps whose files somebody changed while they ran: their keys say something else than what they made.
    touched: Mutex<HashSet<StepId>>,
    /// Called with each layer that is new, so that its digest is taken beside the next steps, unless it is known.
    pub(crate) on_new_layer: &'a (dyn Fn(&Step, &Layer, Option<Packed>) + Sync),
}

impl<'a> Solver<'a> {
    pub(crate) fn new(
        site: &'a Site<'a>,
        vertices: Vec<Vertex>,
        on_new_layer: &'a (dyn Fn(&Step, &Layer, Option<Packed>) + Sync),
    ) -> Self {
        Self {
            site,
            vertices,
            keyed: Mutex::default(),
            chances: Mutex::default(),
            kept: Mutex::default(),
            made: Mutex::default(),
            touched: Mutex::default(),
            on_new_layer,
        }
    }

    fn step(&self, id: StepId) -> &'a Step {
        self.site.inputs.plan.step(id)
    }

    fn vertex(&self, step: &Step) -> Vertex {
        self.vertices[step.id.index()]
    }

    /// The failure of a step, with all that is needed to show it.
    pub(crate) fn failure(&self, step: &Step, cause: StepError, tail: Tail) -> Box<StepFailure> {
        Box::new(StepFailure {
            step: step.id,
            vertex: self.vertex(step),
            name: step.name.clone(),
            span: step.span,
            lines: step.lines,
            text: step.text.clone(),
            tail: tail.into_bytes(),
            cause,
            kept: self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&step.id),
        })
    }

    /// What an image brings: its layers, whether or not they are here.
    fn image(&self, step: &Step) -> Result<Outcome, StepError> {
        let Op::Image(source) = &step.op else {
            return Err(StepError::Refused("a step without a definition is no image".to_owned()));
        };
        let found = self.site.inputs.images.get(source);
        let missing = || StepError::Refused(format!("{}: not found", source.reference));
        let image = found.ok_or_else(missing)?;
        let snapshot = Snapshot::of_image(&image.layers);
        Ok(Outcome { snapshot, made: None, key: None, is_cached: true, previous: None })
    }

    /// Whether a step's result is there already, told without running anything.
    ///
    /// `None` where it must be run, or where finding out would take a transfer.
    pub(crate) fn look(&self, id: StepId, inputs: &[Outcome]) -> Result<Option<Outcome>, Box<StepFailure>> {
        let step = self.step(id);
        if matches!(step.op, Op::Image(_)) {
            let outcome = self.image(step).map_err(|error| self.failure(step, error, Tail::default()))?;
            self.site.reporter.start(self.vertex(step)).cached();
            return Ok(Some(outcome));
        }
        if is_fetched(step) {
            return Ok(None);
        }
        let below = Inputs::of(step, inputs);
        let chance = ahead::chance(self.site, step, &below, self.must_run(step));
        if let Some(chance) = chance.map_err(|error| self.fail(step, error, Tail::default()))? {
            self.chances().insert(step.id, Arc::new(chance));
            return Ok(None);
        }
        let keyed =
            self.keyed(step, &below, None).map_err(|error| self.fail(step, error, Tail::default()))?;
        if self.must_run(step) && !self.is_made(&keyed.key) {
            return Ok(None);
        }
        let found = record::find(self.site.store, &keyed.key).map_err(StepError::store);
        let found = found.map_err(|error| self.fail(step, error, Tail::default()))?;
        Ok(found.map(|made| {
            self.site.reporter.start(self.vertex(step)).cached();
            outcome(&below, &keyed.key, made, true)
        }))
    }

    /// Tells of a failure before work on the step has begun.
    fn fail(&self, step: &Step, error: StepError, tail: Tail) -> Box<StepFailure> {
        self.site.reporter.start(self.vertex(step)).failed(&error);
        self.failure(step, error, tail)
    }

    /// Gets a step's result: from the cache, from another process that is making it, or by running it.
    pub(crate) fn solve(&self, id: StepId, inputs: &[Outcome]) -> Result<Outcome, Box<StepFailure>> {
        let step = self.step(id);
        if self.site.cancel.is_cancelled() {
            return Err(self.failure(step, StepError::Cancelled, Tail::default()));
        }
        if matches!(step.op, Op::Image(_)) {
            return self.image(step).map_err(|error| self.fail(step, error, Tail::default()));
        }
        let below = Inputs::of(step, inputs);
        let work = self.site.reporter.start(self.vertex(step));
        let mut tail = Tail::default();
        let solved = self.solve_in(step, &below, &work, &mut tail);
        match solved {
            Ok(outcome) => {
                if outcome.is_cached {
                    work.cached();
                } else {
                    work.done();
                }
                Ok(outcome)
            }
            Err(StepError::Cancelled) => {
                work.cancelled();
                Err(self.failure(step, StepError::Cancelled, tail))
            }
            Err(error) => {
                work.failed(&error);
                Err(self.failure(step, error, tail))
            }
        }
    }

    fn solve_in(
        &self,
        step: &Step,
        below: &Inputs,
        work: &Work<'_>,
        tail: &mut Tail,
    ) -> Result<Outcome, StepError> {
        let ahead = self.copy_ahead(step, below, work)?;
        let read_before = self.site.listings.files_read();
        let keyed = self.keyed(step, below, Some(work))?;
        // all that the key is made of is what was copied, then
        let is_sure = ahead.is_some() && self.site.listings.files_read() == read_before;
        let key = keyed.key;
        let store = self.site.store;
        // whoever comes second finds what the first has made
        let _flight =
            store.single_flight(&key, &|| self.site.cancel.is_cancelled()).map_err(StepError::store)?;
        if !self.must_run(step) || self.is_made(&key) {
            if let Some(made) = record::find(store, &key).map_err(StepError::store)? {
                ahead.map_or(Ok(()), |ahead| ahead.give_way(self.site, &key))?;
                return Ok(outcome(below, &key, made, true));
            }
            if let Some(made) = cutoff::find(self.site, step, &keyed, below, work)? {
                self.remember(step, &keyed, below, &made)?;
                return Ok(outcome(below, &key, made, true));
            }
            if let Some(made) = self.find_shared(&keyed, below, work)? {
                self.remember(step, &keyed, below, &made)?;
                return Ok(outcome(below, &key, made, true));
            }
        }
        if self.site.inputs.explain {
            work.tell(EventKind::Explained(why::explain(self.site, step, &keyed)?));
        }
        let previous = why::previous(self.site, step)?;
        let (mut made, packed) = match ahead {
            Some(ahead) => self.commit(&keyed, ahead.scratch, ahead.packed)?,
            None => self.run(step, &keyed, below, work, tail)?,
        };
        // first of all: to read a large layer takes as long as all that follows here
        (self.on_new_layer)(step, &made.layer, packed);
        if is_sure || self.is_current(step, &keyed, work) {
            self.remember(step, &keyed, below, &made)?;
        } else {
            made.layer.source = None;
        }
        Ok(Outcome { previous, ..outcome(below, &key, made, false) })
    }

    /// Whether a step that ran has made what its key says.
    fn is_current(&self, step: &Step, keyed: &Keyed, work: &Work<'_>) -> bool {
        match keyed.is_current(self.site, step) {
            Ok(true) => return true,
            Ok(false) => {}
            // what was taken a moment ago is gone
            Err(error) => tracing::info!(%error, "a context has changed"),
        }
        work.warn("files changed while this step used them: it is not kept in the cache".to_owned());
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(step.id);
        false
    }

    /// Looks a step up where other machines keep what they have made.
    fn find_shared(&self, keyed: &Keyed, below: &Inputs, work: &Work<'_>) -> Result<Option<Made>, StepError> {
        let cache = self.site.fetch.shared();
        if cache.is_empty() {
            return Ok(None);
        }
        let Some(key) = shared::key(&keyed.definition, &keyed.inputs, below) else { return Ok(None) };
        let Some(step) = cache.find(&key, work)? else { return Ok(None) };
        let mut layer = Layer { source: step.source, ..Layer::received(step.diff_id) };
        layer.stored.layer = self.site.store.layer_by_diff_id(&step.diff_id).map_err(StepError::store)?;
        Ok(Some(Made { layer, created_at: step.created_at }))
    }

    /// What other machines can use of the steps that were needed, once all diff ids are known.
    pub(crate) fn shared(&self, outcomes: &[Option<Outcome>]) -> Vec<SharedRecord> {
        let plan = &self.site.inputs.plan;
        let keyed = self.keyed.lock().unwrap_or_else(PoisonError::into_inner);
        let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let record = |step: &Step| {
            if touched.contains(&step.id) {
                return None;
            }
            let keyed = keyed.get(&step.id)?;
            let made = outcomes[step.id.index()].as_ref()?.made.as_ref()?;
            let inputs: Option<Vec<Outcome>> =
                step.inputs().into_iter().map(|id| outcomes[id.index()].clone()).collect();
            let below = Inputs::of(step, &inputs?);
            Some(SharedRecord {
                key: shared::key(&keyed.definition, &keyed.inputs, &below)?,
                description: step.name.clone(),
                step: SharedStep {
                    diff_id: made.layer.stored.diff_id?,
                    created_at: made.created_at,
                    source: made.layer.source,
                },
                is_in_result: plan.layers_from.contains(&step.id),
            })
        };
        plan.steps.iter().filter_map(record).collect()
    }

    /// Runs a step, and gives its layer a name. What its tar stream is, where that is known by the way.
    fn run(
        &self,
        step: &Step,
        keyed: &Keyed,
        below: &Inputs,
        work: &Work<'_>,
        tail: &mut Tail,
    ) -> Result<(Made, Option<Packed>), StepError> {
        let site = self.site;
        if !self.must_run(step)
            && let Some(id) = over::copy_over_earlier(site, step, keyed, below, work)?
        {
            let layer = Layer { source: keyed.source, ..Layer::made(id) };
            return Ok((Made { layer, created_at: site.now() }, None));
        }
        let scratch = site.store.new_layer().map_err(StepError::store)?;
        let under = below.below();
        let result = match &step.op {
            Op::Run(run) => op::run::run(site, run, &under, &scratch, work, tail).map(|()| None),
            Op::Copy(copy) => {
                op::copy::copy_files(site, copy, &under, &keyed.fetched, (&scratch, None), work)
            }
            Op::Workdir(workdir) => {
                op::copy::make_workdir(site, workdir, &under, &scratch, work).map(|()| None)
            }
            Op::Image(_) => Ok(None),
        };
        let packed = match result {
            Ok(packed) => packed,
            Err(error) => {
                if let Op::Run(run) = &step.op
                    && site.inputs.on_error == OnError::Keep
                    && error.exit_code().is_some()
                {
                    let kept = kept::keep(site.store, run, &under, scratch)?;
                    self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(step.id, kept);
                }
                return Err(error);
            }
        };
        self.commit(keyed, scratch, packed)
    }

    /// Gives the layer of a step a name.
    fn commit(
        &self,
        keyed: &Keyed,
        scratch: Scratch,
        packed: Option<Packed>,
    ) -> Result<(Made, Option<Packed>), StepError> {
        let (site, created_at) = (self.site, self.site.now());
        if site.cancel.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        let id = site.store.commit_layer(scratch, NewLayer::default()).map_err(StepError::store)?;
        let layer = Layer { source: keyed.source, ..Layer::made(id) };
        Ok((Made { layer, created_at }, packed))
    }

    fn remember(&self, step: &Step, keyed: &Keyed, below: &Inputs, made: &Made) -> Result<(), StepError> {
        let names: Vec<(String, &Snapshot)> = std::iter::once((PARENT.to_owned(), &below.parent))
            .chain(below.others.iter().map(|(id, snapshot)| (source_name(below, *id), snapshot)))
            .collect();
        let new = record::New {
            key: keyed.key,
            definition: &keyed.definition,
            lineage: why::lineage(self.site, step),
            description: &step.name,
            parent: over::parent(step, below),
            below: names.iter().map(|(name, snapshot)| (name.as_str(), *snapshot)).collect(),
            parts: &keyed.inputs,
            files: why::files(self.site, step)?,
            made,
        };
        new.put(self.site.store).map_err(StepError::store)?;
        let chance = self.chances().get(&step.id).cloned();
        ahead::mark(self.site, step, keyed, chance.as_deref())?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(keyed.key);
        Ok(())
    }

    fn is_made(&self, key: &Digest) -> bool {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Whether the request forbids the cache for a step.
    fn must_run(&self, step: &Step) -> bool {
        let rules = &self.site.inputs.cache;
        let named = |name: &String| name.eq_ignore_ascii_case(&step.stage);
        rules.no_cache || rules.no_cache_filter.iter().any(named)
    }

    /// Copies before the key is known, where that is worth while.
    fn copy_ahead(&self, step: &Step, below: &Inputs, work: &Work<'_>) -> Result<Option<Ahead>, StepError> {
        let known = self.chances().get(&step.id).cloned();
        let chance = match known {
            Some(chance) => chance,
            None => match ahead::chance(self.site, step, below, self.must_run(step))? {
                Some(chance) => Arc::new(chance),
                None => return Ok(None),
            },
        };
        self.chances().insert(step.id, Arc::clone(&chance));
        chance.take(self.site, step, below, work)
    }

    fn chances(&self) -> MutexGuard<'_, HashMap<StepId, Arc<Chance>>> {
        self.chances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a step whose inputs are known. Taken once.
    fn keyed(&self, step: &Step, below: &Inputs, work: Option<&Work<'_>>) -> Result<Arc<Keyed>, StepError> {
        let lock = || self.keyed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keyed) = lock().get(&step.id) {
            return Ok(Arc::clone(keyed));
        }
        let keyed = Arc::new(Keyed::of(self.site, step, below, work)?);
        lock().insert(step.id, Arc::clone(&keyed));
        Ok(keyed)
    }
}

fn is_fetched(step: &Step) -> bool {
    let Op::Copy(copy) = &step.op else { return false };
    copy.sources.iter().any(|source| matches!(source, Source::Http(_) | Source::Git(_)))
}

fn outcome(below: &Inputs, key: &Digest, made: Made, is_cached: bool) -> Outcome {
    let snapshot = below.parent.with(made.layer.clone());
    Outcome { snapshot, made: Some(made), key: Some(*key), is_cached, previous: None }
}

/// The time of a layer as history entries have it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
