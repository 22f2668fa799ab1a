use std::collections::BTreeMap;

use super::*;

struct Map(BTreeMap<&'static str, &'static str>);

impl Variables for Map {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).copied()
    }
}

fn variables() -> Map {
    Map(BTreeMap::from([
        ("SET", "value"),
        ("EMPTY", ""),
        ("P", "/usr/local/lib/libfoo.so.1.2"),
        ("B", "a  b"),
        ("X", "xxyx"),
        ("STAR", "a*b"),
        ("SLASH", "a/b/c"),
    ]))
}

fn check(text: &str, expected: &str) {
    let got = Lexer::new('\\').expand(text, &variables()).map(|expanded| expanded.text);
    assert_eq!(got.as_deref(), Ok(expected), "{text}");
}

fn check_error(text: &str, expected: &str) {
    let got = Lexer::new('\\').expand(text, &variables()).map_err(|error| error.to_string());
    assert_eq!(got.map(|expanded| expanded.text), Err(expected.to_owned()), "{text}");
}

#[test]
fn plain_references() {
    check("$SET${SET}$UNSET-$", "valuevalue-$");
    check("a$SETb $1x $$", "a x ");
    check("'$SET' \"$SET\" \\$SET", "$SET value $SET");
    check("\"a\\b \\\" \\$ \\\\\"", "a\\b \" $ \\");
    check("a\\b\\", "ab");
}

#[test]
fn modifiers() {
    check("${SET:-d}${EMPTY:-d}${UNSET:-d}", "valuedd");
    check("${SET-d}${EMPTY-d}${UNSET-d}", "valued");
    check("${SET:+a}${EMPTY:+a}${UNSET:+a}", "a");
    check("${SET+a}${EMPTY+a}${UNSET+a}", "aa");
    check("${UNSET:-${EMPTY:-${SET}-deep}}", "value-deep");
    check("${SET:?x}${EMPTY?x}", "value");
    check("${UNSET:-'a}b'}", "a}b");
}

#[test]
fn trimming_and_replacing() {
    check("${P#*/}", "usr/local/lib/libfoo.so.1.2");
    check("${P##*/}", "libfoo.so.1.2");
    check("${P%.*}", "/usr/local/lib/libfoo.so.1");
    check("${P%%.*}", "/usr/local/lib/libfoo");
    check("${P/lib/LIB}", "/usr/local/LIB/libfoo.so.1.2");
    check("${P//lib/LIB}", "/usr/local/LIB/LIBfoo.so.1.2");
    check("${P#no}", "/usr/local/lib/libfoo.so.1.2");
    check("${P/.so*/}", "/usr/local/lib/libfoo");
    check("${P#/usr/????l}", "/lib/libfoo.so.1.2");
    check("${P%[0-9]}", "/usr/local/lib/libfoo.so.1.2");
    check("${X//x/ab}", "ababyab");
    check("${X//x*/z}", "z");
    check("${STAR/\\*/-}", "a-b");
    check("${SLASH//\\//-}", "a-b-c");
    check("${UNSET#x}", "");
}

#[test]
fn faults() {
    check_error("${B", "syntax error: missing '}'");
    check_error("${", "syntax error: missing '}'");
    check_error("${}", "syntax error: bad substitution");
    check_error("${SET:-a", "syntax error: missing '}'");
    check_error("${SET:x}", "unsupported modifier (:x) in substitution");
    check_error("${SET:#x}", "unsupported modifier (:#) in substitution");
    check_error("${SET^x}", "unsupported modifier (^) in substitution");
    check_error("${SET/a}", "syntax error: missing '/' in ${}");
    check_error("${UNSET:?}", "UNSET: is not allowed to be unset");
    check_error("${EMPTY:?\"two words\"}", "EMPTY: two words");
    check_error("'a", "unexpected end of statement while looking for matching single-quote");
    check_error("\"a", "unexpected end of statement while looking for matching double-quote");
    let deep = "${UNSET:-".repeat(2000) + &"}".repeat(2000);
    check_error(&deep, "substitutions are nested too deeply");
    check_error("${SET#\\q}", "invalid pattern (\\q) in substitution: invalid escape '\\q'");
}

#[test]
fn words_are_split_after_expansion() {
    let expanded = Lexer::new('\\').expand("x \"$B\" $B \\ ", &variables()).unwrap();
    assert_eq!(expanded.words, ["x", "a  b", "a", "b", " "]);
}

#[test]
fn what_is_set_and_what_not() {
    let expanded = Lexer::new('\\').expand("$SET ${UNSET:-$EMPTY}", &variables()).unwrap();
    assert_eq!(expanded.used.into_iter().collect::<Vec<_>>(), ["EMPTY", "SET"]);
    assert_eq!(expanded.missing.into_iter().collect::<Vec<_>>(), ["UNSET"]);
}

#[test]
fn unset_can_stay() {
    let lexer = Lexer { keep_unset: true, keep_quotes: true, ..Lexer::new('\\') };
    let text = "$SET \"$UNSET\" ${UNSET:-x} ${UNSET}";
    assert_eq!(lexer.expand(text, &variables()).unwrap().text, "value \"$UNSET\" ${UNSET:-x} ${UNSET}");
}

#[test]
fn deep_nesting_is_refused() {
    let text = "${a:-".repeat(20_000);
    assert_eq!(Lexer::new('\\').expand(&text, &variables()), Err(ExpandError::Depth));
}

/// One variable.
struct Only(String);

impl Variables for Only {
    fn get(&self, name: &str) -> Option<&str> {
        (name == "A").then_some(&self.0)
    }
}

#[test]
fn values_do_not_grow_without_bound() {
    let expand =
        |text: &str, value: String| Lexer::new('\\').expand(text, &Only(value)).map(|it| it.text.len());
    assert_eq!(expand("$A$A", "x".repeat(256 << 10)), Ok(512 << 10));
    assert_eq!(expand(&"$A".repeat(5), "x".repeat(256 << 10)), Err(ExpandError::TooLong));
    assert_eq!(expand("${A//x/$A}", "x".repeat(10_000)), Err(ExpandError::TooLong));
}

#[test]
fn patterns_end() {
    let expand = |text: &str, value: String| Lexer::new('\\').expand(text, &Only(value)).map(|it| it.text);
    let value = "x".repeat(20_000);
    assert_eq!(expand("${A//*x*y/z}", value.clone()), Ok(value.clone()));
    assert_eq!(expand("${A//*x*x/z}", value.clone()), Ok("z".to_owned()));
    assert_eq!(expand("${A##*x*x*x*x}", value.clone()), Ok(String::new()));
    assert_eq!(expand("${A//?*x*x*y/z}", value), Err(ExpandError::Steps));
    assert_eq!(expand("${A//*b/z}", "ab\ncc\nab".to_owned()), Ok("z\ncc\nz".to_owned()));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read(text in "[a-z$\\{\\}:\\-+?#%/*'\"\\\\< ]{0,40}") {
        let lexer = Lexer::new('\\');
        let _ = lexer.expand(&text, &variables());
        let _ = Lexer { keep_unset: true, keep_quotes: true, keep_escapes: true, ..lexer }.expand(&text, &variables());
    }

    #[test]
    fn text_without_signs_stays(text in "[a-z =,.]{0,40}") {
        proptest::prop_assert_eq!(Lexer::new('\\').expand(&text, &variables()).unwrap().text, text);
    }
}
