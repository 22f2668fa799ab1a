//! The tree of verbs: which words lead to which verb, and what help says of them.

use crate::args::help::{columns, width};
use crate::command;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Entry;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

/// A word that other words stand behind.
struct Group {
    name: &'static str,
    about: &'static str,
}

const GROUPS: [Group; 15] = [
    Group { name: "builder", about: "Manage builds" },
    Group { name: "buildx", about: "Build with extended capabilities" },
    Group { name: "builder history", about: "Work on build records" },
    Group { name: "builder mounts", about: "Manage the cache mounts of builds" },
    Group { name: "buildx history", about: "Work on build records" },
    Group { name: "buildx imagetools", about: "Commands to work on images in registry" },
    Group { name: "buildx mounts", about: "Manage the cache mounts of builds" },
    Group { name: "container", about: "Manage containers" },
    Group { name: "context", about: "Show where containers run" },
    Group { name: "dockerfile", about: "Format and draw Dockerfiles" },
    Group { name: "image", about: "Manage images" },
    Group { name: "manifest", about: "Manage lists of manifests" },
    Group { name: "network", about: "Manage networks" },
    Group { name: "system", about: "Manage lighter" },
    Group { name: "volume", about: "Manage volumes" },
];

/// The verbs that help shows first.
const COMMON: [&str; 11] =
    ["run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "version", "info"];

/// All verbs.
pub(crate) const VERBS: &[Entry] = command::ALL;

/// Runs the verb that the words lead to.
///
/// # Errors
/// Words that lead nowhere, or the failure of the verb.
pub(crate) fn call(words: &[OsString], session: &Session) -> Result<u8, Failure> {
    let Some(first) = words.first().map(|word| word.to_string_lossy()) else {
        session.remark(main_help().trim_end());
        return Ok(0);
    };
    if first == "help" {
        return help(&words[1..], session);
    }
    if let Some((entry, path, used)) = find(words) {
        return entry.call(path, &words[used..], session);
    }
    let Some((group, used)) = find_group(words) else {
        return Err(unknown(&first, "lighter", ""));
    };
    match words.get(used).map(|word| word.to_string_lossy()) {
        None => {
            session.remark(group_help(group).trim_end());
            Ok(0)
        }
        Some(word) if word == "--help" || word == "-h" => session.print(&group_help(group)).map(|()| 0),
        Some(word) if word.starts_with('-') => Err(unknown_flag(&word, group)),
        Some(word) => {
            let place = format!("lighter {}", group.name);
            Err(unknown(&word, &place, &format!("Usage:  {place} COMMAND\n\n")))
        }
    }
}

/// The group that the words lead to, and of how many words.
fn find_group(words: &[OsString]) -> Option<(&'static Group, usize)> {
    let text = |count: usize| {
        words.get(..count).map(|words| words.join(" ".as_ref()).to_string_lossy().into_owned())
    };
    let named = |count: usize| text(count).and_then(|text| GROUPS.iter().find(|group| group.name == text));
    named(2).map(|group| (group, 2)).or_else(|| named(1).map(|group| (group, 1)))
}

/// The verb that the words lead to, how it was typed, and of how many words.
fn find(words: &[OsString]) -> Option<(&'static Entry, &'static str, usize)> {
    let word = |at: usize| words.get(at).and_then(|word| word.to_str());
    let first = word(0)?;
    let named = |typed: &str, used| {
        let path = |entry: &'static Entry| entry.spec.paths.iter().find(|path| **path == typed);
        VERBS.iter().find_map(|entry| path(entry).map(|path| (entry, *path, used)))
    };
    let both = word(1).map(|second| format!("{first} {second}"));
    // `build` takes a folder: where there is one of that name, it is meant
    let is_context = first == "build" && word(1).is_some_and(|second| Path::new(second).is_dir());
    let three = both.as_ref().zip(word(2)).and_then(|(both, third)| named(&format!("{both} {third}"), 3));
    let two = both.filter(|_| !is_context).and_then(|both| named(&both, 2));
    three.or(two).or_else(|| named(first, 1))
}

/// `lighter help WORDS`.
fn help(words: &[OsString], session: &Session) -> Result<u8, Failure> {
    if words.is_empty() {
        return session.print(&main_help()).map(|()| 0);
    }
    if let Some((entry, path, _)) = find(words) {
        return entry.call(path, &["--help".into()], session);
    }
    match find_group(words) {
        Some((group, _)) => session.print(&group_help(group)).map(|()| 0),
        None => Err(Failure::new(format!("unknown help topic: {}", words[0].to_string_lossy()))),
    }
}

fn unknown(word: &str, place: &str, usage: &str) -> Failure {
    Failure::new(format!(
        "lighter: unknown command: {place} {word}\n\n{usage}Run '{place} --help' for more information"
    ))
}

fn unknown_flag(word: &str, group: &Group) -> Failure {
    let place = format!("lighter {}", group.name);
    Failure::new(format!(
        "unknown flag: {word}\n\nUsage:  {place} COMMAND\n\nRun '{place} --help' for more information"
    ))
    .with_code(125)
}

fn main_help() -> String {
    let mut text = "Usage:  lighter [OPTIONS] COMMAND\n\n\
                    Builds multi-stage Dockerfiles and runs their images, without a daemon and without root\n"
        .to_owned();
    let row = |name: &str, about: &str| (format!("  {name}"), about.to_owned());
    let verb = |name: &str| VERBS.iter().find(|entry| entry.spec.paths.contains(&name));
    let common: Vec<_> =
        COMMON.iter().filter_map(|name| verb(name).map(|entry| row(name, entry.spec.summary()))).collect();
    let top = GROUPS.iter().filter(|group| !group.name.contains(' '));
    let groups: Vec<_> = top.map(|group| row(group.name, group.about)).collect();
    let mut others: Vec<_> = VERBS
        .iter()
        .flat_map(|entry| entry.spec.paths.iter().map(move |path| (*path, entry.spec.summary())))
        .filter(|(path, _)| !path.contains(' ') && !COMMON.contains(path))
        .map(|(path, about)| row(path, about))
        .collect();
    others.sort();
    for (title, rows) in [("Common Commands", common), ("Management Commands", groups), ("Commands", others)]
    {
        let _ = write!(text, "\n{title}:\n{}", columns(&rows, width()));
    }
    let _ = write!(text, "\nGlobal Options:\n{}", columns(&global_options(), width()));
    text.push_str("\nRun 'lighter COMMAND --help' for more information on a command.\n");
    text
}

/// The options before every verb, and what they do.
pub(crate) fn global_options() -> Vec<(String, String)> {
    [
        ("      --config string", "Location of client config files, credentials among them"),
        ("  -D, --debug", "Enable debug mode"),
        (
            "  -l, --log-level string",
            "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
        ),
        ("  -v, --version", "Print version information and quit"),
    ]
    .map(|(left, right)| (left.to_owned(), right.to_owned()))
    .to_vec()
}

fn group_help(group: &Group) -> String {
    let prefix = format!("{} ", group.name);
    let mut rows: Vec<_> = VERBS
        .iter()
        .filter_map(|entry| {
            let name = entry.spec.paths.iter().find_map(|path| path.strip_prefix(&prefix))?;
            if name.contains(' ') {
                return None;
            }
            Some((format!("  {name}"), entry.spec.summary().to_owned()))
        })
        .collect();
    let inner = GROUPS.iter().filter_map(|inner| Some((inner.name.strip_prefix(&prefix)?, inner.about)));
    rows.extend(inner.map(|(name, about)| (format!("  {name}"), about.to_owned())));
    rows.sort();
    format!(
        "Usage:  lighter {0} COMMAND\n\n{1}\n\nCommands:\n{2}\nRun 'lighter {0} COMMAND --help' for more information on a command.\n",
        group.name,
        group.about,
        columns(&rows, width())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_one_line_of_each_verb_and_no_full_stop() {
        let help = main_help();
        let line = help.lines().find(|line| line.starts_with("  login ")).expect("a verb");
        assert!(line.ends_with("Authenticate to a registry"), "{line}");
    }
}
