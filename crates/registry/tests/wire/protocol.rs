//! The protocol's rules as a table: what is done, and what must go over the wire for it.
//!
//! A row names its section of the OCI distribution-spec 1.1, and after a colon what of it; rows of other documents
//! name those. What is made of answers is in `answers`.

use std::io::{Cursor, Read};

use lighter_image::{Descriptor, Digest, Platform, media_type};
use lighter_registry::config::Limits;
use lighter_registry::testing::{Auth, Fault, Options, Registry, Trouble};
use lighter_registry::{Cancel, Client, Config, Secret, ignore_events};

use super::support::{client, fetch, fetch_from, name, quick};

/// One rule: the requests that an action leads to. `*` stands for anything, as in a digest or an upload's id.
struct Rule {
    section: &'static str,
    options: fn() -> Options,
    action: fn(&Registry),
    requests: &'static [&'static str],
    /// What the last request of this method says in a header; nothing where it must not be there.
    headers: &'static [(&'static str, &'static str, &'static str)],
}

const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

fn open() -> Options {
    Options::default()
}

fn token() -> Options {
    let auth = Auth::Token { user: None, identity: None, expires_in: 300 };
    Options { auth, ..Options::default() }
}

fn resolve(registry: &Registry) {
    registry.put_image("a/b", "1", &[b"layer"]);
    client().resolve(&name(registry, "a/b:1"), &Platform::host()).expect("resolved");
}

fn resolve_index(registry: &Registry) {
    let image = registry.put_image("a/b", "one", &[b"layer"]);
    registry.put_index("a/b", "1", &[image.manifest]);
    client().resolve(&name(registry, "a/b:1"), &Platform::host()).expect("resolved");
}

fn resolve_by_digest(registry: &Registry) {
    let image = registry.put_image("a/b", "1", &[b"layer"]);
    let reference = name(registry, "a/b:1").with_digest(image.manifest.digest);
    client().resolve(&reference, &Platform::host()).expect("resolved");
}

fn put_manifest(registry: &Registry) {
    client().put_manifest(&name(registry, "a/b:1"), media_type::OCI_MANIFEST, MANIFEST).expect("put");
}

fn put_by_digest(registry: &Registry) {
    let reference = name(registry, "a/b").with_digest(Digest::of(MANIFEST));
    client().put_manifest(&reference, media_type::OCI_MANIFEST, MANIFEST).expect("put");
}

fn head(registry: &Registry) {
    registry.put_manifest("a/b", "1", media_type::OCI_MANIFEST, MANIFEST);
    client().head_manifest(&name(registry, "a/b:1")).expect("asked").expect("there");
}

fn head_without_digest(registry: &Registry) {
    registry.order(Fault::on("HEAD", "").with(Trouble::answer(200, &[("Content-Type", "x")], "")));
    head(registry);
}

fn fetch_blob(registry: &Registry) {
    let blob = Descriptor::new("x", registry.put_blob("a/b", b"bytes"), 5);
    fetch(&client(), &name(registry, "a/b"), &blob).expect("fetched");
}

fn fetch_the_rest(registry: &Registry) {
    let blob = Descriptor::new("x", registry.put_blob("a/b", b"bytes"), 5);
    fetch_from(&client(), &name(registry, "a/b"), &blob, b"by", &|_| {}).expect("fetched");
}

fn fetch_elsewhere(registry: &Registry) {
    let elsewhere = registry.url().replace("127.0.0.1", "localhost");
    registry.order(Fault::on("GET", "/blobs/").times(1).with(Trouble::RedirectTo(elsewhere)));
    fetch_blob(registry);
}

fn push_size(registry: &Registry, size: usize, from: &[&str]) {
    let bytes = vec![7; size];
    let blob = (Digest::of(&bytes), size as u64);
    let mut open = |offset: u64| -> std::io::Result<Box<dyn Read>> {
        let mut source = Cursor::new(bytes.clone());
        source.set_position(offset);
        Ok(Box::new(source))
    };
    let from: Vec<String> = from.iter().map(|&from| from.to_owned()).collect();
    client().push_blob(&name(registry, "a/b"), blob, &from, &mut open, &ignore_events).expect("pushed");
}

fn push_small(registry: &Registry) {
    push_size(registry, 5, &[]);
}

fn push_large(registry: &Registry) {
    push_size(registry, 2_000_000, &[]);
}

fn push_cut(registry: &Registry) {
    registry.order(Fault::on("PATCH", "").times(1).with(Trouble::CutRequestAfter(700_000)));
    push_size(registry, 2_000_000, &[]);
}

fn push_damaged(registry: &Registry) {
    let mut open = |_| -> std::io::Result<Box<dyn Read>> { Ok(Box::new(Cursor::new(b"short"))) };
    let blob = (Digest::of("longer"), 6);
    client().push_blob(&name(registry, "a/b"), blob, &[], &mut open, &ignore_events).expect_err("too short");
}

fn push_known(registry: &Registry) {
    registry.put_blob("a/b", &[7; 5]);
    push_size(registry, 5, &[]);
}

fn mount(registry: &Registry) {
    registry.put_blob("other/one", &[7; 5]);
    push_size(registry, 5, &["other/one"]);
}

fn mount_in_vain(registry: &Registry) {
    push_size(registry, 5, &["other/one"]);
}

fn push_stream(registry: &Registry) {
    let limits = Limits { chunk_bytes: 4, ..Limits::default() };
    let client = Client::new(Config { limits, ..quick() }, Cancel::never());
    client.push_stream(&name(registry, "a/b"), &mut Cursor::new(b"abcdefg"), &ignore_events).expect("pushed");
}

fn push_out_of_order(registry: &Registry) {
    registry.order(Fault::on("PATCH", "").after(1).times(1).with(Trouble::status(416)));
    push_stream(registry);
}

fn push_unanswered(registry: &Registry) {
    registry.order(Fault::on("PATCH", "").times(1).with(Trouble::CutBefore));
    push_stream(registry);
}

fn list_tags(registry: &Registry) {
    for tag in ["x", "y", "z"] {
        registry.put_manifest("a/b", tag, media_type::OCI_MANIFEST, MANIFEST);
    }
    client().tags(&name(registry, "a/b")).expect("listed");
}

fn login(registry: &Registry) {
    let folder = tempfile::tempdir().expect("a folder");
    let config_json = Some(folder.path().join("config.json"));
    let credentials = lighter_registry::config::CredentialSources { config_json, ..Default::default() };
    let client = Client::new(Config { credentials, ..quick() }, Cancel::never());
    client.login(&registry.host(), "joe", Secret::new("pw")).expect("logged in");
}

const PING: &str = "GET /v2/";
const BEGIN: &str = "POST /v2/a/b/blobs/uploads/";
const HAS: &str = "HEAD /v2/a/b/blobs/sha256:*";
const GET: &str = "GET /v2/a/b/blobs/sha256:*";
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule { section: "Determining Support: who asks", options: || Options { auth: Auth::Basic { username: "joe".into(), password: "pw".into() }, ..open() },
        action: login, requests: &[PING, PING], headers: &[("GET", "authorization", "Basic am9lOnB3")] },
    Rule { section: "Pulling manifests: by tag", options: open, action: resolve,
        requests: &[PING, "GET /v2/a/b/manifests/1", "GET /v2/a/b/blobs/sha256:*"], headers: &[("GET", "accept-encoding", "identity")] },
    Rule { section: "Pulling manifests: by digest, which counts more than a tag", options: open, action: resolve_by_digest,
        requests: &[PING, "GET /v2/a/b/manifests/sha256:*", "GET /v2/a/b/blobs/sha256:*"], headers: &[("GET", "content-length", "")] },
    Rule { section: "Pulling manifests: from an index by digest", options: open, action: resolve_index,
        requests: &[PING, "GET /v2/a/b/manifests/1", "GET /v2/a/b/manifests/sha256:*", "GET /v2/a/b/blobs/sha256:*"], headers: &[] },
    Rule { section: "Pulling manifests: Accept names what is understood", options: open, action: head,
        requests: &[PING, "HEAD /v2/a/b/manifests/1"], headers: &[("HEAD", "accept", ACCEPTED)] },
    Rule { section: "Pulling blobs", options: open, action: fetch_blob,
        requests: &[PING, GET], headers: &[("GET", "range", "")] },
    Rule { section: "Pulling blobs: Range; RFC 9110, 14.2", options: open, action: fetch_the_rest,
        requests: &[PING, GET], headers: &[("GET", "range", "bytes=2-")] },
    Rule { section: "API: redirects are followed; RFC 9110, 15.4", options: open, action: fetch_elsewhere,
        requests: &[PING, GET, GET], headers: &[("GET", "host", "localhost:*")] },
    Rule { section: "Checking if content exists in the registry: a blob", options: open, action: push_known,
        requests: &[PING, HAS], headers: &[] },
    Rule { section: "Checking if content exists in the registry: a manifest", options: open, action: head,
        requests: &[PING, "HEAD /v2/a/b/manifests/1"], headers: &[] },
    Rule { section: "Checking if content exists in the registry: an answer without a digest", options: open, action: head_without_digest,
        requests: &[PING, "HEAD /v2/a/b/manifests/1", "GET /v2/a/b/manifests/1"], headers: &[("GET", "accept", ACCEPTED)] },
    Rule { section: "POST then PUT", options: open, action: push_small,
        requests: &[PING, HAS, BEGIN, "PUT /v2/a/b/blobs/uploads/0?at=0&digest=sha256:*"],
        headers: &[("POST", "content-length", "0"), ("PUT", "content-type", "application/octet-stream"), ("PUT", "content-length", "5")] },
    Rule { section: "POST then PUT: a location that is absolute, and elsewhere", options: || Options { uploads_at: Some("localhost"), ..open() }, action: push_small,
        requests: &[PING, HAS, BEGIN, "PUT /v2/a/b/blobs/uploads/0?at=0&digest=sha256:*"], headers: &[("PUT", "host", "localhost:*")] },
    Rule { section: "Pushing a blob in chunks: in one, of which no range is said", options: open, action: push_large,
        requests: &[PING, HAS, BEGIN, "PATCH /v2/a/b/blobs/uploads/0?at=0", "PUT /v2/a/b/blobs/uploads/0?at=2000000&digest=sha256:*"],
        headers: &[("PATCH", "content-type", "application/octet-stream"), ("PATCH", "content-length", "2000000"), ("PATCH", "content-range", ""), ("PUT", "content-length", "0")] },
    Rule { section: "Pushing a blob in chunks: the status of an upload, and going on", options: open, action: push_cut,
        requests: &[PING, HAS, BEGIN, "PATCH /v2/a/b/blobs/uploads/0?at=0", "GET /v2/a/b/blobs/uploads/0?at=0", "PATCH /v2/a/b/blobs/uploads/0?at=700000", "PUT /v2/a/b/blobs/uploads/0?at=2000000&digest=sha256:*"],
        headers: &[("PATCH", "content-range", "700000-1999999")] },
    Rule { section: "Pushing a blob in chunks: in order, each with its range", options: open, action: push_stream,
        requests: &[PING, BEGIN, "PATCH /v2/a/b/blobs/uploads/0?at=0", "PATCH /v2/a/b/blobs/uploads/0?at=4", "PUT /v2/a/b/blobs/uploads/0?at=7&digest=sha256:*"],
        headers: &[("POST", "content-length", "0"), ("PATCH", "content-range", "4-6"), ("PATCH", "content-length", "3"), ("PUT", "content-length", "0")] },
    Rule { section: "Pushing a blob in chunks: 416", options: open, action: push_out_of_order,
        requests: &[PING, BEGIN, "PATCH /v2/a/b/blobs/uploads/0?at=0", "PATCH /v2/a/b/blobs/uploads/0?at=4", "GET /v2/a/b/blobs/uploads/0?at=4", "PATCH /v2/a/b/blobs/uploads/0?at=4", "PUT /v2/a/b/blobs/uploads/0?at=7&digest=sha256:*"],
        headers: &[("PATCH", "content-range", "4-6")] },
    Rule { section: "Pushing a blob in chunks: a chunk that arrived is not sent again", options: open, action: push_unanswered,
        requests: &[PING, BEGIN, "PATCH /v2/a/b/blobs/uploads/0?at=0", "GET /v2/a/b/blobs/uploads/0?at=0", "PATCH /v2/a/b/blobs/uploads/0?at=4", "PUT /v2/a/b/blobs/uploads/0?at=7&digest=sha256:*"],
        headers: &[("PATCH", "content-range", "4-6")] },
    Rule { section: "Pushing a blob in chunks: OCI-Chunk-Min-Length", options: || Options { least_chunk_bytes: Some(6), ..open() }, action: push_stream,
        requests: &[PING, BEGIN, "PATCH /v2/a/b/blobs/uploads/0?at=0", "PATCH /v2/a/b/blobs/uploads/0?at=6", "PUT /v2/a/b/blobs/uploads/0?at=7&digest=sha256:*"],
        headers: &[("PATCH", "content-range", "6-6")] },
    Rule { section: "Cancel a blob upload", options: open, action: push_damaged,
        requests: &[PING, HAS, BEGIN, "DELETE /v2/a/b/blobs/uploads/0?at=0"], headers: &[("DELETE", "content-length", "0")] },
    Rule { section: "Mounting a blob from another repository: 201", options: open, action: mount,
        requests: &[PING, HAS, "POST /v2/a/b/blobs/uploads/?mount=sha256:*&from=other/one"], headers: &[("POST", "content-length", "0")] },
    Rule { section: "Mounting a blob from another repository: 202", options: open, action: mount_in_vain,
        requests: &[PING, HAS, "POST /v2/a/b/blobs/uploads/?mount=sha256:*&from=other/one", "PUT /v2/a/b/blobs/uploads/0?at=0&digest=sha256:*"], headers: &[] },
    Rule { section: "Pushing Manifests: by tag", options: open, action: put_manifest,
        requests: &[PING, "PUT /v2/a/b/manifests/1"], headers: &[("PUT", "content-type", media_type::OCI_MANIFEST)] },
    Rule { section: "Pushing Manifests: by digest", options: open, action: put_by_digest,
        requests: &[PING, "PUT /v2/a/b/manifests/sha256:*"], headers: &[("PUT", "content-length", "19")] },
    Rule { section: "Listing Tags: n, last and Link; RFC 8288", options: || Options { tags_page: Some(2), ..open() }, action: list_tags,
        requests: &[PING, "GET /v2/a/b/tags/list?n=1000", "GET /v2/a/b/tags/list?n=2&last=y"], headers: &[] },
    Rule { section: "distribution, Token Authentication: for what it is needed", options: token, action: fetch_blob,
        requests: &[PING, "GET /token?service=test&scope=repository:a/b:pull", GET], headers: &[("GET", "authorization", "Bearer *")] },
];

#[test]
fn what_is_sent_is_what_the_specification_says() {
    for rule in RULES {
        let registry = Registry::with((rule.options)());
        (rule.action)(&registry);
        let requests = registry.requests();
        let shown: Vec<String> = requests.iter().map(|r| format!("{} {}", r.method, r.target)).collect();
        let fits = shown.len() == rule.requests.len()
            && shown.iter().zip(rule.requests).all(|(shown, expected)| matches(expected, shown));
        assert!(fits, "{}:\n{shown:#?}\n{:#?}", rule.section, rule.requests);
        for (method, name, expected) in rule.headers {
            let last = requests.iter().rev().find(|request| request.method == *method).expect("was sent");
            let found = last.header(name).unwrap_or_default();
            assert!(matches(expected, found), "{}: {method} {name}: {found}", rule.section);
        }
    }
}

/// Whether a text fits a pattern, in which `*` stands for anything but `&`.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let end = rest.find('&').unwrap_or(rest.len());
    if after.is_empty() { end == rest.len() } else { matches(after, &rest[end..]) }
}

/// The sections of the specification that ask something of a client that pulls and pushes. Not among them: a
/// single POST, referrers and deletions, which lighter does not make use of, and the registry's own duties.
const SECTIONS: &[&str] = &[
    "Pulling manifests",
    "Pulling blobs",
    "Checking if content exists in the registry",
    "POST then PUT",
    "Pushing a blob in chunks",
    "Cancel a blob upload",
    "Mounting a blob from another repository",
    "Pushing Manifests",
    "Listing Tags",
    "API",
    "Determining Support",
    "Error Codes",
    "Warnings",
];
const OTHERS: &[&str] = &["image-spec, ", "RFC 9110, ", "distribution, "];

#[test]
fn each_section_has_rows_and_each_row_a_section() {
    let rows: Vec<&str> = RULES.iter().map(|rule| rule.section).chain(super::answers::sections()).collect();
    let is_of = |row: &str, section: &str| row.split(':').next() == Some(section);
    for section in SECTIONS {
        assert!(rows.iter().any(|row| is_of(row, section)), "no row is of `{section}`");
    }
    for row in rows {
        let known = SECTIONS.iter().any(|section| is_of(row, section));
        assert!(known || OTHERS.iter().any(|other| row.starts_with(other)), "`{row}` is of no section");
    }
}
