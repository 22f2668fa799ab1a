//! Any bytes as a Dockerfile: read, checked and planned without a panic; what is printed reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_dockerfile::{Base, Bases, Lowered, Request, lower, parse};
use lighter_image::{ImageConfig, Platform};

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse(bytes);
    let mut request = Request::new(Platform::host());
    request.all_stages = true;
    let mut bases = Bases::new();
    for _ in 0..8 {
        match lower(&parsed.file, &request, &bases) {
            Lowered::NeedsBases(needs) => {
                for need in needs {
                    let config = ImageConfig {
                        os: need.platform.os.clone(),
                        architecture: need.platform.architecture.clone(),
                        ..ImageConfig::default()
                    };
                    bases.insert(need.key(), Base { config, digest: None });
                }
            }
            Lowered::Plan(_) | Lowered::Faults(_) => break,
        }
    }
});
