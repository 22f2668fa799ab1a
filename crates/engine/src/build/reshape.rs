//! Layers as they were asked for: several as one, or with times brought down to an epoch. The cache stays as it is: it
//! knows the layers of the steps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use lighter_build::{Built, BuiltLayer, CancelToken, Fetch as _, Work};
use lighter_dockerfile::plan::{Op, Plan};
use lighter_image::{DiffId, Digest, History, ImageId};
use lighter_layer::{ApplyOptions, PackOptions, Policy, Timestamp, View, diff_id, merge, stack_diff_ids};
use lighter_store::{LayerId, NewLayer, StepLayer, StepRecord, Store};

use super::{LayerForm, OutputError};
use crate::fetch::Fetcher;

/// Where the layers are, and how those that are elsewhere are got.
pub(super) struct Site<'a> {
    pub(super) store: &'a Store,
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) cancel: &'a CancelToken,
    pub(super) plan: &'a Plan,
    pub(super) work: &'a Work<'a>,
    pub(super) now: SystemTime,
}

impl Site<'_> {
    /// Makes layers of several steps one, as `form` says.
    pub(super) fn joined(&self, built: &Built, form: LayerForm) -> Result<Built, OutputError> {
        let mut joined = built.clone();
        let groups = groups(self.plan, &built.layers, form);
        if groups.is_empty() {
            return Ok(joined);
        }
        let mut layers: Vec<BuiltLayer> = Vec::new();
        for (place, layer) in built.layers.iter().enumerate() {
            match groups.iter().find(|group| group.contains(&place)) {
                None => layers.push(layer.clone()),
                Some(group) if group.end == place + 1 => {
                    let (diff_id, id) = self.join(&built.layers, group)?;
                    layers.push(BuiltLayer { diff_id, layer: Some(id), step: layer.step });
                }
                Some(_) => {}
            }
        }
        joined.layers = layers;
        let of_base = built.layers.iter().filter(|layer| !layer.is_own()).count();
        let history = &mut joined.config.history;
        let entries = history.iter_mut().skip(self.plan.base_history_len).filter(|entry| !entry.empty_layer);
        for (entry, place) in entries.zip(of_base..) {
            let is_joined = |group: &std::ops::Range<usize>| {
                group.contains(&place) && (form == LayerForm::Squash || group.end != place + 1)
            };
            entry.empty_layer = groups.iter().any(is_joined);
        }
        if form == LayerForm::Squash {
            // as Docker's own `--squash` notes it; with an epoch nothing may depend on times that are brought down later
            let from = if self.plan.epoch.is_some() { String::new() } else { format!(" {}", built.image) };
            let comment = match built.layers[..of_base].last() {
                Some(base) => format!("merge{from} to {}", base.diff_id),
                None => format!("create new{}", from.replacen(' ', " from ", 1)),
            };
            let created = joined.config.created.clone();
            history.push(History { created, comment, ..History::default() });
        }
        finished(joined)
    }

    /// One layer that says what several say; found where that was done before.
    fn join(
        &self,
        layers: &[BuiltLayer],
        group: &std::ops::Range<usize>,
    ) -> Result<(DiffId, LayerId), OutputError> {
        let names: Vec<String> = layers[..group.end].iter().map(|layer| layer.diff_id.to_string()).collect();
        let key = Digest::of(format!("joined from {}\n{}", group.start, names.join("\n")));
        if let Some(StepLayer { layer: Some(id), diff_id: Some(diff_id) }) =
            self.store.step(&key)?.and_then(|record| record.layers.into_iter().next())
            && self.store.is_usable(&id)?
        {
            return Ok((diff_id, id));
        }
        let paths = self.paths(&layers[..group.end])?;
        let scratch = self.store.new_layer()?;
        let now = self.plan.epoch.map_or_else(Timestamp::default, Timestamp::at_second);
        let options = ApplyOptions {
            below: View::open(&paths[..group.start].concat())?,
            now,
            ..ApplyOptions::default()
        };
        merge(&paths[group.start..], &scratch.fs(), &options)
            .map_err(|source| OutputError::Join(Box::new(source)))?;
        let packed = diff_id(&scratch.fs(), &PackOptions::default())
            .map_err(|source| OutputError::Export(Box::new(source)))?;
        let new = NewLayer {
            diff_id: Some(packed.diff_id),
            size_bytes: Some(packed.size_bytes),
            ..NewLayer::default()
        };
        let id = self.store.commit_layer(scratch, new)?;
        let record = StepRecord {
            key,
            definition: key,
            lineage: None,
            description: format!("{} layers as one", group.len()),
            layers: vec![StepLayer { layer: Some(id.clone()), diff_id: Some(packed.diff_id) }],
            tree: None,
            notes: BTreeMap::new(),
            created_at: self.now,
        };
        self.store.put_step(&record, &[])?;
        Ok((packed.diff_id, id))
    }

    /// Brings the times of all own layers down to an epoch.
    pub(super) fn clamped(&self, built: &Built, epoch: i64) -> Result<Built, OutputError> {
        let mut clamped = built.clone();
        for place in 0..clamped.layers.len() {
            if !clamped.layers[place].is_own() {
                continue;
            }
            let id = match &built.layers[place].layer {
                Some(id) => id.clone(),
                None => self.ids(&built.layers[..=place])?.pop().ok_or_else(|| gone(&built.layers[place]))?,
            };
            clamped.layers[place].diff_id = self.clamped_diff_id(&id, epoch)?;
            clamped.layers[place].layer = Some(id);
        }
        finished(clamped)
    }

    fn clamped_diff_id(&self, id: &LayerId, epoch: i64) -> Result<DiffId, OutputError> {
        let known = self.store.layer_meta(id)?.and_then(|meta| meta.clamped);
        if let Some(known) = known.filter(|known| known.seconds == epoch) {
            return Ok(known.diff_id);
        }
        let latest = Timestamp::at_second(epoch);
        let (_, clamped) = stack_diff_ids(&self.store.layer_dirs(id)?, Policy::of_process(), latest)
            .map_err(|source| OutputError::Export(Box::new(source)))?;
        self.store.set_clamped_diff_id(id, clamped.diff_id, clamped.size_bytes, epoch)?;
        Ok(clamped.diff_id)
    }

    /// The directories of each layer of a stack.
    fn paths(&self, layers: &[BuiltLayer]) -> Result<Vec<Vec<PathBuf>>, OutputError> {
        self.ids(layers)?.iter().map(|id| Ok(self.store.layer_dirs(id)?)).collect()
    }

    /// The directories of a stack of layers, which are got first where they are elsewhere.
    fn ids(&self, layers: &[BuiltLayer]) -> Result<Vec<LayerId>, OutputError> {
        let find = |layer: &BuiltLayer| match &layer.layer {
            Some(id) => Ok(Some(id.clone())),
            None => self.store.layer_by_diff_id(&layer.diff_id),
        };
        let found: Option<Vec<LayerId>> = layers.iter().map(find).collect::<Result<_, _>>()?;
        if let Some(found) = found {
            return Ok(found);
        }
        let wanted: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
        self.fetcher.layers(&wanted, self.work, self.cancel)?;
        layers.iter().map(|layer| find(layer)?.ok_or_else(|| gone(layer))).collect()
    }
}

fn gone(layer: &BuiltLayer) -> OutputError {
    OutputError::Refused(format!("layer {} is no longer in the store", layer.diff_id))
}

/// The image of other layers: it has another configuration, and by that another id.
fn finished(mut built: Built) -> Result<Built, OutputError> {
    built.config.rootfs.diff_ids = built.layers.iter().map(|layer| layer.diff_id).collect();
    built.config_bytes = built.config.to_json()?;
    built.image = ImageId(Digest::of(&built.config_bytes));
    Ok(built)
}

/// The layers that become one, by their places: always at least two.
fn groups(plan: &Plan, layers: &[BuiltLayer], form: LayerForm) -> Vec<std::ops::Range<usize>> {
    let joins = |layer: &BuiltLayer| match (form, layer.step) {
        (LayerForm::Squash, step) => step.is_some(),
        (LayerForm::MergeCopy, Some(step)) => matches!(plan.step(step).op, Op::Copy(_)),
        (LayerForm::MergeCopy, None) | (LayerForm::PerStep, _) => false,
    };
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    for (place, _) in layers.iter().enumerate().filter(|(_, layer)| joins(layer)) {
        match groups.last_mut() {
            Some(group) if group.end == place => group.end += 1,
            _ => groups.push(place..place + 1),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}
