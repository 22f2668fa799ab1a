use super::*;

fn check(patterns: &[&str], path: &str, expected: bool) {
    let patterns_read = Patterns::new(patterns).unwrap();
    assert_eq!(patterns_read.matches(path.as_bytes()), expected, "{patterns:?} ~ {path}");
}

#[test]
fn names_folders_and_wildcards() {
    check(&["a"], "a", true);
    check(&["a"], "a/b/c", true);
    check(&["a"], "b/a", false);
    check(&["*/a"], "b/a", true);
    check(&["*.md"], "x.md", true);
    check(&["*.md"], "d/x.md", false);
    check(&["a/"], "a/b", true);
    check(&["./a/../b"], "b", true);
    check(&["a?c"], "abc", true);
    check(&["a?c"], "a/c", false);
    check(&["[a-c]x"], "bx", true);
    check(&["a\\*"], "a*", true);
    check(&["a.b"], "axb", false);
}

#[test]
fn a_slash_at_the_start_counts_outside_of_ignore_files_alone() {
    check(&["/a"], "a", false);
    assert!(Patterns::parse(b"/a\n").unwrap().matches(b"a"));
    assert!(!Patterns::parse(b"*\n!/a\n").unwrap().matches(b"a"));
}

#[test]
fn two_stars() {
    check(&["**"], "a/b", true);
    check(&["**/x"], "x", true);
    check(&["**/x"], "a/b/x", true);
    check(&["**/x"], "a/bx", false);
    check(&["**x"], "a/bx", true);
    check(&["a/**"], "a/b/c", true);
    check(&["a/**"], "a", false);
    check(&["a/**/b"], "a/b", true);
    check(&["a/**/b"], "a/x/y/b", true);
    check(&["a/**/b"], "a/x/yb", false);
    check(&["**/*.go"], "a/x.go", true);
    check(&["**/a*/**/b"], "x/ab/c/d/b", true);
    check(&["**/**"], "a/b", true);
    check(&["**/d/**"], "d/a", true);
    check(&["**/d/**"], "x/d/a", true);
    check(&["**/d/**"], "d", false);
}

#[test]
fn later_lines_win() {
    check(&["*", "!a"], "a", false);
    check(&["*", "!a"], "a/b", false);
    check(&["*", "!a/b"], "a/b", false);
    check(&["*", "!a/b"], "a/c", true);
    check(&["d", "!d/k*", "d/kx"], "d/kx", true);
    check(&["!a", "a"], "a", true);
    check(&["x", "!x/y/z", "x/y"], "x/y/z", false);
    check(&["x", "!x/y", "x/y/z"], "x/y/z", true);
    // the second was not tried for `a/b`, which was not ignored
    check(&["a/*/*b", "!a**/b"], "a/b/ab", true);
}

#[test]
fn a_letter_behind_a_backslash_must_mean_something() {
    assert!(Patterns::new(["ba\\ck"]).is_err());
    assert!(Patterns::new(["ba\\\\ck", "\\*"]).is_ok());
}

#[test]
fn only_folders_that_can_bring_something_back() {
    let patterns = Patterns::new(["*", "!a/b/c", "!**/keep", "x"]).unwrap();
    assert!(patterns.may_match_below(b"a"));
    assert!(patterns.may_match_below(b"zz"));
    let patterns = Patterns::new(["*", "!a/*/c"]).unwrap();
    assert!(patterns.may_match_below(b"a"));
    assert!(patterns.may_match_below(b"a/q"));
    assert!(!patterns.may_match_below(b"a/q/d"));
    assert!(!patterns.may_match_below(b"b"));
    assert!(patterns.may_match_below(b"a/q/c/deep"));
    // as in Docker, a class and what is escaped may stand for a slash
    for pattern in ["!x[^a]y", "!x[/]y", "!x[.-0]y", "!x\\/y", "!*[^a]y"] {
        check(&["*", pattern], "x/y", false);
        assert!(Patterns::new(["*", pattern]).unwrap().may_match_below(b"x"), "{pattern}");
    }
    // but not every one: these need no look into other folders
    for pattern in ["![Rr]eadme.md", "!a\\ b", "!x[0-9]", "!x[a-c]/y", "!\\*[ab]"] {
        assert!(!Patterns::new(["*", pattern]).unwrap().may_match_below(b"node_modules"), "{pattern}");
    }
    assert!(Patterns::new(["*", "!x[a-c]/y"]).unwrap().may_match_below(b"xb"));
}

#[test]
fn comments_and_faults() {
    let patterns = Patterns::parse(b"\xEF\xBB\xBF# c\n\n #x\n!k\r\n").unwrap();
    assert_eq!(serde_json::to_string(&patterns).unwrap(), r##"["#x","!k"]"##);
    for (pattern, text) in [
        ("!", "line 2: illegal exclusion pattern: \"!\""),
        ("[", "line 2: syntax error in pattern `[`"),
        ("[z-a]", "line 2: syntax error in pattern `[z-a]`"),
        ("a\\", "line 2: syntax error in pattern `a\\`"),
        ("x/\\1", "line 2: syntax error in pattern `x/\\1`"),
        ("\\y", "line 2: syntax error in pattern `\\y`"),
    ] {
        let refused = Patterns::parse(format!("a\n{pattern}\n").as_bytes()).expect_err(pattern);
        assert_eq!(refused.to_string(), text);
    }
}

/// What a pattern matches, said as simply as possible: try everything.
fn naive(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', '/'] | ['*', '*'] => true,
        ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
            naive(rest, path) || (0..path.len()).any(|at| path[at] == '/' && naive(rest, &path[at + 1..]))
        }
        ['*', rest @ ..] => (0..=path.len()).any(|at| !path[..at].contains(&'/') && naive(rest, &path[at..])),
        ['?', rest @ ..] => path.first().is_some_and(|&c| c != '/') && naive(rest, &path[1..]),
        [c, rest @ ..] => path.first() == Some(c) && naive(rest, &path[1..]),
    }
}

/// Folder by folder. As in Docker, a pattern that could change nothing for a folder is not tried there, and what is in
/// the folder is then not matched by it either.
fn naive_list(patterns: &[String], path: &str) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let mut reached = vec![false; patterns.len()];
    let mut ignored = false;
    for part in ends.map(|end| path[..end].chars().collect::<Vec<_>>()) {
        ignored = false;
        for (pattern, reached) in patterns.iter().zip(&mut reached) {
            let (exception, text) = match pattern.strip_prefix('!') {
                Some(text) => (true, text),
                None => (false, pattern.as_str()),
            };
            let text: Vec<char> = crate::path::clean(text).trim_start_matches('/').chars().collect();
            *reached |= exception == ignored && naive(&text, &part);
            if *reached {
                ignored = !exception;
            }
        }
    }
    ignored
}

proptest::proptest! {
    #[test]
    fn as_the_naive_matcher(
        patterns in proptest::collection::vec("!?[ab](/?(\\*|\\?|[ab]|\\*\\*/)){0,5}[ab]", 0..5),
        path in "[ab]{1,3}(/[ab]{1,3}){0,3}",
    ) {
        let read = Patterns::new(&patterns).unwrap();
        proptest::prop_assert_eq!(read.matches(path.as_bytes()), naive_list(&patterns, &path), "{:?} {}", patterns, path);
    }

    #[test]
    fn nothing_is_brought_back_from_a_folder_that_need_not_be_entered(
        patterns in proptest::collection::vec(
            "!?(\\*\\*/)?[ab*?]{1,2}((/|\\[\\^a\\]|\\[\\.-0\\]|\\[a-b\\]|\\[b/\\]|\\\\/)[ab*?]{1,2}){0,2}(/\\*\\*)?",
            0..5,
        ),
        folder in "[ab]{1,2}(/[ab]{1,2}){0,2}",
        below in "[ab]{1,2}(/[ab]{1,2}){0,2}",
    ) {
        let patterns = Patterns::new(&patterns).unwrap();
        let path = format!("{folder}/{below}");
        if patterns.matches(folder.as_bytes()) && !patterns.may_match_below(folder.as_bytes()) {
            proptest::prop_assert!(patterns.matches(path.as_bytes()), "{}", path);
        }
    }

    #[test]
    fn any_file_is_read(file in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
        if let Ok(patterns) = Patterns::parse(&file) {
            patterns.matches(b"a/b");
            patterns.may_match_below(b"a");
        }
    }
}
