//! Any text as a word with variables: expanded without a panic, in either way of reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_dockerfile::expand::{Lexer, Variables};

/// Two variables are set.
struct Two;

impl Variables for Two {
    fn get(&self, name: &str) -> Option<&str> {
        match name {
            "a" => Some("some/path.tar.gz"),
            "b" => Some(""),
            _ => None,
        }
    }
}

fuzz_target!(|text: &str| {
    for escape in ['\\', '`'] {
        drop(Lexer::new(escape).expand(text, &Two));
        let keeping = Lexer { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Lexer::new(escape) };
        drop(keeping.expand(text, &Two));
    }
});
