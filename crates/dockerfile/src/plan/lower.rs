//! From the tree to the plan, or to what must be known for it.

use std::collections::HashMap;

use lighter_image::{History, ImageConfig};

use super::graph::{Globals, Graph, expand_fault};
use super::kept::Kept;
use super::outline::Outline;
use super::reach::Reach;
use super::scope::Scope;
use super::stage::{Stages, State};
use super::{Base, Copy, Files, ImageSource, Lowered, Op, OutlineArg, Plan, Request, Step, args};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::expand::{Anything, ExpandError, Lexer};
use crate::instruction::Command;
use crate::lint::{self, Checks, Options};
use crate::syntax::File;

/// The images that are known.
pub type Bases = HashMap<ImageSource, Base>;

/// Plans a file for a request.
///
/// The first answer is usually [`Lowered::NeedsBases`]; ask again with what it names added to `bases`, until there
/// is a plan or there are faults.
pub fn lower(file: &File, request: &Request, bases: &Bases) -> Lowered {
    let Prepared { checks, mut faults, noted, build_args, globals, declared, epoch, mut graph } =
        Prepared::new(file, request);
    if graph.nodes.is_empty() {
        return fail(checks, faults, noted);
    }
    let target = match graph.target(request.target.as_deref()) {
        Ok(target) => target,
        Err(fault) => {
            faults.push(fault);
            return fail(checks, faults, noted);
        }
    };
    let reach = Reach::of(&mut graph, target, request, bases, &mut faults);
    malformed_words(file, &graph, &reach, &mut faults);
    if !faults.is_empty() {
        return fail(checks, faults, noted);
    }
    if !reach.needs.is_empty() {
        return Lowered::NeedsBases(reach.needs);
    }
    let inputs = Inputs { request, bases, globals: &globals, build_args: &build_args, escape: file.escape() };
    let mut stages = Stages::new(&graph, inputs, checks, target);
    for index in (0..graph.nodes.len()).filter(|&index| reach.stages[index] || request.all_stages) {
        stages.dispatch(index);
    }
    let used: Vec<String> = used_args(&graph, &reach);
    let finished = stages.finish(target);
    let (found, violation) = finished.checks.finish();
    let warnings: Vec<Diagnostic> = noted.into_iter().chain(found).collect();
    faults.extend(finished.faults);
    faults.extend(violation);
    if !faults.is_empty() {
        faults.extend(warnings);
        return Lowered::Faults(sorted(faults));
    }
    let mut outline = finished.outline;
    outline_globals(&mut outline, &declared, &used);
    outline.sort();
    let plan = assemble(request, finished.state, finished.steps, (outline, warnings, epoch), &graph, target);
    Lowered::Plan(Box::new(plan))
}

/// What can be said about a file before any base is known: for when a base cannot be had.
pub fn early_warnings(file: &File, request: &Request) -> Vec<Diagnostic> {
    let prepared = Prepared::new(file, request);
    let mut warnings = prepared.noted;
    warnings.extend(prepared.checks.finish().0);
    warnings
}

/// What needs no base.
pub(super) struct Prepared<'a> {
    checks: Checks,
    faults: Vec<Diagnostic>,
    /// Warnings of the text.
    noted: Vec<Diagnostic>,
    build_args: HashMap<String, String>,
    globals: Scope,
    declared: Vec<OutlineArg>,
    epoch: Option<i64>,
    pub(super) graph: Graph<'a>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(file: &'a File, request: &'a Request) -> Self {
        let mut checks = Checks::default();
        let (mut faults, noted): (Vec<_>, Vec<_>) =
            file.diagnostics.iter().cloned().partition(Diagnostic::is_error);
        let mut build_args = args::build_args(request);
        match options(file, build_args.get("BUILDKIT_DOCKERFILE_CHECK")) {
            Ok(options) => checks = Checks::new(options),
            Err(fault) => faults.push(fault),
        }
        faults.extend(devices(file));
        lint::check_syntax(file, &mut checks);
        let mut globals = args::predefined(file, request, &build_args);
        args::check_defaults(file, &globals, &mut checks);
        let declared = args::globals(file, &build_args, &mut globals, &mut faults);
        let epoch = args::epoch(request.context_epoch, &mut build_args, &mut globals, &mut faults);
        let mut names = globals.names();
        names.extend(declared.iter().map(|arg| arg.name.as_str()));
        let known = Globals { scope: &globals, declared: &names };
        let graph = Graph::new(file, request, known, &mut checks, &mut faults);
        Self { checks, faults, noted, build_args, globals, declared, epoch, graph }
    }
}

/// `RUN --device` belongs to the files that ask for a frontend with it; the others must not count on it.
fn devices(file: &File) -> impl Iterator<Item = Diagnostic> {
    let is_labs = file.directives.syntax.as_ref().is_some_and(|syntax| syntax.value.contains("labs"));
    let instructions = file.instructions.iter().filter(move |_| !is_labs);
    instructions.filter_map(|instruction| match &instruction.command {
        Some(Command::Run(run)) if !run.devices.is_empty() => {
            let message = "device feature is only supported in Dockerfile frontend 1.14.0-labs or later";
            let help = "begin the file with `# syntax=docker/dockerfile:1-labs`".to_owned();
            Some(Diagnostic::error(Code::Flag, instruction.span, message.to_owned()).with_help(Some(help)))
        }
        _ => None,
    })
}

/// References that no value can make right: they are found before any base is known.
fn malformed_words(file: &File, graph: &Graph<'_>, reach: &Reach, faults: &mut Vec<Diagnostic>) {
    let lexer = Lexer::new(file.escape());
    let all = !faults.is_empty();
    for (node, reached) in graph.nodes.iter().zip(&reach.stages) {
        if !(*reached || all) || node.is_replaced {
            continue;
        }
        let commands = node.items.iter().filter_map(|item| item.instruction.command.as_ref());
        for word in commands.flat_map(Command::expanded_words) {
            match lexer.expand(&word.text, &Anything) {
                Ok(_) | Err(ExpandError::Required { .. }) => {}
                Err(error) => faults.push(expand_fault(word, &error)),
            }
        }
    }
}

/// What all stages share.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) request: &'a Request,
    pub(super) bases: &'a Bases,
    pub(super) globals: &'a Scope,
    pub(super) build_args: &'a HashMap<String, String>,
    pub(super) escape: char,
}

/// The request's options for the checks, else those of the file.
fn options(file: &File, given: Option<&String>) -> Result<Options, Diagnostic> {
    let (value, span) = match (given, &file.directives.check) {
        (Some(given), _) => (given.as_str(), Span::default()),
        (None, Some(check)) => (check.value.split(' ').next().unwrap_or_default(), check.span),
        (None, None) => return Ok(Options::default()),
    };
    Options::parse(value).map_err(|error| {
        let message = format!("failed to parse check options: {error}");
        let help = "write `# check=skip=Rule,Rule;error=true`".to_owned();
        Diagnostic::error(Code::Directive, span, message).with_help(Some(help))
    })
}

fn fail(checks: Checks, mut faults: Vec<Diagnostic>, noted: Vec<Diagnostic>) -> Lowered {
    faults.extend(noted);
    faults.extend(checks.finish().0);
    Lowered::Faults(sorted(faults))
}

/// By place; what is said twice is said once.
fn sorted(mut faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
    faults.sort_by_key(|fault| (fault.span.start, fault.severity != crate::Severity::Error));
    faults.dedup();
    faults
}

/// The variables that the stages' FROMs use.
fn used_args(graph: &Graph<'_>, reach: &Reach) -> Vec<String> {
    let nodes = graph.nodes.iter().zip(&reach.stages).filter(|(_, reached)| **reached);
    nodes.flat_map(|(node, _)| node.used_args.iter().cloned()).collect()
}

/// The ARGs before the first FROM that count for the target, with those that their defaults use.
fn outline_globals(outline: &mut Outline, declared: &[OutlineArg], used: &[String]) {
    let mut wanted: Vec<String> = used.to_vec();
    wanted.extend(outline.args.iter().flat_map(|arg| arg.uses.iter().cloned()));
    let mut at = 0;
    while let Some(name) = wanted.get(at).cloned() {
        at += 1;
        let known = outline.args.iter().any(|arg| arg.name == name && !arg.is_inherited);
        if let Some(arg) = declared.iter().rev().find(|arg| arg.name == name && !known) {
            wanted.extend(arg.uses.iter().filter(|other| **other != name).cloned());
            outline.args.push(arg.clone());
        }
    }
}

/// The plan: the steps that the result needs, and the final configuration.
fn assemble(
    request: &Request,
    state: State,
    steps: Vec<Step>,
    (mut outline, warnings, epoch): (Outline, Vec<Diagnostic>, Option<i64>),
    graph: &Graph<'_>,
    target: usize,
) -> Plan {
    let node = &graph.nodes[target];
    let given = node.from.name.as_ref().map(|name| name.text.clone());
    outline.name = given.clone().unwrap_or_default();
    outline.description = node.from.description.clone().unwrap_or_default();
    let mut config = state.config;
    finish_config(&mut config, request);
    let told = config.history.iter().skip(state.base_history_len).filter(|entry| !entry.empty_layer).count();
    config.history.extend(state.layers.iter().skip(told).map(|id| untold(&steps[id.index()])));
    let result = state.root.step();
    let kept = Kept::new(&steps, result);
    Plan {
        result: result.map(|id| kept.renumbered(id)),
        base: state.base.map(|id| kept.renumbered(id)),
        layers_from: state.layers.iter().map(|&id| kept.renumbered(id)).collect(),
        steps: kept.steps(steps),
        base_history_len: state.base_history_len,
        config,
        target: given.unwrap_or_else(|| format!("stage-{target}")),
        platform: request.platform.clone(),
        epoch,
        warnings,
        outline,
        hostname: args::hostname(request),
    }
}

fn finish_config(config: &mut ImageConfig, request: &Request) {
    for (name, value) in &request.labels {
        config.config.labels.insert(name.clone(), value.clone());
    }
    config.created = None;
    config.rootfs = lighter_image::RootFs::default();
    if request.platform_is_explicit {
        let wanted = &request.platform;
        let same = wanted.os == config.os && wanted.architecture == config.architecture;
        config.os.clone_from(&wanted.os);
        config.architecture.clone_from(&wanted.architecture);
        if wanted.variant.is_some() || !same {
            config.variant.clone_from(&wanted.variant);
        }
        if wanted.os_version.is_some() || !same {
            config.os_version.clone_from(&wanted.os_version);
        }
    }
    let normal = config.platform();
    config.architecture = normal.architecture;
    config.variant = normal.variant;
}

/// The entry for a layer that no instruction has told of: one of a named context that the stage stands on. As in
/// BuildKit such entries come last, and count from the end.
fn untold(step: &Step) -> History {
    let text = match &step.op {
        Op::Copy(Copy { from: Files::NamedContext(name), .. }) => format!("local source for {name}"),
        Op::Copy(_) | Op::Image(_) | Op::Run(_) | Op::Workdir(_) => step.name.clone(),
    };
    History { comment: "buildkit.exporter.image.v0".to_owned(), ..history(text, true) }
}

/// An entry of the history for this build.
pub(super) fn history(text: String, makes_layer: bool) -> History {
    History {
        created_by: text,
        comment: "buildkit.dockerfile.v0".to_owned(),
        empty_layer: !makes_layer,
        ..History::default()
    }
}
