use proptest::prelude::*;

use super::*;
use crate::testing::{dockerfile, meaning};

fn check(source: &str, expected: &str) {
    let got = format(source.as_bytes()).expect("is sound");
    assert_eq!(got, expected, "{source}");
    assert_eq!(format(got.as_bytes()).expect("is sound"), got, "twice: {source}");
    assert_eq!(meaning(source), meaning(&got), "{source}");
}

#[test]
fn keywords_blanks_and_empty_lines() {
    check("from  a  as  B  \n\n\n\nrun   x  \n", "FROM a AS B\n\nRUN x\n");
    check("FROM a", "FROM a\n");
    check("\u{feff}# escape=`\r\nFROM a\r\nRUN x `\r\n y\r\n", "# escape=`\nFROM a\nRUN x `\n    y\n");
    check("\n# escape=x\nFROM a\n", "\n# escape=x\nFROM a\n");
}

#[test]
fn continuations() {
    check("FROM a\nRUN x && \\\n  y && \\\n    z\n", "FROM a\nRUN x && \\\n    y && \\\n      z\n");
    check("FROM a\nRUN x \\\n# c\n\n  # d\ny\n", "FROM a\nRUN x \\\n    # c\n    # d\n    y\n");
    check("FROM a\nRUN fo\\\no\n", "FROM a\nRUN fo\\\no\n");
    check("FROM a\nRUN echo \"a   \\\n b\"   \\\n   c\n", "FROM a\nRUN echo \"a   \\\n b\" \\\n    c\n");
    check("FROM a\nENV x  y   \\\n   z\n", "FROM a\nENV x  y   \\\n   z\n");
    check("FROM a\nRUN \\\n  x\n", "FROM a\nRUN \\\n    x\n");
    check("FROM a\nLA\\\nBEL a=b\n", "FROM a\nLA\\\nBEL a=b\n");
    check("FROM a\nENV A=a\\\n\\\nb\n", "FROM a\nENV A=a\\\n\\\nb\n");
}

#[test]
fn here_documents_stay() {
    check(
        "FROM a\nrun <<E cat\n  x\t \n\n\n  y\nE\n\n\ncmd x\n",
        "FROM a\nRUN <<E cat\n  x\t \n\n\n  y\nE\n\nCMD x\n",
    );
}

#[test]
fn a_faulty_file_is_left_alone() {
    assert!(format(b"FROM a\nRUNN x\n").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_meaning_stays(source in dockerfile()) {
        let printed = format(source.as_bytes()).expect("generated files are sound");
        prop_assert_eq!(meaning(&source), meaning(&printed), "{}", printed);
        let again = format(printed.as_bytes()).expect("printed files are sound");
        prop_assert_eq!(again, printed);
    }
}
