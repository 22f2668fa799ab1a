//! Who asks: passwords, tokens, what they are shown to, and what is kept of them.

use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::support::{chain, client, fetch, name, quick};
use lighter_image::{Descriptor, Digest, Platform};
use lighter_registry::config::CredentialSources;
use lighter_registry::testing::{Auth, Fault, Options, Registry, Trouble};
use lighter_registry::{Cancel, Client, Config, LoginError, Secret, Stored, ignore_events};

fn basic() -> Registry {
    let auth = Auth::Basic { username: "joe".into(), password: "s3cret".into() };
    Registry::with(Options { auth, ..Options::default() })
}

fn token(user: bool, identity: Option<&str>, expires_in: u32) -> Registry {
    let user = user.then(|| ("joe".to_owned(), "s3cret".to_owned()));
    let auth = Auth::Token { user, identity: identity.map(str::to_owned), expires_in };
    Registry::with(Options { auth, ..Options::default() })
}

/// A client whose credentials are in this folder.
fn client_in(folder: &Path) -> Client {
    let config_json = Some(folder.join("config.json"));
    let credentials = CredentialSources { config_json, ..CredentialSources::default() };
    Client::new(Config { credentials, ..quick() }, Cancel::never())
}

fn logged_in(registry: &Registry, folder: &Path) -> Client {
    let client = client_in(folder);
    client.login(&registry.host(), "joe", Secret::new("s3cret")).expect("logged in");
    client
}

fn push(client: &Client, registry: &Registry, bytes: &'static [u8], from: &[String]) -> Result<(), String> {
    let mut open = |_: u64| -> std::io::Result<Box<dyn Read>> { Ok(Box::new(Cursor::new(bytes))) };
    let blob = (Digest::of(bytes), bytes.len() as u64);
    let pushed = client.push_blob(&name(registry, "to"), blob, from, &mut open, &ignore_events);
    pushed.map(|_| ()).map_err(|error| chain(&error))
}

#[test]
fn login_tries_before_it_keeps() {
    for registry in [basic(), token(true, None, 300)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        let client = client_in(folder.path());
        let error = client.login(&registry.host(), "joe", Secret::new("wrong")).expect_err("wrong");
        assert!(matches!(error, LoginError::Unauthorized { .. }), "{error}");
        assert!(
            chain(&error).contains("unauthorized") && !chain(&error).contains("wrong"),
            "{}",
            chain(&error)
        );
        assert!(!path.exists());
        let stored = client.login(&registry.host(), "joe", Secret::new("s3cret")).expect("good");
        assert_eq!(stored, Stored::File(path.clone()));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(client.logout(&registry.host()).expect("logged out"));
        assert!(!client.logout(&registry.host()).expect("nothing to do"));
    }
    let error = client().login("127.0.0.1:1", "joe", Secret::new("x")).expect_err("nobody there");
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
}

#[test]
fn a_private_registry_is_closed_to_others() {
    for registry in [basic(), token(true, None, 300)] {
        registry.put_image("a", "1", &[b"x"]);
        let error = client().resolve(&name(&registry, "a:1"), &Platform::host()).expect_err("closed");
        let shown = chain(&error);
        assert!(shown.contains("no basic auth") || shown.contains("authentication"), "{shown}");
        let folder = tempfile::tempdir().expect("a folder");
        let client = logged_in(&registry, folder.path());
        client.resolve(&name(&registry, "a:1"), &Platform::host()).expect("open");
        push(&client, &registry, b"bytes", &[]).expect("pushed");
        client.logout(&registry.host()).expect("logged out");
        assert!(client.resolve(&name(&registry, "a:1"), &Platform::host()).is_err());
    }
}

#[test]
fn public_images_need_no_login() {
    let registry = token(false, None, 300);
    let image = registry.put_image("a", "1", &[b"x"]);
    let client = client();
    client.resolve(&name(&registry, "a:1"), &Platform::host()).expect("open");
    fetch(&client, &name(&registry, "a"), &image.layers[0]).expect("open");
    assert_eq!(registry.asked("/token").len(), 1, "a token is used again");
    let error = push(&client, &registry, b"bytes", &[]).expect_err("not for writing");
    assert!(error.contains("authentication required"), "{error}");
}

#[test]
fn tokens_are_asked_for_with_what_they_are_for() {
    let registry = token(true, None, 300);
    registry.put_blob("from", b"bytes");
    let folder = tempfile::tempdir().expect("a folder");
    let client = logged_in(&registry, folder.path());
    push(&client, &registry, b"bytes", &["from".to_owned()]).expect("mounted");
    let asked = registry.asked("/token").pop().expect("asked");
    assert!(asked.contains("service=test"), "{asked}");
    assert!(asked.contains("scope=repository:from:pull") && asked.contains("scope=repository:to:pull,push"));
    assert!(registry.asked("PATCH").is_empty() && registry.asked("PUT").is_empty());
}

#[test]
fn tokens_that_ran_out_are_renewed() {
    let registry = token(false, None, 300);
    let image = registry.put_image("a", "1", &[b"x", b"y"]);
    let client = client();
    client.resolve(&name(&registry, "a:1"), &Platform::host()).expect("open");
    registry.order(Fault::on("GET", "/blobs/").times(1).with(Trouble::RevokeTokens));
    fetch(&client, &name(&registry, "a"), &image.layers[0]).expect("renewed");
    assert_eq!(registry.asked("/token").len(), 2);
    // one that is said to be good for a moment only is not used again
    let registry = token(false, None, 1);
    registry.put_image("a", "1", &[b"x"]);
    client.resolve(&name(&registry, "a:1"), &Platform::host()).expect("open");
    assert!(registry.asked("/token").len() >= 2);
}

/// More than goes with one request.
static BYTES: &[u8] = &[7; 2_000_000];

#[test]
fn an_upload_outlives_its_token() {
    let registry = token(true, None, 300);
    let folder = tempfile::tempdir().expect("a folder");
    let client = logged_in(&registry, folder.path());
    registry.order(Fault::on("PATCH", "").times(1).with(Trouble::RevokeTokens));
    push(&client, &registry, BYTES, &[]).expect("pushed");
    assert!(registry.has_blob(&Digest::of(BYTES)));
}

#[test]
fn an_identity_token_is_kept_in_place_of_the_password() {
    let registry = token(true, Some("IDENTITY"), 300);
    registry.put_image("a", "1", &[b"x"]);
    let folder = tempfile::tempdir().expect("a folder");
    let client = logged_in(&registry, folder.path());
    let text = fs::read_to_string(folder.path().join("config.json")).expect("text");
    assert!(text.contains("IDENTITY") && !text.contains("czNjcmV0") && !text.contains("s3cret"), "{text}");
    client.resolve(&name(&registry, "a:1"), &Platform::host()).expect("open");
    assert!(registry.asked("POST /token").len() == 1);
}

#[test]
fn other_hosts_are_not_told_who_asks() {
    let registry = basic();
    let storage = Registry::start();
    let blob = Descriptor::new("x", storage.put_blob("a", b"bytes"), 5);
    let folder = tempfile::tempdir().expect("a folder");
    let client = logged_in(&registry, folder.path());
    registry.order(Fault::on("GET", "/blobs/").with(Trouble::RedirectTo(storage.url())));
    fetch(&client, &name(&registry, "a"), &blob).expect("fetched");
    let told = registry.requests().pop().expect("asked");
    assert!(told.header("authorization").is_some(), "the registry itself is told");
    for request in storage.requests() {
        assert_eq!(request.header("authorization"), None);
    }
    // a challenge from there is not answered
    storage.order(Fault::on("GET", "").with(Trouble::answer(
        401,
        &[("WWW-Authenticate", "Basic realm=\"give\"")],
        "",
    )));
    let error = fetch(&client, &name(&registry, "a"), &blob).expect_err("refused");
    assert!(error.contains("401"), "{error}");
    for request in storage.requests() {
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn secrets_are_not_in_what_is_shown() {
    let registry = token(true, None, 300);
    let folder = tempfile::tempdir().expect("a folder");
    let client = logged_in(&registry, folder.path());
    let credential = client.stored_credential(&registry.host()).expect("read").expect("there");
    let shown = format!("{client:?} {credential:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
    registry.order(Fault::on("GET", "").with(Trouble::answer(200, &[], "{\"token\": s3cret")));
    let error = client.resolve(&name(&registry, "a"), &Platform::host()).expect_err("no document");
    assert!(!chain(&error).contains("s3cret"), "{}", chain(&error));
}

/// A helper program that keeps what it is told in a file beside it.
const HELPER: &str = r#"#!/bin/sh
here=$(dirname "$0")
case $1 in
store) cat > "$here/kept" ;;
get) read -r server || :; grep -sqF "\"$server\"" "$here/kept" && cat "$here/kept" || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) read -r server || :; grep -qF "\"$server\"" "$here/kept" && rm "$here/kept" ;;
esac
"#;

#[test]
fn helper_programs_keep_what_they_are_told() {
    let registry = basic();
    registry.put_image("a", "1", &[b"x"]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("docker-credential-test");
    // what this process has open for writing, so has a child that another thread starts, and the kernel executes no such file
    let text = folder.path().join("text");
    fs::write(&text, HELPER).expect("written");
    let made = Command::new("install").args(["-m", "755"]).args([&text, &program]).status().expect("install");
    assert!(made.success());
    let config_json = folder.path().join("config.json");
    fs::write(&config_json, "{\"credsStore\":\"test\"}").expect("written");
    let credentials = CredentialSources {
        config_json: Some(config_json.clone()),
        helper_directories: vec![folder.path().into()],
        ..CredentialSources::default()
    };
    let client = Client::new(Config { credentials, ..quick() }, Cancel::never());
    let stored = client.login(&registry.host(), "joe", Secret::new("s3cret")).expect("good");
    assert_eq!(stored, Stored::Helper("docker-credential-test".into()));
    let kept = fs::read_to_string(folder.path().join("kept")).expect("kept");
    let config = fs::read_to_string(&config_json).expect("text");
    assert!(kept.contains("\"Secret\":\"s3cret\"") && !config.contains("s3cret"), "{kept} {config}");
    client.resolve(&name(&registry, "a:1"), &Platform::host()).expect("open");
    assert!(client.logout(&registry.host()).expect("logged out"));
    assert!(client.resolve(&name(&registry, "a:1"), &Platform::host()).is_err());
    // as older programs kept it
    let kept = kept.replace(&registry.host(), &format!("https://{}", registry.host()));
    fs::write(folder.path().join("kept"), kept).expect("written");
    assert!(client.logout(&registry.host()).expect("logged out"));
    assert!(!folder.path().join("kept").exists());
}
