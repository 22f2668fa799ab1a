//! From the target down: which stages count, which images must be known, and the triggers that are pulled.

use std::borrow::Cow;

use super::graph::{Graph, Ground, Item, Place};
use super::names::{Outside, suggestion};
use super::{Base, BaseNeed, Bases, Request};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::instruction::{Command, Mount};
use crate::syntax::parse_trigger;

/// What a target needs: stages, and images that must be known.
pub(super) struct Reach {
    pub(super) stages: Vec<bool>,
    pub(super) needs: Vec<BaseNeed>,
}

impl Reach {
    /// Walks from the target down: a stage only needs earlier ones. Triggers are put into the stages that pull them.
    pub(super) fn of(
        graph: &mut Graph<'_>,
        target: usize,
        request: &Request,
        bases: &Bases,
        faults: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut reach = Self { stages: vec![false; graph.nodes.len()], needs: Vec::new() };
        reach.stages[target] = true;
        for index in (0..graph.nodes.len()).rev() {
            if !reach.stages[index] && !request.all_stages {
                continue;
            }
            reach.ground(graph, index, bases, faults);
            if graph.nodes[index].is_replaced {
                continue;
            }
            let items = std::mem::take(&mut graph.nodes[index].items);
            for item in &items {
                reach.item(graph, index, item, bases, faults);
            }
            graph.nodes[index].items = items;
        }
        reach.needs.reverse();
        reach
    }

    fn ground(&mut self, graph: &mut Graph<'_>, index: usize, bases: &Bases, faults: &mut Vec<Diagnostic>) {
        let triggers = match graph.nodes[index].ground {
            Ground::Empty | Ground::Faulty => Vec::new(),
            Ground::Stage(stage) => {
                self.stages[stage] |= self.stages[index];
                let items = graph.nodes[stage].items.iter();
                let triggers = items.filter_map(|item| match &item.instruction.command {
                    Some(Command::Onbuild(trigger)) => Some(trigger.text.clone()),
                    _ => None,
                });
                triggers.collect()
            }
            Ground::Outside(outside) => {
                let base = self.outside(graph, outside, bases, faults);
                base.map(|base| base.config.config.on_build.clone()).unwrap_or_default()
            }
        };
        // a stage that is only looked at pulls no triggers, as in Docker
        if self.stages[index] && !graph.nodes[index].is_replaced {
            pull(graph, index, &triggers, faults);
        }
    }

    fn outside<'b>(
        &mut self,
        graph: &Graph<'_>,
        outside: usize,
        bases: &'b Bases,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<&'b Base> {
        match &graph.outsides[outside] {
            Ok(Outside::Image(need, _)) => {
                let base = bases.get(&need.key());
                if base.is_none() && !self.needs.iter().any(|known| known.key() == need.key()) {
                    let help = suggestion(&need.written, &graph.stage_names());
                    self.needs.push(BaseNeed { help, ..(**need).clone() });
                }
                return base;
            }
            Ok(Outside::Stage(name)) => {
                let message = format!("a named context means the stage {name:?}, which is not above");
                faults.push(Diagnostic::error(Code::UnknownStage, Span::default(), message));
            }
            Ok(Outside::Files(_) | Outside::Empty) => {}
            Err((name, fault)) => {
                let help = suggestion(name, &graph.stage_names());
                faults.push(fault.clone().with_help(help));
            }
        }
        None
    }

    fn item(
        &mut self,
        graph: &Graph<'_>,
        index: usize,
        item: &Item<'_>,
        bases: &Bases,
        faults: &mut Vec<Diagnostic>,
    ) {
        let spans = item.place_spans();
        for (number, (place, span)) in item.places.iter().zip(spans).enumerate() {
            match place {
                Place::Unnamed => {}
                Place::Outside(outside) => {
                    self.outside(graph, *outside, bases, faults);
                }
                Place::Stage(stage) if *stage < index => self.stages[*stage] |= self.stages[index],
                Place::Stage(stage) => faults.push(too_late(graph, index, *stage, item, number, span)),
            }
        }
    }
}

/// A stage is named that begins only later.
fn too_late(
    graph: &Graph<'_>,
    index: usize,
    stage: usize,
    item: &Item<'_>,
    number: usize,
    span: Span,
) -> Diagnostic {
    let current = &graph.nodes[index].shown;
    let message = if let Some(Command::Run(run)) = &item.instruction.command {
        let from = run.mounts.get(number).and_then(|mount| Mount::static_from(&mount.text));
        let from = from.unwrap_or_default();
        format!("cannot mount from stage {from:?}, stage needs to be defined before current command")
    } else {
        let from = item.copied_from().map_or("", |from| &from.text);
        format!("cannot copy from stage {from:?}, it needs to be defined before current stage {current:?}")
    };
    let begins = graph.nodes[stage].instruction.span;
    let help = Some("move that stage above this one".to_owned());
    Diagnostic::error(Code::UnknownStage, span, message)
        .with_label(begins, "the stage begins here")
        .with_help(help.filter(|_| stage != index))
}

/// Puts the triggers of a base in front of a stage's instructions.
fn pull(graph: &mut Graph<'_>, index: usize, triggers: &[String], faults: &mut Vec<Diagnostic>) {
    if triggers.is_empty() {
        return;
    }
    let (span, lines) = (graph.nodes[index].instruction.span, graph.nodes[index].instruction.lines);
    let mut items = Vec::new();
    for text in triggers {
        let (mut instructions, mut wrong) = parse_trigger(text, span);
        if wrong.is_empty() && instructions.len() != 1 {
            let message = "onbuild trigger should be a single expression";
            wrong.push(Diagnostic::error(Code::Trigger, span, message));
        }
        if wrong.is_empty()
            && let Some(mut instruction) = instructions.pop()
        {
            if matches!(instruction.command, Some(Command::From(_))) {
                wrong.push(Diagnostic::error(
                    Code::Trigger,
                    span,
                    "FROM isn't allowed as an ONBUILD trigger",
                ));
            }
            instruction.lines = lines;
            items.extend(graph.item(Cow::Owned(instruction), true, &mut wrong));
        }
        for mut fault in wrong {
            fault.labels.clear();
            faults.push(
                fault.with_label(span, format!("pulled by the base image: ONBUILD {}", first_line(text))),
            );
        }
    }
    let node = &mut graph.nodes[index];
    node.total += items.len();
    node.items.splice(0..0, items);
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}
