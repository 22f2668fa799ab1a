//! `top`: a container's processes.

use super::told;
use crate::args::container::look::Top;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::container;

/// The narrowest column, its distance to the next included.
const NARROWEST: usize = 20;
/// The distance between two columns.
const DISTANCE: usize = 3;

impl Verb for Top {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let (name, args) = self.words.split_first().ok_or_else(|| Failure::new("no container"))?;
        if name.starts_with('-') {
            let text = format!("unknown flag: {name}\n\nRun 'lighter top --help' for more information");
            return Err(Failure::new(text).with_code(125));
        }
        let store = session.open_store()?;
        let processes = container::top(&store, name, args).map_err(|error| told(&error))?;
        let rows: Vec<&Vec<String>> = std::iter::once(&processes.titles).chain(&processes.rows).collect();
        session.print(&aligned(&rows)).map(|()| 0)
    }
}

fn aligned(rows: &[&Vec<String>]) -> String {
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or_default();
    let width = |column: usize| {
        let widest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        (widest.unwrap_or_default() + DISTANCE).max(NARROWEST)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < columns {
                text.extend(std::iter::repeat_n(' ', widths[column] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}
