//! A stage, instruction by instruction: what each makes of the state before it.

use lighter_image::{ContainerConfig, ImageConfig, Platform};

use super::graph::{Graph, Ground, Item, Node, Place};
use super::lower::{Inputs, history};
use super::names::Outside;
use super::naming::Counter;
use super::outline::Outline;
use super::scope::Scope;
use super::{Copy, Files, ImageSource, Op, PathSource, Source, Step, StepId, metadata};
use crate::diagnostic::{Code, Diagnostic, Lines, Span};
use crate::expand::{Expanded, Lexer, Variables};
use crate::instruction::Command;
use crate::lint::{self, At, Checks};
use crate::path;
use crate::syntax::Word;

/// Where programs are looked for, unless the image says otherwise.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A root file system in the making.
#[derive(Debug, Clone)]
pub(super) enum Root {
    Empty,
    Step(StepId),
    /// A named context of files.
    Context(String),
}

impl Root {
    pub(super) const fn step(&self) -> Option<StepId> {
        match self {
            Self::Step(id) => Some(*id),
            Self::Empty | Self::Context(_) => None,
        }
    }

    pub(super) fn files(&self) -> Files {
        match self {
            Self::Empty => Files::Empty,
            Self::Step(id) => Files::Step(*id),
            Self::Context(name) => Files::NamedContext(name.clone()),
        }
    }
}

/// What is true at a point of a stage.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// What a process gets, ARGs included.
    pub(super) scope: Scope,
    pub(super) config: ImageConfig,
    pub(super) root: Root,
    pub(super) platform: Platform,
    /// The names of the ARGs, in order.
    pub(super) args: Vec<String>,
    /// As WORKDIR has it.
    pub(super) cwd: String,
    pub(super) layers: Vec<StepId>,
    pub(super) base: Option<StepId>,
    pub(super) base_history_len: usize,
    pub(super) workdir_is_set: bool,
    pub(super) outline: Outline,
}

/// What is tracked within one stage only.
pub(super) struct Local {
    pub(super) counter: Counter,
    pub(super) cmd: Option<Span>,
    pub(super) entrypoint: Option<Span>,
    pub(super) healthcheck: Option<Span>,
}

/// A stage that was carried out.
#[derive(Clone)]
struct Done {
    root: Root,
    outline: Outline,
    /// What is true at its end, until the last that wants it has it: in a long chain of stages all would be much.
    state: Option<State>,
}

/// All stages so far.
pub(super) struct Stages<'a> {
    pub(super) graph: &'a Graph<'a>,
    pub(super) inputs: Inputs<'a>,
    pub(super) lexer: Lexer,
    pub(super) checks: Checks,
    pub(super) faults: Vec<Diagnostic>,
    pub(super) steps: Vec<Step>,
    /// How many ports all EXPOSE have named.
    pub(super) ports: usize,
    done: Vec<Option<Done>>,
    /// How many that are to come, the end included, want the state of each stage.
    wanted: Vec<usize>,
    images: std::collections::HashMap<ImageSource, StepId>,
}

/// What is left at the end.
pub(super) struct Finished {
    pub(super) state: State,
    pub(super) steps: Vec<Step>,
    pub(super) checks: Checks,
    pub(super) faults: Vec<Diagnostic>,
    pub(super) outline: Outline,
}

/// An instruction being carried out.
pub(super) struct Scene<'s> {
    pub(super) state: &'s mut State,
    pub(super) local: &'s mut Local,
    pub(super) item: &'s Item<'s>,
    pub(super) node: &'s Node<'s>,
}

impl Scene<'_> {
    pub(super) fn at(&self) -> At<'_> {
        At::of(&self.item.instruction)
    }

    pub(super) fn keyword(&self) -> &str {
        &self.item.instruction.keyword.text
    }

    /// The shown name of the next step.
    pub(super) fn name(&mut self, text: &str) -> String {
        self.local.counter.next(text, self.item.is_trigger, Some(&self.state.scope))
    }
}

impl<'a> Stages<'a> {
    pub(super) fn new(graph: &'a Graph<'a>, inputs: Inputs<'a>, checks: Checks, target: usize) -> Self {
        let mut wanted = vec![0; graph.nodes.len()];
        wanted[target] += 1;
        for node in &graph.nodes {
            if let Ground::Stage(index) = &node.ground {
                wanted[*index] += 1;
            }
        }
        Self {
            graph,
            inputs,
            lexer: Lexer::new(inputs.escape),
            checks,
            faults: Vec::new(),
            steps: Vec::new(),
            ports: 0,
            done: vec![None; graph.nodes.len()],
            wanted,
            images: std::collections::HashMap::new(),
        }
    }

    /// Carries a stage out; the stages that it needs are done.
    pub(super) fn dispatch(&mut self, index: usize) {
        let graph = self.graph;
        let node = &graph.nodes[index];
        let several = self.inputs.request.several_platforms;
        let mut local = Local {
            counter: Counter { stage: node.shown.clone(), total: node.total, index: 0, platform: None },
            cmd: None,
            entrypoint: None,
            healthcheck: None,
        };
        let platform = node.platform.clone().unwrap_or_else(|| self.inputs.request.platform.clone());
        local.counter.platform = several.then_some(platform);
        let mut state = self.begin(node, &mut local);
        if !node.is_replaced {
            enter(&mut state);
            for item in &node.items {
                let mut scene = Scene { state: &mut state, local: &mut local, item, node };
                self.instruction(&mut scene);
            }
        }
        let (root, outline) = (state.root.clone(), state.outline.clone());
        self.done[index] = Some(Done { root, outline, state: Some(state) });
    }

    pub(super) fn finish(mut self, target: usize) -> Finished {
        let mut state = self.take_over(target).unwrap_or_else(|| self.empty(None));
        self.materialise(&mut state);
        let mut outline = state.outline.clone();
        for (index, other) in self.done.iter().enumerate() {
            if let Some(other) = other
                && index != target
            {
                outline.args.extend(
                    other
                        .outline
                        .args
                        .iter()
                        .filter(|arg| !state.outline.args.iter().any(|a| a.name == arg.name))
                        .cloned(),
                );
                outline.secrets.extend(other.outline.secrets.iter().cloned());
                outline.ssh.extend(other.outline.ssh.iter().cloned());
            }
        }
        Finished { state, steps: self.steps, checks: self.checks, faults: self.faults, outline }
    }

    /// The state at the end of a stage.
    fn take_over(&mut self, index: usize) -> Option<State> {
        self.wanted[index] = self.wanted[index].saturating_sub(1);
        let state = &mut self.done[index].as_mut()?.state;
        if self.wanted[index] == 0 { state.take() } else { state.clone() }
    }

    /// The state at a stage's FROM.
    fn begin(&mut self, node: &Node<'_>, local: &mut Local) -> State {
        match &node.ground {
            Ground::Empty | Ground::Faulty => self.empty(None),
            Ground::Stage(index) => {
                let mut state = self.take_over(*index).unwrap_or_else(|| self.empty(None));
                state.config.config.on_build.clear();
                state
            }
            Ground::Outside(outside) => match &self.graph.outsides[*outside] {
                Ok(Outside::Image(need, context)) => {
                    let source = need.key();
                    let mut state = self.image_state(&source, node);
                    let step = self.image_step(&source, context.as_deref(), Some((node, local)));
                    state.root = step.map_or(Root::Empty, Root::Step);
                    state.base = step;
                    state
                }
                Ok(Outside::Files(name)) => {
                    let mut state = self.empty(node.platform.as_ref());
                    state.root = Root::Context(name.clone());
                    state
                }
                Ok(Outside::Stage(_) | Outside::Empty) | Err(_) => self.empty(None),
            },
        }
    }

    fn empty(&self, platform: Option<&Platform>) -> State {
        let platform = platform.unwrap_or(&self.inputs.request.platform);
        let container = ContainerConfig {
            working_dir: "/".to_owned(),
            env: vec![format!("PATH={DEFAULT_PATH}")],
            ..ContainerConfig::default()
        };
        let config = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            variant: platform.variant.clone(),
            config: container,
            ..ImageConfig::default()
        };
        state_of(config, platform.clone())
    }

    fn image_state(&mut self, source: &ImageSource, node: &Node<'_>) -> State {
        let Some(base) = self.inputs.bases.get(source) else { return self.empty(None) };
        let mut config = base.config.clone();
        // BuildKit hands down what it knows
        config.other.retain(|name, _| name == "os.features");
        config.config.other.clear();
        let at = At::of(node.instruction);
        lint::invalid_base_image_platform::check(
            &mut self.checks,
            at,
            &node.base_name,
            &source.platform,
            &config.platform(),
        );
        let mut state = state_of(config, source.platform.clone());
        state.config.config.on_build.clear();
        state.base_history_len = state.config.history.len();
        state
    }

    /// The step that takes an image; none for one without layers.
    fn image_step(
        &mut self,
        source: &ImageSource,
        context: Option<&str>,
        stage: Option<(&Node<'_>, &mut Local)>,
    ) -> Option<StepId> {
        let base = self.inputs.bases.get(source);
        let is_empty = base.is_some_and(|base| {
            base.config.rootfs.diff_ids.is_empty()
                && base.config.history.iter().all(|entry| entry.empty_layer)
        });
        if is_empty {
            return None;
        }
        let digest = base.and_then(|base| base.digest);
        let full = match digest {
            Some(digest) if !source.reference.contains('@') => format!("{}@{digest}", source.reference),
            _ => source.reference.clone(),
        };
        let text = format!("FROM {full}");
        let (mut name, shown, span, lines, written) = match stage {
            Some((node, local)) => {
                let name = local.counter.next(&text, false, None);
                let instruction = node.instruction;
                (name, node.shown.clone(), instruction.span, instruction.lines, instruction.text.clone())
            }
            None => (text.clone(), String::new(), Span::default(), Lines::default(), text),
        };
        if let Some(context) = context {
            name = format!("[context {context}] {full}");
        }
        if let Some(&known) = self.images.get(source) {
            return Some(known);
        }
        let id = self.push(Step {
            id: StepId(0),
            parent: None,
            op: Op::Image(source.clone()),
            name,
            stage: shown,
            span,
            lines,
            text: written,
            made_by: String::new(),
        });
        self.images.insert(source.clone(), id);
        Some(id)
    }

    pub(super) fn push(&mut self, mut step: Step) -> StepId {
        let id = StepId(u32::try_from(self.steps.len()).unwrap_or(u32::MAX));
        step.id = id;
        self.steps.push(step);
        id
    }

    /// Makes a step and its layer, and the entry in the history.
    pub(super) fn layer(&mut self, scene: &mut Scene<'_>, op: Op, name: String, made_by: String) {
        self.materialise(scene.state);
        let instruction = &scene.item.instruction;
        let id = self.push(Step {
            id: StepId(0),
            parent: scene.state.root.step(),
            op,
            name,
            stage: scene.node.shown.clone(),
            span: instruction.span,
            lines: instruction.lines,
            text: instruction.text.clone(),
            made_by: made_by.clone(),
        });
        scene.state.root = Root::Step(id);
        scene.state.layers.push(id);
        scene.state.config.history.push(history(made_by, true));
    }

    /// A named context of files that something stands on becomes a layer.
    fn materialise(&mut self, state: &mut State) {
        let Root::Context(name) = &state.root else { return };
        let everything = PathSource {
            pattern: "/".to_owned(),
            kept: String::new(),
            text: "/".to_owned(),
            has_wildcards: false,
        };
        let copy = Copy {
            is_add: false,
            from: Files::NamedContext(name.clone()),
            sources: vec![Source::Path(everything)],
            destination: "/".to_owned(),
            destination_is_folder: true,
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            excludes: Vec::new(),
            unpack: None,
        };
        let name = format!("[context {name}] load from client");
        let id = self.push(Step {
            id: StepId(0),
            parent: None,
            op: Op::Copy(copy),
            text: name.clone(),
            name,
            stage: String::new(),
            span: Span::default(),
            lines: Lines::default(),
            made_by: String::new(),
        });
        state.root = Root::Step(id);
        state.layers.push(id);
    }

    /// The files that an instruction's place means.
    pub(super) fn files(&mut self, place: Place, unnamed: Files) -> Files {
        match place {
            Place::Unnamed => unnamed,
            Place::Stage(stage) => self.done[stage].as_ref().map_or(Files::Empty, |done| done.root.files()),
            Place::Outside(outside) => match &self.graph.outsides[outside] {
                Ok(Outside::Image(need, context)) => {
                    let step = self.image_step(&need.key(), context.as_deref(), None);
                    step.map_or(Files::Empty, Files::Step)
                }
                Ok(Outside::Files(name)) => Files::NamedContext(name.clone()),
                Ok(Outside::Stage(_) | Outside::Empty) | Err(_) => Files::Empty,
            },
        }
    }

    /// A word with its variables; a fault leaves nothing.
    pub(super) fn expand(&mut self, scene: &Scene<'_>, word: &Word) -> Option<Word> {
        let text = self.expand_text(scene, &word.text, word.span)?.text;
        Some(Word { text, span: word.span })
    }

    pub(super) fn expand_text(&mut self, scene: &Scene<'_>, text: &str, span: Span) -> Option<Expanded> {
        self.expand_by(self.lexer, scene, text, span)
    }

    pub(super) fn expand_by(
        &mut self,
        lexer: Lexer,
        scene: &Scene<'_>,
        text: &str,
        span: Span,
    ) -> Option<Expanded> {
        match lexer.expand(text, &scene.state.scope) {
            Ok(expanded) => {
                self.missing(scene, &expanded);
                Some(expanded)
            }
            Err(error) => {
                let shown: String = text.chars().take(200).collect();
                self.fault(Code::Expansion, span, format!("failed to process {shown:?}: {error}"))
            }
        }
    }

    pub(super) fn missing(&mut self, scene: &Scene<'_>, expanded: &Expanded) {
        // BuildKit does not look at what EXPOSE uses
        let is_looked_at = !matches!(scene.item.instruction.command, Some(Command::Expose(_)));
        if is_looked_at && !expanded.missing.is_empty() {
            let State { scope, args, .. } = &*scene.state;
            lint::undefined_var::check(&mut self.checks, scene.at(), &expanded.missing, args, &scope.names());
        }
    }

    pub(super) fn fault<T>(&mut self, code: Code, span: Span, message: impl Into<String>) -> Option<T> {
        self.faults.push(Diagnostic::error(code, span, message));
        None
    }

    /// Carries an instruction out; what cannot be is among the faults.
    fn instruction(&mut self, scene: &mut Scene<'_>) {
        let item = scene.item;
        let done = match item.instruction.command.as_ref() {
            Some(Command::Add(transfer)) => self.transfer(scene, transfer, true),
            Some(Command::Copy(transfer)) => self.transfer(scene, transfer, false),
            Some(Command::Run(run)) => self.run(scene, run),
            Some(Command::Arg(arg)) => self.arg(scene, arg),
            Some(Command::Env(pairs)) => self.env(scene, pairs),
            Some(Command::Expose(words)) => self.expose(scene, words),
            Some(Command::Label(pairs)) => self.label(scene, pairs),
            Some(Command::Stopsignal(word)) => self.stopsignal(scene, word),
            Some(Command::User(word)) => self.user(scene, word),
            Some(Command::Volume(words)) => self.volume(scene, words),
            Some(Command::Workdir(word)) => self.workdir(scene, word),
            Some(Command::Cmd(line)) => return self.cmd(scene, line),
            Some(Command::Entrypoint(line)) => return self.entrypoint(scene, line),
            Some(Command::Healthcheck(check)) => return self.healthcheck(scene, check),
            Some(Command::Maintainer(name)) => return metadata::maintainer(scene, name),
            Some(Command::Onbuild(trigger)) => return metadata::onbuild(scene, trigger),
            Some(Command::Shell(words)) => return metadata::shell(scene, words),
            Some(Command::From(_)) | None => return,
        };
        // nothing is left undone without a fault
        debug_assert!(done.is_some() || !self.faults.is_empty());
    }
}

fn state_of(config: ImageConfig, platform: Platform) -> State {
    State {
        scope: Scope::default(),
        config,
        root: Root::Empty,
        platform,
        args: Vec::new(),
        cwd: "/".to_owned(),
        layers: Vec::new(),
        base: None,
        base_history_len: 0,
        workdir_is_set: false,
        outline: Outline::default(),
    }
}

/// Takes over what the base says: variables, folder, user.
fn enter(state: &mut State) {
    let env = &mut state.config.config.env;
    let has_path = env.iter().any(|item| item.split('=').next() == Some("PATH"));
    if !has_path && state.platform.os != "windows" {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    state.scope.set_all(env.iter().map(|item| item.split_once('=').unwrap_or((item, ""))));
    let folder = &state.config.config.working_dir;
    if !folder.is_empty() {
        let folder = if folder.starts_with('/') { folder.clone() } else { path::join("/", folder) };
        state.config.config.working_dir.clone_from(&folder);
        state.cwd = folder;
    }
}

/// The value of a variable at a point.
pub(super) fn value_of<'s>(state: &'s State, name: &str) -> Option<&'s str> {
    state.scope.get(name)
}
