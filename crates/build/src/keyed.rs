//! What a step stands on and takes from, and the key that follows from it.

use lighter_dockerfile::plan::{Files, Op, Source, Step, StepId};
use lighter_image::Digest;

use crate::StepError;
use crate::event::Work;
use crate::explain::{Part, PartKind};
use crate::key::{Definition, digest_of};
use crate::op::user::has_names;
use crate::op::{Below, Fetched};
use crate::site::Site;
use crate::snapshot::Snapshot;
use crate::solve::Outcome;
use crate::trees;

/// A step whose key is known.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    pub(crate) definition: Definition,
    /// The parts of the key that are inputs.
    pub(crate) inputs: Vec<Part>,
    pub(crate) key: Digest,
    /// The digest of the selected files, where that says as much as the layer.
    pub(crate) source: Option<Digest>,
    /// What stands behind the sources that are elsewhere.
    pub(crate) fetched: Vec<Option<Fetched>>,
}

impl Keyed {
    /// The key of a step whose inputs are known. Addresses are asked only where there is work to tell it to.
    pub(crate) fn of(
        site: &Site<'_>,
        step: &Step,
        below: &Inputs,
        work: Option<&Work<'_>>,
    ) -> Result<Self, StepError> {
        let definition =
            definition_of(site, step).ok_or_else(|| StepError::Refused("an image has no key".to_owned()))?;
        let mut inputs = Vec::new();
        let mut tree: Option<Digest> = None;
        let mut fetched = Vec::new();
        let parent = |inputs: &mut Vec<Part>| {
            inputs.push(Part::new(below.parent_kind, "", below.parent.identity().to_string()));
        };
        match &step.op {
            Op::Copy(copy) => {
                if stands_on_parent(step) {
                    parent(&mut inputs);
                }
                if let Files::Step(id) = &copy.from {
                    let identity = below.snapshot(*id).identity().to_string();
                    inputs.push(Part::new(PartKind::File, source_name(below, *id), identity));
                }
                tree = trees::of_copy(site, &site.listings, copy)?;
                if let Some(digest) = tree {
                    inputs.push(Part::new(PartKind::File, "", digest.to_string()));
                }
                fetched = fetch(site, &copy.sources, &mut inputs, work)?;
            }
            Op::Run(run) => {
                parent(&mut inputs);
                for (id, snapshot) in &below.others {
                    let identity = snapshot.identity().to_string();
                    inputs.push(Part::new(PartKind::Mount, source_name(below, *id), identity));
                }
                for (target, digest) in trees::of_mounts(site, &site.listings, run)? {
                    inputs.push(mounted(&target, digest));
                }
            }
            Op::Workdir(_) | Op::Image(_) => parent(&mut inputs),
        }
        let key = definition.key(&inputs);
        let source = source_digest(&step.op, &definition, tree);
        Ok(Self { definition, inputs, key, source, fetched })
    }

    /// Whether what a step has taken of the caller's folders is still what the key says. Who edits a file while it is
    /// copied would get that content under the key of the one before.
    pub(crate) fn is_current(&self, site: &Site<'_>, step: &Step) -> Result<bool, StepError> {
        let listings = trees::Listings::again(step.id);
        let now = match &step.op {
            Op::Copy(copy) if trees::is_from_context(copy) && is_local(site, &copy.from)? => {
                if site.listings.is_still(site, &copy.from, step.id)? {
                    return Ok(true);
                }
                let tree = trees::of_copy(site, &listings, copy)?;
                tree.map(|digest| Part::new(PartKind::File, "", digest.to_string())).into_iter().collect()
            }
            Op::Run(run) => {
                let mounts = trees::of_mounts(site, &listings, run)?;
                mounts.into_iter().map(|(target, digest)| mounted(&target, digest)).collect()
            }
            Op::Copy(_) | Op::Workdir(_) | Op::Image(_) => Vec::new(),
        };
        Ok(listings.files_read() == 0 && now.iter().all(|part| self.inputs.contains(part)))
    }
}

/// What a step is by itself; `None` of an image.
pub(crate) fn definition_of(site: &Site<'_>, step: &Step) -> Option<Definition> {
    let plan = &site.inputs.plan;
    Definition::of(&step.op, &plan.platform, &site.inputs.run, plan.epoch)
}

/// Whether files are in a folder that the caller may change meanwhile.
fn is_local(site: &Site<'_>, files: &Files) -> Result<bool, StepError> {
    match files {
        Files::Context | Files::NamedContext(_) => Ok(!site.context(files)?.keeps_owners),
        Files::Step(_) | Files::Empty => Ok(false),
    }
}

fn mounted(target: &str, digest: Digest) -> Part {
    Part::new(PartKind::Mount, format!("content of {target}"), digest.to_string())
}

/// Asks what stands behind the addresses that a step names.
fn fetch(
    site: &Site<'_>,
    sources: &[Source],
    inputs: &mut Vec<Part>,
    work: Option<&Work<'_>>,
) -> Result<Vec<Option<Fetched>>, StepError> {
    let mut fetched = Vec::with_capacity(sources.len());
    for source in sources {
        fetched.push(match (source, work) {
            (Source::Http(http), Some(work)) => {
                let file = site.fetch.http(http, work, &site.cancel)?;
                inputs.push(Part::new(PartKind::Url, http.url.clone(), file.digest.to_string()));
                if let Some(modified) = file.modified {
                    inputs.push(Part::new(
                        PartKind::Url,
                        format!("time of {}", http.url),
                        modified.to_string(),
                    ));
                }
                inputs.push(Part::new(PartKind::Url, format!("name of {}", http.url), file.name.clone()));
                Some(Fetched::Http(file))
            }
            (Source::Git(git), Some(work)) => {
                let commit = site.fetch.git_commit(git, work, &site.cancel)?;
                let name = format!("{}#{}", git.remote, git.reference);
                inputs.push(Part::new(PartKind::Git, name, commit.clone()));
                Some(Fetched::Git(commit))
            }
            (Source::Http(_) | Source::Git(_), None) => {
                return Err(StepError::Refused(
                    "an address is asked only while its step is worked on".to_owned(),
                ));
            }
            (Source::Path(_) | Source::Inline(_), _) => None,
        });
    }
    Ok(fetched)
}

/// What says as much of a COPY's layer as its content: all that was copied, and how.
fn source_digest(op: &Op, definition: &Definition, tree: Option<Digest>) -> Option<Digest> {
    let Op::Copy(copy) = op else { return None };
    if copy.sources.iter().any(|source| matches!(source, Source::Http(_) | Source::Git(_))) {
        return None;
    }
    let digest = tree?;
    let parts = [
        Part::new(PartKind::Instruction, "", definition.digest.to_string()),
        Part::new(PartKind::File, "", digest.to_string()),
    ];
    Some(digest_of("source", &parts))
}

/// What a step stands on and takes from.
pub(crate) struct Inputs {
    pub(crate) parent: Snapshot,
    pub(crate) parent_kind: PartKind,
    pub(crate) others: Vec<(StepId, Snapshot)>,
}

impl Inputs {
    /// Sorts the results of a step's inputs, which come in the order of [`Step::inputs`].
    pub(crate) fn of(step: &Step, outcomes: &[Outcome]) -> Self {
        let mut inputs = Self { parent: Snapshot::empty(), parent_kind: PartKind::Base, others: Vec::new() };
        for (id, outcome) in step.inputs().into_iter().zip(outcomes) {
            if Some(id) == step.parent {
                inputs.parent = outcome.snapshot.clone();
                inputs.parent_kind = if outcome.made.is_some() { PartKind::Parent } else { PartKind::Base };
            }
            inputs.others.push((id, outcome.snapshot.clone()));
        }
        let named = files_of(step);
        inputs.others.retain(|(id, _)| named.contains(id));
        inputs
    }

    pub(crate) fn below(&self) -> Below<'_> {
        Below { parent: &self.parent, others: &self.others }
    }

    pub(crate) fn snapshot(&self, id: StepId) -> &Snapshot {
        self.others
            .iter()
            .find(|(other, _)| *other == id)
            .map(|(_, snapshot)| snapshot)
            .expect("the inputs of a step are all the steps that it names")
    }
}

/// The steps that a step takes files from.
fn files_of(step: &Step) -> Vec<StepId> {
    let files: Vec<&Files> = match &step.op {
        Op::Image(_) | Op::Workdir(_) => Vec::new(),
        Op::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.files()).collect(),
        Op::Copy(copy) => vec![&copy.from],
    };
    files.into_iter().filter_map(|files| if let Files::Step(id) = files { Some(*id) } else { None }).collect()
}

/// Whether a step's result depends on what it stands on.
pub(crate) fn stands_on_parent(step: &Step) -> bool {
    match &step.op {
        Op::Copy(copy) => !copy.link || copy.chown.as_deref().is_some_and(has_names),
        Op::Run(_) | Op::Workdir(_) => true,
        Op::Image(_) => false,
    }
}

/// How what a step stands on is called in what is remembered of it.
pub(crate) const PARENT: &str = "parent";
/// How the other trees are called, before their number.
pub(crate) const STAGE: &str = "stage ";

/// How a source tree is called in a key: by its number among the trees of the step.
pub(crate) fn source_name(below: &Inputs, id: StepId) -> String {
    let number = below.others.iter().position(|(other, _)| *other == id).unwrap_or_default();
    format!("{STAGE}{number}")
}
