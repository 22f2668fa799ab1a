//! Any text as a profile for system calls in Docker's format.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| lighter_sandbox::fuzzing::check_profile(text));
