//! Volumes: named directories that outlive containers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::Store;
use crate::container::is_name;
use crate::disk;
use crate::error::{FileError, RecordError};
use crate::record;

const KIND: &str = "volume";

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Labels that people gave it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The options of its driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Whether it was made for one container and has no name that people chose.
    #[serde(default)]
    pub anonymous: bool,
    /// When it was made.
    #[serde(with = "record::time")]
    pub created_at: SystemTime,
}

impl Volume {
    /// A volume that has nothing but a name.
    pub fn new(name: String, created_at: SystemTime) -> Self {
        Self { name, labels: BTreeMap::new(), options: BTreeMap::new(), anonymous: false, created_at }
    }
}

/// Why a volume was not made or removed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The name has characters that Docker does not allow.
    #[error(
        "create {0}: {0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
         allowed. If you intended to pass a host directory, use absolute path"
    )]
    InvalidName(String),
    /// Containers use it.
    #[error("volume `{name}` is in use by {}", containers.iter().map(crate::ContainerId::short).collect::<Vec<_>>().join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// Who uses it.
        containers: Vec<crate::ContainerId>,
    },
    /// A record is damaged, or cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Store {
    /// Makes a volume; one that is there already stays as it is, and `false` is returned.
    ///
    /// # Errors
    /// [`VolumeError::InvalidName`], or when it cannot be made.
    pub fn create_volume(&self, volume: &Volume) -> Result<bool, VolumeError> {
        check_name(&volume.name)?;
        let path = self.layout().volume(&volume.name);
        if path.exists() {
            return Ok(false);
        }
        let dir = self.lease()?.fresh_path()?;
        disk::make_new_dir(&dir, 0o700)?;
        disk::make_new_dir(&dir.join("_data"), 0o755)?;
        drop(disk::write_file(&dir.join("volume"), &record::encode(KIND, volume)?)?);
        let _inside = self.enter()?;
        let made = disk::rename_new(&dir, &path)?;
        if !made {
            self.throw_away(&dir)?;
        }
        Ok(made)
    }

    /// The directory that containers mount.
    ///
    /// # Errors
    /// [`VolumeError::InvalidName`].
    pub fn volume_path(&self, name: &str) -> Result<PathBuf, VolumeError> {
        check_name(name)?;
        Ok(self.layout().volume(name).join("_data"))
    }

    /// A volume by its name; `None` where there is none.
    ///
    /// # Errors
    /// When the record is damaged or cannot be read.
    pub fn volume(&self, name: &str) -> Result<Option<Volume>, RecordError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        record::read(KIND, &self.layout().volume(name).join("volume"))
    }

    /// All volumes, by name. One whose record is damaged is listed with what can be known of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn volumes(&self) -> Result<Vec<Volume>, RecordError> {
        let mut volumes = Vec::new();
        for name in disk::names(&self.layout().top("volumes"))? {
            match self.volume(&name) {
                Ok(volume) => volumes.extend(volume),
                Err(error) if error.is_damage() => {
                    tracing::warn!(%error, "a volume has lost its record");
                    volumes.push(Volume::new(name, SystemTime::UNIX_EPOCH));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(volumes)
    }

    /// The containers that use a volume.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn volume_users(&self, name: &str) -> Result<Vec<crate::ContainerId>, RecordError> {
        let mut containers = self.containers()?;
        containers.retain(|container| container.volumes.iter().any(|volume| volume == name));
        Ok(containers.into_iter().map(|container| container.id).collect())
    }

    /// Removes a volume and its files; `false` where there was none.
    ///
    /// # Errors
    /// [`VolumeError::InUse`] where containers use it.
    pub fn remove_volume(&self, name: &str) -> Result<bool, VolumeError> {
        check_name(name)?;
        let _inside = self.enter()?;
        let _lock = self.update()?;
        let containers = self.volume_users(name)?;
        if !containers.is_empty() {
            return Err(VolumeError::InUse { name: name.to_owned(), containers });
        }
        Ok(self.throw_away(&self.layout().volume(name))?)
    }

    /// Writes the record of a volume anew.
    pub(crate) fn write_volume(&self, volume: &Volume) -> Result<(), RecordError> {
        let path = self.layout().volume(&volume.name).join("volume");
        self.write_record(KIND, &path, volume)
    }
}

fn check_name(name: &str) -> Result<(), VolumeError> {
    if is_name(name) && name.len() >= 2 { Ok(()) } else { Err(VolumeError::InvalidName(name.to_owned())) }
}
