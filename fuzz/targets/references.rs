//! Any text as the name of an image, a platform, a digest or a path: what is printed reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_image::{Digest, ImagePath, Platform, Reference};

fuzz_target!(|bytes: &[u8]| {
    let path = ImagePath::new(bytes);
    assert_eq!(ImagePath::new(path.as_bytes()), path);
    assert!(path.components().all(|part| !matches!(part, b"" | b"." | b"..")), "{path}");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string().parse::<Digest>().as_ref(), Ok(&digest));
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse::<Platform>().as_ref(), Ok(&platform));
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference));
        // as in Docker, the short form of `docker.io/a.b/c` names something on the host `a.b`, or nothing, and the one of
        // 64 hexadecimal digits is read as an image's id
        let whole = reference.to_string();
        let first = whole.strip_prefix("docker.io/").and_then(|rest| rest.split('/').next());
        let is_ambiguous = first.is_some_and(|first| first.contains('.') || first == "localhost")
            || Digest::from_hex(&reference.familiar()).is_ok();
        let short = reference.familiar().parse::<Reference>();
        assert!(is_ambiguous || short.as_ref() == Ok(&reference), "{whole}: {short:?}");
    }
});
