//! Pushing, to a registry that does its best and to one that does its worst.

use std::io::{Cursor, Read};

use super::support::{Kept, chain, client, name, noise, quick};
use lighter_image::{Digest, media_type};
use lighter_registry::config::Limits;
use lighter_registry::testing::{Fault, Options, Registry, Trouble};
use lighter_registry::{Cancel, Client, Config, PushError, Pushed, ignore_events};

/// Sends bytes as a blob.
fn push(
    registry: &Registry,
    repository: &str,
    bytes: &[u8],
    from: &[&str],
    kept: &Kept,
) -> Result<Pushed, PushError> {
    let owned = bytes.to_vec();
    let mut open = |offset: u64| -> std::io::Result<Box<dyn Read>> {
        let mut source = Cursor::new(owned.clone());
        source.set_position(offset);
        Ok(Box::new(source))
    };
    let from: Vec<String> = from.iter().map(|&from| from.to_owned()).collect();
    let blob = (Digest::of(bytes), bytes.len() as u64);
    let events = |event| kept.take(event);
    client().push_blob(&name(registry, repository), blob, &from, &mut open, &events)
}

fn push_plain(registry: &Registry, bytes: &[u8]) -> Result<Pushed, PushError> {
    push(registry, "r", bytes, &[], &Kept::default())
}

#[test]
fn blobs_of_all_sizes_arrive() {
    let registry = Registry::start();
    for size in [0, 1, 70_000, 1 << 20, (1 << 20) + 1, 3_000_000] {
        let bytes = noise(size);
        let kept = Kept::default();
        assert_eq!(push(&registry, "r", &bytes, &[], &kept).expect("pushed"), Pushed::Uploaded, "{size}");
        assert!(registry.blob(&Digest::of(&bytes)) == Some(bytes));
        assert_eq!((kept.bytes(), kept.is_finished()), (size as u64, true));
    }
}

#[test]
fn what_is_there_is_not_sent() {
    let registry = Registry::start();
    let digest = registry.put_blob("other", b"bytes");
    registry.put_blob("r", b"more bytes");
    assert_eq!(push_plain(&registry, b"more bytes").expect("there"), Pushed::Existed);
    let mounted = push(&registry, "r", b"bytes", &["r", "third", "other"], &Kept::default());
    assert_eq!(mounted.expect("mounted"), Pushed::Mounted("other".into()));
    assert_eq!(client().blob_exists(&name(&registry, "r"), &digest).expect("asked"), Some(5));
    assert!(registry.asked("PATCH").is_empty() && registry.asked("PUT").is_empty());
}

#[test]
fn a_mount_that_is_refused_becomes_an_upload() {
    let registry = Registry::start();
    assert_eq!(
        push(&registry, "r", b"bytes", &["other"], &Kept::default()).expect("pushed"),
        Pushed::Uploaded
    );
    assert_eq!(registry.asked("POST").len(), 1, "the upload that was begun instead is used");
}

#[test]
fn a_cut_upload_goes_on_where_it_broke() {
    let registry = Registry::start();
    registry.order(Fault::on("PATCH", "").times(2).with(Trouble::CutRequestAfter(1_000_000)));
    let bytes = noise(3_000_000);
    let kept = Kept::default();
    push(&registry, "r", &bytes, &[], &kept).expect("pushed");
    assert!(registry.has_blob(&Digest::of(&bytes)));
    let ranges: Vec<_> = registry
        .requests()
        .iter()
        .filter(|request| request.method == "PATCH")
        .map(|request| request.header("content-range").unwrap_or("-").to_owned())
        .collect();
    assert_eq!(ranges, ["-", "1000000-2999999", "2000000-2999999"]);
    assert_eq!((kept.bytes(), kept.retries()), (3_000_000, 2));
}

#[test]
fn a_lost_upload_begins_anew() {
    let registry = Registry::start();
    let lost = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}"#;
    registry.order(Fault::on("PATCH", "").times(1).with(Trouble::CutRequestAfter(500_000)));
    registry.order(Fault::on("GET", "/uploads/").times(1).with(Trouble::answer(404, &[], lost)));
    registry.order(Fault::on("PUT", "/uploads/").times(1).with(Trouble::answer(404, &[], lost)));
    let bytes = noise(2_000_000);
    push_plain(&registry, &bytes).expect("pushed");
    assert!(registry.has_blob(&Digest::of(&bytes)));
    assert_eq!(registry.asked("POST").len(), 3);
}

#[test]
fn trouble_that_passes_is_waited_for() {
    for (method, part) in [("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PATCH", ""), ("PUT", "")] {
        let registry = Registry::start();
        let trouble = Trouble::answer(503, &[("Retry-After", "0")], "");
        registry.order(Fault::on(method, part).times(2).with(trouble));
        let bytes = noise(1_200_000);
        push_plain(&registry, &bytes).unwrap_or_else(|error| panic!("{method}: {}", chain(&error)));
        assert!(registry.has_blob(&Digest::of(&bytes)), "{method}");
    }
}

#[test]
fn refusals_carry_the_servers_words() {
    let registry = Registry::start();
    let denied = r#"{"errors":[{"code":"DENIED","message":"quota is used up"}]}"#;
    registry.order(Fault::on("POST", "").with(Trouble::answer(403, &[], denied)));
    let error = chain(&push_plain(&registry, b"bytes").expect_err("denied"));
    assert!(error.contains("403 Forbidden: denied: quota is used up"), "{error}");
}

#[test]
fn a_source_that_is_too_short_is_our_own_fault() {
    let registry = Registry::start();
    let mut open = |_: u64| -> std::io::Result<Box<dyn Read>> { Ok(Box::new(Cursor::new(b"short"))) };
    let blob = (Digest::of("x"), 5_000_000);
    let outcome = client().push_blob(&name(&registry, "r"), blob, &[], &mut open, &ignore_events);
    assert!(matches!(outcome, Err(PushError::Source { .. })), "{outcome:?}");
    assert_eq!(registry.asked("PATCH").len(), 0, "what was cut short is not an upload");
}

#[test]
fn streams_are_sent_in_pieces() {
    let check = |options: Options, size: usize, pieces: usize, fault: Option<Fault>| {
        let registry = Registry::with(options);
        if let Some(fault) = fault {
            registry.order(fault);
        }
        let limits = Limits { chunk_bytes: 100_000, ..Limits::default() };
        let client = Client::new(Config { limits, ..quick() }, Cancel::never());
        let bytes = noise(size);
        let kept = Kept::default();
        let pushed = client
            .push_stream(&name(&registry, "r"), &mut Cursor::new(&bytes), &|event| kept.take(event))
            .unwrap_or_else(|error| panic!("{size}: {}", chain(&error)));
        assert_eq!(pushed, (Digest::of(&bytes), size as u64));
        assert!(registry.has_blob(&pushed.0));
        let sent = registry.requests().iter().filter(|request| request.method == "PATCH").count();
        assert_eq!((sent, kept.bytes()), (pieces, size as u64), "{size}");
    };
    check(Options::default(), 0, 0, None);
    check(Options::default(), 250_000, 3, None);
    check(Options::default(), 200_000, 2, None);
    check(Options { least_chunk_bytes: Some(200_000), ..Options::default() }, 250_000, 2, None);
    let cut = Fault::on("PATCH", "").after(1).times(1).with(Trouble::CutRequestAfter(60_000));
    check(Options::default(), 250_000, 4, Some(cut));
}

#[test]
fn a_stream_whose_upload_is_lost_is_said_to_be() {
    let registry = Registry::start();
    let lost = r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":"blob upload invalid"}]}"#;
    registry.order(Fault::on("PATCH", "").times(1).with(Trouble::CutRequestAfter(3)));
    registry.order(Fault::on("GET", "/uploads/").with(Trouble::answer(404, &[], lost)));
    let outcome = client().push_stream(&name(&registry, "r"), &mut Cursor::new(b"bytes"), &ignore_events);
    assert!(matches!(outcome, Err(PushError::Lost { .. })), "{outcome:?}");
}

#[test]
fn manifests_are_put_under_tags_and_digests() {
    let registry = Registry::start();
    let bytes = br#"{"schemaVersion":2}"#;
    let reference = name(&registry, "a/b:1");
    let digest = client().put_manifest(&reference, media_type::OCI_MANIFEST, bytes).expect("put");
    assert_eq!(registry.manifest("a/b", "1"), Some((media_type::OCI_MANIFEST.into(), bytes.to_vec())));
    let by_digest = reference.with_digest(digest);
    assert_eq!(client().put_manifest(&by_digest, media_type::OCI_MANIFEST, bytes).expect("put"), digest);
    let other = reference.with_digest(Digest::of("other"));
    let error = client().put_manifest(&other, media_type::OCI_MANIFEST, bytes).expect_err("not this one");
    assert!(matches!(error, PushError::Digest { .. }));
}

#[test]
fn tags_are_listed_over_pages() {
    let registry = Registry::with(Options { tags_page: Some(2), ..Options::default() });
    for tag in ["a", "b", "c", "d", "e"] {
        registry.put_image("r", tag, &[]);
    }
    assert_eq!(client().tags(&name(&registry, "r")).expect("listed"), ["a", "b", "c", "d", "e"]);
    assert_eq!(registry.asked("/tags/list").len(), 3);
    let error = chain(&client().tags(&name(&registry, "none")).expect_err("none"));
    assert!(error.contains("name unknown"), "{error}");
}
