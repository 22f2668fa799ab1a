//! The nearest word, for "did you mean".

/// The nearest of the options, if one is at most two edits away and the word itself is none of them. Something
/// of the word must be left.
pub(crate) fn nearest<I>(word: &str, options: I, case_matters: bool) -> Option<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let length = word.chars().count().max(2);
    closest(word, options, case_matters, length)
}

/// The same, however short the word is, as the build checks of Docker have it.
pub(crate) fn nearest_in_checks<I>(word: &str, options: I) -> Option<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    closest(word, options, true, usize::MAX)
}

fn closest<I>(word: &str, options: I, case_matters: bool, below: usize) -> Option<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let fold = |text: &str| if case_matters { text.to_owned() } else { text.to_lowercase() };
    let wanted = fold(word);
    let mut best: Option<(usize, String)> = None;
    for option in options {
        let folded = fold(option.as_ref());
        if folded == wanted {
            return None;
        }
        let limit = best.as_ref().map_or(3, |(distance, _)| *distance);
        let distance = distance(&wanted, &folded);
        if distance < limit && distance < below {
            best = Some((distance, option.as_ref().to_owned()));
        }
    }
    best.map(|(_, option)| option)
}

/// How many characters must be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// "did you mean", if there is something to mean.
pub(crate) fn did_you_mean(nearest: Option<String>) -> Option<String> {
    nearest.map(|word| format!("did you mean `{word}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_but_not_equal() {
        assert_eq!(nearest("sratch", ["busybox", "scratch"], true).as_deref(), Some("scratch"));
        assert_eq!(nearest("COPPY", ["copy", "cmd"], false).as_deref(), Some("copy"));
        assert_eq!(nearest("scratch", ["scratch"], true), None);
        assert_eq!(nearest("xyz", ["scratch"], true), None);
        assert_eq!(nearest("a", ["b"], true).as_deref(), Some("b"));
    }
}
