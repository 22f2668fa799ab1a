//! Why a step ran: the comparison of two lists of named parts, the key's of now and that of an earlier build.

use std::collections::BTreeMap;

use lighter_layer::ContentDigest;
use serde::{Deserialize, Serialize};

/// What the word for a file's content begins with, in the description of a file.
pub const CONTENT_PREFIX: &str = ContentDigest::PREFIX;

/// One named part of what a step's result depends on. See [`crate::key`] for the table of all kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// What kind of thing it is.
    pub kind: PartKind,
    /// Which one: a variable's name, a file's path, a mount's target; empty where there can be only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it is: a value, or a digest.
    pub value: String,
}

impl Part {
    /// A part.
    pub fn new(kind: PartKind, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { kind, name: name.into(), value: value.into() }
    }
}

/// The kinds of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// What is to be done: the command, the paths, the flags.
    Instruction,
    /// A variable that the step sees, of ENV.
    Variable,
    /// The image that the stage stands on.
    Base,
    /// What the step before has made.
    Parent,
    /// A file of the context, or of another tree that the step copies from.
    File,
    /// The tree that a mount shows.
    Mount,
    /// What an address has answered.
    Url,
    /// The commit that a git reference stands for.
    Git,
    /// The platform that the step is for.
    Platform,
    /// A setting of the request, as `--network` or `--shm-size`.
    Setting,
    /// A variable that the step sees, of ARG.
    Argument,
}

/// Why a step ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// In a word.
    pub reason: Reason,
    /// What differs from the nearest earlier build, where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How many more differ than are listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Why a step ran, in a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No earlier build had a step like it.
    New,
    /// Something that it depends on has changed.
    Changed,
    /// `--no-cache` was given.
    NoCache,
    /// `--no-cache-filter` was given with its stage.
    NoCacheFilter(String),
    /// An earlier build has had it, but its record or its layer is no longer in the store.
    Pruned,
}

/// What has changed, exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The text of the instruction, or a flag of it.
    InstructionText,
    /// A variable of ARG.
    Arg,
    /// A variable of ENV.
    Env,
    /// The image that the stage stands on.
    BaseDigest,
    /// The platform.
    Platform,
    /// What a file holds.
    FileContent,
    /// The mode of a file.
    FileMode,
    /// Type, owner, link target or extended attributes of a file.
    FileAttributes,
    /// A file that was not there.
    NewFile,
    /// A file that is gone.
    DeletedFile,
    /// The files of a stage or an image that are copied from.
    CopySource,
    /// What a mount shows, or how.
    MountSource,
    /// What an address has answered.
    UrlContent,
    /// The commit that a reference stands for.
    GitCommit,
    /// A setting of the request.
    Setting,
    /// The step before has made something else.
    #[default]
    StepBefore,
}

/// One part that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What has changed, exactly.
    #[serde(default)]
    pub what: What,
    /// What kind of thing it is.
    pub kind: PartKind,
    /// Which one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it was; none where it is new.
    pub old: Option<String>,
    /// What it is; none where it is gone.
    pub new: Option<String>,
}

impl Explanation {
    /// The most changes that are listed.
    pub const MOST: usize = 100;

    /// A reason that needs no comparison.
    pub const fn plain(reason: Reason) -> Self {
        Self { reason, changes: Vec::new(), more: 0 }
    }

    /// Compares what a step depended on with what it depends on now.
    pub fn compare(old: &[Part], new: &[Part]) -> Self {
        let mut changes = compare(old, new);
        let more = changes.len().saturating_sub(Self::MOST);
        changes.truncate(Self::MOST);
        Self { reason: Reason::Changed, changes, more }
    }
}

/// The parts that differ, in the order of what they are and of their names.
pub fn compare(old: &[Part], new: &[Part]) -> Vec<Change> {
    let (mut old, new) = (indexed(old), indexed(new));
    let mut changes = Vec::new();
    for (key, (kind, value)) in new {
        match old.remove(&key) {
            Some((_, before)) if before == value => {}
            before => changes.push(Change::of(kind, key.1, before.map(|(_, before)| before), Some(value))),
        }
    }
    changes.extend(old.into_iter().map(|(key, (kind, value))| Change::of(kind, key.1, Some(value), None)));
    changes.sort_by(|one, other| (one.what, &one.name).cmp(&(other.what, &other.name)));
    changes
}

/// Parts by what identifies them; of several with one name, all but the first are numbered. Of ENV or of ARG, a
/// variable is the same one.
fn indexed(parts: &[Part]) -> BTreeMap<(PartKind, String), (PartKind, String)> {
    let mut index = BTreeMap::new();
    for part in parts {
        let kind = if part.kind == PartKind::Argument { PartKind::Variable } else { part.kind };
        let mut key = (kind, part.name.clone());
        let mut number = 1;
        while index.contains_key(&key) {
            number += 1;
            key.1 = format!("{} {number}", part.name);
        }
        index.insert(key, (part.kind, part.value.clone()));
    }
    index
}

impl Change {
    fn of(kind: PartKind, name: String, old: Option<String>, new: Option<String>) -> Self {
        let what = match kind {
            PartKind::Instruction => What::InstructionText,
            PartKind::Variable => What::Env,
            PartKind::Argument => What::Arg,
            PartKind::Base => What::BaseDigest,
            PartKind::Parent => What::StepBefore,
            PartKind::File if name.starts_with(crate::keyed::STAGE) => What::CopySource,
            PartKind::File => what_of_file(old.as_deref(), new.as_deref()),
            PartKind::Mount => What::MountSource,
            PartKind::Url => What::UrlContent,
            PartKind::Git => What::GitCommit,
            PartKind::Platform => What::Platform,
            PartKind::Setting => What::Setting,
        };
        Self { what, kind, name, old, new }
    }
}

/// What differs in two descriptions of a file: its content, else its mode, else something else.
fn what_of_file(old: Option<&str>, new: Option<&str>) -> What {
    let (Some(old), Some(new)) = (old, new) else {
        return if old.is_none() { What::NewFile } else { What::DeletedFile };
    };
    let content =
        |text: &str| text.split(' ').find(|word| word.starts_with(CONTENT_PREFIX)).map(str::to_owned);
    let mode = |text: &str| text.split(' ').nth(1).map(str::to_owned);
    let kind = |text: &str| text.split(' ').next().map(str::to_owned);
    if kind(old) == kind(new) && content(old) != content(new) {
        What::FileContent
    } else if kind(old) == kind(new) && mode(old) != mode(new) {
        What::FileMode
    } else {
        What::FileAttributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &[(PartKind, &str, &str)]) -> Vec<Part> {
        list.iter().map(|(kind, name, value)| Part::new(*kind, *name, *value)).collect()
    }

    fn change(kind: PartKind, name: &str, old: Option<&str>, new: Option<&str>) -> Change {
        Change::of(kind, name.to_owned(), old.map(str::to_owned), new.map(str::to_owned))
    }

    #[test]
    fn what_differs_is_named_and_what_does_not_is_not() {
        use PartKind::{File, Variable};
        let old =
            parts(&[(Variable, "A", "1"), (Variable, "B", "1"), (File, "gone", "x"), (File, "same", "s")]);
        let new =
            parts(&[(Variable, "A", "2"), (Variable, "B", "1"), (File, "same", "s"), (File, "new", "y")]);
        let expected = [
            change(Variable, "A", Some("1"), Some("2")),
            change(File, "new", None, Some("y")),
            change(File, "gone", Some("x"), None),
        ];
        assert_eq!(compare(&old, &new), expected);
    }

    #[test]
    fn what_has_changed_is_said_exactly() {
        use PartKind::{Argument, File, Mount, Variable};
        let check = |kind, name, old, new, expected| {
            let of = |value: Option<&str>| {
                parts(&value.map(|value| (kind, name, value)).into_iter().collect::<Vec<_>>())
            };
            let [change] = &compare(&of(old), &of(new))[..] else { panic!("one change of {name}") };
            assert_eq!(change.what, expected, "{name} {old:?} {new:?}");
        };
        check(File, "f", Some("file 0644 blake3:aa"), Some("file 0644 blake3:bb"), What::FileContent);
        check(File, "f", Some("file 0644 blake3:aa"), Some("file 0755 blake3:bb"), What::FileContent);
        check(File, "f", Some("file 0644 blake3:aa"), Some("file 0755 blake3:aa"), What::FileMode);
        check(File, "f", Some("file 0644 blake3:aa"), Some("directory 0755"), What::FileAttributes);
        check(File, "f", None, Some("file 0644 blake3:aa"), What::NewFile);
        check(File, "f", Some("file 0644 blake3:aa"), None, What::DeletedFile);
        check(File, "stage 0", Some("sha256:aa"), Some("sha256:bb"), What::CopySource);
        check(Argument, "A", Some("1"), Some("2"), What::Arg);
        check(Variable, "A", Some("1"), None, What::Env);
        check(Mount, "/m", Some("1"), Some("2"), What::MountSource);
        // from ENV to ARG is no change
        assert_eq!(compare(&parts(&[(Variable, "A", "1")]), &parts(&[(Argument, "A", "1")])), []);
        // several of one name are told apart
        let source = |value| (PartKind::Instruction, "source", value);
        let changes = compare(&parts(&[source("/a"), source("/c")]), &parts(&[source("/b"), source("/c")]));
        assert_eq!(changes, [change(PartKind::Instruction, "source", Some("/a"), Some("/b"))]);
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let names: Vec<String> = (0..130).map(|number| format!("f{number}")).collect();
        let new: Vec<Part> = names.iter().map(|name| Part::new(PartKind::File, name, "x")).collect();
        let explanation = Explanation::compare(&[], &new);
        assert_eq!((explanation.changes.len(), explanation.more), (100, 30));
    }
}
