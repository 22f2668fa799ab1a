//! The history of builds: a directory each, for its record, events and logs.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::disk;
use crate::error::{FileError, RecordError};
use crate::id::{BuildId, LayerId};
use crate::record;

const KIND: &str = "build";
const KEPT_KIND: &str = "kept";

/// The directory of one build, in which the caller keeps what it likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildDir {
    /// The name of the build.
    pub id: BuildId,
    /// Its directory.
    pub dir: PathBuf,
}

/// Layers that a build wants kept though nothing names them, as those of a failed step.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    layers: Vec<LayerId>,
}

/// Why a text leads to no build.
#[derive(Debug, thiserror::Error)]
pub enum FindBuildError {
    /// No build has this name.
    #[error("no such build: {0}")]
    NotFound(String),
    /// More than one name begins or ends with it.
    #[error("build `{0}` is ambiguous")]
    Ambiguous(String),
    /// The store cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Store {
    /// Begins the history of a build.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new_build(&self, started_at: SystemTime) -> Result<BuildDir, FileError> {
        self.ready()?;
        let id = BuildId::at(started_at);
        let dir = self.layout().build(&id);
        disk::make_new_dir(&dir, 0o700)?;
        Ok(BuildDir { id, dir })
    }

    /// Writes, or writes again, the record of a build.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_build<T: Serialize>(&self, id: &BuildId, record: &T) -> Result<(), RecordError> {
        self.write_record(KIND, &self.layout().build(id).join("build"), record)
    }

    /// The record of a build; `None` where there is none.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn build<T: DeserializeOwned>(&self, id: &BuildId) -> Result<Option<T>, RecordError> {
        record::read(KIND, &self.layout().build(id).join("build"))
    }

    /// The directory of a build.
    pub fn build_dir(&self, id: &BuildId) -> PathBuf {
        self.layout().build(id)
    }

    /// All builds, the latest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn builds(&self) -> Result<Vec<BuildId>, FileError> {
        let names = disk::names(&self.layout().top("builds"))?;
        Ok(names.iter().rev().filter_map(|name| name.parse().ok()).collect())
    }

    /// Finds a build by its name, or the beginning or end of it.
    ///
    /// # Errors
    /// [`FindBuildError::NotFound`], and [`FindBuildError::Ambiguous`] for a part that several names have.
    pub fn find_build(&self, text: &str) -> Result<BuildId, FindBuildError> {
        let mut matches = self.builds()?;
        matches.retain(|id| {
            let id = id.as_str();
            !text.is_empty() && (id.ends_with(text) || id.starts_with(text))
        });
        match matches.len() {
            0 => Err(FindBuildError::NotFound(text.to_owned())),
            1 => Ok(matches.remove(0)),
            _ => Err(FindBuildError::Ambiguous(text.to_owned())),
        }
    }

    /// Keeps layers for as long as the build is in the history, as those of a failed step.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn keep_for_build(&self, id: &BuildId, layers: &[LayerId]) -> Result<(), RecordError> {
        let _inside = self.enter()?;
        let kept = Kept { layers: layers.to_vec() };
        self.write_record(KEPT_KIND, &self.layout().build(id).join("kept"), &kept)
    }

    /// Removes a build from the history; `false` where there was none.
    ///
    /// # Errors
    /// When it cannot be moved away.
    pub fn remove_build(&self, id: &BuildId) -> Result<bool, FileError> {
        self.throw_away(&self.layout().build(id))
    }

    /// Removes the oldest builds from the history, so that no more than `keep` stay.
    ///
    /// # Errors
    /// When one cannot be moved away.
    pub fn forget_builds(&self, keep: usize) -> Result<(), FileError> {
        for id in self.builds()?.into_iter().skip(keep) {
            self.bury(&self.layout().build(&id))?;
        }
        Ok(())
    }

    /// The layers that a build wants kept.
    pub(crate) fn kept_by_build(&self, id: &BuildId) -> Result<Vec<LayerId>, RecordError> {
        let kept: Option<Kept> = record::read(KEPT_KIND, &self.layout().build(id).join("kept"))?;
        Ok(kept.unwrap_or_default().layers)
    }
}
