//! What all steps of one build share: the store, the contexts, the network, the clock.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use lighter_dockerfile::plan::{Files, Op, Run};
use lighter_image::{DiffId, error_chain};
use lighter_layer::{OpenLayer, Timestamp, View};
use lighter_sandbox::SandboxError;
use lighter_sandbox::cgroup::{self, Cgroup};
use lighter_sandbox::network::resolver::ResolvConf;
use lighter_sandbox::network::{Bridge, BridgeSpec, Lease, NetNs, Pasta, PastaError, Pool};
use lighter_store::{LayerId, Store};

use crate::cutoff::Contents;
use crate::event::{Reporter, Work};
use crate::fetch::Fetch;
use crate::plain;
use crate::snapshot::{Layer, Snapshot};
use crate::trees::Listings;
use crate::{CancelToken, ContextFiles, Inputs, StepError};

/// What all steps of one build share.
pub(crate) struct Site<'a> {
    pub(crate) store: &'a Store,
    pub(crate) inputs: &'a Inputs,
    pub(crate) fetch: &'a dyn Fetch,
    pub(crate) reporter: &'a Reporter<'a>,
    /// Stops what is running: set by the caller's token, and by the first failure.
    pub(crate) cancel: CancelToken,
    started: Instant,
    pool: OnceLock<Option<Pool>>,
    resolv_conf: OnceLock<ResolvConf>,
    /// Whether overlay file systems were found not to be mountable over this store.
    refuses_overlays: AtomicBool,
    fetching: Mutex<()>,
    /// Held by the one step whose shell has the caller's terminal.
    pub(crate) terminal: Mutex<()>,
    fetched: Mutex<BTreeSet<DiffId>>,
    dirs: Mutex<HashMap<LayerId, Vec<PathBuf>>>,
    /// The layers that the last view is of.
    open: Mutex<HashMap<PathBuf, OpenLayer>>,
    numbers: AtomicU64,
    /// What has been found out about the content of layers.
    pub(crate) contents: Contents,
    /// What the contexts hold.
    pub(crate) listings: Listings,
}

impl<'a> Site<'a> {
    pub(crate) fn new(
        store: &'a Store,
        inputs: &'a Inputs,
        fetch: &'a dyn Fetch,
        reporter: &'a Reporter<'a>,
    ) -> Self {
        Self {
            store,
            inputs,
            fetch,
            reporter,
            cancel: CancelToken::new(),
            started: Instant::now(),
            pool: OnceLock::new(),
            resolv_conf: OnceLock::new(),
            refuses_overlays: AtomicBool::new(false),
            fetching: Mutex::default(),
            terminal: Mutex::default(),
            fetched: Mutex::default(),
            dirs: Mutex::default(),
            open: Mutex::default(),
            numbers: AtomicU64::new(0),
            contents: Contents::default(),
            listings: Listings::default(),
        }
    }

    /// The time: the caller's clock, moved on.
    pub(crate) fn now(&self) -> SystemTime {
        self.inputs.now + self.started.elapsed()
    }

    /// The time of files and folders that a step makes itself.
    pub(crate) fn timestamp(&self) -> Timestamp {
        self.inputs.plan.epoch.map_or_else(|| self.clock(), Timestamp::at_second)
    }

    /// The time now, as files have it.
    pub(crate) fn clock(&self) -> Timestamp {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Timestamp { seconds, nanos: since.subsec_nanos() }
    }

    /// Whether the plan has another command after this one.
    pub(crate) fn is_followed_by_a_run(&self, run: &Run) -> bool {
        let last = self.inputs.plan.steps.iter().rev().find_map(|step| match &step.op {
            Op::Run(last) => Some(last),
            _ => None,
        });
        last.is_some_and(|last| !std::ptr::eq(last, run))
    }

    /// A number that nobody else in this build gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether it is known that commands work on copies.
    pub(crate) fn works_on_copies(&self) -> bool {
        self.refuses_overlays.load(Ordering::Relaxed) || plain::is_asked_for(self.store)
    }

    /// Finds out whether they are to, as a sandbox that could not be set up shows that overlay file systems cannot be
    /// mounted over this store.
    pub(crate) fn is_refused(&self, error: &SandboxError) -> Result<bool, StepError> {
        let Some(error) = plain::refusal_behind(error, self.store).map_err(StepError::store)? else {
            return Ok(false);
        };
        tracing::info!(%error, "commands work on copies: overlay file systems cannot be mounted here");
        self.refuses_overlays.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// A context by what a step calls it.
    pub(crate) fn context(&self, files: &Files) -> Result<&ContextFiles, StepError> {
        let (found, name) = match files {
            Files::NamedContext(name) => (self.inputs.named_contexts.get(name), name.as_str()),
            Files::Context | Files::Step(_) | Files::Empty => {
                (self.inputs.context.as_ref(), "the build context")
            }
        };
        found.ok_or_else(|| {
            StepError::Refused(format!("{name} has no files: the build was started without a context"))
        })
    }

    /// The directories of a stack's layers, bottom first. What is elsewhere is fetched first.
    pub(crate) fn paths(&self, snapshot: &Snapshot, work: &Work<'_>) -> Result<Vec<PathBuf>, StepError> {
        let layers = snapshot.layers();
        let is_absent = |layer: &&Layer| layer.stored.layer.is_none();
        // those above the first one that is missing may need it, for links to its files
        let stack: Vec<DiffId> =
            layers.iter().copied().take_while(is_absent).filter_map(|layer| layer.stored.diff_id).collect();
        self.fetch_layers(&stack, work)?;
        for layer in layers.iter().copied().skip(stack.len()).filter(is_absent) {
            self.fetch_layers(&layer.stored.diff_id.into_iter().collect::<Vec<_>>(), work)?;
        }
        let mut paths = Vec::with_capacity(layers.len());
        for layer in layers {
            let id = layer.id_in(self.store).map_err(StepError::store)?;
            let gone = || StepError::Refused(format!("layer {} is no longer in the store", layer.identity));
            paths.extend(self.dirs(&id.ok_or_else(gone)?)?);
        }
        Ok(paths)
    }

    /// What a stack's layers show. Those that the view before has open, too, are not opened again: each step of a long
    /// chain looks at all below it.
    pub(crate) fn view(&self, snapshot: &Snapshot, work: &Work<'_>) -> Result<View, StepError> {
        let paths = self.paths(snapshot, work)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *open);
        let mut layers = Vec::with_capacity(paths.len());
        for path in paths {
            let layer = before.remove(&path).map_or_else(|| OpenLayer::open(&path), Ok)?;
            open.insert(path, layer.clone());
            layers.push(layer);
        }
        Ok(View::of_layers(layers))
    }

    /// The directories of a layer, which are the same for ever. Each step of a long chain asks for all below it.
    fn dirs(&self, layer: &LayerId) -> Result<Vec<PathBuf>, StepError> {
        let known = || self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dirs) = known().get(layer) {
            return Ok(dirs.clone());
        }
        let dirs = self.store.layer_dirs(layer).map_err(StepError::store)?;
        known().insert(layer.clone(), dirs.clone());
        Ok(dirs)
    }

    /// Sees to it that layers are here. One step fetches, the others wait for it.
    fn fetch_layers(&self, layers: &[DiffId], work: &Work<'_>) -> Result<(), StepError> {
        let known = |fetched: &BTreeSet<DiffId>| layers.iter().all(|layer| fetched.contains(layer));
        if known(&self.fetched.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let _one = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_here = true;
        for layer in layers {
            is_here = is_here && self.store.layer_by_diff_id(layer).map_err(StepError::store)?.is_some();
        }
        if !is_here {
            self.fetch.layers(layers, work, &self.cancel)?;
        }
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).extend(layers);
        Ok(())
    }

    /// A network of its own for a command; none where the process may not make one.
    pub(crate) fn network(&self) -> Result<Option<StepNetwork>, StepError> {
        let pool = self.pool.get_or_init(|| {
            let bridge = Bridge::new(BridgeSpec::default_network(), &self.inputs.runtime_dir);
            Some(Pool::new(bridge))
        });
        let Some(pool) = pool else { return Ok(None) };
        match pool.acquire() {
            Ok(lease) => Ok(Some(StepNetwork::Bridged(lease))),
            Err(error) if error.is_not_permitted() => match NetNs::create() {
                Ok(namespace) => StepNetwork::without_bridge(namespace).map(Some),
                Err(error) => {
                    tracing::info!(%error, "commands share the host's network");
                    Ok(None)
                }
            },
            Err(error) => Err(StepError::Network(error)),
        }
    }

    /// How the host resolves names.
    pub(crate) fn resolv_conf(&self) -> &ResolvConf {
        self.resolv_conf.get_or_init(ResolvConf::of_host)
    }

    /// The control group of a command; none where no limit was asked for.
    pub(crate) fn cgroup(&self, work: &Work<'_>) -> Result<Option<Group>, StepError> {
        let wanted = &self.inputs.run.limits;
        if *wanted == crate::Limits::default() {
            return Ok(None);
        }
        let limits = cgroup::Limits {
            memory_bytes: wanted.memory_bytes,
            memory_swap_bytes: wanted.memory_swap_bytes,
            cpu_quota_micros: wanted.cpu_quota,
            cpu_period_micros: wanted.cpu_period,
            cpu_shares: wanted.cpu_shares,
            cpuset_cpus: wanted.cpuset_cpus.clone(),
            cpuset_mems: wanted.cpuset_mems.clone(),
            ..cgroup::Limits::default()
        };
        if let Some(parent) = &wanted.cgroup_parent {
            work.warn(format!("--cgroup-parent={parent} is not kept: commands have groups of lighter's own"));
        }
        let name = format!("build-{}-{}", std::process::id(), self.next_number());
        let (cgroup, warnings) = Cgroup::create(&name, &limits)?;
        for warning in warnings {
            work.warn(warning.to_string());
        }
        Ok(Some(Group(cgroup)))
    }
}

/// The network of a command, for as long as that runs.
pub(crate) enum StepNetwork {
    /// A place on the bridge.
    Bridged(Lease),
    /// What an ordinary user has in place of that.
    Own {
        /// The namespace.
        namespace: NetNs,
        /// What leads out of it, or why nothing does.
        way_out: Result<Pasta, PastaError>,
    },
}

impl StepNetwork {
    fn without_bridge(namespace: NetNs) -> Result<Self, StepError> {
        match Pasta::start(&namespace) {
            Err(error) if !matches!(error, PastaError::Missing | PastaError::Tunnel(_)) => {
                Err(StepError::Refused(format!("no network for a command: {}", error_chain(&error))))
            }
            way_out => Ok(Self::Own { namespace, way_out }),
        }
    }

    /// Where the sandbox finds it.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Bridged(lease) => lease.namespace.path(),
            Self::Own { namespace, .. } => namespace.path(),
        }
    }

    /// What to say when a command failed that may have wanted more.
    pub(crate) fn remark(&self) -> Option<String> {
        let Self::Own { way_out: Err(error), .. } = self else { return None };
        let why = error_chain(error);
        Some(format!(
            "the command had no network but loopback: {why}; `--network=host` shares this machine's"
        ))
    }
}

/// The control group of a command, for as long as that runs.
pub(crate) struct Group(Cgroup);

impl Group {
    /// What the sandbox joins.
    pub(crate) fn spec(&self) -> Cgroup {
        self.0.clone()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            tracing::warn!(%error, "a control group stays behind");
        }
    }
}
