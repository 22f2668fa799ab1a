//! COPY and ADD.

use super::Statement;
use super::flags::{Flags, Kind};
use crate::diagnostic::Code;
use crate::syntax::{HeredocWord, Word};

/// `COPY [flags] SOURCE… DESTINATION`, and ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What, in order.
    pub sources: Vec<Origin>,
    /// Where to, unexpanded.
    pub destination: Word,
    /// `--from` (COPY only).
    pub from: Option<Word>,
    /// `--chown`, unexpanded.
    pub chown: Option<Word>,
    /// `--chmod`, unexpanded.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents` (COPY only).
    pub parents: bool,
    /// `--exclude`.
    pub excludes: Vec<Word>,
    /// `--keep-git-dir` (ADD only).
    pub keep_git_dir: Option<bool>,
    /// `--checksum` (ADD only), unexpanded.
    pub checksum: Option<Word>,
    /// `--unpack` (ADD only).
    pub unpack: Option<bool>,
}

impl Transfer {
    pub(super) fn expanded_words(&self) -> Vec<&Word> {
        let paths = self.sources.iter().filter_map(|origin| match origin {
            Origin::Path(word) => Some(word),
            Origin::Heredoc(_) => None,
        });
        let flags = [&self.chown, &self.chmod, &self.checksum];
        flags.into_iter().flatten().chain(paths).chain([&self.destination]).collect()
    }
}

/// Something to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A path, pattern or address, unexpanded.
    Path(Word),
    /// A here-document, by its place among the instruction's.
    Heredoc(usize),
}

const COPY_FLAGS: &[(&str, Kind)] = &[
    ("from", Kind::Value),
    ("chown", Kind::Value),
    ("chmod", Kind::Value),
    ("link", Kind::Switch),
    ("parents", Kind::Switch),
    ("exclude", Kind::Values),
];

const ADD_FLAGS: &[(&str, Kind)] = &[
    ("chown", Kind::Value),
    ("chmod", Kind::Value),
    ("link", Kind::Switch),
    ("exclude", Kind::Values),
    ("keep-git-dir", Kind::Switch),
    ("checksum", Kind::Value),
    ("unpack", Kind::Switch),
];

pub(super) fn read(statement: &mut Statement<'_>, is_add: bool) -> Option<Transfer> {
    let flags = Flags::read(statement, if is_add { ADD_FLAGS } else { COPY_FLAGS });
    let (mut words, is_json) = statement.list()?;
    let flags = flags?;
    let destination = words.pop().filter(|_| !words.is_empty());
    let Some(destination) = destination else {
        let message = format!(
            "{} requires at least two arguments, but only one was provided. Destination could not be determined",
            statement.name()
        );
        return statement.fault(Code::Arguments, statement.args_span(), message);
    };
    if HeredocWord::parse(&destination.text).is_some() {
        let message = format!("{} cannot accept a heredoc as a destination", statement.name());
        return statement.fault(Code::Arguments, destination.span, message);
    }
    let sources = sources(statement, words, is_json);
    Some(Transfer {
        sources,
        destination,
        from: flags.value("from"),
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.switch("link").unwrap_or(false),
        parents: flags.switch("parents").unwrap_or(false),
        excludes: flags.values("exclude"),
        keep_git_dir: flags.switch("keep-git-dir"),
        checksum: flags.value("checksum"),
        unpack: flags.switch("unpack"),
    })
}

/// Of here-documents of one name the last counts, as in Docker.
fn sources(statement: &Statement<'_>, words: Vec<Word>, is_json: bool) -> Vec<Origin> {
    let find = |name: &str| statement.heredocs.iter().rposition(|heredoc| heredoc.name == name);
    words
        .into_iter()
        .map(|word| match HeredocWord::parse(&word.text).filter(|_| !is_json) {
            Some(heredoc) => find(&heredoc.name).map_or(Origin::Path(word), Origin::Heredoc),
            None => Origin::Path(word),
        })
        .collect()
}
