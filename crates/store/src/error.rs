//! The two failures that every operation of the store can have: a file operation, and a damaged record.

use std::io;
use std::path::{Path, PathBuf};

/// A file operation of the store that did not work.
///
/// The source tells a full disk, a read-only file system and a missing permission apart; [`FileError::kind`]
/// gives that to callers.
#[derive(Debug, thiserror::Error)]
#[error("{action} `{}`", path.display())]
pub struct FileError {
    /// What was being done, as in `writing`.
    pub action: &'static str,
    /// What it was being done to.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// The kind of failure that the operating system reported.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Why a file that should be small cannot be read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadWholeError {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something else stands in its place, as a directory.
    #[error("`{}` is no file", .0.display())]
    NotAFile(PathBuf),
    /// It is larger than anything that was written there.
    #[error("`{}` has more than the {limit_bytes} bytes that it may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size allowed.
        limit_bytes: u64,
    },
}

impl From<ReadWholeError> for RecordError {
    fn from(error: ReadWholeError) -> Self {
        match error {
            ReadWholeError::File(error) => Self::File(error),
            ReadWholeError::NotAFile(path) => Self::Damaged { path, reason: "is no file".to_owned() },
            ReadWholeError::TooLarge { path, limit_bytes } => Self::Damaged {
                path,
                reason: format!("has more than the {limit_bytes} bytes that it may have"),
            },
        }
    }
}

impl From<ReadWholeError> for FileError {
    fn from(error: ReadWholeError) -> Self {
        let (path, kind) = match error {
            ReadWholeError::File(error) => return error,
            ReadWholeError::NotAFile(ref path) => (path.clone(), io::ErrorKind::InvalidData),
            ReadWholeError::TooLarge { ref path, .. } => (path.clone(), io::ErrorKind::FileTooLarge),
        };
        Self { action: "reading", path, source: io::Error::new(kind, error) }
    }
}

/// Takes a file that is not what was written for one that is not there.
pub(crate) fn if_whole<T>(result: Result<Option<T>, ReadWholeError>) -> Result<Option<T>, FileError> {
    match result {
        Ok(value) => Ok(value),
        Err(ReadWholeError::File(error)) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "the store is damaged");
            Ok(None)
        }
    }
}

/// Why a record of the store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is there, but it is not what was written.
    #[error("the store is damaged: `{}` {reason} (`lighter system check` repairs it)", path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The value has no form in JSON.
    #[error("a {kind} record cannot be written as JSON")]
    Encode {
        /// The kind of the record.
        kind: &'static str,
        /// What the encoder said.
        #[source]
        source: serde_json::Error,
    },
}

impl RecordError {
    /// Whether the record is there but unusable, so that it may be dropped where it can be made again.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// What is wrong, for those who name the place themselves.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Damaged { reason, .. } => format!("its record {reason}"),
            other => other.to_string(),
        }
    }
}

/// Gives a bare failure of the operating system its place.
pub(crate) trait At<T> {
    /// Names what was being done, and to which file.
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { action, path: path.to_owned(), source: source.into() })
    }
}

/// Turns "there is no such file" into `None`.
pub(crate) fn if_there<T>(result: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
