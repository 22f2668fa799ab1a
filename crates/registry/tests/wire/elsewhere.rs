//! Copies between repositories, and files from anywhere.

use std::io::Read as _;

use lighter_image::{Descriptor, Platform, Reference};
use lighter_registry::testing::{Fault, Registry, Trouble};
use lighter_registry::{Download, Known, Url, combine, ignore_events};

use super::support::{chain, client, name};

#[test]
fn an_index_is_copied_with_all_that_it_needs() {
    let (one, two) = (Registry::start(), Registry::start());
    let platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse::<Platform>().expect("a platform"));
    let images: Vec<Descriptor> =
        platforms.iter().map(|p| one.put_image_for("a", "", &[b"shared"], p).manifest).collect();
    let index = one.put_index("a", "1", &images);
    let from = name(&one, "a:1");
    for to in [name(&one, "b/c:1"), name(&two, "a:1")] {
        client()
            .copy_manifest(&from, &to, &index, &ignore_events)
            .unwrap_or_else(|e| panic!("{}", chain(&e)));
        for platform in &platforms {
            let by_digest = to.with_digest(index.digest);
            let resolved = client().resolve(&by_digest, platform).expect("resolved");
            assert!(client().blob(&to, &resolved.parsed.layers[0], 100).expect("there") == b"shared");
        }
    }
    assert!(one.asked("PUT /v2/b/c/blobs").is_empty(), "within a registry, blobs are mounted");
}

#[test]
fn the_manifests_behind_names_are_put_together() {
    let registry = Registry::start();
    let arm: Platform = "linux/arm64".parse().expect("a platform");
    registry.put_image_for("a", "arm", &[b"x"], &arm);
    registry.put_image("a", "host", &[b"x"]);
    let members = |rest: &str| client().members(&name(&registry, rest)).expect("members");
    let (raw, found) = members("a:arm");
    assert_eq!(found[0].descriptor.platform, Some(arm.clone()));
    let index = combine(&[(raw, found), members("a:host")], &[].into(), false, true).expect("an index");
    let reference = name(&registry, "a:both");
    client().put_manifest(&reference, &index.descriptor.media_type, &index.bytes).expect("put");
    for platform in [arm, Platform::host()] {
        client().resolve(&reference, &platform).expect("resolved");
    }
    assert_eq!(members("a:both").1.len(), 2);
    // what an index says of a platform stays, what a configuration says is made usual
    let v8 = Platform { variant: Some("v8".into()), ..Platform::new("linux", "arm64", None) };
    let of_v8 = registry.put_image_for("a", "v8", &[b"x"], &v8).manifest;
    registry.put_index("a", "index", &[of_v8]);
    for (source, variant) in [("a:index", true), ("a:v8", false)] {
        let index =
            combine(&[members(source), members("a:host")], &[].into(), false, true).expect("an index");
        assert_eq!(String::from_utf8_lossy(&index.bytes).contains("v8"), variant, "{source}");
    }
}

fn download(url: &str, known: &Known) -> Result<Option<(Vec<u8>, Known)>, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    match client().download(&url, known, &ignore_events).map_err(|error| chain(&error))? {
        Download::Unchanged => Ok(None),
        Download::Found(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            Ok(Some((bytes, file.known.clone())))
        }
    }
}

#[test]
fn files_are_fetched_and_not_fetched_twice() {
    let server = Registry::start();
    let etag = [("ETag", "\"1\"")];
    server.order(Fault::on("GET", "/file").times(1).with(Trouble::status(503)));
    server.order(Fault::on("GET", "/file").times(1).with(Trouble::answer(200, &etag, "content")));
    server.order(Fault::on("GET", "/file").times(1).with(Trouble::answer(304, &[], "")));
    server.order(Fault::on("GET", "/file").with(Trouble::CutAfter(2)));
    let url = format!("{}/file", server.url());
    let (bytes, known) = download(&url, &Known::default()).expect("fetched").expect("new");
    assert_eq!((bytes.as_slice(), known.etag.as_deref()), (b"content".as_slice(), Some("\"1\"")));
    assert_eq!(download(&url, &known).expect("asked"), None);
    let told = server.requests().pop().expect("asked");
    assert_eq!(told.header("if-none-match"), Some("\"1\""));
    server.order(Fault::on("GET", "/gone").with(Trouble::status(404)));
    let error = download(&format!("{}/gone", server.url()), &Known::default()).expect_err("gone");
    assert!(error.contains("404"), "{error}");
}

#[test]
fn a_file_that_is_cut_short_is_an_error() {
    let server = Registry::start();
    server.put_blob("r", b"bytes");
    let digest = lighter_image::Digest::of("bytes");
    server.order(Fault::on("GET", "/blobs/").with(Trouble::CutAfter(2)));
    let url = format!("{}/v2/r/blobs/{digest}", server.url());
    assert!(download(&url, &Known::default()).is_err());
}

#[test]
fn names_are_kept_as_they_were_typed() {
    let reference: Reference = "a.test/b:c".parse().expect("a name");
    let draft = lighter_registry::Draft {
        members: vec![lighter_registry::Member { source: reference, descriptor: Descriptor::of("x", b"y") }],
        ..Default::default()
    };
    let text = serde_json::to_string(&draft).expect("written");
    assert_eq!(serde_json::from_str::<lighter_registry::Draft>(&text).expect("read"), draft);
}
