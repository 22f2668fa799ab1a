//! Why a step runs: what stood in its place before, and what differs.

use lighter_dockerfile::plan::{Op, Step};
use lighter_image::Digest;

use crate::StepError;
use crate::explain::{Explanation, Part, Reason, compare};
use crate::keyed::Keyed;
use crate::record::{self, FileList};
use crate::site::Site;
use crate::trees;

/// The step's place: the same one in the next build of the same Dockerfile.
pub(crate) fn lineage(site: &Site<'_>, step: &Step) -> Digest {
    let steps = &site.inputs.plan.steps;
    let number = steps.iter().filter(|other| other.stage == step.stage && other.id < step.id).count();
    Digest::of(format!("{}\n{}\n{number}", site.inputs.place, step.stage))
}

/// The files that a step takes from a context, one by one.
pub(crate) fn files(site: &Site<'_>, step: &Step) -> Result<Option<FileList>, StepError> {
    match &step.op {
        Op::Copy(copy) => trees::files_of_copy(site, copy),
        Op::Run(_) | Op::Workdir(_) | Op::Image(_) => Ok(None),
    }
}

/// The key of what stood in a step's place in the build before.
pub(crate) fn previous(site: &Site<'_>, step: &Step) -> Result<Option<Digest>, StepError> {
    let lineage = lineage(site, step);
    if !site.store.has_steps_like(&lineage) {
        return Ok(None);
    }
    let earlier = site.store.latest_steps_like(&lineage, 1).map_err(StepError::store)?;
    Ok(earlier.into_iter().next().map(|record| record.key))
}

/// Why a step runs.
pub(crate) fn explain(site: &Site<'_>, step: &Step, keyed: &Keyed) -> Result<Explanation, StepError> {
    let rules = &site.inputs.cache;
    if rules.no_cache {
        return Ok(Explanation::plain(Reason::NoCache));
    }
    if let Some(name) = rules.no_cache_filter.iter().find(|name| name.eq_ignore_ascii_case(&step.stage)) {
        return Ok(Explanation::plain(Reason::NoCacheFilter(name.clone())));
    }
    let store = site.store;
    let earlier = store.latest_steps_like(&lineage(site, step), 1).map_err(StepError::store)?;
    let earlier = match earlier.into_iter().next() {
        Some(record) => Some(record),
        None => {
            store.latest_steps_like(&keyed.definition.digest, 1).map_err(StepError::store)?.into_iter().next()
        }
    };
    let Some(earlier) = earlier else {
        let reason = if site.inputs.earlier.contains_key(&step.name) { Reason::Pruned } else { Reason::New };
        return Ok(Explanation::plain(reason));
    };
    let old = record::parts(store, &earlier.key).map_err(StepError::store)?;
    let mut new: Vec<Part> = keyed.definition.parts.clone();
    new.extend(keyed.inputs.iter().filter(|part| record::is_shown(part)).cloned());
    new.extend(files(site, step)?.iter().flat_map(FileList::parts));
    if compare(&old, &new).is_empty() {
        return Ok(Explanation::plain(Reason::Pruned));
    }
    Ok(Explanation::compare(&old, &new))
}
