//! `config.json`: read for what it says about registries, written back with all else that was in it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use super::{Credential, CredentialError, DOCKER_KEY, Proof, bare_server};
use crate::Secret;

/// The most that is read of a file.
const LARGEST: u64 = 4 << 20;
/// Base64 with or without the padding that people forget.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A `config.json`, with all of its fields.
pub(crate) struct ConfigJson {
    fields: Map<String, Value>,
    origin: String,
}

impl ConfigJson {
    /// Reads a file; one that is not there is an empty one.
    pub(crate) fn read(path: &Path) -> Result<Self, CredentialError> {
        let origin = format!("`{}`", path.display());
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(CredentialError::File { doing: "reading", path: path.to_owned(), source });
            }
        };
        Self::parse(&bytes, &origin)
    }

    pub(crate) fn parse(bytes: &[u8], origin: &str) -> Result<Self, CredentialError> {
        let origin = origin.to_owned();
        if bytes.trim_ascii().is_empty() {
            return Ok(Self { fields: Map::new(), origin });
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self { fields, origin }),
            Ok(_) => Err(CredentialError::Invalid { origin, reason: "it is not a JSON object".to_owned() }),
            Err(error) => {
                let reason = format!("line {}, column {}", error.line(), error.column());
                Err(CredentialError::Invalid { origin, reason })
            }
        }
    }

    /// The helper that keeps what is for this server.
    pub(crate) fn helper(&self, key: &str) -> Option<&str> {
        let own = self.fields.get("credHelpers").and_then(Value::as_object).and_then(|helpers| {
            helpers.iter().find(|(server, _)| same_server(server, key)).and_then(|(_, name)| name.as_str())
        });
        let name = own.or_else(|| self.fields.get("credsStore").and_then(Value::as_str));
        name.filter(|name| !name.is_empty())
    }

    /// What the file itself says about this server.
    pub(crate) fn plain(&self, key: &str) -> Result<Option<Credential>, CredentialError> {
        let Some(auths) = self.fields.get("auths").and_then(Value::as_object) else { return Ok(None) };
        let exact = auths.get(key);
        let entry =
            exact.or_else(|| auths.iter().find(|(server, _)| same_server(server, key)).map(|(_, e)| e));
        let Some(entry) = entry else { return Ok(None) };
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let (mut username, mut password) = (text("username").to_owned(), text("password").to_owned());
        if !text("auth").is_empty() {
            (username, password) = decode(text("auth")).ok_or_else(|| CredentialError::Invalid {
                origin: self.origin.clone(),
                reason: format!("`auth` of `{key}` is not a name and a password in base64"),
            })?;
        }
        let proof = if !text("registrytoken").is_empty() {
            Proof::RegistryToken(Secret::new(text("registrytoken")))
        } else if !text("identitytoken").is_empty() {
            Proof::IdentityToken(Secret::new(text("identitytoken")))
        } else if username.is_empty() {
            return Ok(None);
        } else {
            Proof::Password(Secret::new(password))
        };
        Ok(Some(Credential { username, proof }))
    }

    /// Writes a credential into the document, in place of what was there for this server.
    pub(crate) fn set_plain(&mut self, key: &str, credential: &Credential) {
        let encode = |password: &str| STANDARD.encode(format!("{}:{password}", credential.username));
        let entry = match &credential.proof {
            Proof::Password(password) => json!({ "auth": encode(password.expose()) }),
            Proof::IdentityToken(token) => json!({ "auth": encode(""), "identitytoken": token.expose() }),
            Proof::RegistryToken(token) => json!({ "registrytoken": token.expose() }),
        };
        self.set(key, entry);
    }

    /// Notes that something about this server is kept elsewhere.
    pub(crate) fn set_known(&mut self, key: &str) {
        self.set(key, json!({}));
    }

    fn set(&mut self, key: &str, entry: Value) {
        let auths = self.fields.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[key] = entry;
    }

    /// Takes out all that is about this server; says whether there was something.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let Some(auths) = self.fields.get_mut("auths").and_then(Value::as_object_mut) else { return false };
        let before = auths.len();
        auths.retain(|server, _| !same_server(server, key));
        auths.len() < before
    }

    /// Writes the document, readable for its owner only, in one step.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CredentialError> {
        // a link stays one: what it points to is replaced
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.replace(&target).map_err(|source| CredentialError::File {
            doing: "writing",
            path: path.to_owned(),
            source,
        })
    }

    fn replace(&self, target: &Path) -> io::Result<()> {
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.fields.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indent))?;
        if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let scratch = scratch_beside(target);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&scratch)?;
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| fs::rename(&scratch, target));
        if renamed.is_err() {
            // the first failure is the one to tell
            let _ = fs::remove_file(&scratch);
        }
        renamed
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any such file should be"));
    }
    Ok(bytes)
}

fn scratch_beside(target: &Path) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{count}.tmp", std::process::id()));
    target.with_file_name(name)
}

/// Whether two keys are about the same server, however they are written.
fn same_server(key: &str, wanted: &str) -> bool {
    if wanted == DOCKER_KEY {
        return matches!(bare_server(key), "docker.io" | "index.docker.io" | "registry-1.docker.io");
    }
    bare_server(key) == bare_server(wanted)
}

fn decode(auth: &str) -> Option<(String, String)> {
    let bytes = LENIENT.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}
