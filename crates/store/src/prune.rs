//! Pruning the build cache: which step records and cache mounts are no longer wanted.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::Store;
use crate::collect::{CollectError, Freed};
use crate::disk;
use crate::error::{At as _, FileError, if_there};
use crate::id::LayerId;
use crate::lease::Pins;
use crate::mark::Needed;
use crate::mount::{self, CacheMountEntry};
use crate::step::{StepRecord, StepUse};

/// Which parts of the build cache to remove.
#[derive(Default)]
pub struct PruneSteps<'a> {
    /// Also records whose layers some image needs: removing them frees little, but a later build runs anew.
    pub all: bool,
    /// Also cache mounts.
    pub mounts: bool,
    /// Only what was last used before this.
    pub until: Option<SystemTime>,
    /// Only as much, the least recently used first, as leaves the cache with at most so many bytes.
    pub keep_bytes: Option<u64>,
    /// Only records that this picks.
    pub only: Option<&'a dyn Fn(&StepRecord) -> bool>,
}

/// How long what is remembered of a context or an address lasts without a change, unless all is to go.
const STALE: Duration = Duration::from_hours(30 * 24);

/// One thing that may go.
enum Candidate {
    Step(Box<StepUse>),
    Mount(CacheMountEntry),
    Memory(Memory),
}

/// What is remembered of a context or an address: it costs time only when it is gone.
#[derive(Clone)]
struct Memory {
    path: PathBuf,
    size_bytes: u64,
    written_at: SystemTime,
}

impl Candidate {
    fn last_used(&self) -> SystemTime {
        match self {
            Self::Step(step) => step.last_used,
            Self::Mount(mount) => mount.last_used.unwrap_or(SystemTime::UNIX_EPOCH),
            Self::Memory(memory) => memory.written_at,
        }
    }
}

/// How many builds stay in the history when all of the cache goes.
const HISTORY: usize = 50;

impl Store {
    /// Removes step records and cache mounts, and everything that nothing needs any more. What living
    /// processes use stays.
    ///
    /// # Errors
    /// As [`Store::collect_garbage`].
    pub fn prune_steps(&self, wanted: &PruneSteps<'_>) -> Result<Freed, CollectError> {
        // walking the mounts takes long: before the gate is closed
        let mounts =
            if wanted.mounts || wanted.keep_bytes.is_some() { self.cache_mounts()? } else { Vec::new() };
        let memories = if wanted.mounts { self.memories()? } else { Vec::new() };
        let sizes = if wanted.keep_bytes.is_some() { self.layer_sizes()? } else { HashMap::new() };
        let mut bases = HashMap::new();
        for id in sizes.keys() {
            let base = self.layer_meta(id).ok().flatten().and_then(|meta| meta.base);
            bases.extend(base.map(|base| (id.clone(), base)));
        }
        self.collect(|pins, freed| {
            if wanted.all && wanted.until.is_none() && wanted.only.is_none() {
                self.forget_builds(HISTORY)?;
            }
            let mut kept_elsewhere = self.needed_by_images()?;
            let steps = self.steps()?;
            let mut candidates = candidates(wanted, &steps, mounts.clone(), pins, &kept_elsewhere);
            candidates.extend(wanted.memories(&memories));
            candidates.sort_by_key(Candidate::last_used);
            kept_elsewhere.add(&self.needed_by_containers()?);
            let mut left = Left::new(&steps, &mounts, (&sizes, &bases), &kept_elsewhere);
            left.bytes += memories.iter().map(|memory| memory.size_bytes).sum::<u64>();
            for candidate in candidates {
                if wanted.keep_bytes.is_some_and(|keep| left.bytes <= keep) {
                    break;
                }
                left.bytes -= match &candidate {
                    Candidate::Step(step) => left.without(&step.record),
                    Candidate::Mount(mount) => mount.size_bytes.min(left.bytes),
                    Candidate::Memory(memory) => memory.size_bytes.min(left.bytes),
                };
                self.remove_candidate(candidate, freed)?;
            }
            Ok(())
        })
    }

    /// What is remembered of contexts and addresses.
    fn memories(&self) -> Result<Vec<Memory>, FileError> {
        let folder = self.root().join("contexts");
        let mut memories = Vec::new();
        for name in disk::names(&folder)? {
            let path = folder.join(name);
            let Some(metadata) = if_there(std::fs::symlink_metadata(&path).at("reading", &path))? else {
                continue;
            };
            let written_at = metadata.modified().at("reading", &path)?;
            memories.push(Memory { path, size_bytes: metadata.blocks() * 512, written_at });
        }
        Ok(memories)
    }

    fn remove_candidate(&self, candidate: Candidate, freed: &mut Freed) -> Result<(), FileError> {
        match candidate {
            Candidate::Step(step) => {
                if self.throw_step_away(&step.record.key)? {
                    freed.steps.push(step.record.key);
                }
            }
            Candidate::Mount(entry) => {
                let dir = self.layout().mount(&entry.id);
                if !mount::is_in_use(&dir)? && self.bury(&dir)? {
                    freed.mounts.push(entry.id);
                }
            }
            Candidate::Memory(memory) => {
                self.bury(&memory.path)?;
            }
        }
        Ok(())
    }
}

impl PruneSteps<'_> {
    /// Which memories may go.
    fn memories(&self, all: &[Memory]) -> Vec<Candidate> {
        let stale = SystemTime::now() - STALE;
        let may_go = |memory: &&Memory| {
            self.only.is_none()
                && (self.all || memory.written_at < stale)
                && self.until.is_none_or(|until| memory.written_at < until)
        };
        all.iter().filter(may_go).cloned().map(Candidate::Memory).collect()
    }
}

/// What may go.
fn candidates(
    wanted: &PruneSteps<'_>,
    steps: &[StepUse],
    mounts: Vec<CacheMountEntry>,
    pins: &Pins,
    images: &Needed,
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for step in steps {
        let record = &step.record;
        let used = pins.steps.contains(&record.key);
        let picked = wanted.only.is_none_or(|only| only(record));
        if picked && !used && (wanted.all || !images.has_some_of(record)) {
            candidates.push(Candidate::Step(Box::new(step.clone())));
        }
    }
    if wanted.mounts && wanted.only.is_none() {
        candidates.extend(mounts.into_iter().map(Candidate::Mount));
    }
    if let Some(until) = wanted.until {
        candidates.retain(|candidate| candidate.last_used() < until);
    }
    candidates
}

/// The cache as it would be after the removals so far.
struct Left<'a> {
    bytes: u64,
    users: HashMap<LayerId, usize>,
    sizes: &'a HashMap<LayerId, u64>,
    /// What layers stand on that hold only a difference.
    bases: &'a HashMap<LayerId, LayerId>,
}

impl<'a> Left<'a> {
    fn new(
        steps: &[StepUse],
        mounts: &[CacheMountEntry],
        (sizes, bases): (&'a HashMap<LayerId, u64>, &'a HashMap<LayerId, LayerId>),
        kept_elsewhere: &Needed,
    ) -> Self {
        let mut users: HashMap<LayerId, usize> = HashMap::new();
        for layer in steps.iter().flat_map(|step| layers_of(&step.record, bases)) {
            if !kept_elsewhere.layers.contains(layer) {
                *users.entry(layer.clone()).or_default() += 1;
            }
        }
        let layers: u64 = users.keys().filter_map(|layer| sizes.get(layer)).sum();
        let bytes = layers + mounts.iter().map(|mount| mount.size_bytes).sum::<u64>();
        Self { bytes, users, sizes, bases }
    }

    /// How many bytes go when a step goes: those of the layers that only it had.
    fn without(&mut self, step: &StepRecord) -> u64 {
        let mut gone = 0;
        for layer in layers_of(step, self.bases) {
            if let Some(count) = self.users.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    gone += self.sizes.get(layer).copied().unwrap_or(0);
                }
            }
        }
        gone
    }
}

/// The layers of a step, with those that they stand on.
fn layers_of<'a>(
    step: &'a StepRecord,
    bases: &'a HashMap<LayerId, LayerId>,
) -> impl Iterator<Item = &'a LayerId> {
    let own = step.layers.iter().filter_map(|layer| layer.layer.as_ref());
    own.flat_map(|layer| std::iter::once(layer).chain(bases.get(layer)))
}
