//! `save`: images as one archive that is Docker's and an OCI layout at once.
//!
//! Layers are made again from their directories while the archive is written, and verified on the way: there is
//! no second copy of anything.

use crate::container::events::note_image;
use std::collections::BTreeMap;
use std::io::{self, Write};

use lighter_image::{
    Descriptor, DiffId, Digest, Document, ImageId, Index, Manifest, Reference, go_json, media_type,
    parse_document,
};
use lighter_layer::archive::{Member, MemberKind, Writer};
use lighter_layer::{Device, Kind, Metadata, Timestamp};
use lighter_store::{ResolvedBy, Store};

use super::layer_stream::{LayerStreamError, stream_length, write_layer};
use super::layout::{DockerImage, SPACED_LAYOUT, blob_member, index_entries};
use crate::annotations::Notes;
use crate::image::{LookError, StoredImage, look_up};

/// Manifests are small; what is larger is none.
const LARGEST_MANIFEST_BYTES: u64 = 4 << 20;

/// Why images could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// One of them is not there, or damaged.
    #[error(transparent)]
    Look(#[from] LookError),
    /// A layer could not be written.
    #[error(transparent)]
    Layer(#[from] LayerStreamError),
    /// A document could not be written.
    #[error("writing the archive's documents")]
    Json(#[from] serde_json::Error),
    /// The archive could not be written.
    #[error("writing the archive")]
    Write(#[from] io::Error),
}

/// One image that is saved, under all the names that were asked for.
struct Saved {
    image: StoredImage,
    names: Vec<Reference>,
}

/// What becomes a member of the archive.
enum Content {
    /// These bytes, of this time.
    Bytes(Vec<u8>, Timestamp),
    /// The stream of a layer, so many bytes long.
    Layer(DiffId, u64, Timestamp),
}

/// Writes images as an archive. An image that is asked for by id is saved without a name.
///
/// # Errors
/// [`SaveError`]; what was written until then is worthless.
pub fn save(store: &Store, images: &[String], out: &mut dyn Write) -> Result<(), SaveError> {
    let saved = gather(store, images)?;
    let mut members: BTreeMap<String, Content> = BTreeMap::new();
    let mut docker = Vec::new();
    let mut entries = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for Saved { image, names } in &saved {
        let manifest = add_image(store, image, &mut members)?;
        docker.push(docker_image(image, names, &manifest));
        let bytes = go_json::to_vec(&manifest)?;
        let described = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        entries.extend(index_entries(&described, names));
        members.insert(blob_member(&described.digest), Content::Bytes(bytes, Timestamp::default()));
        add_repositories(image, names, &mut repositories);
    }
    let plain = |bytes| Content::Bytes(bytes, Timestamp::default());
    let with_end = |mut bytes: Vec<u8>| {
        bytes.push(b'\n');
        bytes
    };
    members.insert("index.json".to_owned(), plain(go_json::to_vec(&Index::of(entries))?));
    members.insert("manifest.json".to_owned(), plain(with_end(go_json::to_vec(&docker)?)));
    members.insert("oci-layout".to_owned(), plain(SPACED_LAYOUT.to_vec()));
    if !repositories.is_empty() {
        members.insert("repositories".to_owned(), plain(with_end(go_json::to_vec(&repositories)?)));
    }
    write(store, members, out)?;
    for Saved { image, .. } in &saved {
        let id = image.record.id.to_string();
        note_image(store, "save", &id, &id);
    }
    Ok(())
}

/// Looks the images up, each once, in the order in which they were asked for.
fn gather(store: &Store, images: &[String]) -> Result<Vec<Saved>, SaveError> {
    let mut saved: Vec<Saved> = Vec::new();
    for text in images {
        // a repository without a tag or digest stands for all its tags
        for name in all_of_repository(store, text)? {
            let image = look_up(store, &name)?;
            let reference = match &image.found_by {
                // what is found by its digest has no name that `load` could give it
                ResolvedBy::Name(reference) if reference.digest().is_none() => Some(reference.clone()),
                ResolvedBy::Name(_) | ResolvedBy::Id => None,
            };
            match saved.iter_mut().find(|known| known.image.record.id == image.record.id) {
                Some(known) => known.names.extend(reference.filter(|name| !known.names.contains(name))),
                None => saved.push(Saved { image, names: reference.into_iter().collect() }),
            }
        }
    }
    Ok(saved)
}

fn all_of_repository(store: &Store, text: &str) -> Result<Vec<String>, SaveError> {
    let one = || Ok(vec![text.to_owned()]);
    let Ok(reference) = text.parse::<Reference>() else { return one() };
    if reference.tag().is_some() || reference.digest().is_some() {
        return one();
    }
    let tags = store.tags().map_err(LookError::from)?;
    let of_it = |tagged: &lighter_store::Tagged| {
        tagged.reference.tag().is_some() && tagged.reference.repository() == reference.repository()
    };
    let names: Vec<String> =
        tags.iter().filter(|tagged| of_it(tagged)).map(|tagged| tagged.reference.to_string()).collect();
    if names.is_empty() { one() } else { Ok(names) }
}

/// Adds an image's configuration and layers, and makes its manifest.
fn add_image(
    store: &Store,
    image: &StoredImage,
    members: &mut BTreeMap<String, Content>,
) -> Result<Manifest, SaveError> {
    let time = created(image);
    let config = Descriptor::of(media_type::OCI_CONFIG, &image.config_bytes);
    members.insert(blob_member(&config.digest), Content::Bytes(image.config_bytes.clone(), time));
    let mut layers = Vec::new();
    for diff_id in &image.record.layers {
        let size_bytes = stream_length(store, diff_id)?;
        layers.push(Descriptor::new(media_type::OCI_LAYER, diff_id.0, size_bytes));
        members.insert(blob_member(&diff_id.0), Content::Layer(*diff_id, size_bytes, time));
    }
    Ok(Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config,
        layers,
        subject: None,
        annotations: annotations(store, image),
    })
}

/// What is noted in the image's manifest: what was asked for when it was made here, or what it was received with.
fn annotations(store: &Store, image: &StoredImage) -> BTreeMap<String, String> {
    let notes = Notes::of(&image.record.annotations);
    if !notes.is_empty() {
        return notes.manifest;
    }
    let received = image.record.manifests.iter().find_map(|described| {
        let bytes = store.read_blob(&described.digest, LARGEST_MANIFEST_BYTES).ok()?;
        match parse_document(&bytes, Some(&described.media_type)) {
            Ok(Document::Manifest(manifest)) if manifest.config.digest == image.record.id.0 => {
                Some(manifest.annotations)
            }
            _ => None,
        }
    });
    received.unwrap_or_default()
}

fn docker_image(image: &StoredImage, names: &[Reference], manifest: &Manifest) -> DockerImage {
    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
    let layers = manifest.layers.iter().map(|layer| blob_member(&layer.digest)).collect();
    let sources = manifest.layers.iter().map(|layer| (layer.digest.to_string(), layer.clone())).collect();
    DockerImage {
        config: blob_member(&image.record.id.0),
        repo_tags: (!names.is_empty()).then_some(names),
        layers: Some(layers),
        layer_sources: sources,
    }
}

/// The oldest of Docker's documents: repository → tag → the layer on top.
fn add_repositories(
    image: &StoredImage,
    names: &[Reference],
    repositories: &mut BTreeMap<String, BTreeMap<String, String>>,
) {
    let top = image.record.layers.last().map_or(image.record.id, |layer| ImageId(layer.0));
    for name in names {
        if let Some(tag) = name.tag() {
            let tags = repositories.entry(name.familiar_repository()).or_default();
            tags.insert(tag.to_owned(), top.0.hex());
        }
    }
}

fn created(image: &StoredImage) -> Timestamp {
    let time: Option<jiff::Timestamp> = image.config.created.as_ref().and_then(|text| text.parse().ok());
    Timestamp { seconds: time.map_or(0, jiff::Timestamp::as_second), nanos: 0 }
}

fn write(store: &Store, members: BTreeMap<String, Content>, out: &mut dyn Write) -> Result<(), SaveError> {
    let mut archive = Writer::new(io::BufWriter::with_capacity(256 << 10, out));
    for folder in ["blobs/", "blobs/sha256/"] {
        archive.begin(&member(folder, Kind::Folder, 0o755, 0, Timestamp::default()))?;
    }
    for (name, content) in members {
        match content {
            Content::Bytes(bytes, time) => {
                archive.begin(&member(&name, Kind::File, 0o644, bytes.len() as u64, time))?;
                archive.write_all(&bytes)?;
            }
            Content::Layer(diff_id, size_bytes, time) => {
                archive.begin(&member(&name, Kind::File, 0o644, size_bytes, time))?;
                write_layer(store, &diff_id, &mut archive)?;
            }
        }
    }
    Ok(archive.finish()?.flush()?)
}

fn member(name: &str, kind: Kind, mode_bits: u32, size_bytes: u64, mtime: Timestamp) -> Member {
    Member {
        path: name.as_bytes().to_vec(),
        kind: MemberKind::Entry(kind),
        link: Vec::new(),
        metadata: Metadata { mode_bits, mtime, ..Metadata::default() },
        device: Device::default(),
        size_bytes,
    }
}

/// The digest by which a member of an archive is known, where its name is one.
pub(super) fn digest_of_member(name: &str) -> Option<Digest> {
    Digest::from_hex(name.strip_prefix("blobs/sha256/")?).ok()
}
