//! Indexes: made from manifests that are in registries, annotated, and written as documents.

use std::collections::BTreeMap;

use lighter_image::{
    Descriptor, Digest, Document, Index, Manifest, Platform, Reference, media_type, parse_document,
};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::pull::{RawManifest, ResolveError};

/// The kind of document that an index is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexKind {
    /// Docker's manifest list.
    Docker,
    /// The OCI's image index.
    Oci,
}

impl IndexKind {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Docker => media_type::DOCKER_LIST,
            Self::Oci => media_type::OCI_INDEX,
        }
    }

    /// The kind that fits these manifests: Docker's where all of them are Docker's.
    pub fn fitting(members: &[Member]) -> Self {
        let is_docker = |member: &Member| member.descriptor.media_type == media_type::DOCKER_MANIFEST;
        if !members.is_empty() && members.iter().all(is_docker) { Self::Docker } else { Self::Oci }
    }
}

/// A manifest, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// A name that leads to it.
    pub source: Reference,
    /// Its media type, digest and size, and what it runs on.
    pub descriptor: Descriptor,
}

/// What is to be said about a manifest's platform, as far as it is to be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotation {
    /// The operating system.
    pub os: Option<String>,
    /// The architecture.
    pub architecture: Option<String>,
    /// The architecture's variant.
    pub variant: Option<String>,
    /// The operating system's version.
    pub os_version: Option<String>,
    /// What the operating system must have; added to what is said already.
    pub os_features: Vec<String>,
}

/// Why an index cannot be made so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// There is no such manifest in it.
    #[error("the manifest is not in the list")]
    Unknown,
    /// A platform must name both.
    #[error("manifest {0} has no platform: an operating system and an architecture must be given")]
    NoPlatform(Digest),
    /// It cannot be written as JSON.
    #[error("writing the list: {0}")]
    Json(String),
    /// Nothing is in it.
    #[error("a list must have at least one manifest")]
    Empty,
}

/// An index with its fields in the order of Docker's command line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerList<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<DockerEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerEntry<'a> {
    media_type: &'a str,
    size: u64,
    digest: Digest,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a Platform>,
}

impl<'a> DockerEntry<'a> {
    fn of(descriptor: &'a Descriptor) -> Self {
        let Descriptor { media_type, size, digest, annotations, platform, .. } = descriptor;
        Self { media_type, size: *size, digest: *digest, annotations, platform: platform.as_ref() }
    }
}

impl DockerList<'_> {
    fn bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"   ");
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, indent))?;
        Ok(bytes)
    }
}

/// An index as `docker manifest inspect` shows it.
///
/// # Errors
/// Where it cannot be written as JSON.
pub fn shown_as_docker(index: &Index) -> serde_json::Result<Vec<u8>> {
    let list = DockerList {
        schema_version: index.schema_version,
        media_type: index.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
        manifests: index.manifests.iter().map(DockerEntry::of).collect(),
    };
    list.bytes()
}

/// An index that is being made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its manifests, in order.
    pub members: Vec<Member>,
    /// Notes about the whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Draft {
    /// Adds a manifest, in place of the same one where that is in it already.
    pub fn add(&mut self, member: Member) {
        let same = |old: &&mut Member| {
            old.descriptor.digest == member.descriptor.digest
                && old.descriptor.platform == member.descriptor.platform
        };
        match self.members.iter_mut().find(same) {
            Some(old) => *old = member,
            None => self.members.push(member),
        }
    }

    /// Adds a manifest under its name, in place of what had that name: one manifest may be there under several.
    pub fn add_named(&mut self, member: Member) {
        match self.members.iter_mut().find(|old| old.source == member.source) {
            Some(old) => *old = member,
            None => self.members.push(member),
        }
    }

    /// The manifest of this name, or else the one with its digest.
    pub fn position(&self, name: &Reference) -> Option<usize> {
        let named = self.members.iter().position(|member| member.source == *name);
        named.or_else(|| {
            let digest = name.digest()?;
            self.members.iter().position(|member| member.descriptor.digest == digest)
        })
    }

    /// Changes what is said about the platform of the manifest at this place.
    ///
    /// # Errors
    /// [`IndexError`] where there is no such manifest, or what is said would be half a platform.
    pub fn annotate(&mut self, place: usize, annotation: &Annotation) -> Result<(), IndexError> {
        let descriptor = &mut self.members.get_mut(place).ok_or(IndexError::Unknown)?.descriptor;
        let digest = descriptor.digest;
        let old = descriptor.platform.take();
        let part = |new: &Option<String>, old: Option<&String>| {
            new.clone().or_else(|| old.cloned()).filter(|text| !text.is_empty())
        };
        let os = part(&annotation.os, old.as_ref().map(|old| &old.os));
        let architecture = part(&annotation.architecture, old.as_ref().map(|old| &old.architecture));
        let (Some(os), Some(architecture)) = (os, architecture) else {
            descriptor.platform = old;
            return Err(IndexError::NoPlatform(digest));
        };
        let variant = part(&annotation.variant, old.as_ref().and_then(|old| old.variant.as_ref()));
        let os_version = part(&annotation.os_version, old.as_ref().and_then(|old| old.os_version.as_ref()));
        let mut os_features = old.map(|old| old.os_features).unwrap_or_default();
        for feature in &annotation.os_features {
            if !os_features.contains(feature) {
                os_features.push(feature.clone());
            }
        }
        descriptor.platform = Some(Platform { architecture, os, os_version, os_features, variant });
        Ok(())
    }

    /// Writes the index.
    ///
    /// # Errors
    /// [`IndexError::Empty`] where nothing is in it.
    pub fn finish(&self, kind: IndexKind) -> Result<RawManifest, IndexError> {
        if self.members.is_empty() {
            return Err(IndexError::Empty);
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(kind.media_type().to_owned()),
            manifests: self.members.iter().map(|member| member.descriptor.clone()).collect(),
            annotations: self.annotations.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&index).map_err(|error| IndexError::Json(error.to_string()))?;
        Ok(RawManifest { descriptor: Descriptor::of(kind.media_type(), &bytes), bytes })
    }

    /// Writes the index as `docker manifest push` does, byte by byte.
    ///
    /// # Errors
    /// [`IndexError::Empty`] where nothing is in it.
    pub fn finish_as_docker(&self, kind: IndexKind) -> Result<RawManifest, IndexError> {
        if self.members.is_empty() {
            return Err(IndexError::Empty);
        }
        let list = DockerList {
            schema_version: 2,
            media_type: kind.media_type(),
            manifests: self.members.iter().map(|member| DockerEntry::of(&member.descriptor)).collect(),
        };
        let bytes = list.bytes().map_err(|error| IndexError::Json(error.to_string()))?;
        Ok(RawManifest { descriptor: Descriptor::of(kind.media_type(), &bytes), bytes })
    }
}

impl Client {
    /// Finds the manifests behind a name: all that an index lists, or the one that there is, with the platform
    /// that its configuration says.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn members(&self, reference: &Reference) -> Result<(RawManifest, Vec<Member>), ResolveError> {
        let raw = self.manifest(reference)?;
        let parsed = parse_document(&raw.bytes, Some(&raw.descriptor.media_type))
            .map_err(|source| ResolveError::Parse { reference: reference.familiar(), source })?;
        let members = match parsed {
            Document::Index(index) => {
                let member = |descriptor: Descriptor| Member {
                    source: reference.with_digest(descriptor.digest),
                    descriptor,
                };
                index.manifests.into_iter().map(member).collect()
            }
            Document::Manifest(manifest) => {
                let platform = self.platform_of(reference, &manifest)?;
                let descriptor = Descriptor { platform, ..described(&raw, &manifest) };
                vec![Member { source: reference.clone(), descriptor }]
            }
        };
        Ok((raw, members))
    }

    /// The platform that a configuration says; `None` where it is no image's.
    fn platform_of(
        &self,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<Option<Platform>, ResolveError> {
        let kind = manifest.config.media_type.as_str();
        if !matches!(kind, media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
            return Ok(None);
        }
        let limit = self.config().limits.config_bytes;
        let config = self.blob(reference, &manifest.config, limit).map_err(|source| {
            ResolveError::Config { reference: reference.familiar(), source: Box::new(source) }
        })?;
        // a configuration without a platform is one of no image, and says nothing
        Ok(serde_json::from_slice::<Platform>(&config).ok().filter(|platform| !platform.os.is_empty()))
    }
}

/// A manifest's descriptor, whose media type is what the manifest says of itself where it does.
fn described(raw: &RawManifest, manifest: &Manifest) -> Descriptor {
    let media_type = manifest.media_type.clone().unwrap_or_else(|| raw.descriptor.media_type.clone());
    Descriptor { media_type, ..raw.descriptor.clone() }
}

/// Puts together what `imagetools create` makes of its sources: one index as it is, else a new one.
///
/// A single manifest becomes an index too, unless `prefer_index` is off; so does what has been changed.
///
/// # Errors
/// [`IndexError::Empty`] where there is nothing to put together.
pub fn combine(
    sources: &[(RawManifest, Vec<Member>)],
    annotations: &BTreeMap<String, String>,
    is_changed: bool,
    prefer_index: bool,
) -> Result<RawManifest, IndexError> {
    if let [(raw, _)] = sources
        && annotations.is_empty()
        && !is_changed
        && (media_type::is_index(&raw.descriptor.media_type) || !prefer_index)
    {
        return Ok(raw.clone());
    }
    let mut draft = Draft { members: Vec::new(), annotations: annotations.clone() };
    for (raw, members) in sources {
        let is_index = media_type::is_index(&raw.descriptor.media_type);
        for mut member in members.iter().cloned() {
            // what an index says stays as it says it
            if !is_index {
                member.descriptor.platform = member.descriptor.platform.map(Platform::normal);
            }
            draft.add(member);
        }
    }
    // Docker's lists have no annotations
    let kind = if annotations.is_empty() { IndexKind::fitting(&draft.members) } else { IndexKind::Oci };
    draft.finish(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(content: &str, kind: &str) -> Member {
        let descriptor = Descriptor::of(kind, content.as_bytes());
        Member { source: format!("r.test/{content}:1").parse().expect("a name"), descriptor }
    }

    #[test]
    fn the_kind_fits_what_is_in_it() {
        let check = |kinds: &[&str], expected| {
            let members: Vec<Member> = kinds.iter().map(|kind| member("a", kind)).collect();
            assert_eq!(IndexKind::fitting(&members), expected, "{kinds:?}");
        };
        check(&[media_type::DOCKER_MANIFEST; 2], IndexKind::Docker);
        check(&[media_type::DOCKER_MANIFEST, media_type::OCI_MANIFEST], IndexKind::Oci);
        check(&[], IndexKind::Oci);
    }

    #[test]
    fn platforms_are_annotated_as_far_as_is_said() {
        let mut draft = Draft::default();
        draft.add(member("a", media_type::OCI_MANIFEST));
        let digest = Digest::of("a");
        let place = draft.position(&draft.members[0].source.clone()).expect("is there");
        let said = |text: &str| Some(text.to_owned());
        let half = Annotation { os: said("linux"), ..Annotation::default() };
        assert_eq!(draft.annotate(place, &half), Err(IndexError::NoPlatform(digest)));
        assert_eq!(draft.annotate(place + 1, &half), Err(IndexError::Unknown));
        let whole = Annotation { architecture: said("arm"), variant: said("v7"), ..half };
        draft.annotate(place, &whole).expect("a platform");
        let more = Annotation { os_features: vec!["f".into()], ..Annotation::default() };
        draft.annotate(place, &more).expect("a platform");
        draft.annotate(place, &more).expect("a platform");
        let platform = draft.members[0].descriptor.platform.clone().expect("a platform");
        assert_eq!((platform.to_string().as_str(), platform.os_features.len()), ("linux/arm/v7", 1));
    }

    #[test]
    fn one_manifest_may_have_several_names() {
        let (one, mut two) = (member("a", media_type::OCI_MANIFEST), member("a", media_type::OCI_MANIFEST));
        two.source = "r.test/a:2".parse().expect("a name");
        let mut draft = Draft::default();
        for member in [&one, &two, &one] {
            draft.add_named(member.clone());
        }
        assert_eq!(draft.members, [one.clone(), two.clone()]);
        assert_eq!(draft.position(&two.source), Some(1));
        let by_digest = one.source.with_digest(Digest::of("a"));
        assert_eq!(draft.position(&by_digest), Some(0));
        assert_eq!(draft.position(&"r.test/b:1".parse().expect("a name")), None);
    }

    #[test]
    fn an_index_is_written_and_read() {
        let mut draft = Draft::default();
        assert_eq!(draft.finish(IndexKind::Oci), Err(IndexError::Empty));
        draft.add(member("a", media_type::OCI_MANIFEST));
        draft.add(member("a", media_type::OCI_MANIFEST));
        let raw = draft.finish(IndexKind::Oci).expect("written");
        let Ok(Document::Index(index)) = parse_document(&raw.bytes, Some(media_type::OCI_INDEX)) else {
            panic!("it is an index")
        };
        assert_eq!(index.manifests.len(), 1);
        assert_eq!(raw.descriptor.digest, Digest::of(&raw.bytes));
    }

    #[test]
    fn one_index_stays_what_it_is() {
        let members = vec![member("a", media_type::DOCKER_MANIFEST)];
        let draft = Draft { members: members.clone(), ..Draft::default() };
        let index = draft.finish(IndexKind::Docker).expect("written");
        let none = BTreeMap::new();
        assert_eq!(combine(&[(index.clone(), members.clone())], &none, false, true), Ok(index.clone()));
        let single = RawManifest { descriptor: members[0].descriptor.clone(), bytes: b"a".to_vec() };
        assert_eq!(combine(&[(single.clone(), members.clone())], &none, false, false), Ok(single.clone()));
        assert_eq!(combine(&[(single, members.clone())], &none, false, true), Ok(index));
        assert_eq!(combine(&[], &none, false, true), Err(IndexError::Empty));
    }
}
