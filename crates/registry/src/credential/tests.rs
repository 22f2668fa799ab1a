use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::os::unix::fs::PermissionsExt as _;

fn credentials(path: &std::path::Path) -> Credentials {
    let sources = CredentialSources { config_json: Some(path.to_owned()), ..CredentialSources::default() };
    Credentials::new(sources, Duration::from_secs(10), Cancel::never())
}

fn check(json: &str, host: &str, expected: Option<(&str, &str)>) {
    let document = ConfigJson::parse(json.as_bytes(), "test").expect("valid");
    let found = document.plain(&server_key(host)).expect("readable");
    let expected = expected.map(|(user, password)| Credential::password(user, Secret::new(password)));
    assert_eq!(found, expected, "{json} {host}");
}

#[test]
fn servers_are_found_however_they_are_written() {
    let auth = STANDARD.encode("joe:s3:cret");
    let entry = |key: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#);
    let joe = Some(("joe", "s3:cret"));
    check(&entry("r.test:5000"), "r.test:5000", joe);
    check(&entry("https://r.test:5000"), "r.test:5000", joe);
    check(&entry("http://r.test:5000/v2/"), "r.test:5000", joe);
    check(&entry("r.test"), "r.test:5000", None);
    check(&entry("https://index.docker.io/v1/"), "registry-1.docker.io", joe);
    check(&entry("docker.io"), "docker.io", joe);
    check(&entry("https://index.docker.io/v1/"), "evil-index.docker.io", None);
    check(r#"{"auths":{"r.test":{"username":"a","password":"b"}}}"#, "r.test", Some(("a", "b")));
    check(r#"{"auths":{"r.test":{}}}"#, "r.test", None);
    check("{}", "r.test", None);
    check("", "r.test", None);
}

#[test]
fn a_damaged_entry_is_an_error_that_does_not_show_it() {
    let json = r#"{"auths":{"r.test":{"auth":"hunter2!!"}}}"#;
    let error = ConfigJson::parse(json.as_bytes(), "test").expect("valid").plain("r.test").expect_err("auth");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let Err(error) = ConfigJson::parse(br#"{"hunter2"#, "test") else { panic!("valid") };
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn storing_keeps_what_is_not_ours_and_erasing_undoes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/config.json");
    std::fs::create_dir(folder.path().join("deep")).expect("a folder");
    std::fs::write(&path, r#"{"detachKeys":"ctrl-x","auths":{"o.test":{"auth":"eA=="}}}"#).expect("written");
    let credentials = credentials(&path);
    let joe = Credential::password("joe", Secret::new("s3cret"));
    assert_eq!(credentials.store("r.test", &joe).expect("stored"), Stored::File(path.clone()));
    assert_eq!(credentials.store("r.test", &joe).expect("stored"), Stored::Unchanged);
    assert_eq!(credentials.lookup("r.test").expect("readable"), Some(joe));
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).expect("text");
    assert!(text.contains("detachKeys") && text.contains("o.test"), "{text}");
    assert!(credentials.erase("r.test").expect("erased"));
    assert!(!credentials.erase("r.test").expect("nothing to do"));
    let left = std::fs::read_dir(folder.path().join("deep")).expect("a folder").count();
    assert_eq!(left, 1, "no scratch files stay");
}

#[test]
fn tokens_are_told_from_passwords() {
    let json =
        r#"{"auths":{"r.test":{"auth":"am9lOg==","identitytoken":"T"},"s.test":{"registrytoken":"U"}}}"#;
    let document = ConfigJson::parse(json.as_bytes(), "test").expect("valid");
    let proof = |key| document.plain(key).expect("readable").expect("there").proof;
    assert_eq!(proof("r.test"), Proof::IdentityToken(Secret::new("T")));
    assert_eq!(proof("s.test"), Proof::RegistryToken(Secret::new("U")));
}

#[test]
fn helpers_are_chosen_by_server() {
    let json = r#"{"credsStore":"all","credHelpers":{"r.test":"one","https://s.test":"two"}}"#;
    let document = ConfigJson::parse(json.as_bytes(), "test").expect("valid");
    assert_eq!(document.helper("r.test"), Some("one"));
    assert_eq!(document.helper("s.test"), Some("two"));
    assert_eq!(document.helper("t.test"), Some("all"));
    let cancel = Cancel::never();
    assert!(helper::Helper::new("../evil", &[], Duration::ZERO, &cancel).is_err());
}

#[test]
fn a_helper_that_is_not_installed_keeps_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    std::fs::write(&path, r#"{"credsStore":"not-installed-anywhere"}"#).expect("written");
    let credentials = credentials(&path);
    assert_eq!(credentials.lookup("r.test").expect("readable"), None);
    assert!(!credentials.erase("r.test").expect("nothing to do"));
    let joe = Credential::password("joe", Secret::new("s3cret"));
    assert!(credentials.store("r.test", &joe).expect_err("nowhere").is_without_program());
}
