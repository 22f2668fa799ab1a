//! What is kept of a step between builds: its result under its key, and the key's preimage for explanations.

use std::time::SystemTime;

use lighter_image::Digest;
use lighter_store::{LayerError, LayerId, StepInput, StepLayer, StepRecord, Store};

use crate::explain::{Explanation, Part, PartKind, Reason};
use crate::key::Definition;
use crate::snapshot::{Layer, Snapshot};

/// The note that holds what keys know the layer by.
const IDENTITY: &str = "identity";
/// The note that holds the digest of the files that a COPY selected.
const SOURCE: &str = "source";
/// The note that holds the identity of the layers that a step stood on.
const PARENT: &str = "parent";
/// The input that lists the files that were copied.
const FILES: &str = "files";
/// What the names of preimage parts begin with that stand for the layers below, not for something to show.
const BELOW: &str = "below ";

/// What a step has made, found or new.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) layer: Layer,
    pub(crate) created_at: SystemTime,
}

/// Looks a key up. A record that misses its notes is none.
pub(crate) fn find(store: &Store, key: &Digest) -> Result<Option<Made>, LayerError> {
    Ok(store.step(key)?.and_then(made_of))
}

fn made_of(record: StepRecord) -> Option<Made> {
    let identity = record.notes.get(IDENTITY)?.clone();
    let source = record.notes.get(SOURCE).and_then(|text| text.parse().ok());
    let [stored] = <[StepLayer; 1]>::try_from(record.layers).ok()?;
    Some(Made { layer: Layer { identity, stored, source }, created_at: record.created_at })
}

/// What an earlier step of the same definition has made on the same layers, where that is here.
pub(crate) fn made_on(record: &StepRecord, parent: Option<&Digest>) -> Option<LayerId> {
    if record.notes.get(PARENT).map(String::as_str) != parent.map(Digest::to_string).as_deref() {
        return None;
    }
    let [stored] = &record.layers[..] else { return None };
    stored.layer.clone()
}

/// Whether a record says that other files were copied.
pub(crate) fn has_other_source(record: &StepRecord, source: Option<&Digest>) -> bool {
    match (record.notes.get(SOURCE), source) {
        (Some(before), Some(now)) => *before != now.to_string(),
        _ => false,
    }
}

/// What is to be remembered of a step.
pub(crate) struct New<'a> {
    pub(crate) key: Digest,
    pub(crate) definition: &'a Definition,
    pub(crate) lineage: Digest,
    pub(crate) description: &'a str,
    /// The identity of the layers that its result depends on, if it does.
    pub(crate) parent: Option<Digest>,
    /// The layers below, and those of the other trees that it takes files from.
    pub(crate) below: Vec<(&'a str, &'a Snapshot)>,
    /// The parts of the key.
    pub(crate) parts: &'a [Part],
    /// The files that were copied, one by one; see [`FileList`].
    pub(crate) files: Option<FileList>,
    pub(crate) made: &'a Made,
}

impl New<'_> {
    /// Remembers it.
    pub(crate) fn put(self, store: &Store) -> Result<(), lighter_store::RecordError> {
        let layer = &self.made.layer;
        let mut notes = std::collections::BTreeMap::new();
        notes.insert(IDENTITY.to_owned(), layer.identity.clone());
        if let Some(source) = layer.source {
            notes.insert(SOURCE.to_owned(), source.to_string());
        }
        if let Some(parent) = self.parent {
            notes.insert(PARENT.to_owned(), parent.to_string());
        }
        let record = StepRecord {
            key: self.key,
            definition: self.definition.digest,
            lineage: Some(self.lineage),
            description: self.description.to_owned(),
            layers: vec![layer.stored.clone()],
            tree: None,
            notes,
            created_at: self.made.created_at,
        };
        let below = self.below.iter().flat_map(|(name, snapshot)| {
            let layers = snapshot.layers();
            let inputs: Vec<StepInput> = layers.iter().map(|layer| below_input(name, layer)).collect();
            inputs
        });
        let mut inputs: Vec<StepInput> =
            self.definition.parts.iter().chain(self.parts).map(input_of).chain(below).collect();
        inputs.extend(self.files.map(FileList::into_input));
        store.put_step(&record, &inputs)
    }
}

/// The preimage of a key, as parts to show.
pub(crate) fn parts(store: &Store, key: &Digest) -> Result<Vec<Part>, lighter_store::RecordError> {
    let mut parts = Vec::new();
    for input in store.step_inputs(key)? {
        match FileList::of_input(&input) {
            Some(files) => parts.extend(files.parts()),
            None => parts.extend(part_of(input).filter(is_shown)),
        }
    }
    Ok(parts)
}

/// What most files take in a [`FileList`].
const ROOM: usize = 128;

/// The files that a COPY takes, one by one, for explanations: path and value in turn, each with a zero behind it. A
/// context has many thousands of them, so they are one input of a step, not thousands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileList(String);

impl FileList {
    /// Makes room for the first files, all at once: a string that grows is in memory twice.
    pub(crate) fn make_room(&mut self, files: usize) {
        if self.0.is_empty() {
            self.0.reserve(files * ROOM);
        }
    }

    /// Adds a file; the path and what it is.
    pub(crate) fn push(&mut self, path: &[u8], value: impl FnOnce(&mut String)) {
        match std::str::from_utf8(path) {
            Ok(path) => self.0.push_str(path),
            Err(_) => self.0.push_str(&String::from_utf8_lossy(path)),
        }
        self.0.push('\0');
        value(&mut self.0);
        self.0.push('\0');
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        let mut texts = self.0.split_terminator('\0');
        std::iter::from_fn(move || Some(Part::new(PartKind::File, texts.next()?, texts.next()?)))
    }

    fn into_input(self) -> StepInput {
        StepInput { name: FILES.to_owned(), digest: Digest::of(&self.0), value: Some(self.0) }
    }

    fn of_input(input: &StepInput) -> Option<Self> {
        (input.name == FILES).then(|| Self(input.value.clone().unwrap_or_default()))
    }
}

/// Compares what two steps have depended on: the one before, and the one that ran in its place. `None` where nothing is
/// known of one of them any more.
///
/// # Errors
/// When the store cannot be read.
pub fn compare_keys(
    store: &Store,
    before: &Digest,
    after: &Digest,
) -> Result<Option<Explanation>, lighter_store::RecordError> {
    let (old, new) = (parts(store, before)?, parts(store, after)?);
    if old.is_empty() || new.is_empty() {
        return Ok(None);
    }
    let compared = Explanation::compare(&old, &new);
    Ok(Some(if compared.changes.is_empty() { Explanation::plain(Reason::Pruned) } else { compared }))
}

/// Whether a part is shown: the digest of all selected files is not, as they come one by one.
pub(crate) fn is_shown(part: &Part) -> bool {
    part.kind != PartKind::File || !part.name.is_empty()
}

/// The layers that an earlier run of a step stood on, by what they are below of, bottom first.
pub(crate) fn layers_below(inputs: &[StepInput], name: &str) -> Vec<Layer> {
    let wanted = format!("{BELOW}{name}");
    inputs.iter().filter(|input| input.name == wanted).filter_map(layer_of).collect()
}

fn below_input(name: &str, layer: &Layer) -> StepInput {
    let id = layer.stored.layer.as_ref().map(LayerId::to_string).unwrap_or_default();
    let diff = layer.stored.diff_id.map(|diff| diff.to_string()).unwrap_or_default();
    let source = layer.source.map(|source| source.to_string()).unwrap_or_default();
    StepInput {
        name: format!("{BELOW}{name}"),
        digest: Digest::of(&layer.identity),
        value: Some(format!("{} {id} {diff} {source}", layer.identity)),
    }
}

fn layer_of(input: &StepInput) -> Option<Layer> {
    let mut words = input.value.as_deref()?.split(' ');
    let identity = words.next()?.to_owned();
    let layer = words.next()?.parse().ok();
    let diff_id = words.next()?.parse().ok();
    let source = words.next()?.parse().ok();
    Some(Layer { identity, stored: StepLayer { layer, diff_id }, source })
}

pub(crate) fn input_of(part: &Part) -> StepInput {
    let digest = part.value.parse().unwrap_or_else(|_| Digest::of(&part.value));
    StepInput {
        name: format!("{} {}", kind_name(part.kind), part.name),
        digest,
        value: Some(part.value.clone()),
    }
}

/// Whether an input is a part of this kind.
pub(crate) fn is_of_kind(input: &StepInput, kind: PartKind) -> bool {
    input.name.split_once(' ').is_some_and(|(found, _)| found == kind_name(kind))
}

fn part_of(input: StepInput) -> Option<Part> {
    let (kind, name) = input.name.split_once(' ')?;
    let kind = KINDS.iter().find(|(_, known)| *known == kind)?.0;
    let value = input.value.unwrap_or_else(|| input.digest.to_string());
    Some(Part::new(kind, name, value))
}

const KINDS: &[(PartKind, &str)] = &[
    (PartKind::Instruction, "instruction"),
    (PartKind::Variable, "variable"),
    (PartKind::Base, "base"),
    (PartKind::Parent, "parent"),
    (PartKind::File, "file"),
    (PartKind::Mount, "mount"),
    (PartKind::Url, "url"),
    (PartKind::Git, "git"),
    (PartKind::Platform, "platform"),
    (PartKind::Setting, "setting"),
    (PartKind::Argument, "argument"),
];

fn kind_name(kind: PartKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use lighter_image::DiffId;

    use super::*;

    #[test]
    fn every_kind_of_part_comes_back() {
        for (kind, _) in KINDS {
            let part = Part::new(*kind, "a name", "a value");
            assert_eq!(part_of(input_of(&part)), Some(part));
        }
    }

    #[test]
    fn files_come_back() {
        let mut files = FileList::default();
        files.push(b"a/b c", |value| value.push_str("file 0644"));
        files.push(b"\xff", |value| value.push_str("symbolic link -> x"));
        let input = files.clone().into_input();
        assert_eq!(FileList::of_input(&input), Some(files.clone()));
        let parts: Vec<Part> = files.parts().collect();
        assert_eq!(parts[0], Part::new(PartKind::File, "a/b c", "file 0644"));
        assert_eq!(parts[1].name, "\u{fffd}");
        assert_eq!(parts.len(), 2);
        assert!(part_of(input).is_none());
        assert_eq!(FileList::default().parts().count(), 0);
    }

    #[test]
    fn layers_below_come_back_and_are_no_parts() {
        let layers = [
            Layer::received(DiffId(Digest::of("a"))),
            Layer { source: Some(Digest::of("s")), ..Layer::made("a".repeat(16).parse().unwrap()) },
        ];
        let inputs: Vec<StepInput> = layers.iter().map(|layer| below_input("parent", layer)).collect();
        assert_eq!(layers_below(&inputs, "parent"), layers);
        assert!(layers_below(&inputs, "other").is_empty());
        assert!(inputs.into_iter().all(|input| part_of(input).is_none()));
    }
}
