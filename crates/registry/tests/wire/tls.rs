//! Secure connections: who is believed, and who is shown what.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::support::{chain, name, quick};
use lighter_image::Platform;
use lighter_registry::config::{Certificates, Proxies, Registries, RegistrySettings};
use lighter_registry::testing::{Options, Registry};
use lighter_registry::{Cancel, Client, Config, Secret};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).expect("a certificate")
}

fn secured(asks_for_certificates: bool) -> Registry {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = if asks_for_certificates {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.crt")).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("a key");
    let config = builder.with_single_cert(vec![certificate("server.crt")], key).expect("a pair");
    Registry::with(Options { tls: Some(Arc::new(config)), ..Options::default() })
}

fn client(certificates: Certificates) -> Client {
    Client::new(Config { certificates, ..quick() }, Cancel::never())
}

fn resolve(client: &Client, registry: &Registry) -> Result<(), String> {
    registry.put_image("a", "1", &[b"x"]);
    let resolved = client.resolve(&name(registry, "a:1"), &Platform::host());
    resolved.map(|_| ()).map_err(|error| chain(&error))
}

#[test]
fn a_loopback_registry_may_speak_tls_with_any_certificate() {
    resolve(&client(Certificates::default()), &secured(false)).expect("any certificate will do");
}

#[test]
fn a_certificate_is_shown_where_one_is_kept_for_the_host() {
    let registry = secured(true);
    assert!(resolve(&client(Certificates::default()), &registry).is_err());
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join(registry.host());
    fs::create_dir(&own).expect("a folder");
    fs::copy(file("client.crt"), own.join("client.cert")).expect("copied");
    fs::copy(file("client.key"), own.join("client.key")).expect("copied");
    fs::copy(file("ca.crt"), own.join("ca.crt")).expect("copied");
    let certificates = Certificates { per_host: vec![folder.path().into()], ..Certificates::default() };
    resolve(&client(certificates), &registry).expect("known");
}

#[test]
fn bad_certificates_are_errors_that_name_the_file() {
    let registry = secured(false);
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join(registry.host());
    fs::create_dir(&own).expect("a folder");
    fs::write(own.join("ca.crt"), "-----BEGIN CERTIFICATE-----\nnonsense\n").expect("written");
    let certificates = Certificates { per_host: vec![folder.path().into()], ..Certificates::default() };
    let error = resolve(&client(certificates.clone()), &registry).expect_err("damaged");
    assert!(error.contains("ca.crt") && error.contains("not valid PEM"), "{error}");
    fs::remove_file(own.join("ca.crt")).expect("removed");
    fs::copy(file("client.crt"), own.join("client.cert")).expect("copied");
    let error = resolve(&client(certificates.clone()), &registry).expect_err("no key");
    assert!(error.contains("client.key"), "{error}");
    // a key that does not belong to the certificate
    fs::copy(file("server.key"), own.join("client.key")).expect("copied");
    assert!(resolve(&client(certificates), &registry).is_err());
}

/// A proxy that leads any name to one registry, so that names which are not loopback can be tried.
fn through_proxy(registry: &Registry) -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let target = registry.host();
    let thread = std::thread::spawn(move || {
        // one connection is enough for one test
        let Ok((mut near, _)) = listener.accept() else { return };
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && near.read(&mut byte).is_ok_and(|count| count > 0) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("CONNECT "), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic bWU6cHc="), "{head}");
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("written");
        let mut far = std::net::TcpStream::connect(target).expect("connected");
        let (mut near_in, mut far_out) =
            (near.try_clone().expect("cloned"), far.try_clone().expect("cloned"));
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut near_in, &mut far_out);
            let _ = far_out.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut far, &mut near);
        let _ = near.shutdown(std::net::Shutdown::Both);
        up.join().expect("no panic");
    });
    (address, thread)
}

fn resolve_by_name(
    registry: &Registry,
    certificates: Certificates,
    registries: Registries,
) -> Result<(), String> {
    registry.put_image("a", "1", &[b"x"]);
    let (proxy, thread) = through_proxy(registry);
    let proxies = Proxies {
        https: Some(Secret::new(format!("http://me:pw@{proxy}"))),
        http: Some(Secret::new(format!("http://me:pw@{proxy}"))),
        direct: "127.0.0.1".into(),
    };
    let client = Client::new(Config { certificates, registries, proxies, ..quick() }, Cancel::never());
    let reference = "registry.test/a:1".parse().expect("a name");
    let outcome = client.resolve(&reference, &Platform::host()).map(|_| ());
    drop(client);
    // where nothing was connected, the proxy still waits
    let _ = std::net::TcpStream::connect(proxy);
    let _ = thread.join();
    outcome.map_err(|error| chain(&error))
}

#[test]
fn other_hosts_need_a_certificate_that_is_trusted_and_theirs() {
    let registry = secured(false);
    let trusting = Certificates { bundle: Some(file("ca.crt")), ..Certificates::default() };
    let error = resolve_by_name(&registry, trusting, Registries::default()).expect_err("another name");
    assert!(error.contains("not valid for name"), "{error}");
    let error = resolve_by_name(
        &registry,
        Certificates { bundle: Some(file("client.crt")), ..Certificates::default() },
        Registries::default(),
    )
    .expect_err("unknown");
    assert!(error.contains("registry.test") && error.contains("certificate"), "{error}");
}

#[test]
fn a_host_that_is_configured_so_may_show_any_certificate() {
    let insecure = |prefix: &str| Registries {
        entries: vec![RegistrySettings {
            prefix: prefix.into(),
            insecure: true,
            ..RegistrySettings::default()
        }],
        ..Registries::default()
    };
    let registry = secured(false);
    resolve_by_name(&registry, Certificates::default(), insecure("registry.test")).expect("allowed");
    assert!(resolve_by_name(&registry, Certificates::default(), insecure("other.test")).is_err());
}

#[test]
fn plain_http_is_not_spoken_to_other_hosts() {
    let registry = Registry::start();
    let error =
        resolve_by_name(&registry, Certificates::default(), Registries::default()).expect_err("plain");
    assert!(error.contains("plain http"), "{error}");
    assert!(registry.requests().is_empty());
}
