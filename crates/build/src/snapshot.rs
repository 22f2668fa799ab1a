//! What steps stand on: a stack of layers, cheap to share, with an identity that costs no reading.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use lighter_image::{DiffId, Digest};
use lighter_store::{LayerError, LayerId, StepLayer, Store};

/// One layer of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// What keys know it by: the diff id of a layer that came from elsewhere, the first name in this store of one that
    /// was made here. It stays the same for as long as the record that names it.
    pub(crate) identity: String,
    /// Where it is.
    pub(crate) stored: StepLayer,
    /// What it was made from, where that says as much as its content: the digest of the files that a COPY selected.
    pub(crate) source: Option<Digest>,
}

impl Layer {
    /// A layer of an image: known by its diff id alone.
    pub(crate) fn received(diff_id: DiffId) -> Self {
        let stored = StepLayer { layer: None, diff_id: Some(diff_id) };
        Self { identity: diff_id.to_string(), stored, source: None }
    }

    /// A layer that this store has made.
    pub(crate) fn made(layer: LayerId) -> Self {
        let identity = layer.to_string();
        Self { identity, stored: StepLayer { layer: Some(layer), diff_id: None }, source: None }
    }

    /// What a store calls it; `None` where it is not there.
    pub(crate) fn id_in(&self, store: &Store) -> Result<Option<LayerId>, LayerError> {
        match (&self.stored.layer, &self.stored.diff_id) {
            (Some(id), _) => Ok(Some(id.clone())),
            (None, Some(diff_id)) => store.layer_by_diff_id(diff_id),
            (None, None) => Ok(None),
        }
    }
}

/// A stack of layers. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Snapshot(Option<Arc<Node>>);

struct Node {
    below: Snapshot,
    layer: Layer,
    identity: Digest,
    depth: usize,
}

impl Snapshot {
    /// The empty root.
    pub(crate) const fn empty() -> Self {
        Self(None)
    }

    /// The stack of an image's layers, bottom first.
    pub(crate) fn of_image(layers: &[DiffId]) -> Self {
        layers.iter().fold(Self::empty(), |below, layer| below.with(Layer::received(*layer)))
    }

    /// This stack with one more layer on top.
    pub(crate) fn with(&self, layer: Layer) -> Self {
        let identity = Digest::of(format!("{} {}", self.identity(), layer.identity));
        Self(Some(Arc::new(Node { below: self.clone(), layer, identity, depth: self.depth() + 1 })))
    }

    /// The same stack, with diff ids that were learned since.
    pub(crate) fn with_diff_ids(&self, known: &HashMap<LayerId, DiffId>) -> Self {
        self.layers().into_iter().fold(Self::empty(), |below, layer| {
            let mut layer = layer.clone();
            if let (None, Some(id)) = (layer.stored.diff_id, &layer.stored.layer) {
                layer.stored.diff_id = known.get(id).copied();
            }
            below.with(layer)
        })
    }

    /// What keys know the stack by.
    pub(crate) fn identity(&self) -> Digest {
        self.0.as_ref().map_or_else(|| Digest::of("empty"), |node| node.identity)
    }

    /// How many layers it has.
    pub(crate) fn depth(&self) -> usize {
        self.0.as_ref().map_or(0, |node| node.depth)
    }

    /// The layers, bottom first.
    pub(crate) fn layers(&self) -> Vec<&Layer> {
        let mut layers = Vec::with_capacity(self.depth());
        let mut next = self;
        while let Some(node) = &next.0 {
            layers.push(&node.layer);
            next = &node.below;
        }
        layers.reverse();
        layers
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.layers().iter().map(|layer| &layer.identity)).finish()
    }
}

impl Drop for Node {
    /// Frees a long stack without a call for every layer.
    fn drop(&mut self) {
        let mut next = self.below.0.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.below.0.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(text: &str) -> DiffId {
        DiffId(Digest::of(text))
    }

    #[test]
    fn the_identity_tells_order_and_number() {
        let (a, b) = (diff("a"), diff("b"));
        let stacks = [vec![], vec![a], vec![b], vec![a, b], vec![b, a], vec![a, a]];
        let mut identities: Vec<Digest> =
            stacks.iter().map(|layers| Snapshot::of_image(layers).identity()).collect();
        identities.sort_unstable();
        identities.dedup();
        assert_eq!(identities.len(), stacks.len());
    }

    #[test]
    fn layers_come_bottom_first() {
        let snapshot = Snapshot::of_image(&[diff("a"), diff("b")]);
        let names: Vec<Option<DiffId>> = snapshot.layers().iter().map(|layer| layer.stored.diff_id).collect();
        assert_eq!(names, [Some(diff("a")), Some(diff("b"))]);
        assert_eq!(snapshot.depth(), 2);
    }

    #[test]
    fn a_very_long_stack_can_be_dropped() {
        let layer = Layer::received(diff("a"));
        drop((0..200_000).fold(Snapshot::empty(), |below, _| below.with(layer.clone())));
    }
}
