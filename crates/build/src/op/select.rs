//! Which entries of a tree a COPY means: patterns, `.dockerignore`, `--exclude`, `--parents`.

use lighter_dockerfile::glob;
use lighter_dockerfile::ignore::Patterns;
use lighter_dockerfile::plan::PathSource;
use lighter_image::ImagePath;
use lighter_layer::{Kind, Verdict, View};

use crate::StepError;

/// An entry that a source means: its real path, after links, and the one that gives it its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    /// Where it is.
    pub(crate) real: ImagePath,
    /// How it was reached: its last part is the name at the destination.
    pub(crate) named: ImagePath,
    /// Whether it is a folder.
    pub(crate) is_folder: bool,
}

/// The failure of a source that is not there.
pub(crate) fn missing(path: &ImagePath) -> StepError {
    StepError::Refused(not_found(path))
}

fn not_found(path: &ImagePath) -> String {
    format!("failed to calculate checksum: \"{path}\": not found")
}

/// What a source selects, in order. Nothing is no failure for a pattern.
pub(crate) fn select(
    view: &View,
    source: &PathSource,
    ignore: Option<&Patterns>,
) -> Result<Vec<Selected>, StepError> {
    let is_pattern = source.has_wildcards && source.kept.is_empty();
    let paths = if is_pattern {
        expand(view, &source.pattern, ignore)?
    } else {
        vec![ImagePath::new(&source.pattern)]
    };
    let mut selected = Vec::with_capacity(paths.len());
    for named in paths {
        let found = view.resolve(&named)?;
        let ignored = found.as_ref().is_some_and(|(real, entry)| is_ignored(ignore, real, entry.is_folder()));
        match found {
            Some((real, entry)) if !ignored => {
                selected.push(Selected { real, named, is_folder: entry.is_folder() });
            }
            Some(_) if is_pattern => {}
            // a link to nowhere is one of the context only where nothing says that it is not
            None if is_pattern && is_ignored(ignore, &named, false) => {}
            _ => return Err(not_there(view, &named, source)?),
        }
    }
    Ok(selected)
}

/// The failure of a source that is not there, with a reason where there is one.
fn not_there(view: &View, path: &ImagePath, source: &PathSource) -> Result<StepError, StepError> {
    if view.resolve(path)?.is_some() {
        let text = format!("{} (it is excluded by .dockerignore)", not_found(path));
        return Ok(StepError::Refused(text));
    }
    if view.lookup(path)?.is_some() {
        return Ok(StepError::Refused(format!("{} (it is a link to nothing)", not_found(path))));
    }
    let near = path.parent().zip(path.file_name()).and_then(|(parent, name)| {
        let names = view.read_dir(&parent).ok()?;
        nearest(name, names.iter().map(|(name, _)| name.as_slice()))
    });
    let text = &source.text;
    Ok(match near {
        Some(near) => {
            StepError::Refused(format!("{}: did you mean `{near}`? (as written: {text})", not_found(path)))
        }
        None => missing(path),
    })
}

/// The name that is most likely meant.
fn nearest<'a>(name: &[u8], names: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let name = String::from_utf8_lossy(name).into_owned();
    let names = names.take(2000).map(|name| String::from_utf8_lossy(name).into_owned());
    let scored = names.map(|other| (distance(&name, &other), other));
    scored.filter(|(far, _)| *far <= (name.chars().count() / 3).max(1)).min().map(|(_, name)| name)
}

/// How many letters must change, come or go; a swap of neighbours counts once.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The paths that a pattern matches, sorted. Links in the part before the first wildcard are followed, others not.
fn expand(view: &View, pattern: &str, ignore: Option<&Patterns>) -> Result<Vec<ImagePath>, StepError> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let plain = parts.iter().position(|part| glob::has_wildcards(part)).unwrap_or(parts.len());
    let base = ImagePath::new(parts[..plain].join("/"));
    let there = view.resolve(&base)?.filter(|(real, entry)| !is_ignored(ignore, real, entry.is_folder()));
    let Some((_, entry)) = there else {
        return Err(StepError::Refused(format!("lstat {base}: no such file or directory")));
    };
    let mut found = vec![base];
    if !entry.is_folder() {
        return Ok(Vec::new());
    }
    for (index, part) in parts[plain..].iter().enumerate() {
        let is_last = plain + index + 1 == parts.len();
        let mut next = Vec::new();
        for folder in &found {
            for (name, entry) in view.read_dir(folder)? {
                let matches = glob::matches(part, &String::from_utf8_lossy(&name)).unwrap_or(false);
                if matches && (is_last || entry.kind == Kind::Folder) {
                    next.push(folder.join(&name));
                }
            }
        }
        found = next;
    }
    Ok(found)
}

/// Whether a path cannot be in the context: a folder stays as long as something in it may be brought back.
fn is_ignored(ignore: Option<&Patterns>, path: &ImagePath, is_folder: bool) -> bool {
    ignore.is_some_and(|ignore| verdict(ignore, path.relative(), is_folder) == Verdict::Skip)
}

fn verdict(ignore: &Patterns, path: &[u8], is_folder: bool) -> Verdict {
    if path.is_empty() || !ignore.matches(path) {
        Verdict::Keep
    } else if is_folder && ignore.may_match_below(path) {
        Verdict::Descend
    } else {
        Verdict::Skip
    }
}

/// A walk's filter for what `.dockerignore` leaves: the walk begins at `base`.
pub(crate) fn ignore_filter<'a>(
    ignore: Option<&'a Patterns>,
    base: &ImagePath,
) -> impl Fn(&[u8], bool) -> Verdict + Sync + use<'a> {
    let base = base.relative().to_vec();
    move |path: &[u8], is_folder: bool| match ignore {
        None => Verdict::Keep,
        Some(ignore) => verdict(ignore, &join(&base, path), is_folder),
    }
}

fn join(base: &[u8], path: &[u8]) -> Vec<u8> {
    if base.is_empty() {
        return path.to_vec();
    }
    let mut joined = Vec::with_capacity(base.len() + 1 + path.len());
    joined.extend_from_slice(base);
    if !path.is_empty() {
        joined.push(b'/');
        joined.extend_from_slice(path);
    }
    joined
}

/// What a source takes of the entries below what it selects.
pub(crate) struct Sieve<'a> {
    /// `.dockerignore`, by whole paths.
    pub(crate) ignore: Option<&'a Patterns>,
    /// `--exclude`, by paths from the selected folder on.
    pub(crate) excludes: Option<&'a Patterns>,
    /// `--parents`: what is kept, by paths from the pivot on.
    pub(crate) kept: Option<&'a Patterns>,
    /// The first parts of `kept` up to its first wildcard: nothing else need be entered.
    pub(crate) kept_prefix: Vec<u8>,
}

impl Sieve<'_> {
    /// The filter of a walk that begins at `base`.
    pub(crate) fn filter<'s>(&'s self, base: &ImagePath) -> impl Fn(&[u8], bool) -> Verdict + Sync + use<'s> {
        let base = base.relative().to_vec();
        move |path: &[u8], is_folder: bool| {
            let verdicts = [
                self.ignore.map(|ignore| verdict(ignore, &join(&base, path), is_folder)),
                self.excludes.map(|excludes| verdict(excludes, path, is_folder)),
                self.kept.map(|kept| self.keeps(kept, path, is_folder)),
            ];
            verdicts.into_iter().flatten().fold(Verdict::Keep, stricter)
        }
    }

    fn keeps(&self, kept: &Patterns, path: &[u8], is_folder: bool) -> Verdict {
        if kept.matches(path) {
            return Verdict::Keep;
        }
        let prefix = self.kept_prefix.as_slice();
        let leads_there = is_below(prefix, path) || is_below(path, prefix);
        if is_folder && leads_there { Verdict::Descend } else { Verdict::Skip }
    }
}

/// Whether `path` is `above` or below it.
pub(crate) fn is_below(path: &[u8], above: &[u8]) -> bool {
    above.is_empty() || path.starts_with(above) && matches!(path.get(above.len()), None | Some(b'/'))
}

const fn stricter(a: Verdict, b: Verdict) -> Verdict {
    match (a, b) {
        (Verdict::Skip, _) | (_, Verdict::Skip) => Verdict::Skip,
        (Verdict::Descend, _) | (_, Verdict::Descend) => Verdict::Descend,
        (Verdict::Keep, Verdict::Keep) => Verdict::Keep,
    }
}

/// The parts of a pattern before its first wildcard.
pub(crate) fn plain_prefix(pattern: &str) -> Vec<u8> {
    let parts = pattern.split('/').filter(|part| !part.is_empty());
    let plain: Vec<&str> = parts.take_while(|part| !glob::has_wildcards(part)).collect();
    plain.join("/").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, View) {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.txt", "b.txt", "d/a.txt", "d/sub/c.txt", "e/sub/c.txt", "e/x.md"] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        std::os::unix::fs::symlink("d", folder.path().join("l")).unwrap();
        let view = View::open_directory(folder.path()).unwrap();
        (folder, view)
    }

    fn check(pattern: &str, expected: &[&str]) {
        let (_folder, view) = tree();
        let source = PathSource {
            pattern: pattern.to_owned(),
            kept: String::new(),
            text: pattern.to_owned(),
            has_wildcards: glob::has_wildcards(pattern),
        };
        let found = select(&view, &source, None).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let found: Vec<String> = found.iter().map(|selected| selected.named.to_string()).collect();
        assert_eq!(found, expected, "{pattern}");
    }

    #[test]
    fn patterns_match_part_by_part() {
        check("/*.txt", &["/a.txt", "/b.txt"]);
        check("/a.txt", &["/a.txt"]);
        check("/*/sub/*", &["/d/sub/c.txt", "/e/sub/c.txt"]);
        check("/l/*.txt", &["/l/a.txt"]);
        check("/nothing*", &[]);
        check("/*/a.txt", &["/d/a.txt"]);
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is_near() {
        let (folder, view) = tree();
        let source = |text: &str| PathSource {
            pattern: text.to_owned(),
            kept: String::new(),
            text: text.to_owned(),
            has_wildcards: glob::has_wildcards(text),
        };
        let fault = |text: &str, ignore: Option<&Patterns>| {
            select(&view, &source(text), ignore).unwrap_err().to_string()
        };
        assert!(fault("/a.tx", None).contains("did you mean `a.txt`"));
        assert_eq!(fault("/quite/else", None), "failed to calculate checksum: \"/quite/else\": not found");
        assert_eq!(fault("/no/*", None), "lstat /no: no such file or directory");
        std::os::unix::fs::symlink("nowhere", folder.path().join("broken")).unwrap();
        assert!(fault("/brok*", None).contains("\"/broken\": not found (it is a link to nothing)"));
        let ignore = Patterns::parse(b"*.txt\nd\n").unwrap();
        assert_eq!(fault("/d/*", Some(&ignore)), "lstat /d: no such file or directory");
        assert!(fault("/a.txt", Some(&ignore)).contains("excluded by .dockerignore"));
    }

    #[test]
    fn what_is_ignored_may_come_back() {
        let ignore = Patterns::parse(b"d\n!d/sub/c.txt\n*.md\n").unwrap();
        let filter = ignore_filter(Some(&ignore), &ImagePath::root());
        assert_eq!(filter(b"d", true), Verdict::Descend);
        assert_eq!(filter(b"d/a.txt", false), Verdict::Skip);
        assert_eq!(filter(b"d/sub/c.txt", false), Verdict::Keep);
        assert_eq!(filter(b"e/y", false), Verdict::Keep);
        let below = ignore_filter(Some(&ignore), &ImagePath::new("/d"));
        assert_eq!(below(b"a.txt", false), Verdict::Skip);
    }

    #[test]
    fn only_what_leads_to_a_kept_path_is_entered() {
        let kept = Patterns::new(["d/**/*.txt"]).unwrap();
        let kept_prefix = plain_prefix("d/**/*.txt");
        let sieve = Sieve { ignore: None, excludes: None, kept: Some(&kept), kept_prefix };
        let filter = sieve.filter(&ImagePath::root());
        assert_eq!(filter(b"d", true), Verdict::Descend);
        assert_eq!(filter(b"d/sub", true), Verdict::Descend);
        assert_eq!(filter(b"d/sub/c.txt", false), Verdict::Keep);
        assert_eq!(filter(b"e", true), Verdict::Skip);
        assert_eq!(filter(b"a.txt", false), Verdict::Skip);
    }
}
