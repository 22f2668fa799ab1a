//! `build --call`: what a Dockerfile says and offers, without building it.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use lighter_build::{Reporter, Sink};
use lighter_dockerfile::targets::{Target, targets};
use lighter_dockerfile::{Diagnostic, Outline, early_warnings, parse};
use lighter_image::Platform;
use lighter_store::Store;

use super::{BuildFailure, BuildRequest, Job, SourceFile, Streams};
use crate::fetch::Network;

/// What is to be known of a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// What could be better: in the target, and where none is asked for in every stage.
    Checks,
    /// What the target can be given.
    Outline,
    /// The stages: the text alone says that.
    Targets,
}

/// What is known of a Dockerfile.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The Dockerfile.
    pub file: SourceFile,
    /// What could be better in it.
    pub warnings: Vec<Diagnostic>,
    /// What its target can be given.
    pub outline: Outline,
    /// Its stages.
    pub targets: Vec<Target>,
}

/// Reads a Dockerfile, and plans its build where the aim needs that; nothing is run, and no layer is fetched.
///
/// # Errors
/// [`BuildFailure`], as of a build that gets no further than its plan.
pub fn look(
    store: &Store,
    request: &BuildRequest,
    aim: Aim,
    streams: &mut Streams<'_>,
    sink: Sink<'_>,
) -> Result<Looked, BuildFailure> {
    let reporter = Reporter::new(sink);
    let mut job = Job {
        build: None,
        store,
        runtime_dir: Path::new(""),
        request,
        reporter: &reporter,
        now: SystemTime::from(request.now),
        network: Arc::new(Network::new(request.registry.clone())),
        file: SourceFile::default(),
        place: String::new(),
        steps: Vec::new(),
    };
    let context = job.load(streams)?;
    let parsed = parse(&job.file.text);
    let targets = targets(&parsed.file);
    if aim == Aim::Targets {
        let diagnostics = parsed.diagnostics;
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(BuildFailure::Faults { file: job.file, diagnostics });
        }
        return Ok(Looked { file: job.file, warnings: Vec::new(), outline: Outline::default(), targets });
    }
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let mut wanted = job.plan_request(&context, &platform);
    wanted.all_stages = aim == Aim::Checks && request.target.as_deref().is_none_or(str::is_empty);
    let (plan, _) = match job.plan(&wanted) {
        Err(BuildFailure::Faults { file, mut diagnostics }) => {
            // a base that cannot be had is no reason to keep back what the text alone shows
            let known = early_warnings(&parsed.file, &wanted);
            let new = known.into_iter().filter(|warning| !diagnostics.contains(warning)).collect::<Vec<_>>();
            diagnostics.extend(new);
            diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
            return Err(BuildFailure::Faults { file, diagnostics });
        }
        planned => planned?,
    };
    Ok(Looked { warnings: plan.warnings, outline: plan.outline, targets, file: job.file })
}
