//! A picture of the stages: columns from left to right, a box for each.

use std::fmt::Write as _;

use super::{Drawing, Kind, Use};

const BOX_HEIGHT: usize = 34;
const ROW: usize = 62;
const GAP: usize = 70;
const CHARACTER: usize = 8;
const MARGIN: usize = 16;

struct Placed {
    x: usize,
    y: usize,
    width: usize,
}

pub(super) fn write(drawing: &Drawing) -> String {
    let (boxes, width, height) = place(drawing);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n{STYLE}"
    );
    for edge in &drawing.edges {
        let (from, to) = (&boxes[edge.used], &boxes[edge.user]);
        let (x1, y1) = (from.x + from.width, from.y + BOX_HEIGHT / 2);
        let (x2, y2) = (to.x, to.y + BOX_HEIGHT / 2);
        let middle = usize::midpoint(x1, x2);
        let class = match edge.kind {
            Use::From => "from",
            Use::Copy => "copy",
            Use::Mount => "mount",
        };
        let _ = writeln!(
            out,
            "<path class=\"{class}\" d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\" marker-end=\"url(#tip)\"/>"
        );
    }
    for (node, placed) in drawing.nodes.iter().zip(&boxes) {
        let class = match (node.kind, node.is_target) {
            (Kind::Stage, true) => "stage target",
            (Kind::Stage, false) => "stage",
            (Kind::Image | Kind::Context, _) => "outside",
        };
        let Placed { x, y, width } = placed;
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"6\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            x + width / 2,
            y + BOX_HEIGHT / 2 + 5,
            escape(&node.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

const STYLE: &str = "<style>rect{fill:#fff;stroke:#445;stroke-width:1.2}rect.target{stroke-width:2.6}\
rect.outside{fill:#eef;stroke-dasharray:4 3}path{fill:none;stroke:#667}path.copy{stroke-dasharray:6 4}\
path.mount{stroke-dasharray:2 4}text{text-anchor:middle;fill:#223}</style>\n\
<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
<path d=\"M0 0L8 4L0 8z\" style=\"fill:#667;stroke:none\"/></marker></defs>\n";

fn place(drawing: &Drawing) -> (Vec<Placed>, usize, usize) {
    let columns = drawing.columns();
    let last = columns.iter().copied().max().unwrap_or(0);
    let widths: Vec<usize> =
        drawing.nodes.iter().map(|node| node.name.chars().count() * CHARACTER + 24).collect();
    let mut starts = vec![MARGIN];
    for column in 0..=last {
        let widest =
            columns.iter().zip(&widths).filter(|(at, _)| **at == column).map(|(_, width)| *width).max();
        starts.push(starts[column] + widest.unwrap_or(0) + GAP);
    }
    let mut rows = vec![0_usize; last + 1];
    let boxes: Vec<Placed> = columns
        .iter()
        .zip(&widths)
        .map(|(&column, &width)| {
            let y = MARGIN + rows[column] * ROW;
            rows[column] += 1;
            Placed { x: starts[column], y, width }
        })
        .collect();
    let height = rows.iter().max().map_or(0, |rows| rows * ROW) + MARGIN;
    (boxes, starts[last + 1] - GAP + MARGIN, height)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
