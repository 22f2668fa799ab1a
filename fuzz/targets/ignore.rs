//! Any bytes as ignore patterns, and any name against them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_dockerfile::ignore::Patterns;

/// The time that all folders of a name take grows with the fourth power of this.
const LONGEST: usize = 1 << 10;

fuzz_target!(|input: (&[u8], &[u8])| {
    if input.0.len() + input.1.len() > LONGEST {
        return;
    }
    // names are as a walk gives them
    if input.1.split(|byte| *byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
        return;
    }
    if let Ok(patterns) = Patterns::parse(input.0) {
        let ignored = patterns.matches(input.1);
        // what is not entered cannot bring anything back
        if !ignored {
            for place in (0..input.1.len()).filter(|&place| input.1[place] == b'/') {
                let folder = &input.1[..place];
                assert!(!patterns.matches(folder) || patterns.may_match_below(folder), "{folder:?}");
            }
        }
    }
});
