//! What the stages need, for drawings.

use super::Request;
use super::graph::{Ground, Place};
use super::lower::Prepared;
use super::names::Outside;
use crate::diagnostic::Lines;
use crate::graph::{Kind, Use};
use crate::instruction::Command;
use crate::syntax::File;

/// A stage by place, or something outside by name.
pub(crate) type Needed = Result<usize, (String, crate::graph::Kind)>;

/// The stages by name and place, what needs what, and the target.
pub(crate) struct StageNeeds {
    pub(crate) stages: Vec<(String, Lines)>,
    pub(crate) edges: Vec<(Needed, usize, Use)>,
    pub(crate) target: Option<usize>,
}

/// What stages need, without any base being known.
pub(crate) fn stage_needs(file: &File, request: &Request) -> StageNeeds {
    let Prepared { graph, .. } = Prepared::new(file, request);
    let mut edges = Vec::new();
    let outside = |outside: usize| match &graph.outsides[outside] {
        Ok(Outside::Image(need, _)) => Some(Err((need.reference.clone(), Kind::Image))),
        Ok(Outside::Files(name) | Outside::Stage(name)) => Some(Err((name.clone(), Kind::Context))),
        Ok(Outside::Empty) | Err(_) => None,
    };
    for (index, node) in graph.nodes.iter().enumerate() {
        let ground = match node.ground {
            Ground::Stage(stage) => Some(Ok(stage)),
            Ground::Outside(place) => outside(place),
            Ground::Empty | Ground::Faulty => None,
        };
        edges.extend(ground.map(|needed| (needed, index, Use::From)));
        for item in &node.items {
            let kind = if matches!(item.instruction.command, Some(Command::Run(_))) {
                Use::Mount
            } else {
                Use::Copy
            };
            for place in &item.places {
                let needed = match place {
                    Place::Unnamed => None,
                    Place::Stage(stage) => Some(Ok(*stage)),
                    Place::Outside(place) => outside(*place),
                };
                edges.extend(needed.map(|needed| (needed, index, kind)));
            }
        }
    }
    let target = (!graph.nodes.is_empty()).then(|| graph.target(request.target.as_deref()).ok()).flatten();
    let stages = graph.nodes.iter().enumerate().map(|(index, node)| {
        let name = node.from.name.as_ref().map_or_else(|| format!("stage-{index}"), |name| name.text.clone());
        (name, node.instruction.lines)
    });
    StageNeeds { stages: stages.collect(), edges, target }
}
