//! Pulling, from a registry that does its best and from one that does its worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::{FOR_EVER, Kept, chain, client, fetch, fetch_from, impatient, name, noise, quick};
use lighter_image::{Descriptor, Digest, Platform, Reference, media_type};
use lighter_registry::config::{FileKind, Limits, Mirror, Registries, RegistrySettings, Retries};
use lighter_registry::testing::{Fault, Registry, Trouble};
use lighter_registry::{Cancel, Client, Config, ResolveError};

fn linux(architecture: &str) -> Platform {
    format!("linux/{architecture}").parse().expect("a platform")
}

#[test]
fn an_image_is_resolved_without_its_layers() {
    let registry = Registry::start();
    let image = registry.put_image("a/b", "1", &[b"one", b"two"]);
    let resolved = client().resolve(&name(&registry, "a/b:1"), &Platform::host()).expect("resolved");
    assert_eq!(resolved.manifest.descriptor.digest, image.manifest.digest);
    assert_eq!(Digest::of(&resolved.config), image.config.digest);
    assert!(resolved.index.is_none());
    for layer in &image.layers {
        assert_eq!(registry.asked(&layer.digest.to_string()), Vec::<String>::new());
    }
}

#[test]
fn the_platform_decides_what_an_index_means() {
    let registry = Registry::start();
    let images: Vec<_> = ["arm64", "amd64", "s390x"]
        .iter()
        .map(|a| registry.put_image_for("ix", a, &[a.as_bytes()], &linux(a)).manifest)
        .collect();
    let index = registry.put_index("ix", "x", &images);
    let reference = name(&registry, "ix:x");
    for (number, architecture) in ["arm64", "amd64", "s390x"].iter().enumerate() {
        let resolved = client().resolve(&reference, &linux(architecture)).expect("resolved");
        assert_eq!(resolved.manifest.descriptor.digest, images[number].digest);
        assert_eq!(resolved.descriptor.digest, index.digest, "the name leads to the index");
    }
    let error = client().resolve(&reference, &linux("riscv64")).expect_err("none");
    let shown = error.to_string();
    assert!(
        shown.contains("no matching manifest for linux/riscv64") && shown.contains("linux/s390x"),
        "{shown}"
    );
}

#[test]
fn what_is_not_there_is_said_to_be_not_found() {
    let registry = Registry::start();
    registry.put_image("a", "1", &[]);
    for rest in ["a:none".to_owned(), "none:1".to_owned(), format!("a@{}", Digest::of("nothing"))] {
        let error = client().resolve(&name(&registry, &rest), &Platform::host()).expect_err("none");
        assert!(error.is_not_found() && error.to_string().contains("not found"), "{error}");
        assert!(chain(&error).contains("manifest unknown"), "{}", chain(&error));
        assert_eq!(client().head_manifest(&name(&registry, &rest)).expect("asked"), None);
    }
    let found = client().head_manifest(&name(&registry, "a:1")).expect("asked").expect("there");
    assert_eq!(found.media_type, media_type::OCI_MANIFEST);
}

/// Orders a fault for all blobs, and fetches one.
fn blob_with(fault: Option<Fault>, config: Config) -> (Result<Vec<u8>, String>, Registry, Vec<u8>, Kept) {
    let registry = Registry::start();
    let bytes = noise(300_000);
    let blob = Descriptor::new(media_type::OCI_LAYER, registry.put_blob("r", &bytes), bytes.len() as u64);
    if let Some(fault) = fault {
        registry.order(fault);
    }
    let kept = Kept::default();
    let client = Client::new(config, Cancel::never());
    let outcome = fetch_from(&client, &name(&registry, "r"), &blob, &[], &|event| kept.take(event));
    (outcome, registry, bytes, kept)
}

fn on_blobs() -> Fault {
    Fault::on("GET", "/blobs/")
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let (outcome, registry, bytes, kept) =
        blob_with(Some(on_blobs().times(2).with(Trouble::CutAfter(100_000))), quick());
    assert!(outcome.expect("fetched") == bytes);
    let ranges: Vec<_> =
        registry.requests().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["bytes=100000-", "bytes=200000-"]);
    assert_eq!((kept.retries(), kept.bytes(), kept.is_finished()), (2, 300_000, true));
}

#[test]
fn a_server_without_ranges_is_read_from_the_beginning() {
    let registry = Registry::start();
    let bytes = noise(300_000);
    let blob = Descriptor::new("x", registry.put_blob("r", &bytes), bytes.len() as u64);
    registry.order(on_blobs().times(1).with(Trouble::CutAfter(123_457)));
    registry.order(on_blobs().with(Trouble::NoRanges));
    assert!(fetch(&client(), &name(&registry, "r"), &blob).expect("fetched") == bytes);
}

#[test]
fn what_is_there_already_is_not_sent_again() {
    let registry = Registry::start();
    let bytes = noise(50_000);
    let blob = Descriptor::new("x", registry.put_blob("r", &bytes), bytes.len() as u64);
    let reference = name(&registry, "r");
    let whole = fetch_from(&client(), &reference, &blob, &bytes[..40_000], &|_| {}).expect("fetched");
    assert!(whole == bytes);
    assert_eq!(
        registry.requests().last().and_then(|r| r.header("range").map(str::to_owned)),
        Some("bytes=40000-".into())
    );
    // all of it: nothing is asked, and it is verified all the same
    let asked = registry.requests().len();
    assert!(fetch_from(&client(), &reference, &blob, &bytes, &|_| {}).expect("there") == bytes);
    assert_eq!(registry.requests().len(), asked);
    let mut wrong = bytes[..40_000].to_vec();
    wrong[7] ^= 1;
    let error = fetch_from(&client(), &reference, &blob, &wrong, &|_| {}).expect_err("damaged");
    assert!(error.contains("digest mismatch"), "{error}");
}

#[test]
fn trouble_that_passes_is_waited_for() {
    for status in [429, 500, 502, 503, 504] {
        let trouble = Trouble::answer(status, &[("Retry-After", "0")], "");
        let (outcome, _, bytes, kept) = blob_with(Some(on_blobs().times(3).with(trouble)), quick());
        assert!(outcome.expect("fetched") == bytes, "{status}");
        assert_eq!(kept.retries(), 3);
    }
}

#[test]
fn a_wait_that_is_asked_for_is_kept() {
    let begun = Instant::now();
    let trouble = Trouble::answer(429, &[("Retry-After", "1")], "");
    let (outcome, ..) = blob_with(Some(on_blobs().times(1).with(trouble)), quick());
    assert!(outcome.is_ok() && begun.elapsed() >= Duration::from_secs(1));
    // longer than anybody wants to wait: said at once
    let trouble = Trouble::answer(429, &[("Retry-After", "86400")], "slow down");
    let (outcome, ..) = blob_with(Some(on_blobs().times(1).with(trouble)), quick());
    let error = outcome.expect_err("too long");
    assert!(error.contains("429") && error.contains("slow down"), "{error}");
}

#[test]
fn trouble_that_stays_ends_with_the_servers_words() {
    let trouble = Trouble::answer(503, &[("Content-Type", "text/plain")], "under repair");
    let (outcome, registry, ..) = blob_with(Some(on_blobs().with(trouble)), quick());
    let error = outcome.expect_err("refused");
    assert!(error.contains("503 Service Unavailable: under repair"), "{error}");
    assert_eq!(registry.asked("/blobs/").len(), 5);
}

#[test]
fn wrong_bytes_are_found_out() {
    let check = |trouble: Trouble, expected: &str| {
        let (outcome, ..) = blob_with(Some(on_blobs().with(trouble.clone())), quick());
        let error = outcome.expect_err("wrong");
        assert!(error.contains(expected), "{trouble:?}: {error}");
    };
    check(Trouble::Flip, "digest mismatch");
    check(Trouble::Append(b"more".to_vec()), "size mismatch");
    check(Trouble::Announce(10), "size mismatch");
    check(Trouble::Announce(10_000_000), "size mismatch");
    check(Trouble::answer(200, &[], "short"), "size mismatch");
    check(
        Trouble::answer(206, &[("Content-Range", "bytes 5-299999/300000")], "x"),
        "does not begin at byte 0",
    );
    check(Trouble::answer(404, &[], ""), "404");
    check(Trouble::CutAfter(0), "disconnected");
}

#[test]
fn a_silent_server_is_not_waited_for_forever() {
    let (outcome, ..) = blob_with(Some(on_blobs().with(Trouble::Stall(FOR_EVER))), impatient());
    let error = outcome.expect_err("silent");
    assert!(error.contains("timed out"), "{error}");
}

#[test]
fn a_slow_server_is_one_that_works() {
    let slow = Trouble::Slow { piece_bytes: 100_000, pause: Duration::from_millis(300) };
    let (outcome, _, bytes, kept) = blob_with(Some(on_blobs().with(slow)), quick());
    assert!(outcome.expect("fetched") == bytes);
    assert_eq!(kept.retries(), 0);
}

#[test]
fn cancellation_is_noticed_while_waiting() {
    let registry = Registry::start();
    let blob = Descriptor::new("x", registry.put_blob("r", b"bytes"), 5);
    registry.order(on_blobs().with(Trouble::Stall(FOR_EVER)));
    let flag = Arc::new(AtomicBool::new(false));
    let client = Client::new(quick(), Cancel::flag(flag.clone()));
    let error = std::thread::scope(|scope| {
        let worker = scope.spawn(|| fetch(&client, &name(&registry, "r"), &blob).expect_err("cancelled"));
        while registry.asked("/blobs/").is_empty() && !worker.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        flag.store(true, Ordering::SeqCst);
        worker.join().expect("no panic")
    });
    assert!(error.contains("cancelled"), "{error}");
}

#[test]
fn documents_have_limits() {
    let registry = Registry::start();
    registry.put_image("a", "1", &[b"x".as_slice(); 5]);
    let reference = name(&registry, "a:1");
    let with = |limits: Limits| {
        let client = Client::new(Config { limits, ..quick() }, Cancel::never());
        chain(&client.resolve(&reference, &Platform::host()).expect_err("too much"))
    };
    let error = with(Limits { manifest_bytes: 100, ..Limits::default() });
    assert!(error.contains("limit of 100 bytes"), "{error}");
    let error = with(Limits { config_bytes: 10, ..Limits::default() });
    assert!(error.contains("more than the limit of 10"), "{error}");
    let error = with(Limits { layers: 4, ..Limits::default() });
    assert!(error.contains("5 layers"), "{error}");
    registry.order(Fault::on("GET", "/manifests/").with(Trouble::Endless));
    let error = with(Limits::default());
    assert!(error.contains("larger than the limit"), "{error}");
}

#[test]
fn manifests_are_what_was_asked_for() {
    let registry = Registry::start();
    let image = registry.put_image("a", "1", &[b"x"]);
    let by_digest = name(&registry, &format!("a@{}", image.manifest.digest));
    assert!(client().resolve(&by_digest, &Platform::host()).is_ok());
    registry.order(Fault::on("GET", "/manifests/").with(Trouble::Flip));
    for reference in [by_digest, name(&registry, "a:1")] {
        let error = client().resolve(&reference, &Platform::host()).expect_err("flipped");
        assert!(matches!(error, ResolveError::Digest { .. }), "{error}");
    }
}

#[test]
fn a_damaged_configuration_is_refused() {
    let registry = Registry::start();
    let image = registry.put_image("a", "1", &[b"x"]);
    registry.put_blob_as(
        "a",
        image.config.digest,
        &vec![b' '; usize::try_from(image.config.size).expect("small")],
    );
    let error = client().resolve(&name(&registry, "a:1"), &Platform::host()).expect_err("damaged");
    assert!(chain(&error).contains("digest mismatch"), "{}", chain(&error));
}

#[test]
fn odd_documents_are_refused() {
    let check = |media_type: &str, bytes: &str, expected: &str| {
        let registry = Registry::start();
        registry.put_manifest("a", "1", media_type, bytes.as_bytes());
        let error = client().resolve(&name(&registry, "a:1"), &Platform::host()).expect_err("odd");
        assert!(chain(&error).contains(expected), "{bytes}: {}", chain(&error));
    };
    check(media_type::OCI_MANIFEST, "{", "the manifest is not valid");
    check(media_type::OCI_MANIFEST, r#"{"schemaVersion":1}"#, "schema version 1");
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
    check(media_type::OCI_MANIFEST, &index, "but was served as");
    check(media_type::OCI_INDEX, &index, "no matching manifest");
}

#[test]
fn redirects_are_followed_and_end() {
    let storage = Registry::start();
    let bytes = noise(1000);
    let blob = Descriptor::new("x", storage.put_blob("r", &bytes), 1000);
    let registry = Registry::start();
    registry.order(on_blobs().with(Trouble::RedirectTo(storage.url())));
    assert!(fetch(&client(), &name(&registry, "r"), &blob).expect("fetched") == bytes);
    storage.order(on_blobs().with(Trouble::RedirectTo(registry.url())));
    let error = fetch(&client(), &name(&registry, "r"), &blob).expect_err("in circles");
    assert!(error.contains("redirect"), "{error}");
}

/// A client that asks mirrors first.
fn with_mirrors(registry: &Registry, mirrors: &[String]) -> Client {
    let mirrors = mirrors.iter().map(|host| Mirror { location: host.clone(), ..Mirror::default() });
    let entry = RegistrySettings {
        prefix: registry.host(),
        mirrors: mirrors.collect(),
        ..RegistrySettings::default()
    };
    let registries = Registries { entries: vec![entry], ..Registries::default() };
    let retries = Retries { attempts: 2, ..quick().retries };
    Client::new(Config { registries, retries, ..quick() }, Cancel::never())
}

#[test]
fn mirrors_are_asked_first_and_are_not_needed() {
    let (registry, mirror) = (Registry::start(), Registry::start());
    let image = registry.put_image("a", "1", &[b"from the origin"]);
    mirror.put_image("a", "1", &[b"from the origin"]);
    let reference = name(&registry, "a:1");
    let reads = |mirrors: &[String]| {
        let client = with_mirrors(&registry, mirrors);
        client.resolve(&reference, &Platform::host()).expect("resolved");
        fetch(&client, &reference, &image.layers[0]).expect("fetched")
    };
    reads(&[mirror.host()]);
    assert!(!mirror.requests().is_empty() && registry.requests().is_empty());
    // one that is not there, one that lacks it, and one that lies
    reads(&["127.0.0.1:1".to_owned()]);
    reads(&[Registry::start().host()]);
    mirror.order(on_blobs().with(Trouble::status(503)));
    mirror.order(Fault::on("GET", "/manifests/").with(Trouble::Flip));
    assert_eq!(reads(&[mirror.host()]), b"from the origin");
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let registry = Registry::start();
    let text = format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", registry.host());
    let registries =
        Registries::parse(FileKind::Containers, &text, "registries.conf".as_ref()).expect("valid");
    let client = Client::new(Config { registries, ..quick() }, Cancel::never());
    let error = client.resolve(&name(&registry, "a:1"), &Platform::host()).expect_err("blocked");
    assert!(error.to_string().contains("blocked") && registry.requests().is_empty());
}

#[test]
fn an_unreachable_registry_is_named() {
    let check = |text: &str, expected: &[&str]| {
        let reference: Reference = text.parse().expect("a name");
        let error = chain(&client().resolve(&reference, &Platform::host()).expect_err("unreachable"));
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
    };
    check("127.0.0.1:1/x", &["127.0.0.1:1", "refused"]);
    check("no-such-host.invalid/x", &["no-such-host.invalid"]);
}
