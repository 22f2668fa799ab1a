//! `load`: images from an archive, Docker's or an OCI layout, packed or not.
//!
//! The archive's members are laid down in scratch first, because its documents may come after what they describe;
//! nothing is believed before its digest fits, and no image has a name before all of it is there.

use crate::container::events::note_image;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lighter_image::{
    Descriptor, DiffId, Digest, Document, Hasher, ImageConfig, ImageId, ParseManifestError, Platform,
    Reference, media_type, parse_document,
};
use lighter_layer::archive::{ArchiveError, MemberKind, Reader};
use lighter_layer::compress::Decoder;
use lighter_layer::{
    ApplyError, ApplyOptions, Kind, PackError, PackOptions, View, ViewError, apply, diff_id,
};
use lighter_store::{
    Batch, CommitError, Expected, FileError, ImageRecord, LayerError, NewLayer, PutBlobError, Scratch, Store,
};

use super::layout::{DockerImage, Wanted, blob_member, names_of};

/// Why an archive was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is no sound archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It cannot be read, or scratch cannot be written.
    #[error("reading the archive")]
    Read(#[source] io::Error),
    /// One of its names is no tag.
    #[error("invalid tag {0:?}")]
    Tag(String),
    /// It holds no image.
    #[error(
        "the archive holds neither manifest.json nor index.json: it is no image (for a root filesystem, use import)"
    )]
    NoImage,
    /// Its indexes name indexes without end.
    #[error("the archive's indexes are nested more than {DEEPEST} deep")]
    Nested,
    /// A member that it names is missing.
    #[error("the archive has no member `{0}`")]
    Missing(String),
    /// A document is not valid.
    #[error("the archive's {name} is not valid")]
    Json {
        /// The document.
        name: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ParseManifestError),
    /// No image of it is for the platform.
    #[error("the archive has no image for {0}")]
    Platform(Platform),
    /// A member is not what its digest says.
    #[error("the archive's member `{member}` is damaged: expected {expected}, found {found}")]
    Digest {
        /// The member.
        member: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The configuration and the manifest do not fit together.
    #[error("image {image} names {named} layers, but the archive gives {given}")]
    Layers {
        /// The image.
        image: ImageId,
        /// How many its configuration names.
        named: usize,
        /// How many the archive gives.
        given: usize,
    },
    /// A layer cannot be unpacked.
    #[error("unpacking layer {diff_id}")]
    Apply {
        /// The layer.
        diff_id: DiffId,
        /// What is wrong.
        #[source]
        source: Box<ApplyError>,
    },
    /// A layer that was unpacked cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The same.
    #[error(transparent)]
    Pack(#[from] Box<PackError>),
    /// The store cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The same.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The same.
    #[error(transparent)]
    Blob(#[from] PutBlobError),
    /// The same.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// One image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub image: ImageId,
    /// The names that it has now.
    pub names: Vec<Reference>,
    /// Names that another image had until now.
    pub replaced: Vec<(Reference, ImageId)>,
}

/// How deep indexes may be in indexes.
const DEEPEST: usize = 4;
/// Documents are small; what is larger is none.
const LARGEST_DOCUMENT_BYTES: u64 = 8 << 20;

/// How many manifests of an archive are looked at.
const LARGEST_INDEX: usize = 256;

/// Loads the images of an archive: of an image for several platforms that for the one asked for, else for this machine;
/// where a platform is asked for, no image for another one.
///
/// # Errors
/// [`LoadError`]; no image has a new name then.
pub fn load(
    store: &Store,
    archive: impl Read + Send + 'static,
    platform: Option<&Platform>,
    now: SystemTime,
) -> Result<Vec<Loaded>, LoadError> {
    let scratch = store.new_layer()?;
    let members = Members::lay_down(&scratch, archive)?;
    let mut wanted = members.wanted(platform.unwrap_or(&Platform::host()))?;
    if let Some(platform) = platform {
        let configs: Vec<ImageConfig> =
            wanted.iter().map(|image| members.config(&image.config)).collect::<Result<_, _>>()?;
        let mut fits = configs.iter().map(|config| config.platform().satisfies(platform));
        wanted.retain(|_| fits.next().unwrap_or(false));
    }
    let mut batch = Batch::new();
    let mut loaded = Vec::new();
    for image in &wanted {
        let record = load_image(store, &members, image, &mut batch, now)?;
        for name in &image.names {
            batch.tag(name, record.id, now);
        }
        loaded.push(Loaded { image: record.id, names: image.names.clone(), replaced: Vec::new() });
        batch.image(record);
    }
    let committed = store.commit(batch)?;
    for image in &loaded {
        let id = image.image.to_string();
        note_image(store, "load", &id, &id);
    }
    for (name, before) in committed.replaced {
        if let Some(image) =
            loaded.iter_mut().find(|image| image.image != before && image.names.contains(&name))
        {
            image.replaced.push((name, before));
        }
    }
    Ok(loaded)
}

/// Takes one image into the store, all but its names.
fn load_image(
    store: &Store,
    members: &Members,
    wanted: &Wanted,
    batch: &mut Batch,
    now: SystemTime,
) -> Result<ImageRecord, LoadError> {
    let bytes = members.read(&wanted.config)?;
    let id = ImageId(Digest::of(&bytes));
    if let Some(expected) = wanted.config_digest
        && expected != id
    {
        return Err(LoadError::Digest { member: wanted.config.clone(), expected: expected.0, found: id.0 });
    }
    let config: ImageConfig = serde_json::from_slice(&bytes)
        .map_err(|source| LoadError::Json { name: wanted.config.clone(), source })?;
    let layers = config.rootfs.diff_ids;
    if layers.len() != wanted.layers.len() {
        return Err(LoadError::Layers { image: id, named: layers.len(), given: wanted.layers.len() });
    }
    let mut below = Vec::new();
    for (diff_id, (member, digest)) in layers.iter().zip(&wanted.layers) {
        let layer = match store.layer_by_diff_id(diff_id)? {
            Some(layer) => layer,
            None => load_layer(store, members, *diff_id, member, digest.as_ref(), &below)?,
        };
        below.extend(store.layer_dirs(&layer).map_err(LayerError::from)?);
    }
    batch.blob(bytes);
    let annotations = members.annotations_of(&id);
    Ok(ImageRecord { annotations, ..ImageRecord::new(id, layers, now) })
}

/// Unpacks one layer. Where its stream cannot be made again from the directory, it is kept as well.
fn load_layer(
    store: &Store,
    members: &Members,
    expected: DiffId,
    member: &str,
    digest: Option<&Digest>,
    below: &[PathBuf],
) -> Result<lighter_store::LayerId, LoadError> {
    let mut file = members.open(member)?;
    if let Some(digest) = digest.filter(|digest| **digest != expected.0) {
        verify(&mut file, member, digest)?;
    }
    let scratch = store.new_layer()?;
    let options = ApplyOptions { below: View::open(below)?, ..ApplyOptions::default() };
    let stream = Decoder::new(file.try_clone().map_err(LoadError::Read)?).map_err(LoadError::Read)?;
    let applied = apply(stream, &scratch.fs(), &options)
        .map_err(|source| LoadError::Apply { diff_id: expected, source: Box::new(source) })?;
    if applied.diff_id != expected {
        let (expected, found) = (expected.0, applied.diff_id.0);
        return Err(LoadError::Digest { member: member.to_owned(), expected, found });
    }
    let packed = diff_id(&scratch.fs(), &PackOptions::default()).map_err(Box::new)?;
    let mut new =
        NewLayer { diff_id: Some(expected), size_bytes: Some(applied.size_bytes), ..NewLayer::default() };
    if packed.diff_id != expected {
        new.packed = Some(packed.diff_id.0);
        new.blobs = vec![keep(store, &mut file)?];
    }
    Ok(store.commit_layer(scratch, new)?)
}

/// Stores a layer as it came.
fn keep(store: &Store, file: &mut File) -> Result<Descriptor, LoadError> {
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(0)).map_err(LoadError::Read)?;
    let length = file.read(&mut magic).map_err(LoadError::Read)?;
    let kind = match &magic[..length] {
        [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    };
    file.seek(SeekFrom::Start(0)).map_err(LoadError::Read)?;
    let (digest, size) = store.put_blob(file, Expected::default())?;
    Ok(Descriptor::new(kind, digest, size))
}

fn verify(file: &mut File, member: &str, expected: &Digest) -> Result<(), LoadError> {
    let mut hasher = Hasher::new();
    io::copy(file, &mut hasher).map_err(LoadError::Read)?;
    let found = hasher.finish();
    if found != *expected {
        return Err(LoadError::Digest { member: member.to_owned(), expected: *expected, found });
    }
    file.seek(SeekFrom::Start(0)).map_err(LoadError::Read)?;
    Ok(())
}

/// The members of an archive, laid down as files.
struct Members {
    files: HashMap<String, PathBuf>,
}

impl Members {
    /// Lays down the files of an archive; links among them are followed, as in Docker's older archives.
    fn lay_down(scratch: &Scratch, archive: impl Read + Send + 'static) -> Result<Self, LoadError> {
        let folder = scratch.dir().join("members");
        std::fs::create_dir(&folder).map_err(LoadError::Read)?;
        let mut reader = Reader::new(Decoder::new(archive).map_err(LoadError::Read)?);
        let mut files = HashMap::new();
        let mut links = Vec::new();
        while let Some(member) = reader.next_member()? {
            let name = clean(&member.path);
            match member.kind {
                MemberKind::Entry(Kind::File) => {
                    let path = folder.join(files.len().to_string());
                    let file = File::create_new(&path).map_err(LoadError::Read)?;
                    reader.copy_content(&file)?.map_err(LoadError::Read)?;
                    files.insert(name, path);
                }
                MemberKind::Entry(Kind::Link) => {
                    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                    let target =
                        clean(format!("{parent}/{}", String::from_utf8_lossy(&member.link)).as_bytes());
                    links.push((name, target));
                }
                MemberKind::HardLink => links.push((name, clean(&member.link))),
                MemberKind::Entry(_) => {}
            }
        }
        for (name, target) in links {
            if let Some(path) = files.get(&target).cloned() {
                files.insert(name, path);
            }
        }
        Ok(Self { files })
    }

    fn path(&self, member: &str) -> Result<&Path, LoadError> {
        let name = clean(member.as_bytes());
        self.files.get(&name).map(PathBuf::as_path).ok_or_else(|| LoadError::Missing(member.to_owned()))
    }

    fn open(&self, member: &str) -> Result<File, LoadError> {
        File::open(self.path(member)?).map_err(LoadError::Read)
    }

    /// Reads a document.
    fn read(&self, member: &str) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::new();
        self.open(member)?.take(LARGEST_DOCUMENT_BYTES).read_to_end(&mut bytes).map_err(LoadError::Read)?;
        Ok(bytes)
    }

    /// Reads a document that is known by its digest.
    fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LoadError> {
        let member = blob_member(&descriptor.digest);
        let bytes = self.read(&member)?;
        let found = Digest::of(&bytes);
        if found != descriptor.digest {
            return Err(LoadError::Digest { member, expected: descriptor.digest, found });
        }
        Ok(bytes)
    }

    /// What the archive's documents say is to be loaded.
    fn wanted(&self, platform: &Platform) -> Result<Vec<Wanted>, LoadError> {
        if self.files.contains_key("manifest.json") {
            return self.wanted_of_docker();
        }
        if !self.files.contains_key("index.json") {
            return Err(LoadError::NoImage);
        }
        let index = self.read("index.json")?;
        let Document::Index(index) = parse_document(&index, Some(media_type::OCI_INDEX))? else {
            return Err(LoadError::NoImage);
        };
        let mut wanted: Vec<Wanted> = Vec::new();
        for entry in &index.manifests {
            if entry.annotations.contains_key("vnd.docker.reference.type") {
                continue;
            }
            let image = self.wanted_of_entry(entry, platform, DEEPEST)?;
            match wanted.iter_mut().find(|known| known.config == image.config) {
                Some(known) => known.names.extend(image.names),
                None => wanted.push(image),
            }
        }
        if wanted.is_empty() { Err(LoadError::NoImage) } else { Ok(wanted) }
    }

    /// The configuration that a member holds.
    fn config(&self, member: &str) -> Result<ImageConfig, LoadError> {
        serde_json::from_slice(&self.read(member)?)
            .map_err(|source| LoadError::Json { name: member.to_owned(), source })
    }

    /// What the manifest of an image notes, by level and key; nothing where the archive has no manifest of it.
    fn annotations_of(&self, image: &ImageId) -> BTreeMap<String, String> {
        let read = |member: &str, kind: Option<&str>| parse_document(&self.read(member).ok()?, kind).ok();
        let mut documents: Vec<Document> =
            read("index.json", Some(media_type::OCI_INDEX)).into_iter().collect();
        // an index may be in an index, but not without end
        for _ in 0..LARGEST_INDEX {
            match documents.pop() {
                Some(Document::Manifest(manifest)) if manifest.config.digest == image.0 => {
                    let qualified = |(key, value)| (format!("manifest:{key}"), value);
                    return manifest.annotations.into_iter().map(qualified).collect();
                }
                Some(Document::Manifest(_)) => {}
                Some(Document::Index(index)) => documents.extend(
                    index.manifests.iter().rev().filter_map(|entry| read(&blob_member(&entry.digest), None)),
                ),
                None => break,
            }
        }
        BTreeMap::new()
    }

    fn wanted_of_docker(&self) -> Result<Vec<Wanted>, LoadError> {
        let bytes = self.read("manifest.json")?;
        let json = |source| LoadError::Json { name: "manifest.json".to_owned(), source };
        let images: Vec<DockerImage> = serde_json::from_slice(&bytes).map_err(json)?;
        let parse = |name: String| {
            let parsed: Result<Reference, _> = name.parse();
            match parsed {
                // a digest is a promise of a registry's, which an archive cannot make
                Ok(name) if name.digest().is_some() => Err(LoadError::Tag(name.to_string())),
                Ok(name) => Ok(name.with_default_tag()),
                Err(error) => Err(json(serde::de::Error::custom(error))),
            }
        };
        let wanted = images.into_iter().map(|image| {
            let names = image.repo_tags.unwrap_or_default();
            let digest = super::save::digest_of_member;
            Ok(Wanted {
                config_digest: digest(&image.config).map(ImageId),
                config: image.config,
                layers: image
                    .layers
                    .unwrap_or_default()
                    .into_iter()
                    .map(|name| (name.clone(), digest(&name)))
                    .collect(),
                names: names.into_iter().map(parse).collect::<Result<_, _>>()?,
            })
        });
        wanted.collect()
    }

    /// Follows an entry of an index to the image for the platform, through so many further indexes.
    fn wanted_of_entry(
        &self,
        entry: &Descriptor,
        platform: &Platform,
        further: usize,
    ) -> Result<Wanted, LoadError> {
        match parse_document(&self.read_blob(entry)?, Some(&entry.media_type))? {
            Document::Manifest(manifest) => Ok(Wanted {
                config: blob_member(&manifest.config.digest),
                config_digest: Some(ImageId(manifest.config.digest)),
                layers: manifest
                    .layers
                    .iter()
                    .map(|layer| (blob_member(&layer.digest), Some(layer.digest)))
                    .collect(),
                names: names_of(entry),
            }),
            Document::Index(inner) => {
                let fits = |inner: &&Descriptor| {
                    inner.platform.as_ref().is_some_and(|offered| offered.satisfies(platform))
                };
                let chosen = inner.manifests.iter().find(fits);
                let chosen = chosen.ok_or_else(|| LoadError::Platform(platform.clone()))?;
                let further = further.checked_sub(1).ok_or(LoadError::Nested)?;
                let mut wanted = self.wanted_of_entry(chosen, platform, further)?;
                wanted.names.extend(names_of(entry));
                Ok(wanted)
            }
        }
    }
}

/// A member's name without `.`, `..` and empty parts: it is only a key here.
fn clean(name: &[u8]) -> String {
    let path = lighter_image::ImagePath::new(name);
    String::from_utf8_lossy(path.relative()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use lighter_image::{Index, go_json};
    use lighter_layer::archive::{Member, Writer};
    use lighter_layer::{Device, Metadata};

    use super::*;

    /// An archive of indexes, each the only entry of the next; the innermost names nothing.
    fn nested(depth: usize) -> Vec<u8> {
        let mut archive = Writer::new(Vec::new());
        let mut add = |name: &str, bytes: &[u8]| {
            let member = Member {
                path: name.into(),
                kind: MemberKind::Entry(Kind::File),
                link: Vec::new(),
                metadata: Metadata { mode_bits: 0o644, ..Metadata::default() },
                device: Device::default(),
                size_bytes: bytes.len() as u64,
            };
            archive.begin(&member).unwrap();
            archive.write_all(bytes).unwrap();
        };
        let mut manifests = Vec::new();
        for _ in 0..depth {
            let index =
                Index { schema_version: 2, media_type: None, manifests, annotations: BTreeMap::new() };
            let bytes = go_json::to_vec(&index).unwrap();
            let mut entry = Descriptor::of(media_type::OCI_INDEX, &bytes);
            add(&blob_member(&entry.digest), &bytes);
            entry.platform = Some(Platform::host());
            manifests = vec![entry];
        }
        let index = Index { schema_version: 2, media_type: None, manifests, annotations: BTreeMap::new() };
        add("index.json", &go_json::to_vec(&index).unwrap());
        archive.finish().unwrap()
    }

    #[test]
    fn indexes_in_indexes_come_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let load = |depth| {
            let archive = io::Cursor::new(nested(depth));
            load(&store, archive, None, SystemTime::UNIX_EPOCH).unwrap_err()
        };
        assert!(matches!(load(3), LoadError::Platform(_)));
        assert!(matches!(load(3000), LoadError::Nested));
    }
}
