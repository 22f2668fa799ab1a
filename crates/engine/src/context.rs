//! Build contexts: a folder, an archive or a Dockerfile on standard input, something behind an address.

mod archive;
mod texts;

use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lighter_build::{CancelToken, ContextFiles, FetchError, Reporter};
use lighter_dockerfile::ignore::{ParsePatternsError, Patterns};
use lighter_dockerfile::plan::{GitSource, HttpSource};
use lighter_image::Digest;
use lighter_layer::{ApplyError, ViewError};
use lighter_store::{FileError, Scratch, Store};

use crate::build::{BuildFailure, BuildRequest, ContextSource, FileSource, Streams, read_ignore};
use crate::fetch::{self, Network};

/// The largest Dockerfile that is read.
const DOCKERFILE_LIMIT_BYTES: u64 = 64 << 20;
/// The largest ignore file that is read.
const IGNORE_LIMIT_BYTES: u64 = 16 << 20;
/// What decides whether standard input is an archive.
const HEAD_BYTES: usize = 512;

/// Why a context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It is not there, or no folder.
    #[error("unable to prepare context: path {:?} not found", path.display().to_string())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// It is a file, not a folder.
    #[error("unable to prepare context: path {:?} is not a directory", path.display().to_string())]
    NotFolder {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("reading `{}`", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Standard input cannot be read.
    #[error("reading the context from standard input")]
    Stdin(#[source] std::io::Error),
    /// The address of a repository says something that is not understood.
    #[error("invalid context `{url}`: {why}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Standard input is a Dockerfile, and another one was named.
    #[error("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")]
    TwoFiles,
    /// The archive cannot be unpacked.
    #[error("unpacking the context")]
    Unpack(#[source] ApplyError),
    /// A file of it cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The ignore file has a fault.
    #[error("{}", path.display())]
    Ignore {
        /// The ignore file.
        path: PathBuf,
        /// The fault.
        #[source]
        source: ParsePatternsError,
    },
    /// There is no room for it.
    #[error(transparent)]
    Store(#[from] FileError),
    /// It could not be had from where it is.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// An opened context.
#[derive(Debug)]
pub(crate) struct Context {
    root: Option<PathBuf>,
    ignore: Option<Arc<Patterns>>,
    /// Where the digests of its files are remembered; only of a folder that stays.
    index: Option<PathBuf>,
    /// The Dockerfile, where that is all there is.
    only_dockerfile: Option<Vec<u8>>,
    /// What a folder of the caller's is for messages, and for the history.
    place: String,
    is_folder: bool,
    /// When what is behind an address was made.
    source_time: Option<i64>,
    /// The unpacked files, as long as they are needed.
    _kept: Option<Scratch>,
}

/// Opens the context of a request.
pub(crate) fn open(
    store: &Store,
    network: &Network,
    request: &BuildRequest,
    streams: &mut Streams<'_>,
    reporter: &Reporter<'_>,
) -> Result<Context, BuildFailure> {
    Ok(match &request.context {
        ContextSource::Directory(path) => bare_folder(store, path)?,
        ContextSource::Stdin => {
            let mut head = vec![0; HEAD_BYTES];
            let count = read_full(&mut streams.stdin, &mut head).map_err(ContextError::Stdin)?;
            head.truncate(count);
            if archive::is_archive(&head) {
                let stream = Cursor::new(head).chain(&mut streams.stdin);
                unpacked(store, stream, "-")?
            } else if let Some(FileSource::Path(_)) = &request.file {
                return Err(ContextError::TwoFiles.into());
            } else {
                let whole = Cursor::new(head).chain(&mut streams.stdin);
                let text = read_limited(whole, DOCKERFILE_LIMIT_BYTES).map_err(ContextError::Stdin)?;
                Context::of_dockerfile(store, text, "-")?
            }
        }
        ContextSource::Url(url) => {
            remote(store, network, (url, keeps_git_dir(request)), &request.cancel, reporter)?
        }
    })
}

/// Opens a folder, with the ignore file that is in it.
pub(crate) fn folder(store: &Store, path: &Path) -> Result<Context, ContextError> {
    let mut context = bare_folder(store, path)?;
    context.ignore = ignore_file(&path.join(".dockerignore"))?;
    Ok(context)
}

/// Opens a folder without looking for an ignore file.
fn bare_folder(store: &Store, path: &Path) -> Result<Context, ContextError> {
    let found = std::fs::metadata(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ContextError::Missing { path: path.to_owned() },
        _ => ContextError::Read { path: path.to_owned(), source },
    })?;
    if !found.is_dir() {
        return Err(ContextError::NotFolder { path: path.to_owned() });
    }
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
    let index = store.root().join("contexts").join(Digest::of(&place).hex());
    Ok(Context {
        root: Some(path.to_owned()),
        ignore: None,
        index: Some(index),
        only_dockerfile: None,
        place,
        is_folder: true,
        source_time: None,
        _kept: None,
    })
}

/// Whether the request says that a repository's own folder belongs to the context.
fn keeps_git_dir(request: &BuildRequest) -> Option<bool> {
    let args = &request.build_args;
    let (_, value) = args.iter().rev().find(|(name, _)| name == "BUILDKIT_CONTEXT_KEEP_GIT_DIR")?;
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Gets what is behind an address: a repository, an archive, or a Dockerfile. A repository's `.git` is kept where that
/// is wished, or the address says so.
pub(crate) fn remote(
    store: &Store,
    network: &Network,
    (url, keeps_git_dir): (&str, Option<bool>),
    cancel: &CancelToken,
    reporter: &Reporter<'_>,
) -> Result<Context, ContextError> {
    let work = reporter.begin(format!("[internal] load remote build context {url}"));
    let opened = match fetch::git_address(url, keeps_git_dir) {
        Some(Ok(source)) => repository(store, &source, url, cancel),
        Some(Err(why)) => Err(ContextError::Address { url: url.to_owned(), why }),
        None => behind_address(store, network, url, cancel),
    };
    work.finish(opened)
}

fn repository(
    store: &Store,
    source: &GitSource,
    url: &str,
    cancel: &CancelToken,
) -> Result<Context, ContextError> {
    let scratch = store.new_layer()?;
    let commit = fetch::git::commit(source, cancel)?;
    let (root, source_time) = fetch::git::check_out_with_time(source, &commit, &scratch.fs(), cancel)?;
    Ok(Context {
        root: Some(root),
        ignore: None,
        index: None,
        only_dockerfile: None,
        place: url.to_owned(),
        is_folder: false,
        source_time,
        _kept: Some(scratch),
    })
}

fn behind_address(
    store: &Store,
    network: &Network,
    url: &str,
    cancel: &CancelToken,
) -> Result<Context, ContextError> {
    let source = HttpSource { url: url.to_owned(), name: "context".to_owned(), checksum: None };
    let file = fetch::http::get(store, network, &source, cancel, &|_, _| {})?;
    let read = |source| ContextError::Read { path: file.path.clone(), source };
    let mut opened = std::fs::File::open(&file.path).map_err(read)?;
    let mut head = vec![0; HEAD_BYTES];
    let count = read_full(&mut opened, &mut head).map_err(read)?;
    head.truncate(count);
    if archive::is_archive(&head) {
        let context = unpacked(store, Cursor::new(head).chain(opened), url)?;
        return Ok(Context { source_time: file.modified, ..context });
    }
    let text = read_limited(Cursor::new(head).chain(opened), DOCKERFILE_LIMIT_BYTES).map_err(read)?;
    Context::of_dockerfile(store, text, url)
}

fn unpacked(store: &Store, stream: impl std::io::Read + Send, place: &str) -> Result<Context, ContextError> {
    let scratch = store.new_layer()?;
    archive::unpack(stream, &scratch.fs()).map_err(ContextError::Unpack)?;
    Ok(Context {
        root: Some(scratch.fs()),
        ignore: None,
        index: None,
        only_dockerfile: None,
        place: place.to_owned(),
        is_folder: false,
        source_time: None,
        _kept: Some(scratch),
    })
}

impl Context {
    /// A Dockerfile alone: there are files to copy from, but none of them.
    fn of_dockerfile(store: &Store, text: Vec<u8>, place: &str) -> Result<Self, ContextError> {
        let empty = store.new_layer()?;
        Ok(Self {
            root: Some(empty.fs()),
            ignore: None,
            index: None,
            only_dockerfile: Some(text),
            place: place.to_owned(),
            is_folder: false,
            source_time: None,
            _kept: Some(empty),
        })
    }

    /// When it was made: the commit of a repository, the file behind an address. A folder has no such time.
    pub(crate) fn source_time(&self) -> Option<i64> {
        self.source_time
    }

    /// What it is, for the history and for comparisons with earlier builds.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// What is left out of it.
    pub(crate) fn ignore(&self) -> Option<&Patterns> {
        self.ignore.as_deref()
    }

    /// The Dockerfile's bytes.
    pub(crate) fn dockerfile(
        &self,
        (store, network): (&Store, &Network),
        request: &BuildRequest,
        streams: &mut Streams<'_>,
    ) -> Result<Vec<u8>, BuildFailure> {
        match &request.file {
            Some(FileSource::Stdin) => {
                let text = read_limited(&mut streams.stdin, DOCKERFILE_LIMIT_BYTES);
                return Ok(text.map_err(ContextError::Stdin)?);
            }
            Some(FileSource::Url(url)) => {
                let source = HttpSource { url: url.clone(), name: "Dockerfile".to_owned(), checksum: None };
                let file = fetch::http::get(store, network, &source, &request.cancel, &|_, _| {})?;
                let fail = |source| BuildFailure::ReadDockerfile { path: file.path.clone(), source };
                let text = std::fs::File::open(&file.path)
                    .and_then(|text| read_limited(text, DOCKERFILE_LIMIT_BYTES));
                return text.map_err(fail);
            }
            Some(FileSource::Path(_)) | None => {}
        }
        if let Some(text) = &self.only_dockerfile {
            return Ok(text.clone());
        }
        let path = self.dockerfile_path(request);
        let read = self.read(&path).or_else(|error| match texts::lower(&path) {
            Some(lower) => self.read(&lower).map_err(|_| error),
            None => Err(error),
        });
        read.map_err(|source| BuildFailure::ReadDockerfile { path, source })
    }

    /// Reads a Dockerfile of a folder, or of the context.
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        match &self.root {
            _ if self.is_folder => texts::read(path, DOCKERFILE_LIMIT_BYTES),
            Some(root) => texts::read_in(root, path, DOCKERFILE_LIMIT_BYTES),
            None => Err(rustix::io::Errno::NOENT.into()),
        }
    }

    /// Where the Dockerfile is: on the host for a folder, else in the context.
    fn dockerfile_path(&self, request: &BuildRequest) -> PathBuf {
        match (&request.file, &self.root) {
            (Some(FileSource::Path(path)), _) if self.is_folder => texts::named(path.clone()),
            (Some(FileSource::Path(path)), _) => path.clone(),
            (_, Some(root)) if self.is_folder => texts::named(root.join("Dockerfile")),
            _ => PathBuf::from("Dockerfile"),
        }
    }

    /// Reads the ignore file: the Dockerfile's own, else that of the context. Contexts that are no folder of the caller's
    /// have none. Says whether there is one.
    pub(crate) fn load_ignore(&mut self, request: &BuildRequest) -> Result<bool, ContextError> {
        let (true, Some(root)) = (self.is_folder, &self.root) else { return Ok(false) };
        let mut own = None;
        if !matches!(request.file, Some(FileSource::Stdin | FileSource::Url(_))) {
            let mut path = self.dockerfile_path(request).into_os_string();
            path.push(".dockerignore");
            own = ignore_file(Path::new(&path))?;
        }
        self.ignore = match own {
            Some(own) => Some(own),
            None => ignore_file(&root.join(".dockerignore"))?,
        };
        Ok(self.ignore.is_some())
    }

    /// The files, for the steps: they are there as long as this is.
    pub(crate) fn files(&self) -> Option<ContextFiles> {
        Some(ContextFiles {
            root: self.root.clone()?,
            ignore: self.ignore.clone(),
            index: self.index.clone(),
            keeps_owners: !self.is_folder,
        })
    }
}

/// The Dockerfile's name, for messages.
pub(crate) fn dockerfile_name(request: &BuildRequest) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    match &request.file {
        Some(FileSource::Path(path)) => name(path).unwrap_or_default(),
        Some(FileSource::Url(url)) => url.clone(),
        Some(FileSource::Stdin) | None => "Dockerfile".to_owned(),
    }
}

fn ignore_file(path: &Path) -> Result<Option<Arc<Patterns>>, ContextError> {
    match texts::read(path, IGNORE_LIMIT_BYTES) {
        Ok(text) => read_ignore(path, &text).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ContextError::Read { path: path.to_owned(), source }),
    }
}

/// Reads a text to its end; one that is longer than this is an error, since a part of it would say something else.
fn read_limited(reader: impl std::io::Read, limit_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    reader.take(limit_bytes + 1).read_to_end(&mut text)?;
    if text.len() as u64 > limit_bytes {
        let reason = format!("it is larger than {limit_bytes} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason));
    }
    Ok(text)
}

/// Fills the buffer, or reads to the end.
fn read_full(reader: &mut impl std::io::Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_to_its_end_or_not_at_all() {
        assert_eq!(read_limited(&b"FROM a"[..], 6).unwrap(), b"FROM a");
        assert!(read_limited(&b"FROM a"[..], 5).is_err());
    }
}
