//! `build`: from a context and a Dockerfile to an image, or to whatever else was asked for.

mod bases;
mod debug;
mod failure;
pub mod history;
mod look;
mod metadata;
mod oci_layout;
mod outputs;
mod provenance;
mod request;
mod reshape;
mod shared;
mod ssh;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use lighter_build::{
    Attach, CONTENT_PREFIX, CacheRules, CancelToken, Change, Event, EventKind, Explanation, Finish, KeptRoot,
    KeptSource, Limits, OnError, Part, PartKind, Reason, RunSettings, Secret, Stream, Vertex, Warning, What,
    Window,
};
use lighter_build::{BuildError, Built, Inputs, Reporter, Sink};
use lighter_dockerfile::ignore::Patterns;
use lighter_dockerfile::plan::{NamedContext, Plan, Request};
use lighter_dockerfile::{Diagnostic, parse};
use lighter_image::{Platform, Reference, error_chain};
use lighter_store::{BuildId, PruneSteps, Store};

pub use debug::{DebugError, debug};
pub use failure::{BuildFailure, SourceFile};
pub use history::{BuildRecord, HistoryError, StepEntry};
pub use look::{Aim, Looked, look};
pub use outputs::OutputError;
pub(crate) use provenance::Fetched;
pub use request::{
    BuildRequest, CacheLocation, Compression, ContextSource, Destination, FileSource, LayerForm,
    NamedContextSource, Output, OutputKind, OutputOptions, Pull, SecretSource, SshSource, Streams,
};
pub(crate) use shared::Shared;
pub use shared::SharedError;
use shared::Uploads;

use crate::context::{self, Context, ContextError};
use crate::fetch::{Fetcher, Network};

/// What a build has brought.
#[derive(Debug, Clone)]
pub struct BuildOutcome {
    /// The image's id; none where only files were asked for.
    pub image: Option<lighter_image::ImageId>,
    /// The names it was given.
    pub names: Vec<Reference>,
    /// What `--metadata-file` holds.
    pub metadata: serde_json::Value,
    /// What could be better in the Dockerfile.
    pub warnings: Vec<Diagnostic>,
    /// The Dockerfile.
    pub file: SourceFile,
    /// The build in the history.
    pub id: Option<BuildId>,
}

/// Builds.
///
/// `runtime_dir` is a folder that a reboot clears, the same for all processes on this machine.
///
/// # Errors
/// [`BuildFailure`]; nothing has been named then, and nothing runs any more.
pub fn build(
    store: &Store,
    runtime_dir: &Path,
    request: &BuildRequest,
    streams: &mut Streams<'_>,
    sink: Sink<'_>,
) -> Result<BuildOutcome, BuildFailure> {
    let now = SystemTime::from(request.now);
    let journal = history::Journal::begin(store, now)?;
    let both = |event: lighter_build::Event| {
        journal.write(&event);
        sink(event);
    };
    let reporter = Reporter::new(&both);
    let mut job = Job {
        build: journal.id(),
        store,
        runtime_dir,
        request,
        reporter: &reporter,
        now,
        network: Arc::new(Network::new(request.registry.clone())),
        file: SourceFile::default(),
        place: String::new(),
        steps: Vec::new(),
    };
    let result = job.run(streams);
    let finish = match &result {
        Ok(outcome) => Finish::Succeeded {
            image: outcome.image.map(|image| image.to_string()),
            names: outcome.names.iter().map(Reference::familiar).collect(),
        },
        Err(BuildFailure::Cancelled) => Finish::Cancelled,
        Err(failure) => Finish::Failed { error: error_chain(failure) },
    };
    reporter.tell(Vertex::BUILD, EventKind::Finished(finish.clone()));
    let (steps, file) = (std::mem::take(&mut job.steps), job.file.name.clone());
    let place = std::mem::take(&mut job.place);
    let kept = match &result {
        Err(BuildFailure::Step { failure, .. }) => failure.kept.clone(),
        _ => None,
    };
    if result.is_err() || steps.iter().any(|step| !step.is_cached) {
        clean_up(store, request.cache_limit_bytes);
    }
    let id = journal.end(store, request, (&file, &place), steps, finish, kept);
    result.map(|outcome| BuildOutcome { id, ..outcome })
}

/// How many builds stay in the history as long as nobody prunes.
const HISTORY: usize = 1000;

/// Forgets old builds, deletes what this build and builds that were killed have left, and prunes the build cache, the
/// least recently used first, until it is small enough. What this build uses stays. Builds that run nothing do not come
/// here.
fn clean_up(store: &Store, limit_bytes: Option<u64>) {
    if let Err(error) = store.forget_builds(HISTORY) {
        tracing::warn!(%error, "the history becomes longer than it should");
    }
    let freed = match limit_bytes {
        Some(_) => {
            let wanted = PruneSteps { mounts: true, keep_bytes: limit_bytes, ..PruneSteps::default() };
            store.prune_steps(&wanted).map(drop).map_err(|error| error_chain(&error))
        }
        None => store.empty_trash().map(drop).map_err(|error| error_chain(&error)),
    };
    if let Err(error) = freed {
        tracing::warn!(error, "the store stays larger than it may be");
    }
}

/// One build on its way.
struct Job<'a> {
    build: Option<BuildId>,
    store: &'a Store,
    runtime_dir: &'a Path,
    request: &'a BuildRequest,
    reporter: &'a Reporter<'a>,
    now: SystemTime,
    network: Arc<Network>,
    file: SourceFile,
    /// Context and Dockerfile, as one text.
    place: String,
    steps: Vec<StepEntry>,
}

impl Job<'_> {
    fn run(&mut self, streams: &mut Streams<'_>) -> Result<BuildOutcome, BuildFailure> {
        let ssh = ssh::Agents::start(self.store, &self.request.ssh)?;
        let context = self.load(streams)?;
        self.place = format!("{}\n{}", context.place(), self.file.name);
        let named = self.named_contexts()?;
        let platform = self.request.platform.clone().unwrap_or_else(Platform::host);
        let wanted = self.plan_request(&context, &platform);
        let cancel = self.request.cancel.clone();
        let (plan, images) = self.plan(&wanted)?;
        self.warn(&plan.warnings);
        let inputs = self.inputs(Arc::new(plan), &context, &named, images, &ssh)?;
        let (store, network) = (self.store, Arc::clone(&self.network));
        let uploads = Uploads::new(store, &network, &cancel, &self.request.cache_to)?;
        let shared =
            Shared::new(store, &network, cancel.clone(), self.reporter, &uploads, &self.request.cache_from)?;
        let fetcher = Fetcher::new(store, &network, shared);
        std::thread::scope(|scope| {
            uploads.start(scope);
            let built = lighter_build::build(store, &inputs, &fetcher, self.reporter);
            uploads.close();
            self.export(&inputs, built, &fetcher, &uploads, streams)
        })
    }

    /// Makes of the steps' results what was asked for.
    fn export(
        &mut self,
        inputs: &Inputs,
        built: Result<Built, BuildError>,
        fetcher: &Fetcher<'_>,
        uploads: &Uploads<'_>,
        streams: &mut Streams<'_>,
    ) -> Result<BuildOutcome, BuildFailure> {
        let mut built = match built {
            Ok(built) => built,
            Err(BuildError::Step(failure)) => {
                return Err(BuildFailure::Step { file: self.file.clone(), failure });
            }
            Err(BuildError::Cancelled) => return Err(BuildFailure::Cancelled),
            Err(error) => return Err(BuildFailure::Build(error)),
        };
        self.steps = entries(&inputs.plan, &built);
        if self.request.layers != LayerForm::PerStep {
            let work = self.reporter.begin("joining layers");
            let site = reshape::Site {
                store: self.store,
                fetcher,
                cancel: &self.request.cancel,
                plan: &inputs.plan,
                work: &work,
                now: self.now,
            };
            let joined = site.joined(&built, self.request.layers);
            built = work.finish(joined)?;
        }
        if self.request.cache_to.iter().any(|location| location.kind == "inline") {
            shared::add_inline(&mut built).map_err(SharedError::from)?;
        }
        self.finish(inputs, &built, fetcher, uploads, streams)
    }

    /// Gets the context and the Dockerfile.
    fn load(&mut self, streams: &mut Streams<'_>) -> Result<Context, BuildFailure> {
        let mut context = context::open(self.store, &self.network, self.request, streams, self.reporter)?;
        let name = context::dockerfile_name(self.request);
        let work = self.reporter.begin(format!("[internal] load build definition from {name}"));
        let text = context.dockerfile((self.store, &self.network), self.request, streams);
        match &text {
            Ok(text) => {
                let size_bytes = text.len() as u64;
                work.progress("transferring dockerfile:", size_bytes, Some(size_bytes), true);
                work.done();
            }
            Err(error) => work.failed(error),
        }
        self.file = SourceFile { name, text: text? };
        let work = self.reporter.begin("[internal] load .dockerignore");
        let ignored = work.finish(context.load_ignore(self.request))?;
        tracing::debug!(ignored, "the ignore file is read");
        Ok(context)
    }

    fn named_contexts(&self) -> Result<BTreeMap<String, Context>, BuildFailure> {
        let mut contexts = BTreeMap::new();
        for (name, source) in &self.request.named_contexts {
            let opened = match source {
                NamedContextSource::Directory(path) => context::folder(self.store, path),
                NamedContextSource::Url(url) => {
                    let place = (url.as_str(), None);
                    context::remote(self.store, &self.network, place, &self.request.cancel, self.reporter)
                }
                NamedContextSource::Image(_)
                | NamedContextSource::OciLayout(_)
                | NamedContextSource::Stage(_) => continue,
            };
            contexts.insert(name.clone(), opened?);
        }
        Ok(contexts)
    }

    fn plan_request(&self, context: &Context, platform: &Platform) -> Request {
        let mut wanted = Request::new(platform.clone());
        wanted.platform_is_explicit = self.request.platform.is_some();
        wanted.build_platform = Platform::host();
        wanted.build_args.clone_from(&self.request.build_args);
        wanted.target.clone_from(&self.request.target);
        wanted.labels.clone_from(&self.request.labels);
        wanted.epoch = self.request.source_date_epoch;
        wanted.context_epoch = context.source_time();
        wanted.ignore = context.ignore().cloned();
        wanted.hostname.clone_from(&self.request.run.hostname);
        for (name, source) in &self.request.named_contexts {
            let meaning = match source {
                NamedContextSource::Directory(_) | NamedContextSource::Url(_) => NamedContext::Files,
                NamedContextSource::Image(reference) => NamedContext::Image(reference.clone()),
                NamedContextSource::OciLayout(layout) => {
                    NamedContext::Image(format!("{}{layout}", bases::OCI_LAYOUT))
                }
                NamedContextSource::Stage(stage) => NamedContext::Stage(stage.clone()),
            };
            wanted.named_contexts.insert(name.clone(), meaning);
        }
        wanted
    }

    /// Plans, and looks up what must be known for it, until a plan stands.
    fn plan(&self, wanted: &Request) -> Result<(Plan, bases::Images), BuildFailure> {
        let parsed = parse(&self.file.text);
        let mut bases = bases::Bases::new(self.store, &self.network, self.request, self.reporter);
        match bases.lower(&parsed, wanted)? {
            Ok(plan) => Ok((plan, bases.into_images())),
            Err(diagnostics) => Err(BuildFailure::Faults { file: self.file.clone(), diagnostics }),
        }
    }

    fn warn(&self, warnings: &[Diagnostic]) {
        for diagnostic in warnings {
            let line =
                self.file.text.get(..diagnostic.span.start).map(|before| {
                    u32::try_from(before.split(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
                });
            let warning = Warning {
                code: bases::code_name(diagnostic),
                message: diagnostic.message.clone(),
                span: Some((diagnostic.span.start, diagnostic.span.end)),
                line,
                url: None,
            };
            self.reporter.tell(Vertex::BUILD, EventKind::Warning(warning));
        }
    }

    fn inputs(
        &self,
        plan: Arc<Plan>,
        context: &Context,
        named: &BTreeMap<String, Context>,
        images: bases::Images,
        ssh: &ssh::Agents,
    ) -> Result<Inputs, BuildFailure> {
        let mut secrets = BTreeMap::new();
        for (id, source) in &self.request.secrets {
            let secret =
                match source {
                    SecretSource::Value(secret) => secret.clone(),
                    SecretSource::File(path) => Secret::new(std::fs::read(path).map_err(|source| {
                        BuildFailure::Secret { id: id.clone(), path: path.clone(), source }
                    })?),
                };
            secrets.insert(id.clone(), secret);
        }
        Ok(Inputs {
            place: self.place.clone(),
            context: context.files(),
            named_contexts: named
                .iter()
                .filter_map(|(name, context)| Some((name.clone(), context.files()?)))
                .collect(),
            run: RunSettings { hostname: plan.hostname.clone(), ..self.request.run.clone() },
            images,
            secrets,
            ssh: ssh.sockets(),
            cache: self.request.cache.clone(),
            jobs: self.request.jobs.unwrap_or_else(default_jobs),
            now: self.now,
            runtime_dir: self.runtime_dir.to_owned(),
            explain: self.request.explain,
            is_shared: !self.request.cache_to.is_empty(),
            earlier: if self.request.explain { self.earlier()? } else { BTreeMap::new() },
            on_error: self.request.on_error,
            attach: self.request.attach.clone(),
            clamp_seconds: plan
                .epoch
                .filter(|_| self.request.outputs.iter().any(|output| output.options.rewrite_timestamp)),
            plan,
            cancel: self.request.cancel.clone(),
        })
    }

    /// The steps that earlier builds of this place have had.
    fn earlier(&self) -> Result<BTreeMap<String, lighter_image::Digest>, BuildFailure> {
        history::earlier_steps(self.store, &self.place, None)
            .map_err(|error| BuildFailure::Refused(error_chain(&error)))
    }

    /// Writes what was asked for.
    fn finish(
        &self,
        inputs: &Inputs,
        built: &Built,
        fetcher: &Fetcher<'_>,
        uploads: &Uploads<'_>,
        streams: &mut Streams<'_>,
    ) -> Result<BuildOutcome, BuildFailure> {
        let plan = &inputs.plan;
        let exporter = outputs::Exporter {
            store: self.store,
            request: self.request,
            plan,
            built,
            fetcher,
            reporter: self.reporter,
            now: self.now,
        };
        let written = exporter.write(streams)?;
        let (cancel, cache_to) = (&self.request.cancel, &self.request.cache_to);
        shared::export(uploads, cancel, cache_to, (plan, built), self.reporter)?;
        let reference = self.build.as_ref().map(ToString::to_string);
        let provenance = provenance::of(self.request, inputs, &fetcher.fetched());
        Ok(BuildOutcome {
            image: written.image,
            metadata: metadata::of(&written, reference, provenance),
            names: self.request.tags.iter().cloned().map(Reference::with_default_tag).collect(),
            warnings: plan.warnings.clone(),
            file: self.file.clone(),
            id: None,
        })
    }
}

/// The steps of a build, for the history.
fn entries(plan: &Plan, built: &Built) -> Vec<StepEntry> {
    let entry = |step: &lighter_build::BuiltStep| StepEntry {
        name: plan.step(step.step).name.clone(),
        key: step.key,
        is_cached: step.is_cached,
        previous: step.previous,
    };
    built.steps.iter().map(entry).collect()
}

/// As many steps at once as there are processors, but at least 8: steps wait for disks and networks too.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(8, |count| count.get().max(8))
}

/// The text of an ignore file, as patterns.
pub(crate) fn read_ignore(path: &Path, text: &[u8]) -> Result<Arc<Patterns>, ContextError> {
    let path: PathBuf = path.to_owned();
    Patterns::parse(text).map(Arc::new).map_err(|source| ContextError::Ignore { path, source })
}
