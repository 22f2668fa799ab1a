//! Sequences of operations, compared with what a simple model says must be there.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use lighter_image::{Digest, ImageId};
use lighter_store::{PruneSteps, Store};
use proptest::prelude::*;
use support::{at, image, layer, made_up_diff_id, reference, step, store_in_memory};

/// What a user may do; numbers choose among a few names, images and layers.
#[derive(Debug, Clone)]
enum Operation {
    Image { note: u8, layers: Vec<u8>, name: Option<u8> },
    Tag { name: u8, note: u8 },
    Untag { name: u8 },
    Remove { note: u8 },
    Step { key: u8, layer: u8 },
    Forget { key: u8 },
    Prune { all: bool },
    Collect,
    Reopen { reboot: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    let few = 0..4u8;
    prop_oneof![
        3 => (few.clone(), proptest::collection::vec(few.clone(), 0..3), proptest::option::of(few.clone()))
            .prop_map(|(note, layers, name)| Operation::Image { note, layers, name }),
        2 => (few.clone(), few.clone()).prop_map(|(name, note)| Operation::Tag { name, note }),
        1 => few.clone().prop_map(|name| Operation::Untag { name }),
        1 => few.clone().prop_map(|note| Operation::Remove { note }),
        2 => (few.clone(), few.clone()).prop_map(|(key, layer)| Operation::Step { key, layer }),
        1 => few.prop_map(|key| Operation::Forget { key }),
        1 => any::<bool>().prop_map(|all| Operation::Prune { all }),
        2 => Just(Operation::Collect),
        1 => any::<bool>().prop_map(|reboot| Operation::Reopen { reboot }),
    ]
}

/// What must be there.
#[derive(Debug, Default)]
struct Model {
    /// The image that each note led to last, and the layers of each image.
    notes: BTreeMap<u8, ImageId>,
    images: BTreeMap<ImageId, Vec<u8>>,
    tags: BTreeMap<u8, ImageId>,
    steps: BTreeMap<u8, u8>,
}

impl Model {
    fn apply(&mut self, store: &Store, operation: &Operation) {
        match operation {
            Operation::Image { note, layers, name } => {
                let names: Vec<String> = name.iter().map(|name| format!("name{name}")).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let diffs: Vec<_> = layers.iter().map(|number| have_layer(store, *number)).collect();
                let id = image(store, &note.to_string(), &diffs, &names);
                self.notes.insert(*note, id);
                self.images.insert(id, layers.clone());
                self.tags.extend(name.map(|name| (name, id)));
            }
            Operation::Tag { name, note } => {
                let Some(id) = self.notes.get(note) else { return };
                let there = self.images.contains_key(id);
                let before = self.tags.get(name).copied();
                match store.tag(&reference(&format!("name{name}")), id, at(0)) {
                    Ok(replaced) => {
                        assert!(there);
                        assert_eq!(replaced, before);
                        self.tags.insert(*name, *id);
                    }
                    Err(_) => assert!(!there),
                }
            }
            Operation::Untag { name } => {
                let before = store.untag(&reference(&format!("name{name}"))).unwrap();
                assert_eq!(before, self.tags.remove(name));
            }
            Operation::Remove { note } => {
                let Some(id) = self.notes.get(note).copied() else { return };
                let removed = store.remove_image(&id).unwrap();
                assert_eq!(removed.is_some(), self.images.remove(&id).is_some());
                self.tags.retain(|_, image| *image != id);
            }
            Operation::Step { key, layer } => {
                let diff_id = have_layer(store, *layer);
                let id = store.layer_by_diff_id(&diff_id).unwrap().unwrap();
                store.put_step(&step(&key.to_string(), &id, Some(diff_id)), &[]).unwrap();
                self.steps.insert(*key, *layer);
            }
            Operation::Forget { key } => {
                let known = store.remove_step(&Digest::of(key.to_string())).unwrap();
                assert_eq!(known, self.steps.remove(key).is_some());
            }
            Operation::Prune { all } => {
                let freed = store.prune_steps(&PruneSteps { all: *all, ..PruneSteps::default() }).unwrap();
                self.steps.retain(|key, _| !freed.steps.contains(&Digest::of(key.to_string())));
            }
            Operation::Collect => drop(store.collect_garbage().unwrap()),
            Operation::Reopen { .. } => {}
        }
    }

    fn check(&self, store: &Store) {
        let images: BTreeSet<ImageId> = store.images().unwrap().iter().map(|image| image.id).collect();
        assert_eq!(images, self.images.keys().copied().collect());
        let tags: BTreeMap<String, ImageId> =
            store.tags().unwrap().iter().map(|tag| (tag.reference.familiar(), tag.image)).collect();
        let expected = self.tags.iter().map(|(name, id)| (format!("name{name}:latest"), *id)).collect();
        assert_eq!(tags, expected);
        for (id, layers) in &self.images {
            assert!(store.read_blob(&id.0, 10_000).is_ok());
            for layer in layers {
                let found = store.layer_by_diff_id(&made_up_diff_id(&layer.to_string())).unwrap();
                let content = std::fs::read_to_string(store.layer_path(&found.unwrap()).join("file"));
                assert_eq!(content.unwrap(), layer.to_string());
            }
        }
        for (key, layer) in &self.steps {
            let found = store.step(&Digest::of(key.to_string())).unwrap().unwrap();
            let path = store.layer_path(found.layers[0].layer.as_ref().unwrap());
            assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), layer.to_string());
        }
    }
}

fn have_layer(store: &Store, number: u8) -> lighter_image::DiffId {
    let diff_id = made_up_diff_id(&number.to_string());
    if store.layer_by_diff_id(&diff_id).unwrap().is_none() {
        layer(store, &number.to_string());
    }
    diff_id
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_has_what_the_model_has(operations in proptest::collection::vec(operation(), 1..30)) {
        let (_dir, mut store) = store_in_memory();
        let mut model = Model::default();
        let mut boots = 0;
        for operation in &operations {
            if let Operation::Reopen { reboot } = operation {
                let root = store.root().to_owned();
                // made-up diff ids cannot be verified after a boot: let them be durable
                store.sync_layers().unwrap();
                drop(store);
                boots += u32::from(*reboot);
                store = Store::open_in_boot(&root, &format!("boot-{boots}")).unwrap();
            }
            model.apply(&store, operation);
        }
        model.check(&store);
        drop(store.collect_garbage().unwrap());
        model.check(&store);
    }

    #[test]
    fn threads_with_their_own_names_do_not_disturb_each_other(
        sequences in proptest::collection::vec(proptest::collection::vec(operation(), 1..12), 2..4)
    ) {
        let (_dir, store) = store_in_memory();
        std::thread::scope(|scope| {
            for (number, operations) in sequences.iter().enumerate() {
                let store = Store::open(store.root()).unwrap();
                scope.spawn(move || alone(&store, number, operations));
            }
        });
    }
}

/// One thread's operations, on images and names that no other thread has.
fn alone(store: &Store, number: usize, operations: &[Operation]) {
    let name = reference(&format!("thread{number}"));
    let mut tagged = None;
    for (round, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Image { layers, .. } => {
                let diffs: Vec<_> = layers.iter().map(|layer| have_layer(store, *layer)).collect();
                let id = image(store, &format!("{number} {round}"), &diffs, &[&name.familiar()]);
                tagged = Some((id, diffs));
            }
            Operation::Untag { .. } => {
                assert_eq!(store.untag(&name).unwrap(), tagged.take().map(|(id, _)| id));
            }
            Operation::Collect | Operation::Prune { .. } => drop(store.collect_garbage().unwrap()),
            _ => {}
        }
        let found = store.tagged(&name).unwrap().map(|tag| tag.image);
        assert_eq!(found, tagged.as_ref().map(|(id, _)| *id));
        if let Some((id, diffs)) = &tagged {
            assert!(store.read_blob(&id.0, 10_000).is_ok());
            assert!(diffs.iter().all(|diff| store.layer_by_diff_id(diff).unwrap().is_some()));
        }
    }
}
