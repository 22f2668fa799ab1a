//! COPY and ADD: files from somewhere, and how they shall look.

use serde::{Serialize, Serializer};

use super::Files;

/// Files to put into the image.
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of the instruction")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// ADD: it may fetch, and unpacks archives.
    pub is_add: bool,
    /// Where the [`Source::Path`]s are.
    pub from: Files,
    /// What, in order: paths and addresses first, then inline files.
    pub sources: Vec<Source>,
    /// Where to: absolute and clean, without a slash at the end.
    pub destination: String,
    /// Whether the destination is a folder whatever is there: a slash or `.` at its end.
    pub destination_is_folder: bool,
    /// `--chown`, expanded: `user[:group]`, names or numbers, to look up in the image that is copied to.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// `--link`: the result does not depend on what the image below holds.
    pub link: bool,
    /// `--parents`: the path from the pivot on is kept.
    pub parents: bool,
    /// `--exclude`: patterns of the kind that `.dockerignore` has.
    pub excludes: Vec<String>,
    /// Whether path and HTTP sources that are archives are unpacked: `--unpack`, else `None` (ADD unpacks paths, but
    /// nothing fetched).
    pub unpack: Option<bool>,
}

/// One thing to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A path or pattern in [`Copy::from`].
    Path(PathSource),
    /// A file given in the Dockerfile: mode 0644, owner 0:0.
    Inline(InlineFile),
    /// An address to fetch (ADD only): mode 0600.
    Http(HttpSource),
    /// A git repository (ADD only): the content of its folder is copied.
    Git(GitSource),
}

/// A path or pattern in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathSource {
    /// The pattern: absolute and clean, relative to the tree's root. With `--parents`: the part before the pivot.
    pub pattern: String,
    /// With `--parents`: the part that is kept, relative, with `**` allowed; else empty.
    pub kept: String,
    /// As written, for messages.
    pub text: String,
    /// Whether it has wildcards: then it is no error if nothing matches.
    pub has_wildcards: bool,
}

/// A file given in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InlineFile {
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: String,
}

/// A file behind an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpSource {
    /// The address.
    pub url: String,
    /// The file's name: the last part of the address's path.
    pub name: String,
    /// What it must be.
    pub checksum: Option<Checksum>,
}

/// What a fetched thing must be: `sha256:…` for files, a commit for git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Checksum(pub String);

/// A folder of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GitSource {
    /// The repository's address.
    pub remote: String,
    /// The branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// The folder in it; empty for all.
    pub subdirectory: String,
    /// Whether `.git` is kept.
    pub keep_git_dir: bool,
    /// Whether submodules are fetched.
    pub submodules: bool,
    /// The commit that it must be (perhaps shortened).
    pub checksum: Option<Checksum>,
}

/// How modes are changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// Exactly these bits, for everything, new parent folders too.
    Bits(u32),
    /// As `chmod` does: `u=rwX,go=rX`.
    Symbolic(String),
}

impl Serialize for Chmod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bits(bits) => serializer.collect_str(&format_args!("{bits:04o}")),
            Self::Symbolic(text) => serializer.serialize_str(text),
        }
    }
}
