//! Any bytes as a layer: nothing outside of its folder changes, and what was unpacked packs and unpacks the same.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use lighter_layer::{ApplyOptions, PackOptions, apply, pack};

fuzz_target!(|bytes: &[u8]| {
    let outside = tempfile::tempdir().expect("a folder");
    let layer = outside.path().join("layer");
    std::fs::create_dir(&layer).expect("a folder");
    let applied = apply(bytes.take(16 << 20), &layer, &ApplyOptions::default());
    let names: Vec<_> = std::fs::read_dir(outside.path()).expect("reads").collect();
    assert_eq!(names.len(), 1, "something was written beside the layer");
    if applied.is_ok() {
        let mut tar = Vec::new();
        let first = pack(&layer, &mut tar, &PackOptions::default()).expect("packs");
        let again = outside.path().join("again");
        std::fs::create_dir(&again).expect("a folder");
        let second =
            apply(tar.as_slice(), &again, &ApplyOptions::default()).expect("applies what was packed");
        assert_eq!(first.diff_id, second.diff_id);
    }
});
