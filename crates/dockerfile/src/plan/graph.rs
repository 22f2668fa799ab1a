//! The stages, and what each takes from where.

use std::borrow::Cow;
use std::collections::HashMap;

use lighter_image::Platform;

use super::Request;
use super::names::{Meant, Names, Outside};
use super::scope::Scope;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::expand::{Expanded, Lexer, Nothing, Variables as _};
use crate::instruction::{Command, From, Mount};
use crate::lint::{self, At, Checks};
use crate::suggest::{did_you_mean, nearest};
use crate::syntax::{File, Instruction, Word};

/// What a stage stands on.
#[derive(Debug, Clone)]
pub(super) enum Ground {
    Empty,
    Stage(usize),
    Outside(usize),
    /// It cannot be told; a fault says why.
    Faulty,
}

/// Where an instruction takes files from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Stage(usize),
    Outside(usize),
    /// No name given.
    Unnamed,
}

/// An instruction of a stage, and where it takes files from: one place of a COPY, or one of each mount.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub(super) instruction: Cow<'a, Instruction>,
    pub(super) is_trigger: bool,
    pub(super) places: Vec<Place>,
}

/// A stage.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) instruction: &'a Instruction,
    pub(super) from: &'a From,
    /// The base's name, expanded.
    pub(super) base_name: String,
    pub(super) ground: Ground,
    pub(super) platform: Option<Platform>,
    /// How it is shown; empty for the only one.
    pub(super) shown: String,
    /// Whether a named context stands for it.
    pub(super) is_replaced: bool,
    pub(super) items: Vec<Item<'a>>,
    /// How many steps are counted for it.
    pub(super) total: usize,
    /// The variables of its FROM.
    pub(super) used_args: Vec<String>,
}

/// The variables before the first FROM.
#[derive(Clone, Copy)]
pub(super) struct Globals<'g> {
    pub(super) scope: &'g Scope,
    /// All names, those without a value too.
    pub(super) declared: &'g [&'g str],
}

/// All stages and what they name.
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// Things outside of the file, or why a name means nothing.
    pub(super) outsides: Vec<Meant>,
    names: Names<'a>,
    by_name: HashMap<String, usize>,
    lexer: Lexer,
}

impl<'a> Graph<'a> {
    pub(super) fn new(
        file: &'a File,
        request: &'a Request,
        globals: Globals<'_>,
        checks: &mut Checks,
        faults: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut graph = Self {
            nodes: Vec::new(),
            outsides: Vec::new(),
            names: Names::new(request),
            by_name: HashMap::new(),
            lexer: Lexer::new(file.escape()),
        };
        for stage in &file.stages {
            graph.add_stage(&file.instructions[stage.from], globals, checks, faults);
        }
        let sizes: usize = graph.nodes.len();
        for (index, stage) in file.stages.iter().enumerate().take(sizes) {
            for &place in &stage.instructions {
                let instruction = &file.instructions[place];
                if let Some(item) = graph.item(Cow::Borrowed(instruction), false, faults) {
                    graph.nodes[index].items.push(item);
                }
            }
            let node = &graph.nodes[index];
            let counted = node.items.iter().filter(|item| is_counted(&item.instruction)).count();
            let from = usize::from(matches!(node.ground, Ground::Outside(_)));
            graph.nodes[index].total = if node.is_replaced { 0 } else { counted + from };
        }
        graph.circles(faults);
        if graph.nodes.len() + graph.outsides_of_items() == 1 {
            graph.nodes[0].shown.clear();
        }
        graph
    }

    /// What Docker counts as further stages: each name outside of the file, and each mount without a name.
    fn outsides_of_items(&self) -> usize {
        let places = self.nodes.iter().flat_map(|node| &node.items).flat_map(|item| {
            let is_run = matches!(item.instruction.command, Some(Command::Run(_)));
            item.places.iter().filter(move |place| match place {
                Place::Outside(_) => true,
                Place::Unnamed => is_run,
                Place::Stage(_) => false,
            })
        });
        places.count()
    }

    fn add_stage(
        &mut self,
        instruction: &'a Instruction,
        globals: Globals<'_>,
        checks: &mut Checks,
        faults: &mut Vec<Diagnostic>,
    ) {
        static FAULTY: From = From {
            base: Word { text: String::new(), span: Span { start: 0, end: 0 } },
            name: None,
            written: None,
            platform: None,
            description: None,
        };
        let index = self.nodes.len();
        let (from, is_sound) = match &instruction.command {
            Some(Command::From(from)) => (from, true),
            _ => (&FAULTY, false),
        };
        let mut node = Node {
            instruction,
            from,
            base_name: String::new(),
            ground: Ground::Faulty,
            platform: None,
            shown: from.name.as_ref().map_or_else(|| format!("stage-{index}"), |name| name.text.clone()),
            is_replaced: false,
            items: Vec::new(),
            total: 0,
            used_args: Vec::new(),
        };
        if is_sound {
            self.base(&mut node, globals, checks, faults);
        }
        if let Some(name) = &from.name {
            self.by_name.insert(name.text.clone(), index);
        }
        self.nodes.push(node);
    }

    fn base(
        &mut self,
        node: &mut Node<'a>,
        globals: Globals<'_>,
        checks: &mut Checks,
        faults: &mut Vec<Diagnostic>,
    ) {
        let at = At::of(node.instruction);
        let from = node.from;
        let Globals { scope, declared } = globals;
        match self.lexer.expand(&from.base.text, scope) {
            Ok(base) => {
                lint::undefined_arg_in_from::check(checks, at, base.missing.iter(), declared);
                node.used_args.extend(base.used);
                node.base_name = base.text;
            }
            Err(error) => return faults.push(expand_fault(&from.base, &error)),
        }
        if node.base_name.is_empty() {
            let message = format!("base name ({}) should not be blank", from.base.text);
            faults.push(Diagnostic::error(Code::ImageName, from.base.span, message));
            return;
        }
        if let Some(word) = &from.platform {
            let expanded = match self.lexer.expand(&word.text, scope) {
                Ok(expanded) => expanded,
                Err(error) => return faults.push(expand_fault(word, &error)),
            };
            let stage = from.name.as_ref().map_or("", |name| name.text.as_str());
            let target = scope.get("TARGETPLATFORM");
            lint::undefined_arg_in_from::check(checks, at, expanded.missing.iter(), declared);
            lint::redundant_target_platform::check(checks, at, &word.text, &expanded, target);
            lint::from_platform_flag_const_disallowed::check(checks, at, stage, &expanded);
            match platform(word, &expanded, scope) {
                Ok(platform) => node.platform = Some(platform),
                Err(fault) => return faults.push(fault),
            }
            node.used_args.extend(expanded.used);
        }
        node.ground = self.ground(node);
    }

    fn ground(&mut self, node: &mut Node<'a>) -> Ground {
        let span = node.from.base.span;
        if let Some(name) = &node.from.name
            && let Some(context) = self.names.context(&name.text, node.platform.as_ref(), span)
        {
            node.is_replaced = true;
            return self.outside(Ok(context));
        }
        if let Some(&stage) = self.by_name.get(&node.base_name) {
            return Ground::Stage(stage);
        }
        let outside = self.names.outside(&node.base_name, node.platform.as_ref(), span);
        self.outside(outside)
    }

    fn outside(&mut self, outside: Meant) -> Ground {
        match outside {
            Ok(Outside::Empty) => Ground::Empty,
            Ok(Outside::Stage(name)) if self.by_name.contains_key(&name.to_lowercase()) => {
                Ground::Stage(self.by_name[&name.to_lowercase()])
            }
            outside => {
                self.outsides.push(outside);
                Ground::Outside(self.outsides.len() - 1)
            }
        }
    }

    /// An instruction with the places that it names; `None` where it is faulty.
    pub(super) fn item(
        &mut self,
        instruction: Cow<'a, Instruction>,
        is_trigger: bool,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<Item<'a>> {
        let places = if let Command::Copy(copy) = instruction.command.as_ref()? {
            match &copy.from {
                Some(from) => vec![self.copy_place(from, faults)?],
                None => vec![Place::Unnamed],
            }
        } else if let Some(Command::Run(run)) = &instruction.command {
            let froms = run.mounts.iter().map(|mount| (Mount::static_from(&mount.text), mount.span));
            froms.map(|(from, span)| from.map_or(Place::Unnamed, |name| self.place(&name, span))).collect()
        } else {
            Vec::new()
        };
        Some(Item { instruction, is_trigger, places })
    }

    fn copy_place(&mut self, from: &Word, faults: &mut Vec<Diagnostic>) -> Option<Place> {
        let name = &from.text;
        if self.lexer.expand(name, &Nothing).map(|expanded| expanded.text).as_ref() != Ok(name) {
            let message = "variable expansion is not supported for --from, define a new stage with FROM using ARG from \
                           global scope as a workaround";
            let help = Some(format!("add `FROM {name} AS name` and copy from `name`"));
            faults.push(Diagnostic::error(Code::Flag, from.span, message).with_help(help));
            return None;
        }
        let Ok(index) = name.parse::<i64>() else { return Some(self.place(name, from.span)) };
        if let Some(index) = usize::try_from(index).ok().filter(|index| *index < self.nodes.len()) {
            return Some(Place::Stage(index));
        }
        let message = format!("invalid stage index {index}");
        let help = Some(format!("the stages are counted from 0 to {}", self.nodes.len().max(1) - 1));
        faults.push(Diagnostic::error(Code::UnknownStage, from.span, message).with_help(help));
        None
    }

    fn place(&mut self, name: &str, span: Span) -> Place {
        if let Some(&stage) = self.by_name.get(&name.to_lowercase()) {
            return Place::Stage(stage);
        }
        let outside = self.names.outside(name, None, span);
        match outside {
            Ok(Outside::Stage(stage)) if self.by_name.contains_key(&stage.to_lowercase()) => {
                Place::Stage(self.by_name[&stage.to_lowercase()])
            }
            outside => {
                self.outsides.push(outside);
                Place::Outside(self.outsides.len() - 1)
            }
        }
    }

    /// The names of all stages, in order.
    pub(super) fn stage_names(&self) -> Vec<&str> {
        self.nodes.iter().filter_map(|node| node.from.name.as_ref()).map(|name| name.text.as_str()).collect()
    }

    /// A stage by name, in any case.
    pub(super) fn stage(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// The stage that a request asks for.
    pub(super) fn target(&self, wanted: Option<&str>) -> Result<usize, Diagnostic> {
        let Some(name) = wanted.filter(|name| !name.is_empty()) else { return Ok(self.nodes.len() - 1) };
        self.stage(name).ok_or_else(|| {
            let names: Vec<&str> = self
                .nodes
                .iter()
                .filter_map(|node| node.from.name.as_ref())
                .map(|name| &*name.text)
                .collect();
            let mut help = did_you_mean(nearest(name, &names, false));
            if help.is_none() {
                help = Some(match (name.parse::<usize>(), names.is_empty()) {
                    (Ok(_), _) => "a target is a stage's name, not its number".to_owned(),
                    (_, true) => "no stage has a name; give one by `FROM … AS name`".to_owned(),
                    _ => format!("the stages are {}", names.join(", ")),
                });
            }
            let message = format!("target stage {name:?} could not be found");
            Diagnostic::error(Code::UnknownTarget, Span::default(), message).with_help(help)
        })
    }

    /// Stages that need each other. Those before the stage are fine: only what points forward can close a circle.
    fn circles(&self, faults: &mut Vec<Diagnostic>) {
        let mut state = vec![0_u8; self.nodes.len()];
        for start in 0..self.nodes.len() {
            if state[start] != 0 {
                continue;
            }
            let mut stack = vec![(start, self.needs(start), 0)];
            state[start] = 1;
            while let Some((node, needs, next)) = stack.last_mut() {
                let Some(&(need, span)) = needs.get(*next) else {
                    state[*node] = 2;
                    stack.pop();
                    continue;
                };
                *next += 1;
                match state[need] {
                    0 => {
                        state[need] = 1;
                        let needs = self.needs(need);
                        stack.push((need, needs, 0));
                    }
                    1 => {
                        let message =
                            format!("circular dependency detected on stage: {}", self.nodes[need].shown);
                        let fault = Diagnostic::error(Code::Circular, span, message);
                        let from = self.nodes[need].instruction.span;
                        faults.push(fault.with_label(from, "the stage begins here"));
                    }
                    _ => {}
                }
            }
        }
    }

    /// The stages that a stage needs, and where it says so.
    fn needs(&self, index: usize) -> Vec<(usize, Span)> {
        let node = &self.nodes[index];
        let mut needs = Vec::new();
        if let Ground::Stage(stage) = node.ground {
            needs.push((stage, node.from.base.span));
        }
        if node.is_replaced {
            return needs;
        }
        for item in &node.items {
            for (place, span) in item.places.iter().zip(item.place_spans()) {
                if let Place::Stage(stage) = place {
                    needs.push((*stage, span));
                }
            }
        }
        needs
    }
}

impl Item<'_> {
    /// `COPY --from`.
    pub(super) fn copied_from(&self) -> Option<&Word> {
        match &self.instruction.command {
            Some(Command::Copy(copy)) => copy.from.as_ref(),
            _ => None,
        }
    }

    /// Where the places are named.
    pub(super) fn place_spans(&self) -> Vec<Span> {
        match &self.instruction.command {
            Some(Command::Copy(_)) => {
                vec![self.copied_from().map_or(self.instruction.span, |from| from.span)]
            }
            Some(Command::Run(run)) => run.mounts.iter().map(|mount| mount.span).collect(),
            _ => Vec::new(),
        }
    }
}

/// Whether an instruction is counted among the steps of its stage.
fn is_counted(instruction: &Instruction) -> bool {
    matches!(
        instruction.command,
        Some(Command::Add(_) | Command::Copy(_) | Command::Run(_) | Command::Workdir(_))
    )
}

pub(super) fn expand_fault(word: &Word, error: &crate::expand::ExpandError) -> Diagnostic {
    Diagnostic::error(Code::Expansion, word.span, format!("failed to process {:?}: {error}", word.text))
}

fn platform(word: &Word, expanded: &Expanded, scope: &Scope) -> Result<Platform, Diagnostic> {
    let near = || {
        let near = expanded.missing.iter().find_map(|name| nearest(name, scope.names(), true));
        did_you_mean(near.map(|name| format!("${name}")))
    };
    if expanded.text.is_empty() {
        let message = format!("empty platform value from expression {}", word.text);
        return Err(Diagnostic::error(Code::Platform, word.span, message).with_help(near()));
    }
    expanded.text.parse::<Platform>().map_err(|error| {
        let message = format!("failed to parse platform {}: {error}", word.text);
        Diagnostic::error(Code::Platform, word.span, message).with_help(near())
    })
}
