//! The result as an image archive: an OCI layout, or Docker's form, which is a layout with a further document.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use lighter_image::{Descriptor, Index, Manifest, Platform, Reference, go_json, media_type};
use lighter_layer::archive::{Member, MemberKind, Writer};
use lighter_layer::{Device, Kind, Metadata, Timestamp};
use lighter_store::Store;
use serde_json::json;

use super::OutputError;
use super::packing::{Packed, PackedLayer};
use super::sink::failed;
use crate::annotations::Notes;
use crate::archive::layout::{LAYOUT, blob_member, index_entries};

/// The annotation that says when an image was made.
const CREATED: &str = "org.opencontainers.image.created";

/// The documents of an archive, and the blobs they name.
pub(super) struct Layout<'a> {
    packed: &'a Packed,
    documents: BTreeMap<String, Vec<u8>>,
    /// What the index of the layout names: the manifest, or an index that holds it.
    pub(super) top: Descriptor,
}

/// What an archive is like.
pub(super) struct Form {
    /// Whether there is Docker's `manifest.json` too.
    pub(super) docker: bool,
    /// Whether the documents are of OCI's types; they are anyway where only those will do.
    pub(super) oci: bool,
    /// When it is made.
    pub(super) created: String,
    /// What the image runs on.
    pub(super) platform: Platform,
}

/// The manifest of a packed image.
fn manifest(packed: &Packed, annotations: BTreeMap<String, String>, oci: bool) -> Manifest {
    let zstd = |layer: &PackedLayer| layer.descriptor.media_type == media_type::OCI_LAYER_ZSTD;
    let oci = oci || !annotations.is_empty() || packed.layers.iter().any(zstd);
    let layer = |layer: &PackedLayer| {
        let mut descriptor = layer.descriptor.clone();
        if !oci {
            let gzip = descriptor.media_type == media_type::OCI_LAYER_GZIP;
            let kind = if gzip { media_type::DOCKER_LAYER_GZIP } else { media_type::DOCKER_LAYER };
            kind.clone_into(&mut descriptor.media_type);
        }
        descriptor
    };
    let (kind, config) = if oci {
        (media_type::OCI_MANIFEST, media_type::OCI_CONFIG)
    } else {
        (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG)
    };
    Manifest {
        schema_version: 2,
        media_type: Some(kind.to_owned()),
        artifact_type: None,
        config: Descriptor::of(config, &packed.config),
        layers: packed.layers.iter().map(layer).collect(),
        subject: None,
        annotations,
    }
}

impl<'a> Layout<'a> {
    /// Makes the documents.
    pub(super) fn new(
        packed: &'a Packed,
        names: &[Reference],
        notes: &Notes,
        form: Form,
    ) -> Result<Self, OutputError> {
        let manifest = manifest(packed, notes.manifest.clone(), form.oci);
        let bytes = go_json::to_vec(&manifest)?;
        let kind = manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
        let described = Descriptor::of(kind, &bytes);
        let mut documents = BTreeMap::new();
        documents.insert(blob_member(&manifest.config.digest), packed.config.clone());
        documents.insert(blob_member(&described.digest), bytes);
        let mut top = if notes.need_index() {
            let (index, bytes) = notes.index_of(&described, form.platform)?;
            documents.insert(blob_member(&index.digest), bytes);
            index
        } else {
            let mut top = described;
            top.annotations.clone_from(&notes.manifest_descriptor);
            top
        };
        top.annotations.entry(CREATED.to_owned()).or_insert(form.created);
        let index = Index::of(index_entries(&top, names));
        documents.insert("index.json".to_owned(), go_json::to_vec(&index)?);
        documents.insert("oci-layout".to_owned(), LAYOUT.to_vec());
        if form.docker {
            let layers: Vec<String> =
                packed.layers.iter().map(|layer| blob_member(&layer.descriptor.digest)).collect();
            let names: Vec<String> = names.iter().map(Reference::familiar).collect();
            let names = if names.is_empty() { json!(null) } else { json!(names) };
            let image = json!([{
                "Config": blob_member(&manifest.config.digest), "RepoTags": names, "Layers": layers,
            }]);
            documents.insert("manifest.json".to_owned(), serde_json::to_vec(&image)?);
        }
        Ok(Self { packed, documents, top })
    }

    /// Writes it as one archive.
    pub(super) fn write(&self, store: &Store, out: &mut dyn Write) -> Result<(), OutputError> {
        let fail = |source| failed("the archive", source);
        let mut archive = Writer::new(out);
        for folder in ["blobs/", "blobs/sha256/"] {
            archive.begin(&member(folder, Kind::Folder, 0)).map_err(fail)?;
        }
        let blobs: BTreeMap<String, &PackedLayer> =
            self.packed.layers.iter().map(|layer| (blob_member(&layer.descriptor.digest), layer)).collect();
        for (name, layer) in blobs {
            archive.begin(&member(&name, Kind::File, layer.descriptor.size)).map_err(fail)?;
            layer.write(store, &mut archive)?;
        }
        for (name, bytes) in &self.documents {
            archive.begin(&member(name, Kind::File, bytes.len() as u64)).map_err(fail)?;
            archive.write_all(bytes).map_err(fail)?;
        }
        archive.finish().map_err(fail)?;
        Ok(())
    }

    /// Writes it as a folder.
    pub(super) fn write_folder(&self, store: &Store, into: &Path) -> Result<(), OutputError> {
        let fail = |source: io::Error| failed(format!("`{}`", into.display()), source);
        fs::create_dir_all(into.join("blobs/sha256")).map_err(fail)?;
        for layer in &self.packed.layers {
            let mut file =
                fs::File::create(into.join(blob_member(&layer.descriptor.digest))).map_err(fail)?;
            layer.write(store, &mut file)?;
        }
        for (name, bytes) in &self.documents {
            fs::write(into.join(name), bytes).map_err(fail)?;
        }
        Ok(())
    }
}

fn member(name: &str, kind: Kind, size_bytes: u64) -> Member {
    let mode_bits = if kind == Kind::Folder { 0o755 } else { 0o644 };
    Member {
        path: name.as_bytes().to_vec(),
        kind: MemberKind::Entry(kind),
        link: Vec::new(),
        metadata: Metadata { mode_bits, mtime: Timestamp::default(), ..Metadata::default() },
        device: Device::default(),
        size_bytes,
    }
}
