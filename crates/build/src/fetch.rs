//! What a build must get from elsewhere. The engine does it; the solver never sees the network.

use std::path::PathBuf;

use lighter_dockerfile::plan::{GitSource, HttpSource};
use lighter_image::{DiffId, Digest};

use crate::event::Work;
use crate::{CancelToken, SharedCache};

/// Gets what is not here. Calls come from several threads, and take long; they watch the token.
pub trait Fetch: Sync {
    /// What other machines have made.
    fn shared(&self) -> &dyn SharedCache;

    /// Sees to it that the store has the layers of a stack unpacked, bottom first. Some may be there already.
    ///
    /// # Errors
    /// [`FetchError`], where they cannot be had.
    fn layers(&self, layers: &[DiffId], work: &Work<'_>, cancel: &CancelToken) -> Result<(), FetchError>;

    /// Gets a file by its address, or finds that the one from last time is still what is there.
    ///
    /// # Errors
    /// [`FetchError`], where it cannot be had, or is not what its checksum says.
    fn http(
        &self,
        source: &HttpSource,
        work: &Work<'_>,
        cancel: &CancelToken,
    ) -> Result<HttpFile, FetchError>;

    /// Finds the commit that a git reference stands for.
    ///
    /// # Errors
    /// [`FetchError`], where the repository does not answer, or has no such reference.
    fn git_commit(
        &self,
        source: &GitSource,
        work: &Work<'_>,
        cancel: &CancelToken,
    ) -> Result<String, FetchError>;

    /// Checks a commit out into a folder: what ADD copies is in there.
    ///
    /// # Errors
    /// [`FetchError`], where it cannot be had.
    fn git_tree(
        &self,
        source: &GitSource,
        commit: &str,
        work: &Work<'_>,
        cancel: &CancelToken,
    ) -> Result<FetchedTree, FetchError>;
}

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFile {
    /// Where it is.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The name that the server or the address gives it.
    pub name: String,
    /// `Last-Modified`, in seconds since 1970; none where the server does not say.
    pub modified: Option<i64>,
}

/// A folder that was fetched. It is removed when this is dropped, where it is temporary.
#[derive(Debug)]
pub struct FetchedTree {
    /// Where it is.
    pub root: PathBuf,
    /// Whether it is removed at the end.
    pub is_temporary: bool,
}

impl Drop for FetchedTree {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.root)
        {
            tracing::warn!(root = %self.root.display(), %error, "a fetched folder stays behind");
        }
    }
}

/// Why something could not be had from elsewhere.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The build was stopped.
    #[error("cancelled")]
    Cancelled,
    /// It is not there.
    #[error("{what} was not found: {reason}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// What was answered.
        reason: String,
    },
    /// It is not what it must be.
    #[error("{what} has the digest {actual}, expected {expected}")]
    Checksum {
        /// What was asked for.
        what: String,
        /// What it must be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// Something went wrong on the way.
    #[error("fetching {what}: {reason}")]
    Transfer {
        /// What was asked for.
        what: String,
        /// The error and its causes.
        reason: String,
    },
}
