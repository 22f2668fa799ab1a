//! Where things are in a store. `docs/store-format.md` describes each of them.

use std::path::{Path, PathBuf};

use lighter_image::{DiffId, Digest, ImageId, Reference};

use crate::id::{BuildId, ContainerId, LayerId};

/// The paths of a store, all below one root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// The directories at the top; a store that has its version file has them all.
pub(crate) const TOP: &[&str] = &[
    "blobs",
    "builds",
    "containers",
    "diffs",
    "flights",
    "images",
    "layers",
    "leases",
    "mounts",
    "names",
    "pending",
    "scratch",
    "steps",
    "steps-index",
    "tags",
    "trash",
    "volumes",
];

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn top(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn version(&self) -> PathBuf {
        self.root.join("version")
    }

    pub(crate) fn gate(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn update_lock(&self) -> PathBuf {
        self.root.join("update-lock")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        fan_out(self.blobs(), digest)
    }

    pub(crate) fn pending(&self, boot: &str) -> PathBuf {
        self.root.join("pending").join(boot)
    }

    pub(crate) fn layer(&self, id: &LayerId) -> PathBuf {
        let text = id.as_str();
        let mut path = self.root.join("layers");
        path.push(&text[..2]);
        path.push(text);
        path
    }

    pub(crate) fn diff(&self, id: &DiffId) -> PathBuf {
        fan_out(self.root.join("diffs"), &id.0)
    }

    pub(crate) fn image(&self, id: &ImageId) -> PathBuf {
        self.root.join("images").join(id.0.hex())
    }

    /// Tags are named by digest: a reference may be longer than a file name, and has slashes.
    pub(crate) fn tag(&self, reference: &Reference) -> PathBuf {
        self.root.join("tags").join(Digest::of(reference.to_string()).hex())
    }

    pub(crate) fn step(&self, key: &Digest) -> PathBuf {
        fan_out(self.root.join("steps"), key)
    }

    pub(crate) fn step_inputs(&self, key: &Digest) -> PathBuf {
        self.step(key).with_extension("inputs")
    }

    pub(crate) fn step_index(&self, digest: &Digest) -> PathBuf {
        fan_out(self.root.join("steps-index"), digest)
    }

    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        self.root.join("containers").join(id.as_str())
    }

    pub(crate) fn name(&self, name: &str) -> PathBuf {
        self.root.join("names").join(name)
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name)
    }

    pub(crate) fn mount(&self, id: &str) -> PathBuf {
        self.root.join("mounts").join(Digest::of(id).hex())
    }

    pub(crate) fn build(&self, id: &BuildId) -> PathBuf {
        self.root.join("builds").join(id.as_str())
    }

    pub(crate) fn flight(&self, key: &Digest) -> PathBuf {
        self.root.join("flights").join(key.hex())
    }

    pub(crate) fn lease(&self, id: &str) -> PathBuf {
        self.root.join("leases").join(id)
    }

    pub(crate) fn scratch(&self, lease: &str) -> PathBuf {
        self.root.join("scratch").join(lease)
    }
}

/// `ab/cd…` below a directory: no directory grows without bound, and creation is spread over many.
fn fan_out(mut directory: PathBuf, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    directory.push(&hex[..2]);
    directory.push(&hex);
    directory
}

/// The digests that name the files of a fanned-out directory.
pub(crate) fn fanned_digests(directory: &Path) -> Result<Vec<Digest>, crate::error::FileError> {
    let mut digests = Vec::new();
    for group in crate::disk::names(directory)? {
        if group.len() != 2 {
            continue;
        }
        let names = crate::disk::names(&directory.join(&group))?;
        digests.extend(names.iter().filter_map(|name| Digest::from_hex(name).ok()));
    }
    Ok(digests)
}
