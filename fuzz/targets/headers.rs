//! Any bytes as the headers of a registry's answer: challenges, links, ranges and waits are read without a panic, and
//! say no more than was said.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lighter_registry::fuzzing::check_headers(bytes));
