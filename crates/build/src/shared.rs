//! The cache between machines: steps by keys that mean the same everywhere.
//!
//! The quick key of [`crate::key`] names layers as this store does. A **shared key** is made of the same parts, but what
//! is below is named by its diff ids. Where it is looked up, and how it gets there, is the engine's business.

use std::path::Path;
use std::time::SystemTime;

use lighter_image::{DiffId, Digest};

use crate::event::Work;
use crate::explain::{Part, PartKind};
use crate::fetch::FetchError;
use crate::key::{Definition, digest_of};
use crate::keyed::{Inputs, STAGE, source_name};
use crate::snapshot::Snapshot;

/// Finds steps that other machines have made.
pub trait SharedCache: Sync {
    /// Whether there is any place to look at.
    fn is_empty(&self) -> bool;

    /// Finds a step. The store knows its layer then, and can have its bytes when somebody needs them.
    ///
    /// # Errors
    /// [`FetchError::Cancelled`]; a place that does not answer is only left out.
    fn find(&self, key: &Digest, work: &Work<'_>) -> Result<Option<SharedStep>, FetchError>;

    /// Is told of each layer that was made here, as soon as its diff id is known.
    fn made(&self, layer: &DiffId, is_in_result: bool) {
        let _ = (layer, is_in_result);
    }

    /// Fills a new, empty cache mount with what another machine has kept under its id; `false` where none has anything.
    ///
    /// # Errors
    /// [`FetchError::Cancelled`]; a place that does not answer is only left out.
    fn fill_mount(&self, id: &str, into: &Path, work: &Work<'_>) -> Result<bool, FetchError> {
        let _ = (id, into, work);
        Ok(false)
    }
}

/// What another machine has made of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStep {
    /// The layer.
    pub diff_id: DiffId,
    /// When it was made.
    pub created_at: SystemTime,
    /// What it was made from, where that says as much as its content.
    pub source: Option<Digest>,
}

/// A step that other machines can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRecord {
    /// Its shared key.
    pub key: Digest,
    /// As it is shown.
    pub description: String,
    /// What it has made.
    pub step: SharedStep,
    /// Whether its layer is one of the result's.
    pub is_in_result: bool,
}

/// The shared key of a step; none where the diff id of something below is not known.
pub(crate) fn key(definition: &Definition, inputs: &[Part], below: &Inputs) -> Option<Digest> {
    let mut parts = vec![Part::new(PartKind::Instruction, "", definition.digest.to_string())];
    for part in inputs {
        let snapshot = match part.kind {
            PartKind::Base | PartKind::Parent => Some(&below.parent),
            PartKind::File | PartKind::Mount if part.name.starts_with(STAGE) => {
                let found = below.others.iter().find(|(id, _)| source_name(below, *id) == part.name);
                Some(&found?.1)
            }
            _ => None,
        };
        // whether the step below is a base or another step makes no difference
        let kind = if part.kind == PartKind::Base { PartKind::Parent } else { part.kind };
        let value = match snapshot {
            Some(snapshot) => stack(snapshot)?,
            None => part.value.clone(),
        };
        parts.push(Part::new(kind, part.name.clone(), value));
    }
    Some(digest_of("shared", &parts))
}

/// A stack by its diff ids; none where one of them is not known.
fn stack(snapshot: &Snapshot) -> Option<String> {
    let layers: Option<Vec<String>> =
        snapshot.layers().iter().map(|layer| Some(layer.stored.diff_id?.to_string())).collect();
    Some(Digest::of(layers?.join(" ")).to_string())
}

#[cfg(test)]
mod tests {
    use lighter_image::DiffId;

    use super::*;
    use crate::snapshot::Layer;

    fn inputs(parent: Snapshot) -> Inputs {
        Inputs { parent, parent_kind: PartKind::Base, others: Vec::new() }
    }

    fn key_on(layers: &[Layer]) -> Option<Digest> {
        let parent = layers.iter().fold(Snapshot::empty(), |below, layer| below.with(layer.clone()));
        let parts = [Part::new(PartKind::Base, "", parent.identity().to_string())];
        let definition = Definition { parts: Vec::new(), digest: Digest::of("d") };
        key(&definition, &parts, &inputs(parent))
    }

    #[test]
    fn names_of_this_store_do_not_matter() {
        let diff_id = DiffId(Digest::of("a"));
        let mut made = Layer::made("a".repeat(16).parse().unwrap());
        assert_eq!(key_on(&[made.clone()]), None, "its diff id is not known");
        made.stored.diff_id = Some(diff_id);
        let here = key_on(&[made]);
        assert!(here.is_some());
        assert_eq!(here, key_on(&[Layer::received(diff_id)]));
        assert_ne!(here, key_on(&[]));
    }
}
