//! Step records: what a step made, by the key of the step.

use std::collections::{BTreeMap, HashSet};
use std::time::SystemTime;

use lighter_image::{DiffId, Digest};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::disk;
use crate::error::{At as _, FileError, RecordError, if_there, if_whole};
use crate::id::LayerId;
use crate::layer::LayerError;
use crate::layout::fanned_digests;
use crate::lease::Pin;
use crate::record;

const KIND: &str = "step";
const INPUTS_KIND: &str = "inputs";
/// Among so many of the records that were put last, those that were used last are looked for: a step that was built a
/// thousand times would have a thousand files looked at.
const LATEST_PUT: usize = 64;

/// One layer that a step made or brought: at least one of the two names is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLayer {
    /// The unpacked layer, where its bytes are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerId>,
    /// The diff id, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<DiffId>,
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The key it is found by.
    pub key: Digest,
    /// The digest of the step's definition alone, without its inputs: [`Store::steps_like`] finds all records
    /// with the same.
    pub definition: Digest,
    /// The digest of the step's place, as context, stage and number: finds the records of the steps that
    /// stood there before, also when their text was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Digest>,
    /// The step as people read it.
    pub description: String,
    /// The layers that it added to what it stands on, bottom first; none where it changed nothing.
    pub layers: Vec<StepLayer>,
    /// The content digest of what it made, where one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
    /// Further small facts, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
    /// When it was made.
    #[serde(with = "record::time")]
    pub created_at: SystemTime,
}

/// One part of a key's preimage. Never a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepInput {
    /// What it is, as in `file src/main.rs` or `arg VERSION`.
    #[serde(rename = "n")]
    pub name: String,
    /// The digest of what it was.
    #[serde(rename = "d")]
    pub digest: Digest,
    /// What it was, where that is short and may be shown.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A step record and when it was last of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUse {
    /// The record.
    pub record: StepRecord,
    /// When it was last put or found.
    pub last_used: SystemTime,
}

impl Store {
    /// Remembers what a step made, with the preimage of its key.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn put_step(&self, step: &StepRecord, inputs: &[StepInput]) -> Result<(), RecordError> {
        let layout = self.layout();
        let _inside = self.enter()?;
        self.lease()?.pin(Pin::Step(&step.key))?;
        let inputs_path = layout.step_inputs(&step.key);
        self.write_record(INPUTS_KIND, &inputs_path, &inputs)?;
        self.write_record(KIND, &layout.step(&step.key), step)?;
        for index in [Some(&step.definition), step.lineage.as_ref()].into_iter().flatten() {
            self.append_to_index(index, &step.key)?;
        }
        Ok(())
    }

    /// Lets [`Store::has_steps_like`] find a step that was put by one more digest.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn index_step(&self, index: &Digest, key: &Digest) -> Result<(), RecordError> {
        let _inside = self.enter()?;
        Ok(self.append_to_index(index, key)?)
    }

    fn append_to_index(&self, index: &Digest, key: &Digest) -> Result<(), FileError> {
        let path = self.layout().step_index(index);
        let line = format!("{}\n", key.hex());
        match disk::append(&path, line.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
                self.throw_away(&path)?;
                disk::append(&path, line.as_bytes())
            }
            result => result,
        }
    }

    /// What the step with this key made, if all of it can still be had; it is kept until this process ends.
    ///
    /// Layers get the names that were learned since, and those whose bytes went away are given by diff id
    /// alone. A record whose result is lost, or that is damaged, is removed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn step(&self, key: &Digest) -> Result<Option<StepRecord>, LayerError> {
        let path = self.layout().step(key);
        let found = self.look_up(&[Pin::Step(key)], || self.read_step(key));
        let mut step = match found {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(None),
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "dropping a step record");
                self.remove_step(key)?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        for layer in &mut step.layers {
            if !self.complete(layer)? {
                self.remove_step(key)?;
                return Ok(None);
            }
        }
        if_there(disk::touch(&path))?;
        Ok(Some(step))
    }

    /// The preimage of a key; empty where there is no record, or its preimage is lost.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn step_inputs(&self, key: &Digest) -> Result<Vec<StepInput>, RecordError> {
        match record::read(INPUTS_KIND, &self.layout().step_inputs(key)) {
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "a preimage is lost");
                Ok(Vec::new())
            }
            result => Ok(result?.unwrap_or_default()),
        }
    }

    /// Whether some record with this definition or lineage may exist. It costs one look.
    pub fn has_steps_like(&self, index: &Digest) -> bool {
        self.layout().step_index(index).exists()
    }

    /// The records with this definition or lineage, the last used first; their layers are not looked at.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn steps_like(&self, index: &Digest) -> Result<Vec<StepRecord>, RecordError> {
        self.latest_steps_like(index, usize::MAX)
    }

    /// As [`Store::steps_like`], but no more than so many, of the latest that were put: the rest is
    /// not looked at.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn latest_steps_like(&self, index: &Digest, most: usize) -> Result<Vec<StepRecord>, RecordError> {
        let mut steps = Vec::new();
        for key in self.last_used_first(self.indexed_keys(index, most.max(LATEST_PUT))?) {
            if steps.len() >= most {
                break;
            }
            match self.read_step(&key) {
                Ok(step) => {
                    steps.extend(
                        step.filter(|step| step.definition == *index || step.lineage.as_ref() == Some(index)),
                    );
                }
                Err(error) if error.is_damage() => tracing::warn!(%error, "leaving out a step record"),
                Err(error) => return Err(error),
            }
        }
        Ok(steps)
    }

    /// All step records with their last use, in no particular order. Damaged ones are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn steps(&self) -> Result<Vec<StepUse>, RecordError> {
        let mut steps = Vec::new();
        for key in fanned_digests(&self.layout().top("steps"))? {
            let path = self.layout().step(&key);
            match self.read_step(&key) {
                Ok(Some(record)) => {
                    let metadata = if_there(std::fs::metadata(&path).at("reading", &path))?;
                    let last_used = metadata.and_then(|metadata| metadata.modified().ok());
                    let last_used = last_used.unwrap_or(record.created_at);
                    steps.push(StepUse { record, last_used });
                }
                Ok(None) => {}
                Err(error) if error.is_damage() => tracing::warn!(%error, "leaving out a step record"),
                Err(error) => return Err(error),
            }
        }
        Ok(steps)
    }

    /// Forgets what a step made; `false` where nothing was known.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_step(&self, key: &Digest) -> Result<bool, RecordError> {
        let _inside = self.enter()?;
        Ok(self.throw_step_away(key)?)
    }

    /// As [`Store::remove_step`], for those who hold the gate.
    pub(crate) fn throw_step_away(&self, key: &Digest) -> Result<bool, FileError> {
        let known = self.bury(&self.layout().step(key))?;
        self.bury(&self.layout().step_inputs(key))?;
        Ok(known)
    }

    pub(crate) fn read_step(&self, key: &Digest) -> Result<Option<StepRecord>, RecordError> {
        let path = self.layout().step(key);
        match record::read::<StepRecord>(KIND, &path)? {
            Some(step) if step.key != *key => {
                Err(RecordError::Damaged { path, reason: "belongs to another step".to_owned() })
            }
            step => Ok(step),
        }
    }

    /// Puts keys in the order of their last use; of several of one moment, the order stays.
    fn last_used_first(&self, keys: Vec<Digest>) -> Vec<Digest> {
        let used_at = |key: &Digest| {
            let modified =
                std::fs::metadata(self.layout().step(key)).and_then(|metadata| metadata.modified());
            // one that is gone is found to be so when it is read
            modified.unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let mut keys: Vec<(SystemTime, Digest)> = keys.into_iter().map(|key| (used_at(&key), key)).collect();
        keys.sort_by_key(|(used_at, _)| std::cmp::Reverse(*used_at));
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// The keys under an index entry, the latest first, each once, and no more than so many.
    pub(crate) fn indexed_keys(&self, index: &Digest, most: usize) -> Result<Vec<Digest>, RecordError> {
        let bytes = if_whole(disk::read(&self.layout().step_index(index)))?.unwrap_or_default();
        let mut seen = HashSet::new();
        Ok(bytes
            .rsplit(|byte| *byte == b'\n')
            .filter_map(|line| Digest::from_hex(std::str::from_utf8(line).ok()?).ok())
            .filter(|key| seen.insert(*key))
            .take(most)
            .collect())
    }

    /// Fills in what is known of a step's layer now; `false` where it cannot be had any more.
    fn complete(&self, layer: &mut StepLayer) -> Result<bool, LayerError> {
        if let Some(id) = &layer.layer
            && self.is_usable(id)?
        {
            if layer.diff_id.is_none() {
                layer.diff_id = self.layer_meta(id)?.and_then(|meta| meta.diff_id);
            }
            return Ok(true);
        }
        let Some(diff_id) = layer.diff_id else { return Ok(false) };
        layer.layer = self.layer_by_diff_id(&diff_id)?;
        if layer.layer.is_some() {
            return Ok(true);
        }
        let Some(known) = self.known_layer(&diff_id)? else { return Ok(false) };
        for blob in &known.blobs {
            if self.has_blob(&blob.digest)? {
                return Ok(true);
            }
        }
        Ok(!known.sources.is_empty())
    }
}
