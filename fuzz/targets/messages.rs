//! Any bytes on the sockets of a sandbox and of a container's shim: refused, or the same message once more.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lighter_sandbox::fuzzing::check_messages(bytes);
    lighter_engine::container::fuzzing::check_frames(bytes);
});
