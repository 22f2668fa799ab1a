//! Any bytes as a packed archive: its members are read without a panic and in bounded memory.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use lighter_layer::archive::Reader;
use lighter_layer::compress::Decoder;

fuzz_target!(|bytes: &[u8]| {
    let Ok(stream) = Decoder::new(bytes) else { return };
    // a few bytes may stand for terabytes
    let mut reader = Reader::new(stream.take(64 << 20));
    while let Ok(Some(_)) = reader.next_member() {}
});
