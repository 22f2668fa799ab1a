//! The stages as a drawing: as text, in DOT, or as SVG.

mod svg;

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::diagnostic::Lines;
use crate::plan::{Request, StageNeeds, stage_needs};
use crate::syntax::File;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A stage of the file.
    Stage,
    /// An image.
    Image,
    /// A named context.
    Context,
}

/// What an edge means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// `FROM`.
    From,
    /// `COPY --from`.
    Copy,
    /// `RUN --mount=from=`.
    Mount,
}

/// A stage, or something that stages use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name: that of the stage, else `stage-1`; or that of the image.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where a stage begins.
    pub lines: Option<Lines>,
    /// Whether it is built when nothing else is asked for.
    pub is_target: bool,
}

/// `user` needs `used`: both are places in [`Drawing::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Edge {
    /// What is needed.
    pub used: usize,
    /// What needs it.
    pub user: usize,
    /// For what.
    pub kind: Use,
}

/// The stages of a file and what they need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Drawing {
    /// First the stages, in order.
    pub nodes: Vec<Node>,
    /// What needs what.
    pub edges: Vec<Edge>,
}

/// Draws a file, for the build arguments and target of a request.
pub fn draw(file: &File, request: &Request) -> Drawing {
    let StageNeeds { stages, edges, target } = stage_needs(file, request);
    let mut drawing = Drawing::default();
    for (index, (name, lines)) in stages.into_iter().enumerate() {
        drawing.nodes.push(Node {
            name,
            kind: Kind::Stage,
            lines: Some(lines),
            is_target: Some(index) == target,
        });
    }
    let mut outsides: HashMap<(String, Kind), usize> = HashMap::new();
    for (used, user, kind) in edges {
        let used = match used {
            Ok(stage) => stage,
            Err((name, node_kind)) => {
                *outsides.entry((name, node_kind)).or_insert_with_key(|(name, kind)| {
                    drawing.nodes.push(Node {
                        name: name.clone(),
                        kind: *kind,
                        lines: None,
                        is_target: false,
                    });
                    drawing.nodes.len() - 1
                })
            }
        };
        let edge = Edge { used, user, kind };
        if !drawing.edges.contains(&edge) {
            drawing.edges.push(edge);
        }
    }
    drawing
}

impl Drawing {
    /// As text: a line a stage, and what it needs below it.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.kind == Kind::Stage) {
            let mark = if node.is_target { " (target)" } else { "" };
            let line = node.lines.map(|lines| format!(" line {}", lines.first)).unwrap_or_default();
            let _ = writeln!(out, "{}{mark}{line}", node.name);
            let needs: Vec<&Edge> = self.edges.iter().filter(|edge| edge.user == index).collect();
            for (place, edge) in needs.iter().enumerate() {
                let branch = if place + 1 == needs.len() { "└─" } else { "├─" };
                let used = &self.nodes[edge.used];
                let kind = match used.kind {
                    Kind::Stage => "",
                    Kind::Image => "image ",
                    Kind::Context => "context ",
                };
                let _ = writeln!(out, "{branch} {} {kind}{}", edge.kind.word(), used.name);
            }
        }
        out
    }

    /// In the language of Graphviz.
    pub fn to_dot(&self) -> String {
        let mut out =
            String::from("digraph stages {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
        for (index, node) in self.nodes.iter().enumerate() {
            let style = match (node.kind, node.is_target) {
                (Kind::Stage, true) => ", style=\"rounded,bold\"",
                (Kind::Stage, false) => ", style=rounded",
                (Kind::Image | Kind::Context, _) => ", style=dashed",
            };
            let _ = writeln!(out, "  n{index} [label={:?}{style}];", node.name);
        }
        for edge in &self.edges {
            let style = match edge.kind {
                Use::From => "",
                Use::Copy => ", style=dashed",
                Use::Mount => ", style=dotted",
            };
            let _ =
                writeln!(out, "  n{} -> n{} [label=\"{}\"{style}];", edge.used, edge.user, edge.kind.word());
        }
        out.push_str("}\n");
        out
    }

    /// As a picture.
    pub fn to_svg(&self) -> String {
        svg::write(self)
    }

    /// How many steps from the left each node stands: behind all that it needs.
    fn columns(&self) -> Vec<usize> {
        let mut columns = vec![0; self.nodes.len()];
        // needs point to earlier stages or to outside nodes, so one pass in order of stages is enough
        for user in 0..self.nodes.len() {
            for edge in self.edges.iter().filter(|edge| edge.user == user && edge.used != user) {
                columns[user] = columns[user].max(columns[edge.used] + 1);
            }
        }
        columns
    }
}

impl Use {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Copy => "copy",
            Self::Mount => "mount",
        }
    }
}

#[cfg(test)]
mod tests {
    use lighter_image::Platform;

    use super::*;

    fn drawing() -> Drawing {
        let source = b"ARG B=busybox\nFROM $B AS a\nRUN x\nFROM a\nCOPY --from=tools:1 /x /\nRUN --mount=from=a,target=/a x\n";
        draw(&crate::parse(source).file, &Request::new(Platform::new("linux", "amd64", None)))
    }

    #[test]
    fn as_text() {
        let expected = "a line 2\n└─ from image docker.io/library/busybox:latest\nstage-1 (target) line 4\n├─ from a\n├─ copy image docker.io/library/tools:1\n└─ mount a\n";
        assert_eq!(drawing().to_text(), expected);
    }

    #[test]
    fn as_dot_and_picture() {
        let dot = drawing().to_dot();
        assert!(
            dot.contains("n2 -> n0 [label=\"from\"];") && dot.contains("n0 -> n1 [label=\"mount\""),
            "{dot}"
        );
        let svg = drawing().to_svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 4);
        assert_eq!(svg.matches("<path class").count(), 4);
    }
}
