//! Any text as what the kernel and the machine say of mounts, control groups, ids and name servers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| lighter_sandbox::fuzzing::check_machine_texts(text));
