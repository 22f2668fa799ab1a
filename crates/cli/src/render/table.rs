//! Columns that line up: what Go's `tabwriter` makes of text with tabs.

/// The narrowest column, its distance to the next included.
const MIN_WIDTH: usize = 10;
/// The distance between two columns.
const PADDING: usize = 3;

/// Replaces the tabs of `text` by spaces, so that cells which stand below each other begin at one place.
///
/// A column is a run of neighbouring lines that all have a tab behind that cell; the last cell of a line belongs to
/// none.
pub(crate) fn align(text: &str) -> String {
    columns(text, MIN_WIDTH, PADDING)
}

/// As [`align`], with columns of at least `min_width`, and `padding` between them.
pub(crate) fn columns(text: &str, min_width: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut at = 0;
        while at < lines.len() {
            let run = widths[at..].iter().take_while(|cells| cells.len() > column).count();
            let widest = lines[at..at + run].iter().map(|cells| cells[column].chars().count()).max();
            let width = widest.map_or(0, |widest| (widest + padding).max(min_width));
            widths[at..at + run].iter_mut().for_each(|cells| cells[column] = width);
            at += run.max(1);
        }
    }
    let mut aligned = String::with_capacity(text.len() * 2);
    for (row, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if row > 0 {
            aligned.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            aligned.push_str(cell);
            let width = widths.get(column).copied().unwrap_or(0);
            aligned.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
    }
    aligned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_begin_at_one_place() {
        let check = |text: &str, expected: &str| assert_eq!(align(text), expected);
        check("", "");
        check("a\n", "a\n");
        check("A\tB\nlonger-than-ten\tb\n", "A                 B\nlonger-than-ten   b\n");
        check("A\tB\tC\n1\t2\t3\n", "A         B         C\n1         2         3\n");
        check("a\tb\nalone\nlonger-than-ten\tb", "a         b\nalone\nlonger-than-ten   b");
        check("ü\tb\nabcdefgh\tb", "ü          b\nabcdefgh   b");
        assert_eq!(columns("a\tb\nccc\t\n", 0, 1), "a   b\nccc \n");
    }
}
