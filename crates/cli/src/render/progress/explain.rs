//! Why a step ran, in lines.

use lighter_engine::build::{CONTENT_PREFIX, Change, Explanation, Reason, What};

/// Why a step ran: the reason, then what has changed.
pub(super) fn lines(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![match &explanation.reason {
        Reason::New => "ran because: no earlier build had such a step".to_owned(),
        Reason::Changed => "ran because of what changed:".to_owned(),
        Reason::NoCache => "ran because: --no-cache".to_owned(),
        Reason::NoCacheFilter(stage) => format!("ran because: --no-cache-filter {stage}"),
        Reason::Pruned => "ran because: its cached result has been removed from the store".to_owned(),
    }];
    lines.extend(explanation.changes.iter().map(|entry| format!("  {}", change(entry))));
    if explanation.more > 0 {
        lines.push(format!("  and {} more", explanation.more));
    }
    lines
}

fn change(change: &Change) -> String {
    let name = change.name.as_str();
    let of = |kind: &str| if name.is_empty() { kind.to_owned() } else { format!("{kind} {name}") };
    let between = |subject: String| match (&change.old, &change.new) {
        (Some(old), Some(new)) => format!("{subject}: {} -> {}", short(old), short(new)),
        (None, Some(new)) => format!("{subject}: new, {}", short(new)),
        (Some(old), None) => format!("{subject}: gone, was {}", short(old)),
        (None, None) => subject,
    };
    match change.what {
        What::InstructionText => between(of("instruction")),
        What::Arg => between(of("ARG")),
        What::Env => between(of("ENV")),
        What::BaseDigest => between(of("base image")),
        What::Platform => between(of("platform")),
        What::FileContent | What::FileMode | What::FileAttributes => {
            format!("file {name}: {}", differences(change))
        }
        What::NewFile => format!("file {name}: new, {}", value(change.new.as_ref())),
        What::DeletedFile => format!("file {name}: deleted, was {}", value(change.old.as_ref())),
        What::CopySource => between("files of the stage that are copied".to_owned()),
        What::MountSource => match name.strip_prefix("content of ") {
            Some(target) => between(format!("mount {target}: content")),
            None => between(of("mount")),
        },
        What::UrlContent => match name.split_once(" of ") {
            Some((what @ ("time" | "name"), url)) => between(format!("url {url}: {what}")),
            _ => between(format!("url {name}: content")),
        },
        What::GitCommit => between(of("git")),
        What::Setting => between(of("setting")),
        What::StepBefore => "the step before has made something else".to_owned(),
    }
}

fn value(text: Option<&String>) -> String {
    text.map(|text| short(text)).unwrap_or_default()
}

/// What differs in the descriptions of a file: `mode 0644 -> 0755, content sha256:… -> sha256:…`.
fn differences(change: &Change) -> String {
    let (old, new) = (value(change.old.as_ref()), value(change.new.as_ref()));
    let (before, after): (Vec<&str>, Vec<&str>) = (old.split(' ').collect(), new.split(' ').collect());
    if before.len() != after.len() || before[0] != after[0] {
        return format!("{old} -> {new}");
    }
    let pairs = before.iter().zip(&after).enumerate().filter(|(_, (before, after))| before != after);
    let told = pairs.map(|(place, (before, after))| {
        let what = match place {
            _ if before.starts_with(CONTENT_PREFIX) => "content ",
            1 if before.len() == 4 => "mode ",
            _ => "",
        };
        format!("{what}{before} -> {after}")
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A value; digests are cut to their start.
fn short(value: &str) -> String {
    value
        .split(' ')
        .map(|word| {
            let is_digest = |prefix: &str| word.strip_prefix(prefix).is_some_and(|hex| hex.len() == 64);
            let prefix = ["sha256:", CONTENT_PREFIX].into_iter().find(|prefix| is_digest(prefix));
            prefix.map_or(word, |prefix| &word[..prefix.len() + 12])
        })
        .collect::<Vec<_>>()
        .join(" ")
}
