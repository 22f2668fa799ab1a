//! The other half of the table in `protocol`: what a registry answers, and what becomes of it.

use std::error::Error;
use std::io::{Cursor, Read};

use lighter_image::{Descriptor, Digest, Platform, media_type};
use lighter_registry::ignore_events;
use lighter_registry::testing::{Fault, Registry, Trouble};

use super::support::{chain, client, fetch, name};

/// One rule about answers.
struct Answered {
    section: &'static str,
    action: fn(&Registry) -> Result<String, String>,
    /// The request that is answered so: its method, and a part of its target.
    request: (&'static str, &'static str),
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// Part of what comes of it.
    outcome: Result<&'static str, &'static str>,
}

/// What the registry of each rule has.
const BLOB: &[u8] = b"bytes";
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
const OCI: (&str, &str) = ("Content-Type", media_type::OCI_MANIFEST);
const JSON: (&str, &str) = ("Content-Type", "application/json");
const OTHER: (&str, &str) =
    ("Docker-Content-Digest", "sha256:0000000000000000000000000000000000000000000000000000000000000000");
const SHA512: (&str, &str) = ("Docker-Content-Digest", "sha512:00");

const GET_BLOB: (&str, &str) = ("GET", "/blobs/");
const GET_MANIFEST: (&str, &str) = ("GET", "/manifests/");
const PUT_MANIFEST: (&str, &str) = ("PUT", "/manifests/");
const POST: (&str, &str) = ("POST", "/uploads/");
const PUT: (&str, &str) = ("PUT", "/uploads/");
const TAGS: (&str, &str) = ("GET", "/tags/list");

fn said<T: ToString>(outcome: Result<T, impl Error>) -> Result<String, String> {
    outcome.map(|good| good.to_string()).map_err(|error| chain(&error))
}

fn blob(registry: &Registry) -> Result<String, String> {
    let fetched = fetch(&client(), &name(registry, "a"), &Descriptor::of("x", BLOB));
    fetched.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn manifest(registry: &Registry) -> Result<String, String> {
    said(client().manifest(&name(registry, "a:1")).map(|raw| raw.descriptor.media_type))
}

fn by_digest(registry: &Registry) -> Result<String, String> {
    let reference = name(registry, "a").with_digest(Digest::of("another"));
    said(client().manifest(&reference).map(|raw| raw.descriptor.digest))
}

fn image(registry: &Registry) -> Result<String, String> {
    said(client().resolve(&name(registry, "a:1"), &Platform::host()).map(|found| found.descriptor.digest))
}

fn exists(registry: &Registry) -> Result<String, String> {
    let found = client().blob_exists(&name(registry, "a"), &Digest::of(BLOB));
    said(found.map(|size| format!("{size:?}")))
}

fn head(registry: &Registry) -> Result<String, String> {
    said(client().head_manifest(&name(registry, "a:1")).map(|found| format!("{found:?}")))
}

fn push(registry: &Registry) -> Result<String, String> {
    push_from(registry, &[])
}

fn mount(registry: &Registry) -> Result<String, String> {
    push_from(registry, &["other".to_owned()])
}

fn push_from(registry: &Registry, from: &[String]) -> Result<String, String> {
    let mut open = |offset: u64| -> std::io::Result<Box<dyn Read>> {
        let mut source = Cursor::new(b"a new one");
        source.set_position(offset);
        Ok(Box::new(source))
    };
    let blob = (Digest::of("a new one"), 9);
    let pushed = client().push_blob(&name(registry, "a"), blob, from, &mut open, &ignore_events);
    said(pushed.map(|pushed| format!("{pushed:?}")))
}

fn put(registry: &Registry) -> Result<String, String> {
    said(client().put_manifest(&name(registry, "a:1"), media_type::OCI_MANIFEST, MANIFEST.as_bytes()))
}

fn warned(registry: &Registry) -> Result<String, String> {
    let client = client();
    for _ in 0..2 {
        said(client.put_manifest(&name(registry, "a:1"), media_type::OCI_MANIFEST, MANIFEST.as_bytes()))?;
    }
    let told: Vec<String> = client.warnings().into_iter().map(|warning| warning.text).collect();
    Ok(format!("told: {}", told.join(" | ")))
}

fn tags(registry: &Registry) -> Result<String, String> {
    said(client().tags(&name(registry, "a")).map(|tags| tags.join(" ")))
}

const fn rule(
    section: &'static str,
    action: fn(&Registry) -> Result<String, String>,
    request: (&'static str, &'static str),
    (status, headers, body): (u16, &'static [(&'static str, &'static str)], &'static str),
    outcome: Result<&'static str, &'static str>,
) -> Answered {
    Answered { section, action, request, status, headers, body, outcome }
}

#[rustfmt::skip]
const ANSWERS: &[Answered] = &[
    rule("Determining Support: 404", blob, ("GET", "/v2/"), (404, &[], ""), Err("404 Not Found")),
    rule("Determining Support: anything but what is expected", blob, ("GET", "/v2/"), (418, &[], ""), Err("418")),

    rule("Pulling manifests: 200", manifest, GET_MANIFEST, (200, &[OCI], MANIFEST), Ok(media_type::OCI_MANIFEST)),
    rule("Pulling manifests: parameters of Content-Type are ignored", manifest, GET_MANIFEST, (200, &[("Content-Type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")], MANIFEST), Ok(media_type::OCI_MANIFEST)),
    rule("Pulling manifests: mediaType and Content-Type agree", image, GET_MANIFEST, (200, &[("Content-Type", media_type::OCI_INDEX)], MANIFEST), Err("but was served as")),
    rule("Pulling manifests: Docker-Content-Digest is the digest of the body", manifest, GET_MANIFEST, (200, &[OCI, OTHER], MANIFEST), Err("digest mismatch")),
    rule("Pulling manifests: a digest of another algorithm says nothing", manifest, GET_MANIFEST, (200, &[OCI, SHA512], MANIFEST), Ok(media_type::OCI_MANIFEST)),
    rule("Pulling manifests: verified by the digest that was asked for", by_digest, GET_MANIFEST, (200, &[OCI], MANIFEST), Err("digest mismatch")),
    rule("Pulling manifests: 404", manifest, GET_MANIFEST, (404, &[JSON], r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"1"}}]}"#), Err("manifest for 127.0.0.1*/a:1 not found")),
    rule("Pulling manifests: 404 without a body", manifest, GET_MANIFEST, (404, &[], ""), Err("/a:1 not found")),

    rule("Pulling blobs: 200", blob, GET_BLOB, (200, &[], "bytes"), Ok("bytes")),
    rule("Pulling blobs: 404", blob, GET_BLOB, (404, &[], ""), Err("404 Not Found")),
    rule("Pulling blobs: verified by the digest that was asked for", blob, GET_BLOB, (200, &[], "lies!"), Err("digest mismatch")),
    rule("Pulling blobs: Docker-Content-Digest counts for nothing against the body", blob, GET_BLOB, (200, &[OTHER], "bytes"), Ok("bytes")),
    rule("image-spec, Descriptors: size", blob, GET_BLOB, (200, &[], "byte"), Err("size mismatch")),
    rule("RFC 9110, 15.3.7: a part that is not the one that was asked for", blob, GET_BLOB, (206, &[("Content-Range", "bytes 1-4/5")], "ytes"), Err("does not begin at byte 0")),

    rule("Checking if content exists in the registry: 200", exists, ("HEAD", "/blobs/"), (200, &[], "bytes"), Ok("Some(5)")),
    rule("Checking if content exists in the registry: 404", exists, ("HEAD", "/blobs/"), (404, &[], ""), Ok("None")),
    rule("Checking if content exists in the registry: neither yes nor no", exists, ("HEAD", "/blobs/"), (400, &[], ""), Err("400 Bad Request")),
    rule("Checking if content exists in the registry: a manifest", head, ("HEAD", "/manifests/"), (200, &[OCI, OTHER], "bytes"), Ok("size: 5")),
    rule("Checking if content exists in the registry: no manifest", head, ("HEAD", "/manifests/"), (404, &[], ""), Ok("None")),

    rule("POST then PUT: 202 says where", push, POST, (202, &[], ""), Err("does not say where the upload goes on")),
    rule("POST then PUT: a location that is none", push, POST, (202, &[("Location", "ftp://files.test/")], ""), Err("is not an http address")),
    rule("POST then PUT: 404", push, POST, (404, &[JSON], r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#), Err("404 Not Found: name unknown: repository name not known to registry")),
    rule("POST then PUT: 201", push, PUT, (201, &[("Location", "/v2/a/blobs/x")], ""), Ok("Uploaded")),
    rule("POST then PUT: what is there is what was sent", push, PUT, (201, &[OTHER], ""), Err("digest mismatch: the registry has sha256:0000")),
    rule("POST then PUT: 400", push, PUT, (400, &[JSON], r#"{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}"#), Err("400 Bad Request: digest invalid: provided")),
    rule("Mounting a blob from another repository: not allowed to, so it is sent", mount, ("POST", "mount="), (403, &[], ""), Ok("Uploaded")),
    rule("Mounting a blob from another repository: 201", mount, ("POST", "mount="), (201, &[("Location", "/v2/a/blobs/x")], ""), Ok("Mounted(\"other\")")),

    rule("Pushing Manifests: 201", put, PUT_MANIFEST, (201, &[("Location", "/v2/a/manifests/1")], ""), Ok("sha256:")),
    rule("Pushing Manifests: what is there is what was sent", put, PUT_MANIFEST, (201, &[OTHER], ""), Err("digest mismatch: the registry has sha256:0000")),
    rule("Pushing Manifests: a digest of another algorithm says nothing", put, PUT_MANIFEST, (201, &[SHA512], ""), Ok("sha256:")),
    rule("Pushing Manifests: 404", put, PUT_MANIFEST, (404, &[JSON], r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#), Err("manifest blob unknown: blob unknown to registry")),
    rule("Pushing Manifests: 413", put, PUT_MANIFEST, (413, &[], ""), Err("413 Payload Too Large")),

    rule("Listing Tags: 200", tags, TAGS, (200, &[JSON], r#"{"name":"a","tags":["x","y"]}"#), Ok("x y")),
    rule("Listing Tags: none", tags, TAGS, (200, &[JSON], r#"{"name":"a","tags":null}"#), Ok("")),
    rule("Listing Tags: a page of none is the last", tags, TAGS, (200, &[JSON, ("Link", "</v2/a/tags/list?n=0>; rel=\"next\"")], r#"{"name":"a","tags":[]}"#), Ok("")),
    rule("Listing Tags: a Link that leads elsewhere is not followed; RFC 8288", tags, TAGS, (200, &[JSON, ("Link", "</v2/a/tags/list?n=0>; rel=\"first\"")], r#"{"name":"a","tags":["x"]}"#), Ok("x")),
    rule("Listing Tags: 404", tags, TAGS, (404, &[JSON], r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#), Err("repository 127.0.0.1*/a not found")),
    rule("Listing Tags: no list", tags, TAGS, (200, &[], "<html>"), Err("the list is not valid")),

    rule("API: a redirect without a target is no answer; RFC 9110, 15.4", blob, GET_BLOB, (307, &[], ""), Err("307")),
    rule("API: a target that is no address; RFC 9110, 15.4", blob, GET_BLOB, (307, &[("Location", "ftp://files.test/")], ""), Err("is not an http address")),
    rule("API: a manifest is not sent elsewhere by a 302; RFC 9110, 15.4.3", put, PUT_MANIFEST, (302, &[("Location", "/v2/")], ""), Err("redirect")),
    rule("Warnings: are no reason to do anything", blob, GET_BLOB, (200, &[("Warning", "299 - \"this image is deprecated\"")], "bytes"), Ok("bytes")),

    rule("Warnings: are passed on, each once; RFC 7234, 5.5", warned, PUT_MANIFEST, (201, &[("Warning", "299 - \"this image is deprecated\""), ("Warning", "299 - \"and you are slow\"")], ""), Ok("told: this image is deprecated | and you are slow")),
    rule("Warnings: those of caches are for nobody; RFC 7234, 5.5", warned, PUT_MANIFEST, (201, &[("Warning", "110 cache \"Response is stale\", 299 - \"old\"")], ""), Ok("told: old")),

    rule("Error Codes: any body", blob, GET_BLOB, (400, &[("Content-Type", "text/plain")], "go away"), Err("400 Bad Request: go away")),
    rule("Error Codes: message is optional", blob, GET_BLOB, (400, &[JSON], r#"{"errors":[{"code":"NAME_INVALID"}]}"#), Err("400 Bad Request: name invalid")),
    rule("Error Codes: several, and details of any kind", blob, GET_BLOB, (400, &[JSON], r#"{"errors":[{"code":"NAME_INVALID","message":"one","detail":[7]},{"code":"DENIED","message":"two","detail":null}]}"#), Err("name invalid: one: denied: two")),
    rule("Error Codes: one that is not known", blob, GET_BLOB, (400, &[JSON], r#"{"errors":[{"code":"NEW_ONE","message":"hm"}]}"#), Err("new one: hm")),
    rule("Error Codes: 429, and longer than anybody waits; RFC 6585, 4", blob, GET_BLOB, (429, &[JSON, ("Retry-After", "9999")], r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slowly"}]}"#), Err("toomanyrequests: slowly")),

    rule("RFC 9110, 11.6.1: a challenge that nobody knows", blob, GET_BLOB, (401, &[("WWW-Authenticate", "Negotiate")], ""), Err("authentication required")),
    rule("RFC 9110, 11.6.1: no challenge", blob, GET_BLOB, (401, &[], ""), Err("authentication required")),
    rule("RFC 9110, 11.6.1: a password that is not there", blob, GET_BLOB, (401, &[("WWW-Authenticate", "Basic realm=x")], ""), Err("no basic auth credentials")),
    rule("distribution, Token Authentication: a token server that is none", blob, GET_BLOB, (401, &[("WWW-Authenticate", "Bearer realm=\"ftp://tokens.test/\"")], ""), Err("authentication with `127.0.0.1*`: ")),
    rule("distribution, Token Authentication: 403 is not asked about", blob, GET_BLOB, (403, &[JSON], r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#), Err("403 Forbidden: denied: requested access")),
];

pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    ANSWERS.iter().map(|rule| rule.section)
}

#[test]
fn what_is_answered_is_taken_as_the_specification_says() {
    for rule in ANSWERS {
        let registry = Registry::start();
        registry.put_image("a", "1", &[BLOB]);
        let trouble = Trouble::answer(rule.status, rule.headers, rule.body);
        registry.order(Fault::on(rule.request.0, rule.request.1).with(trouble));
        let outcome = (rule.action)(&registry);
        let fits = match (&outcome, &rule.outcome) {
            (Ok(found), Ok(expected)) | (Err(found), Err(expected)) => has(found, expected),
            _ => false,
        };
        assert!(fits, "{}: {outcome:?} and not {:?}", rule.section, rule.outcome);
    }
}

/// Whether a text has these parts, in this order.
fn has(text: &str, parts: &str) -> bool {
    let mut rest = Some(text);
    for part in parts.split('*') {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
    }
    rest.is_some()
}

/// All codes that the specification has, and what is made of them where nothing else is said.
#[test]
fn codes_are_read_as_words() {
    const CODES: [&str; 14] = [
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    ];
    let registry = Registry::start();
    for code in CODES {
        let words = format!("words about {code}");
        let body = serde_json::json!({ "errors": [{ "code": code, "message": words }] }).to_string();
        registry.order(Fault::on("GET", "/blobs/").times(1).with(Trouble::answer(400, &[JSON], &body)));
        let error = blob(&registry).expect_err("refused");
        let expected = format!("400 Bad Request: {}: {words}", code.to_lowercase().replace('_', " "));
        assert!(error.ends_with(&expected), "{error}");
    }
}
