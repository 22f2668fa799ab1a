//! Progress as a picture that is drawn again and again: what a terminal shows.

use super::log::Line;
use super::screen::{Row, Tone};
use super::seconds;
use super::state::{Outcome, State, Vertex};
use lighter_engine::build::Finish;
use std::time::Duration;

/// How many lines of output are shown below a step that runs.
const LOG_LINES: usize = 6;

/// How large the picture may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The picture of a build at a moment.
///
/// It never has more rows than the terminal less one. When there is too much to show, what has ended goes first, then
/// the output of steps.
pub(super) fn frame(state: &State, size: Size, now: Duration) -> Vec<Row> {
    let room = size.rows.saturating_sub(2).max(1);
    let blocks: Vec<Block> = state
        .order
        .iter()
        .filter_map(|id| state.vertices.get(id))
        .map(|vertex| Block::of(vertex, size.columns, now))
        .collect();
    let mut rows = vec![heading(state, size.columns, now)];
    rows.extend(fitting(blocks, room));
    rows
}

/// The rows of one vertex.
struct Block {
    running: bool,
    head: Row,
    parts: Vec<Row>,
    log: Vec<Row>,
}

impl Block {
    fn of(vertex: &Vertex, columns: usize, now: Duration) -> Self {
        let (tone, word) = match &vertex.outcome {
            None => (Tone::Normal, ""),
            Some(Outcome::Done) => (Tone::Finished, ""),
            Some(Outcome::Cached) => (Tone::Finished, "CACHED "),
            Some(Outcome::Failed(_)) => (Tone::Failed, "ERROR "),
            Some(Outcome::Cancelled) => (Tone::Cancelled, "CANCELED "),
        };
        let head = row(tone, &format!(" => {word}{}", vertex.name), &seconds(vertex.took(now)), columns);
        let parts = vertex.parts.iter().map(|part| {
            let took = if part.done { part.changed } else { now }.saturating_sub(part.started);
            let text = super::part(
                &part.what,
                part.current,
                part.total.filter(|_| !part.done),
                Duration::ZERO,
                false,
            );
            row(
                if part.done { Tone::Finished } else { Tone::Normal },
                &format!(" => => {text}"),
                &seconds(took),
                columns,
            )
        });
        let log = match vertex.outcome {
            None => vertex
                .lines
                .iter()
                .skip(vertex.lines.len().saturating_sub(LOG_LINES))
                .map(|line| logged(line, columns))
                .collect(),
            Some(_) => Vec::new(),
        };
        Self { running: vertex.outcome.is_none(), head, parts: parts.collect(), log }
    }

    fn rows(self) -> impl Iterator<Item = Row> {
        std::iter::once(self.head).chain(self.parts).chain(self.log)
    }

    fn height(&self) -> usize {
        1 + self.parts.len() + self.log.len()
    }
}

/// As much of the blocks as there is room for.
fn fitting(mut blocks: Vec<Block>, room: usize) -> Vec<Row> {
    let height = |blocks: &[Block]| blocks.iter().map(Block::height).sum::<usize>();
    let shrink: [fn(&mut Block); 3] = [
        |block| {
            if !block.running {
                block.parts.clear();
            }
        },
        |block| block.log.drain(..block.log.len().saturating_sub(2)).for_each(drop),
        |block| {
            block.log.clear();
            block.parts.clear();
        },
    ];
    for smaller in shrink {
        if height(&blocks) > room {
            blocks.iter_mut().for_each(smaller);
        }
    }
    while height(&blocks) > room {
        let first = blocks.iter().position(|block| !block.running).unwrap_or(0);
        blocks.remove(first);
    }
    blocks.into_iter().flat_map(Block::rows).collect()
}

fn heading(state: &State, columns: usize, now: Duration) -> Row {
    let ended = state.vertices.values().filter(|vertex| vertex.outcome.is_some()).count();
    let word = match state.finish {
        None => "",
        Some(Finish::Succeeded { .. } | Finish::Failed { .. }) => " FINISHED",
        Some(Finish::Cancelled) => " CANCELED",
    };
    let text = format!("[+] Building {} ({ended}/{}){word}", seconds(now), state.vertices.len());
    Row { tone: Tone::Normal, text: cut(&text, columns) }
}

fn logged(line: &Line, columns: usize) -> Row {
    let clean: String =
        line.text.rsplit('\r').next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    Row { tone: Tone::Faint, text: cut(&format!(" => => # {clean}"), columns) }
}

/// A row with a time at its right end.
fn row(tone: Tone, text: &str, time: &str, columns: usize) -> Row {
    let room = columns.saturating_sub(time.len() + 2);
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let left = cut(&clean, room);
    Row { tone, text: cut(&format!("{left:room$} {time}"), columns) }
}

fn cut(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}
