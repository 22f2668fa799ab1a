//! Any bytes as the documents that registries and archives send: what is read is written, and reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_image::{Document, ImageConfig, parse_document};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = parse_document(bytes, None) {
        let written = match &document {
            Document::Manifest(manifest) => serde_json::to_vec(manifest),
            Document::Index(index) => serde_json::to_vec(index),
        };
        let again = parse_document(&written.expect("what was read can be written"), None);
        assert_eq!(again.expect("what was written can be read"), document);
    }
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) {
        let written = config.to_json().expect("what was read can be written");
        let again: ImageConfig = serde_json::from_slice(&written).expect("what was written can be read");
        // numbers in fields that nobody knows may lose their last digit
        assert_eq!((&again.rootfs, again.platform()), (&config.rootfs, config.platform()));
        assert_eq!(again.history.len(), config.history.len());
    }
});
