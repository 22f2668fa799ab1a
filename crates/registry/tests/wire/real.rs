//! The real thing: Docker's own registry, started for one test. Skipped, and said so, where it is not installed.

use std::fs;
use std::io::{Cursor, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::support::{Kept, chain, client, fetch, noise, quick};
use lighter_image::{Descriptor, Digest, Platform, Reference, media_type};
use lighter_registry::config::Limits;
use lighter_registry::testing::Registry as Recorder;
use lighter_registry::{Cancel, Client, Config, Pushed, ignore_events};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// A registry program of one test's own.
struct Real {
    child: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl Real {
    fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            writeln!(std::io::stderr(), "skipped: there is no {PROGRAM}").expect("said");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("config.yml");
        // it takes a port that is free, and tells which
        let log = folder.path().join("log");
        let root = folder.path().display();
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n\
             storage: {{filesystem: {{rootdirectory: \"{root}/data\"}}, delete: {{enabled: true}}}}\n"
        );
        fs::write(&config, text).expect("written");
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("started");
        let mut real = Self { child, host: String::new(), _folder: folder };
        for _ in 0..6000 {
            let text = fs::read_to_string(&log).expect("the log");
            let address = text.split_once("listening on ").and_then(|(_, rest)| rest.split_once('"'));
            if let Some((host, _)) = address {
                host.clone_into(&mut real.host);
                return Some(real);
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the registry did not start");
    }

    fn name(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host).parse().expect("a name")
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn push(client: &Client, reference: &Reference, bytes: &[u8], from: &[&str]) -> Pushed {
    let owned = bytes.to_vec();
    let mut open = |offset: u64| -> std::io::Result<Box<dyn Read>> {
        let mut source = Cursor::new(owned.clone());
        source.set_position(offset);
        Ok(Box::new(source))
    };
    let from: Vec<String> = from.iter().map(|&from| from.to_owned()).collect();
    let blob = (Digest::of(bytes), bytes.len() as u64);
    client
        .push_blob(reference, blob, &from, &mut open, &ignore_events)
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// An image's manifest and parts, as a test registry makes them.
fn image(layers: &[&[u8]]) -> (Vec<u8>, Vec<u8>, Vec<Descriptor>) {
    let recorder = Recorder::start();
    let image = recorder.put_image("x", "1", layers);
    let config = recorder.blob(&image.config.digest).expect("there");
    let (_, manifest) = recorder.manifest("x", "1").expect("there");
    (manifest, config, image.layers)
}

#[test]
fn an_image_goes_there_and_comes_back() {
    let Some(real) = Real::start() else { return };
    let client = client();
    let (small, large) = (noise(1000), noise(3_000_000));
    let (manifest, config, layers) = image(&[&small, &large]);
    let reference = real.name("deep/path/app:1");
    for blob in [&small, &large, &config] {
        assert_eq!(push(&client, &reference, blob, &[]), Pushed::Uploaded);
        assert_eq!(push(&client, &reference, blob, &[]), Pushed::Existed);
    }
    let digest = client
        .put_manifest(&reference, media_type::OCI_MANIFEST, &manifest)
        .unwrap_or_else(|e| panic!("{}", chain(&e)));
    let resolved = client.resolve(&reference, &Platform::host()).expect("resolved");
    assert_eq!(resolved.descriptor.digest, digest);
    assert_eq!(resolved.config, config);
    assert!(fetch(&client, &reference, &layers[0]).expect("fetched") == small);
    assert!(fetch(&client, &reference, &layers[1]).expect("fetched") == large);
    let part = super::support::fetch_from(&client, &reference, &layers[1], &large[..1_000_000], &|_| {});
    assert!(part.expect("the rest") == large);
    assert_eq!(client.tags(&reference).expect("listed"), ["1"]);
    let elsewhere = real.name("other:1");
    assert_eq!(
        push(&client, &elsewhere, &large, &["deep/path/app"]),
        Pushed::Mounted("deep/path/app".into())
    );
    for missing in ["deep/path/app:none", "none:1"] {
        let error = client.resolve(&real.name(missing), &Platform::host()).expect_err("none");
        assert!(error.is_not_found(), "{}", chain(&error));
    }
    assert!(client.head_manifest(&reference).expect("asked").is_some_and(|found| found.digest == digest));
}

#[test]
fn a_manifest_whose_parts_lack_is_refused_with_its_words() {
    let Some(real) = Real::start() else { return };
    let (manifest, ..) = image(&[b"never sent"]);
    let error = client()
        .put_manifest(&real.name("a:1"), media_type::OCI_MANIFEST, &manifest)
        .expect_err("parts lack");
    assert!(chain(&error).contains("manifest blob unknown"), "{}", chain(&error));
}

#[test]
fn a_stream_goes_there_in_pieces() {
    let Some(real) = Real::start() else { return };
    let limits = Limits { chunk_bytes: 400_000, ..Limits::default() };
    let client = Client::new(Config { limits, ..quick() }, Cancel::never());
    let bytes = noise(1_000_000);
    let reference = real.name("stream");
    let kept = Kept::default();
    let pushed = client.push_stream(&reference, &mut Cursor::new(&bytes), &|event| kept.take(event));
    let (digest, size) = pushed.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!((digest, size, kept.bytes()), (Digest::of(&bytes), 1_000_000, 1_000_000));
    let blob = Descriptor::new("x", digest, size);
    assert!(fetch(&client, &reference, &blob).expect("fetched") == bytes);
}

/// Passes bytes on to a registry, and cuts the first connection of an upload after so many.
fn cutting(target: &str, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let target = target.to_owned();
    thread::spawn(move || {
        let mut allowance = Some(after);
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(&target) else { return };
            let (Ok(near_in), Ok(far_in)) = (near.try_clone(), far.try_clone()) else { return };
            thread::spawn(move || pass(far_in, near, None));
            if pass(near_in, far, allowance) {
                allowance = None;
            }
        }
    });
    host
}

/// Says whether the connection was cut.
fn pass(mut from: TcpStream, mut to: TcpStream, mut allowance: Option<usize>) -> bool {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        if let Some(left) = &mut allowance {
            if count > *left {
                let _ = to.write_all(&buffer[..*left]);
                let _ = to.shutdown(std::net::Shutdown::Both);
                let _ = from.shutdown(std::net::Shutdown::Both);
                return true;
            }
            *left -= count;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
    false
}

#[test]
fn a_cut_upload_arrives_whole() {
    let Some(real) = Real::start() else { return };
    let client = client();
    let bytes = noise(5_000_000);
    let between = cutting(&real.host, 2_000_000);
    let reference: Reference = format!("{between}/cut").parse().expect("a name");
    let owned = bytes.clone();
    let offsets = std::sync::Mutex::new(Vec::new());
    let mut open = |offset: u64| -> std::io::Result<Box<dyn Read>> {
        offsets.lock().expect("no panic").push(offset);
        let mut source = Cursor::new(owned.clone());
        source.set_position(offset);
        Ok(Box::new(source))
    };
    let kept = Kept::default();
    let size = bytes.len() as u64;
    let pushed = client.push_blob(&reference, (Digest::of(&bytes), size), &[], &mut open, &|e| kept.take(e));
    assert_eq!(pushed.unwrap_or_else(|error| panic!("{}", chain(&error))), Pushed::Uploaded);
    let offsets = offsets.into_inner().expect("no panic");
    // this registry keeps no account of an upload that broke within a request: it begins anew
    assert_eq!(offsets, [0, 0]);
    assert_eq!(kept.bytes(), size);
    let blob = Descriptor::new("x", Digest::of(&bytes), size);
    assert!(fetch(&client, &real.name("cut"), &blob).expect("fetched") == bytes);
}
