//! What occupies how much of the disk, in whole blocks, as `du` counts.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lighter_image::{Digest, ImageId};

use crate::Store;
use crate::collect::CollectError;
use crate::disk;
use crate::error::{At as _, FileError, if_there, if_whole};
use crate::id::{ContainerId, LayerId};
use crate::layout::fanned_digests;
use crate::lease;
use crate::mark::Needed;
use crate::mount::CacheMountEntry;

/// What an image occupies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub id: ImageId,
    /// Its layers and blobs, in bytes.
    pub size_bytes: u64,
    /// As much of that as other images need too.
    pub shared_bytes: u64,
    /// As much of that as goes when only this image goes, and the build cache with it.
    pub unique_bytes: u64,
}

/// What a container occupies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container.
    pub id: ContainerId,
    /// What it wrote, its log and its records, in bytes.
    pub size_bytes: u64,
}

/// What a volume occupies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUsage {
    /// Its name.
    pub name: String,
    /// Its content, in bytes.
    pub size_bytes: u64,
    /// How many containers use it.
    pub users: usize,
}

/// What a step record occupies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUsage {
    /// The key of the record.
    pub key: Digest,
    /// The step as people read it.
    pub description: String,
    /// Its layers, in bytes.
    pub size_bytes: u64,
    /// Whether an image or container needs its layers, so that pruning it frees nothing.
    pub shared: bool,
    /// Whether a living process uses it.
    pub in_use: bool,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it was last of use.
    pub last_used: SystemTime,
}

/// What the store occupies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Each image.
    pub images: Vec<ImageUsage>,
    /// Each container.
    pub containers: Vec<ContainerUsage>,
    /// Each volume.
    pub volumes: Vec<VolumeUsage>,
    /// Each step record.
    pub steps: Vec<StepUsage>,
    /// Each cache mount.
    pub mounts: Vec<CacheMountEntry>,
    /// All that images need, each thing counted once, in bytes.
    pub images_bytes: u64,
    /// All layers and blobs that no image needs, the cache mounts, and what is remembered of contexts, in bytes.
    pub cache_bytes: u64,
    /// All else: records, build history, scratch, trash, in bytes.
    pub other_bytes: u64,
    /// The whole store, in bytes.
    pub total_bytes: u64,
}

impl Store {
    /// Measures what the store occupies.
    ///
    /// # Errors
    /// When a record is damaged, or something cannot be read.
    pub fn usage(&self) -> Result<Usage, CollectError> {
        let sizes = Sizes { layers: self.layer_sizes()?, blobs: self.blob_sizes()? };
        let by_images = self.needed_by_images()?;
        let images = self.image_usage(&sizes)?;
        let containers = self.container_usage()?;
        let volumes = self.volume_usage()?;
        let steps = self.step_usage(&sizes, &by_images)?;
        let mounts = self.cache_mounts()?;
        let images_bytes = sizes.of(&by_images);
        let content = sizes.layers.values().sum::<u64>() + sizes.blobs.values().sum::<u64>();
        let cache_bytes = content - images_bytes
            + mounts.iter().map(|mount| mount.size_bytes).sum::<u64>()
            + disk_bytes(&self.root().join("contexts"))?;
        let total_bytes = self.total(content)?;
        let own: u64 = containers.iter().map(|container| container.size_bytes).sum();
        let volume_bytes: u64 = volumes.iter().map(|volume| volume.size_bytes).sum();
        let other_bytes = total_bytes.saturating_sub(images_bytes + cache_bytes + own + volume_bytes);
        Ok(Usage {
            images,
            containers,
            volumes,
            steps,
            mounts,
            images_bytes,
            cache_bytes,
            other_bytes,
            total_bytes,
        })
    }

    /// What a container occupies beyond its image, in bytes.
    ///
    /// # Errors
    /// When something cannot be read.
    fn container_size(&self, id: &ContainerId) -> Result<u64, FileError> {
        disk_bytes(&self.layout().container(id))
    }

    /// What a layer occupies, in bytes. It is measured once: layers do not change.
    ///
    /// # Errors
    /// When something cannot be read.
    fn layer_size(&self, id: &LayerId) -> Result<u64, FileError> {
        let dir = self.layout().layer(id);
        let cache = dir.join("disk");
        let cached = if_whole(disk::read(&cache))?
            .and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok());
        if let Some(size) = cached {
            return Ok(size);
        }
        let size = disk_bytes(&dir)?;
        match self.keep_size(size, &cache) {
            Ok(size) => Ok(size),
            Err(error) => {
                tracing::debug!(%error, "a layer's size cannot be kept, and is measured again next time");
                Ok(size)
            }
        }
    }

    /// Writes a layer's size down, and returns it with what that takes itself.
    fn keep_size(&self, size: u64, cache: &Path) -> Result<u64, FileError> {
        let unnamed = self.lease()?.fresh_path()?;
        drop(disk::write_file(&unnamed, format!("{size}\n").as_bytes())?);
        let size = size + file_bytes(&unnamed)?;
        disk::remove_file(&unnamed)?;
        drop(disk::write_file(&unnamed, format!("{size}\n").as_bytes())?);
        // a layer that is gone by now must not come back as a directory with nothing but this
        let kept = std::fs::rename(&unnamed, cache).at("renaming to", cache);
        if kept.is_err() {
            disk::remove_file(&unnamed)?;
        }
        kept.map(|()| size)
    }

    pub(crate) fn layer_sizes(&self) -> Result<HashMap<LayerId, u64>, FileError> {
        self.layers()?.into_iter().map(|id| self.layer_size(&id).map(|size| (id, size))).collect()
    }

    fn blob_sizes(&self) -> Result<HashMap<Digest, u64>, FileError> {
        let mut sizes = HashMap::new();
        for digest in fanned_digests(&self.layout().blobs())? {
            sizes.insert(digest, file_bytes(&self.layout().blob(&digest))?);
        }
        let pending = self.layout().pending(self.boot());
        for digest in disk::names(&pending)?.iter().filter_map(|name| Digest::from_hex(name).ok()) {
            sizes.insert(digest, file_bytes(&self.pending_blob(&digest))?);
        }
        Ok(sizes)
    }

    fn image_usage(&self, sizes: &Sizes) -> Result<Vec<ImageUsage>, CollectError> {
        let mut all = Vec::new();
        for image in self.images()? {
            let mut needed = Needed::default();
            needed.add_image(&image);
            self.close_over(&mut needed)?;
            all.push((image.id, needed));
        }
        let mut layer_users: HashMap<&LayerId, usize> = HashMap::new();
        let mut blob_users: HashMap<&Digest, usize> = HashMap::new();
        for (_, needed) in &all {
            needed.layers.iter().for_each(|layer| *layer_users.entry(layer).or_default() += 1);
            needed.blobs.iter().for_each(|blob| *blob_users.entry(blob).or_default() += 1);
        }
        let usage = all.iter().map(|(id, needed)| {
            let size_bytes = sizes.of(needed);
            let unique_bytes = sizes.sum(
                needed.layers.iter().filter(|layer| layer_users[layer] == 1),
                needed.blobs.iter().filter(|blob| blob_users[blob] == 1),
            );
            ImageUsage { id: *id, size_bytes, shared_bytes: size_bytes - unique_bytes, unique_bytes }
        });
        Ok(usage.collect())
    }

    fn container_usage(&self) -> Result<Vec<ContainerUsage>, CollectError> {
        let mut usage = Vec::new();
        for id in self.container_ids()? {
            usage.push(ContainerUsage { size_bytes: self.container_size(&id)?, id });
        }
        Ok(usage)
    }

    fn volume_usage(&self) -> Result<Vec<VolumeUsage>, CollectError> {
        let containers = self.containers()?;
        let mut usage = Vec::new();
        for volume in self.volumes()? {
            let users =
                containers.iter().filter(|container| container.volumes.contains(&volume.name)).count();
            let size_bytes = disk_bytes(&self.layout().volume(&volume.name))?;
            usage.push(VolumeUsage { name: volume.name, size_bytes, users });
        }
        Ok(usage)
    }

    fn step_usage(&self, sizes: &Sizes, images: &Needed) -> Result<Vec<StepUsage>, CollectError> {
        let (pins, _) = lease::pins(self.layout())?;
        let mut elsewhere = images.clone();
        elsewhere.add(&self.needed_by_containers()?);
        let mut usage = Vec::new();
        for step in self.steps()? {
            let record = &step.record;
            let layers: HashSet<&LayerId> =
                record.layers.iter().filter_map(|layer| layer.layer.as_ref()).collect();
            usage.push(StepUsage {
                key: record.key,
                description: record.description.clone(),
                size_bytes: layers.iter().filter_map(|layer| sizes.layers.get(*layer)).sum(),
                shared: elsewhere.has_some_of(record),
                in_use: pins.steps.contains(&record.key),
                created_at: record.created_at,
                last_used: step.last_used,
            });
        }
        Ok(usage)
    }

    /// The whole store, where layers and blobs are measured already.
    fn total(&self, content: u64) -> Result<u64, FileError> {
        let root = self.root();
        let mut total = content + file_bytes(root)?;
        for name in disk::names(root)? {
            let path = root.join(&name);
            total += match name.as_str() {
                "blobs" => directories_bytes(&path, 2)?,
                "layers" => directories_bytes(&path, 1)?,
                "pending" => directories_bytes(&path, 1)? + parts_bytes(&path)?,
                _ => disk_bytes(&path)?,
            };
        }
        Ok(total)
    }
}

struct Sizes {
    layers: HashMap<LayerId, u64>,
    blobs: HashMap<Digest, u64>,
}

impl Sizes {
    fn of(&self, needed: &Needed) -> u64 {
        self.sum(needed.layers.iter(), needed.blobs.iter())
    }

    fn sum<'a>(
        &self,
        layers: impl Iterator<Item = &'a LayerId>,
        blobs: impl Iterator<Item = &'a Digest>,
    ) -> u64 {
        let layers: u64 = layers.filter_map(|layer| self.layers.get(layer)).sum();
        layers + blobs.filter_map(|blob| self.blobs.get(blob)).sum::<u64>()
    }
}

/// What a file or directory itself occupies; nothing where it is gone.
fn file_bytes(path: &Path) -> Result<u64, FileError> {
    let metadata = if_there(std::fs::symlink_metadata(path).at("reading", path))?;
    Ok(metadata.map_or(0, |metadata| metadata.blocks() * 512))
}

/// What the parts of blobs occupy that are still coming.
fn parts_bytes(pending: &Path) -> Result<u64, FileError> {
    let mut total = 0;
    for boot in disk::names(pending)? {
        let dir = pending.join(boot);
        for name in disk::names(&dir)?.iter().filter(|name| Digest::from_hex(name).is_err()) {
            total += file_bytes(&dir.join(name))?;
        }
    }
    Ok(total)
}

/// What the directories alone occupy, so many levels below this one.
fn directories_bytes(path: &Path, levels: usize) -> Result<u64, FileError> {
    let mut total = file_bytes(path)?;
    if levels > 0 {
        for name in disk::names(path)? {
            total += directories_bytes(&path.join(name), levels - 1)?;
        }
    }
    Ok(total)
}

/// What a tree occupies; a file with several names counts once. What vanishes meanwhile counts nothing.
pub(crate) fn disk_bytes(path: &Path) -> Result<u64, FileError> {
    let mut seen = HashSet::new();
    let mut total = 0;
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Some(metadata) = if_there(std::fs::symlink_metadata(&path).at("reading", &path))? else {
            continue;
        };
        if metadata.is_dir() {
            let Some(entries) = if_there(std::fs::read_dir(&path).at("listing", &path))? else { continue };
            for entry in entries {
                waiting.push(entry.at("listing", &path)?.path());
            }
        } else if metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        total += metadata.blocks() * 512;
    }
    Ok(total)
}
