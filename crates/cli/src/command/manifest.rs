//! `manifest`: lists of manifests, drafted beside the credentials and pushed.

use crate::args::manifest::{
    ManifestAnnotate, ManifestCreate, ManifestInspect, ManifestPush, ManifestRemove,
};
use crate::failure::Failure;
use crate::registry;
use crate::session::Session;
use crate::verb::Verb;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lighter_engine::manifest::{Drafts, ManifestError};
use lighter_engine::registry::config::RegistrySettings;
use lighter_engine::registry::{Annotation, Client, Member, RawManifest, ResolveError, shown_as_docker};
use lighter_image::{Index, Reference, media_type};
use serde::Serialize as _;
use serde_json::ser::PrettyFormatter;
use serde_json::{Value, json};

impl Verb for ManifestInspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let client = client(session, &self.names, self.insecure)?;
        let text = match self.names.as_slice() {
            [list, manifest] => {
                let (list, manifest) = (registry::tagged(list)?, registry::tagged(manifest)?);
                let members = drafts(session)?
                    .document(&list)
                    .map_err(|error| told(&error))?
                    .map(|(_, members)| members);
                let of_list = members.into_iter().flatten().any(|member| member.source == manifest);
                if !of_list {
                    return Err(Failure::new(format!(
                        "No such manifest: {} in {}",
                        manifest.familiar(),
                        list.familiar()
                    )));
                }
                self.remote(&client, &manifest)?
            }
            names => {
                let reference = registry::tagged(names.first().map_or("", String::as_str))?;
                match drafts(session)?.document(&reference).map_err(|error| told(&error))? {
                    Some((_, members)) if self.verbose => {
                        let shown: Result<Vec<Value>, Failure> =
                            members.iter().map(|member| verbose(&client, member)).collect();
                        indented(&Value::Array(shown?))?
                    }
                    Some((document, _)) => text_of(&document)?,
                    None => self.remote(&client, &reference)?,
                }
            }
        };
        session.print(&text).map(|()| 0)
    }
}

impl ManifestInspect {
    /// What a registry has under a name.
    fn remote(&self, client: &Client, reference: &Reference) -> Result<String, Failure> {
        let missing = |error: lighter_engine::registry::ResolveError| {
            if error.is_not_found() {
                Failure::new(format!("no such manifest: {}", reference.familiar()))
            } else {
                Failure::because(&error)
            }
        };
        if !self.verbose {
            return text_of(&client.manifest(reference).map_err(missing)?);
        }
        let (raw, mut members) = client.members(reference).map_err(missing)?;
        if media_type::is_index(&raw.descriptor.media_type) {
            // both are told: where it was found, and what it is
            for member in &mut members {
                member.source = reference.at(member.descriptor.digest);
            }
        }
        let shown: Result<Vec<Value>, Failure> =
            members.iter().map(|member| verbose(client, member)).collect();
        let mut shown = shown?;
        if media_type::is_index(&raw.descriptor.media_type) {
            indented(&Value::Array(shown))
        } else {
            indented(&shown.pop().unwrap_or_default())
        }
    }
}

/// A manifest with all that is known of it.
fn verbose(client: &Client, member: &Member) -> Result<Value, Failure> {
    let at = member.source.with_digest(member.descriptor.digest);
    let raw = client.manifest(&at).map_err(|error| Failure::because(&error))?;
    let form = match raw.descriptor.media_type.as_str() {
        media_type::DOCKER_MANIFEST => "SchemaV2Manifest",
        _ => "OCIManifest",
    };
    Ok(json!({
        "Ref": member.source.familiar(),
        "Descriptor": member.descriptor,
        "Raw": STANDARD.encode(&raw.bytes),
        form: parsed(&raw)?,
    }))
}

/// A document as Docker shows it: lists written anew, manifests as they are but for their spaces.
fn text_of(raw: &RawManifest) -> Result<String, Failure> {
    if !media_type::is_index(&raw.descriptor.media_type) {
        return indented(&parsed(raw)?);
    }
    let index: Index = serde_json::from_slice(&raw.bytes).map_err(|error| Failure::because(&error))?;
    let bytes = shown_as_docker(&index).map_err(|error| Failure::because(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned() + "\n")
}

fn parsed(raw: &RawManifest) -> Result<Value, Failure> {
    serde_json::from_slice(&raw.bytes).map_err(|error| Failure::because(&error))
}

fn indented(document: &Value) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"\t"));
    document.serialize(&mut writer).map_err(|error| Failure::because(&error))?;
    bytes.push(b'\n');
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Verb for ManifestCreate {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let client = client(session, &self.names, self.insecure)?;
        let names: Vec<Reference> =
            self.names.iter().map(|text| registry::tagged(text)).collect::<Result<_, _>>()?;
        let [list, members @ ..] = names.as_slice() else { return Ok(1) };
        let made = drafts(session)?.create(&client, list, members, self.amend);
        made.map_err(|error| told(&error))?;
        session.print(&format!("Created manifest list {}\n", list.familiar())).map(|()| 0)
    }
}

impl Verb for ManifestAnnotate {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let annotation = Annotation {
            os: self.os,
            architecture: self.arch,
            variant: self.variant,
            os_version: self.os_version,
            os_features: self.os_features,
        };
        let (list, manifest) = (registry::tagged(&self.list)?, registry::tagged(&self.manifest)?);
        drafts(session)?.annotate(&list, &manifest, &annotation).map_err(|error| told(&error))?;
        Ok(0)
    }
}

impl Verb for ManifestPush {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let client = client(session, std::slice::from_ref(&self.list), self.insecure)?;
        let (list, drafts) = (registry::tagged(&self.list)?, drafts(session)?);
        let said = |member: &Reference| {
            if let Some(digest) = member.digest() {
                // the digest of the list is what counts, should this not be written
                drop(session.print(&format!("Pushed ref {} with digest: {digest}\n", member.familiar())));
            }
        };
        let digest = drafts.push(&client, &list, &said).map_err(|error| told(&error))?;
        if self.purge {
            drafts.remove(&list).map_err(|error| told(&error))?;
        }
        session.print(&format!("{digest}\n")).map(|()| 0)
    }
}

impl Verb for ManifestRemove {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let drafts = drafts(session)?;
        let mut failures = Vec::new();
        for list in &self.lists {
            if let Err(failure) =
                registry::tagged(list).and_then(|list| drafts.remove(&list).map_err(|error| told(&error)))
            {
                failures.push(failure.text);
            }
        }
        if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
    }
}

/// The drafts are kept where Docker keeps its own, under a name of their own.
fn drafts(session: &Session) -> Result<Drafts, Failure> {
    let place = session.docker_config();
    let place =
        place.ok_or_else(|| Failure::new("Error: no place for manifest lists: set DOCKER_CONFIG or HOME"))?;
    Ok(Drafts::new(place.join("lighter-manifests")))
}

/// A client; `--insecure` counts for the registries that are named.
fn client(session: &Session, names: &[String], insecure: bool) -> Result<Client, Failure> {
    let mut config = registry::settings(session)?;
    for text in names.iter().filter(|_| insecure) {
        let prefix = registry::tagged(text)?.domain().to_owned();
        match config.registries.entries.iter_mut().find(|entry| entry.prefix == prefix) {
            Some(entry) => entry.insecure = true,
            None => config.registries.entries.push(RegistrySettings {
                prefix,
                insecure,
                ..RegistrySettings::default()
            }),
        }
    }
    Ok(Client::new(config, lighter_engine::registry::Cancel::never()))
}

/// What a user did wrong is told as it is, in Docker's words.
fn told(error: &ManifestError) -> Failure {
    match error {
        ManifestError::Resolve(ResolveError::NotFound { reference, .. }) => {
            Failure::new(format!("no such manifest: {reference}"))
        }
        ManifestError::NotFound(_)
        | ManifestError::NoMember { .. }
        | ManifestError::List(_)
        | ManifestError::Unsupported { .. }
        | ManifestError::Exists => Failure::new(error.to_string()),
        error => Failure::because(error),
    }
}
