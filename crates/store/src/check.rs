//! Checking a store: every blob, layer, record and name is read and compared; what is damaged is made again
//! from what is whole, or removed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use lighter_image::{DiffId, Digest, Hasher, ImageConfig, ImageId};

use crate::Store;
use crate::collect::CollectError;
use crate::disk;
use crate::error::{At as _, FileError, ReadWholeError, RecordError, if_there, if_whole};
use crate::id::{ContainerId, LayerId};
use crate::image::ImageRecord;
use crate::known::KnownLayer;
use crate::layout::fanned_digests;
use crate::lease;
use crate::mount;
use crate::tag::Tagged;
use crate::verify::Verdict;
use crate::volume::Volume;

/// What was done about something that is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It is whole again.
    Repaired,
    /// It is gone: it can be fetched or made again.
    Removed,
    /// It stays, for it is the only copy of somebody's data, or because only a look was asked for.
    Kept,
}

/// One thing that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is damaged, as in `blob sha256:…`.
    pub what: String,
    /// What is wrong with it.
    pub found: String,
    /// What was done about it.
    pub remedy: Remedy,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many blobs were read.
    pub blobs: usize,
    /// How many layers were read and compared with their diff id.
    pub layers: usize,
    /// How many layers have no diff id to compare with yet.
    pub unverifiable_layers: usize,
    /// How many records were read.
    pub records: usize,
    /// What is damaged.
    pub problems: Vec<Problem>,
}

struct Check<'store> {
    store: &'store Store,
    repair: bool,
    report: Report,
    /// The layers that are whole, by the diff id that they say they have.
    whole: HashMap<DiffId, LayerId>,
}

impl Store {
    /// Verifies every blob, layer, record and name; with `repair` it makes again or removes what is damaged.
    ///
    /// Others may use the store meanwhile: bytes are read with the gate open, and only the records are
    /// compared with each other with it closed.
    ///
    /// # Errors
    /// When the store cannot be read or written; damage is no error but part of the report.
    pub fn check(&self, repair: bool) -> Result<Report, CollectError> {
        let mut check = Check { store: self, repair, report: Report::default(), whole: HashMap::new() };
        check.blobs()?;
        check.layers()?;
        {
            let _closed = self.close_gate()?;
            check.known_layers()?;
            check.images()?;
            check.tags()?;
            check.steps()?;
            check.step_index()?;
            check.containers()?;
            check.names()?;
            check.volumes()?;
            check.mounts()?;
        }
        if repair {
            // whoever checks a store waits for the disk anyway; what is durable needs no look after the next boot
            self.sync_layers()?;
        }
        Ok(check.report)
    }
}

impl Check<'_> {
    /// Notes a problem; `remedy` is what is done about it, if anything may be done.
    fn note(&mut self, what: String, found: impl Into<String>, remedy: Remedy) {
        let remedy = if self.repair { remedy } else { Remedy::Kept };
        self.report.problems.push(Problem { what, found: found.into(), remedy });
    }

    fn blobs(&mut self) -> Result<(), FileError> {
        let store = self.store;
        let mut digests = fanned_digests(&store.layout().blobs())?;
        let pending = disk::names(&store.layout().pending(store.boot()))?;
        digests.extend(pending.iter().filter_map(|name| Digest::from_hex(name).ok()));
        for digest in digests {
            if store.discard_no_blob(&digest, self.repair)? {
                self.note(format!("blob {digest}"), "is no file", Remedy::Removed);
            }
            let Some(path) = store.find_blob(&digest)? else { continue };
            let Some(found) = digest_of_file(&path)? else { continue };
            self.report.blobs += 1;
            if found != digest {
                if self.repair {
                    store.discard_blob(&digest)?;
                }
                self.note(format!("blob {digest}"), "has other bytes than its digest says", Remedy::Removed);
            }
        }
        Ok(())
    }

    fn layers(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        let mut ids = store.layers()?;
        // those that others stand on first: what stands on a damaged one is not whole
        ids.sort_by_cached_key(|id| {
            store.layer_meta(id).is_ok_and(|meta| meta.is_some_and(|meta| meta.base.is_some()))
        });
        for id in ids {
            if !store.layout().layer(&id).exists() {
                continue;
            }
            let damage = match store.layer_meta(&id) {
                Ok(Some(meta)) if store.has_layer_dirs(&id) => {
                    let verdict = store
                        .verify_layer(&id)
                        .map_err(|error| CollectError::Layer(crate::LayerError::Verify(Box::new(error))))?;
                    match (verdict, meta.diff_id) {
                        (Verdict::Damaged, _) => Some("has other content than its diff id says".to_owned()),
                        (Verdict::Intact, Some(diff_id)) => {
                            self.report.layers += 1;
                            self.whole.entry(diff_id).or_insert_with(|| id.clone());
                            None
                        }
                        (Verdict::Intact | Verdict::Unverifiable, diff_id) => {
                            self.report.unverifiable_layers += 1;
                            if let Some(diff_id) = diff_id {
                                self.whole.entry(diff_id).or_insert_with(|| id.clone());
                            }
                            None
                        }
                    }
                }
                Ok(_) => Some("has lost its record or its content".to_owned()),
                Err(RecordError::File(error)) => return Err(error.into()),
                Err(error) => Some(error.to_string()),
            };
            // what another process removed meanwhile is not damaged
            if let Some(found) = damage
                && store.layout().layer(&id).exists()
            {
                if self.repair {
                    store.drop_damaged_layer(&id)?;
                }
                let (found, remedy) = if self.repair && store.layout().layer(&id).exists() {
                    (format!("{found}; a container stands on it"), Remedy::Kept)
                } else {
                    (found, Remedy::Removed)
                };
                self.note(format!("layer {id}"), found, remedy);
            }
        }
        Ok(())
    }

    /// Records of diff ids: each names a layer that is there, and each layer that is there is named.
    fn known_layers(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        let mut seen = std::collections::HashSet::new();
        for digest in fanned_digests(&store.layout().top("diffs"))? {
            let diff_id = DiffId(digest);
            seen.insert(diff_id);
            self.report.records += 1;
            let (mut known, damage) = match store.read_known(&diff_id) {
                Ok(Some(known)) if known.diff_id == diff_id => (known, None),
                Ok(None) => continue,
                Ok(Some(_)) => (KnownLayer::new(diff_id), Some("is the record of another layer".to_owned())),
                Err(RecordError::File(error)) => return Err(error.into()),
                Err(error) => (KnownLayer::new(diff_id), Some(error.to_string())),
            };
            let lost = match &known.layer {
                Some(layer) => !store.has_layer_dirs(layer),
                // another with the same content may be there
                None => self.whole.get(&diff_id).is_some_and(|layer| store.has_layer_dirs(layer)),
            };
            if damage.is_none() && !lost {
                continue;
            }
            known.layer = self.whole.get(&diff_id).cloned();
            if self.repair {
                store.write_known(&known)?;
            }
            let found = damage.unwrap_or_else(|| "does not name the layer that is there".to_owned());
            self.note(format!("record of layer {diff_id}"), found, Remedy::Repaired);
        }
        for (diff_id, layer) in self.whole.clone() {
            if !seen.contains(&diff_id) && store.has_layer_dirs(&layer) {
                if self.repair {
                    store.write_known(&KnownLayer { layer: Some(layer), ..KnownLayer::new(diff_id) })?;
                }
                self.note(format!("record of layer {diff_id}"), "is missing", Remedy::Repaired);
            }
        }
        Ok(())
    }

    fn images(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        for id in store.image_ids()? {
            self.report.records += 1;
            let what = format!("image {id}");
            let config = config_of(store, &id)?;
            let record = match store.read_image(&id) {
                Ok(record) => record,
                Err(RecordError::File(error)) => return Err(error.into()),
                Err(error) => {
                    let rebuilt = config.as_ref().map(|config| rebuilt_image(id, config));
                    if let (true, Some(image)) = (self.repair, &rebuilt) {
                        store.stage_image(image)?.publish()?;
                    }
                    if rebuilt.is_some() {
                        self.note(what.clone(), error.to_string(), Remedy::Repaired);
                    }
                    rebuilt
                }
            };
            let found = match (record, config) {
                (Some(image), Some(_)) => {
                    let Some(layer) = lost_layer(store, &image)? else {
                        self.manifests(image)?;
                        continue;
                    };
                    format!("has lost its layer {layer}, and nothing says where to get it")
                }
                _ => "has lost its configuration".to_owned(),
            };
            if self.repair {
                store.throw_away(&store.layout().image(&id))?;
            }
            self.note(what, found, Remedy::Removed);
        }
        Ok(())
    }

    /// A manifest can be made again: an image does without those that are lost.
    fn manifests(&mut self, mut image: ImageRecord) -> Result<(), CollectError> {
        let store = self.store;
        let before = image.manifests.len();
        let mut kept = Vec::new();
        for manifest in std::mem::take(&mut image.manifests) {
            if store.find_blob(&manifest.digest)?.is_some() {
                kept.push(manifest);
            }
        }
        image.manifests = kept;
        if image.manifests.len() != before {
            if self.repair {
                store.stage_image(&image)?.publish()?;
            }
            self.note(format!("image {}", image.id), "has lost a manifest", Remedy::Repaired);
        }
        Ok(())
    }

    fn tags(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        let top = store.layout().top("tags");
        for name in disk::names(&top)? {
            self.report.records += 1;
            let path = top.join(&name);
            let (what, found) = match crate::record::read::<Tagged>("tag", &path) {
                Ok(Some(tagged)) if store.layout().tag(&tagged.reference) != path => {
                    (format!("tag {name}"), "is the tag of another name".to_owned())
                }
                Ok(Some(tagged)) if !store.layout().image(&tagged.image).exists() => (
                    format!("tag {}", tagged.reference.familiar()),
                    format!("names {}, which is not there", tagged.image),
                ),
                Ok(_) => continue,
                Err(RecordError::File(error)) => return Err(error.into()),
                Err(error) => (format!("tag {name}"), error.to_string()),
            };
            if self.repair {
                store.throw_away(&path)?;
            }
            self.note(what, found, Remedy::Removed);
        }
        Ok(())
    }

    fn steps(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        for key in fanned_digests(&store.layout().top("steps"))? {
            self.report.records += 1;
            let found = match store.read_step(&key) {
                Ok(Some(step)) => {
                    let mut lost = false;
                    for layer in &step.layers {
                        let here = layer.layer.as_ref().is_some_and(|id| store.has_layer_dirs(id));
                        let known = match layer.diff_id {
                            Some(diff_id) if !here => is_obtainable(store, &diff_id)?,
                            _ => false,
                        };
                        lost |= !here && !known;
                    }
                    if !lost {
                        continue;
                    }
                    "has lost its layer".to_owned()
                }
                Ok(None) => continue,
                Err(RecordError::File(error)) => return Err(error.into()),
                Err(error) => error.to_string(),
            };
            if self.repair {
                store.throw_step_away(&key)?;
            }
            self.note(format!("step {key}"), found, Remedy::Removed);
        }
        Ok(())
    }

    fn containers(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        let (pins, _) = lease::pins(store.layout())?;
        for id in store.container_ids()? {
            self.report.records += 1;
            let Some((mut found, mut remedy)) = container_damage(store, &id)? else { continue };
            let dir = store.layout().container(&id);
            if remedy == Remedy::Removed && (pins.containers.contains(&id) || is_mounted(&dir)) {
                found.push_str("; it is in use");
                remedy = Remedy::Kept;
            }
            if self.repair && remedy == Remedy::Removed {
                store.throw_away(&dir)?;
            }
            self.note(format!("container {id}"), found, remedy);
        }
        Ok(())
    }

    /// The index of steps: what is no list of keys is only a longer way to what it lists.
    fn step_index(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        for index in fanned_digests(&store.layout().top("steps-index"))? {
            let path = store.layout().step_index(&index);
            let error = match disk::read(&path) {
                Ok(_) => continue,
                Err(ReadWholeError::File(error)) => return Err(error.into()),
                Err(error) => RecordError::from(error),
            };
            if self.repair {
                store.throw_away(&path)?;
            }
            self.note(format!("index of steps {index}"), error.reason(), Remedy::Removed);
        }
        Ok(())
    }

    fn names(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        for name in disk::names(&store.layout().top("names"))? {
            let holder = store.name_record(&name)?;
            if holder.is_none_or(|id| !store.layout().container(&id).exists()) {
                if self.repair {
                    store.throw_away(&store.layout().name(&name))?;
                }
                self.note(format!("name {name}"), "belongs to no container", Remedy::Removed);
            }
        }
        Ok(())
    }

    fn volumes(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        for name in disk::names(&store.layout().top("volumes"))? {
            self.report.records += 1;
            let found = match store.volume(&name) {
                Ok(Some(_)) => continue,
                Ok(None) => "has lost its record".to_owned(),
                Err(RecordError::File(error)) => return Err(error.into()),
                Err(error) => error.to_string(),
            };
            if self.repair {
                store.write_volume(&Volume::new(name.clone(), SystemTime::UNIX_EPOCH))?;
            }
            self.note(format!("volume {name}"), found, Remedy::Repaired);
        }
        Ok(())
    }

    fn mounts(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        let top = store.layout().top("mounts");
        for name in disk::names(&top)? {
            self.report.records += 1;
            let dir = top.join(&name);
            if mount::is_readable(&dir)? || mount::is_in_use(&dir)? {
                continue;
            }
            if self.repair {
                store.throw_away(&dir)?;
            }
            self.note(format!("cache mount {name}"), "has lost its record", Remedy::Removed);
        }
        Ok(())
    }
}

impl Store {
    fn drop_damaged_layer(&self, id: &LayerId) -> Result<(), CollectError> {
        match self.drop_layer(id) {
            // its record of the diff id is damaged as well, and looked at later
            Err(crate::LayerError::Record(error)) if error.is_damage() => Ok(()),
            result => Ok(result?),
        }
    }
}

/// What is wrong with a container, and what is to be done about it.
fn container_damage(store: &Store, id: &ContainerId) -> Result<Option<(String, Remedy)>, CollectError> {
    for (file, what) in [("container", "record"), ("state", "state")] {
        // without them it can neither be started nor named
        if !store.layout().container(id).join(file).is_file() {
            return Ok(Some((format!("has lost its {what}"), Remedy::Removed)));
        }
    }
    let damaged = match store.container(id) {
        Ok(container) => {
            let layers = container.map(|container| container.layers).unwrap_or_default();
            if let Some(layer) = layers.iter().find(|layer| !store.has_layer_dirs(layer)) {
                return Ok(Some((format!("has lost its layer {layer}"), Remedy::Kept)));
            }
            store.container_state::<serde::de::IgnoredAny>(id).err()
        }
        Err(error) => Some(error),
    };
    Ok(match damaged {
        None => None,
        Some(RecordError::File(error)) => return Err(error.into()),
        // no more than begun when the machine stopped: there is nothing of anybody's in it
        Some(error) if disk::names(&store.container_paths(id).upper)?.is_empty() => {
            Some((error.reason(), Remedy::Removed))
        }
        Some(error) => Some((format!("{}; `lighter rm -f` removes it", error.reason()), Remedy::Kept)),
    })
}

/// Whether something is mounted at a directory, or in it.
fn is_mounted(dir: &Path) -> bool {
    has_mount(&std::fs::read("/proc/self/mountinfo").unwrap_or_default(), dir)
}

/// The same by a text of the form of `mountinfo`, whose fifth word is the place of a mount.
fn has_mount(mounts: &[u8], dir: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let mut escaped = Vec::new();
    for byte in dir.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            other => escaped.push(*other),
        }
    }
    let holds = |place: &[u8]| {
        place.strip_prefix(escaped.as_slice()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let place = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).is_some_and(holds);
    mounts.split(|byte| *byte == b'\n').any(place)
}

fn config_of(store: &Store, id: &ImageId) -> Result<Option<ImageConfig>, FileError> {
    let Some(path) = store.find_blob(&id.0)? else { return Ok(None) };
    let Some(bytes) = if_whole(disk::read(&path))? else { return Ok(None) };
    if Digest::of(&bytes) != id.0 {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&bytes).ok())
}

fn rebuilt_image(id: ImageId, config: &ImageConfig) -> ImageRecord {
    ImageRecord::new(id, config.rootfs.diff_ids.clone(), SystemTime::UNIX_EPOCH)
}

/// The first layer of an image that cannot be had any more.
fn lost_layer(store: &Store, image: &ImageRecord) -> Result<Option<DiffId>, CollectError> {
    for diff_id in &image.layers {
        if !is_obtainable(store, diff_id)? {
            return Ok(Some(*diff_id));
        }
    }
    Ok(None)
}

/// Whether a layer is here, or can be had from a blob or a registry.
fn is_obtainable(store: &Store, diff_id: &DiffId) -> Result<bool, CollectError> {
    let known = match store.read_known(diff_id) {
        Ok(Some(known)) => known,
        Err(RecordError::File(error)) => return Err(error.into()),
        Ok(None) | Err(_) => return Ok(false),
    };
    if known.layer.is_some_and(|layer| store.has_layer_dirs(&layer)) || !known.sources.is_empty() {
        return Ok(true);
    }
    for blob in &known.blobs {
        if store.find_blob(&blob.digest)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn digest_of_file(path: &Path) -> Result<Option<Digest>, FileError> {
    let Some(mut file) = if_there(File::open(path).at("opening", path))? else { return Ok(None) };
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at("reading", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_from_what_only_looks_like_them() {
        let mounts = b"36 35 98:0 /mnt1 /a\\040b/c rw,noatime shared:1 - ext4 /dev/x rw\n\
            37 35 0:1 / /a/bc rw - overlay /from rw,upperdir=/up\n";
        let check = |dir: &str, expected| assert_eq!(has_mount(mounts, Path::new(dir)), expected, "{dir}");
        check("/a b", true);
        check("/a b/c", true);
        check("/a b/c/d", false);
        check("/a/b", false);
        check("/a/bc", true);
        check("/from", false);
        check("/mnt1", false);
    }
}
