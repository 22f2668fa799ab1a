//! Containers: a directory each, found by id or by name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lighter_image::ImageId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::disk;
use crate::error::{At as _, FileError, RecordError, if_there, if_whole};
use crate::id::{ContainerId, LayerId};
use crate::lease::{self, Pin};
use crate::lock::{self, WaitError};
use crate::record;

const KIND: &str = "container";
const STATE_KIND: &str = "state";

/// What the store itself knows of a container: what it is called, and what it needs.
///
/// All else, as the command and the exit code, is the engine's state ([`Store::write_container_state`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without a slash before it.
    pub name: String,
    /// The image it was made from, where it still matters to `rmi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// The layers below its own, bottom first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerId>,
    /// The layers of images that are mounted in it, for as long as it is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounted: Vec<LayerId>,
    /// The volumes it uses, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// When it was made.
    #[serde(with = "record::time")]
    pub created_at: SystemTime,
}

impl ContainerRecord {
    /// All layers that it cannot do without.
    pub(crate) fn all_layers(&self) -> impl Iterator<Item = &LayerId> {
        self.layers.iter().chain(&self.mounted)
    }
}

/// Where the parts of a container are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPaths {
    /// The container's directory; the engine may keep further files in it.
    pub dir: PathBuf,
    /// What the container wrote, in overlay form.
    pub upper: PathBuf,
    /// The empty directory that overlay works in.
    pub work: PathBuf,
    /// Where the log belongs; it is the engine's to make.
    pub log: PathBuf,
}

/// Why a container was not made or renamed.
#[derive(Debug, thiserror::Error)]
pub enum NameContainerError {
    /// The name has characters that Docker does not allow.
    #[error("invalid container name `{0}`: only [a-zA-Z0-9][a-zA-Z0-9_.-]+ is allowed")]
    InvalidName(String),
    /// Another container has the name.
    #[error("the name `{name}` is already in use by container {holder}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        holder: ContainerId,
    },
    /// There is no such container.
    #[error("No such container: {0}")]
    NotFound(ContainerId),
    /// A record is damaged, or cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a text leads to no container.
#[derive(Debug, thiserror::Error)]
pub enum FindContainerError {
    /// No container has this name or id.
    #[error("No such container: {0}")]
    NotFound(String),
    /// More than one id begins with it.
    #[error("container id `{0}` is ambiguous")]
    Ambiguous(String),
    /// A record is damaged or cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The right to change one container; it ends when this is dropped, or when the process dies.
#[derive(Debug)]
pub struct ContainerLock {
    _file: File,
}

impl Store {
    /// Makes a container with its directories and its first state, or nothing of it.
    ///
    /// # Errors
    /// [`NameContainerError::NameTaken`] where another container has the name.
    pub fn create_container<S: Serialize>(
        &self,
        container: &ContainerRecord,
        state: &S,
    ) -> Result<ContainerPaths, NameContainerError> {
        check_name(&container.name)?;
        let dir = self.lease()?.fresh_path()?;
        disk::make_new_dir(&dir, 0o700)?;
        disk::make_new_dir(&dir.join("upper"), 0o755)?;
        disk::make_new_dir(&dir.join("work"), 0o700)?;
        drop(disk::write_file(&dir.join("container"), &record::encode(KIND, container)?)?);
        drop(disk::write_file(&dir.join("state"), &record::encode(STATE_KIND, state)?)?);
        let published = self.publish_container(container, &dir);
        if published.is_err() {
            self.throw_away(&dir)?;
        }
        published.map(|()| self.container_paths(&container.id))
    }

    /// Where the parts of a container are, or would be.
    pub fn container_paths(&self, id: &ContainerId) -> ContainerPaths {
        let dir = self.layout().container(id);
        ContainerPaths { upper: dir.join("upper"), work: dir.join("work"), log: dir.join("log"), dir }
    }

    /// What the store knows of a container; `None` where there is no such container.
    ///
    /// # Errors
    /// When the record is damaged or cannot be read.
    pub fn container(&self, id: &ContainerId) -> Result<Option<ContainerRecord>, RecordError> {
        record::read(KIND, &self.layout().container(id).join("container"))
    }

    /// All containers, in no particular order. Damaged records are left out, and reported by `check`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>, RecordError> {
        let mut containers = Vec::new();
        for id in self.container_ids()? {
            match self.container(&id) {
                Ok(container) => containers.extend(container),
                Err(error) if error.is_damage() => tracing::warn!(%error, "leaving out a container"),
                Err(error) => return Err(error),
            }
        }
        Ok(containers)
    }

    /// Finds a container by its name, with or without a slash before it, its id, or the beginning of its id.
    ///
    /// # Errors
    /// [`FindContainerError::NotFound`], and [`FindContainerError::Ambiguous`] for a beginning that several
    /// ids have.
    pub fn find_container(&self, text: &str) -> Result<ContainerId, FindContainerError> {
        let not_found = || FindContainerError::NotFound(text.to_owned());
        if let Ok(id) = text.parse::<ContainerId>()
            && self.layout().container(&id).exists()
        {
            return Ok(id);
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        if check_name(name).is_ok()
            && let Some(id) = self.name_holder(name)?
        {
            return Ok(id);
        }
        if text.is_empty() {
            return Err(not_found());
        }
        let mut matches = self.container_ids()?;
        matches.retain(|id| id.as_str().starts_with(text));
        match matches.len() {
            0 => Err(not_found()),
            1 => Ok(matches.remove(0)),
            _ => Err(FindContainerError::Ambiguous(text.to_owned())),
        }
    }

    /// Waits for the right to change a container. Hold it for the time of a change, not of a run.
    ///
    /// # Errors
    /// [`WaitError::Cancelled`] when `cancelled` says so first; a missing container is a [`FileError`].
    pub fn lock_container(
        &self,
        id: &ContainerId,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<ContainerLock, WaitError> {
        // the record is only ever replaced, so the directory itself is what can be locked
        let dir = self.layout().container(id);
        let file = File::open(&dir).at("opening", &dir)?;
        lock::wait_for(cancelled, || {
            let locked = lock::try_exclusive(&file, &dir)?;
            Ok::<_, WaitError>(locked.then_some(()))
        })?;
        Ok(ContainerLock { _file: file })
    }

    /// The engine's state of a container; `None` where there is no such container.
    ///
    /// # Errors
    /// When the record is damaged or cannot be read.
    pub fn container_state<S: DeserializeOwned>(&self, id: &ContainerId) -> Result<Option<S>, RecordError> {
        record::read(STATE_KIND, &self.layout().container(id).join("state"))
    }

    /// Replaces the engine's state of a container.
    ///
    /// # Errors
    /// When it cannot be written, as where the container is gone.
    pub fn write_container_state<S: Serialize>(
        &self,
        id: &ContainerId,
        state: &S,
    ) -> Result<(), RecordError> {
        let path = self.layout().container(id).join("state");
        let unnamed = self.lease()?.fresh_path()?;
        drop(disk::write_file(&unnamed, &record::encode(STATE_KIND, state)?)?);
        // not through `rename`: that would make a directory for a container that was removed
        let renamed = std::fs::rename(&unnamed, &path).at("renaming to", &path);
        if renamed.is_err() {
            disk::remove_file(&unnamed)?;
        }
        Ok(renamed?)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`NameContainerError::NameTaken`] where another container has it.
    pub fn rename_container(&self, id: &ContainerId, name: &str) -> Result<(), NameContainerError> {
        check_name(name)?;
        let _inside = self.enter()?;
        let _lock = self.update()?;
        let mut container = self.container(id)?.ok_or_else(|| NameContainerError::NotFound(id.clone()))?;
        if container.name == name {
            return Ok(());
        }
        self.take_name(name, id)?;
        let before = std::mem::replace(&mut container.name, name.to_owned());
        let path = self.layout().container(id).join("container");
        self.write_record(KIND, &path, &container)?;
        disk::remove_file(&self.layout().name(&before))?;
        Ok(())
    }

    /// Removes a container and its files; `false` where there was none. The engine has stopped it before.
    ///
    /// # Errors
    /// When it cannot be moved away.
    pub fn remove_container(&self, id: &ContainerId) -> Result<bool, RecordError> {
        let _inside = self.enter()?;
        let _lock = self.update()?;
        self.throw_container_away(id)
    }

    /// Moves a container to the trash, and takes its name; the caller is alone with it.
    fn throw_container_away(&self, id: &ContainerId) -> Result<bool, RecordError> {
        let name = self.container(id).ok().flatten().map(|container| container.name);
        let there = self.throw_away(&self.layout().container(id))?;
        if let Some(name) = name
            && self.name_record(&name)?.as_ref() == Some(id)
        {
            disk::remove_file(&self.layout().name(&name))?;
        }
        Ok(there)
    }

    /// Keeps a container from being removed as one that nobody uses until this process ends; `false` where there
    /// is none.
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn hold_container(&self, id: &ContainerId) -> Result<bool, FileError> {
        let there = || Ok(self.layout().container(id).exists());
        self.look_up(&[Pin::Container(id)], there)
    }

    /// Removes a container that nobody uses; `false` where a living process holds it, or `idle` says that it is in
    /// use. Nobody can begin to hold it in between.
    ///
    /// # Errors
    /// When the leases cannot be read, or it cannot be moved away.
    pub fn remove_idle_container(
        &self,
        id: &ContainerId,
        idle: impl FnOnce() -> bool,
    ) -> Result<bool, RecordError> {
        let closed = self.close_gate()?;
        let (pins, _) = lease::pins(self.layout())?;
        if pins.containers.contains(id) {
            return Ok(false);
        }
        self.remove_behind_gate(&closed, id, idle)
    }

    /// Removes a container, whoever holds it, unless it is in use: `idle` says that, and [`Store::hold_container`] does
    /// not say that it is there while `idle` is asked, or afterwards.
    ///
    /// # Errors
    /// When it cannot be moved away.
    pub fn remove_container_if(
        &self,
        id: &ContainerId,
        idle: impl FnOnce() -> bool,
    ) -> Result<bool, RecordError> {
        self.remove_behind_gate(&self.close_gate()?, id, idle)
    }

    fn remove_behind_gate(
        &self,
        _closed: &lock::Closed,
        id: &ContainerId,
        idle: impl FnOnce() -> bool,
    ) -> Result<bool, RecordError> {
        let _lock = self.update()?;
        if !idle() {
            return Ok(false);
        }
        self.throw_container_away(id)
    }

    /// The ids of all containers, also of those whose records are damaged.
    ///
    /// # Errors
    /// [`FileError`], where the store cannot be read.
    pub fn container_ids(&self) -> Result<Vec<ContainerId>, FileError> {
        let names = disk::names(&self.layout().top("containers"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn publish_container(&self, container: &ContainerRecord, dir: &Path) -> Result<(), NameContainerError> {
        let _inside = self.enter()?;
        let lease = self.lease()?;
        container.all_layers().try_for_each(|layer| lease.pin(Pin::Layer(layer)))?;
        lease.pin(Pin::Container(&container.id))?;
        let _lock = self.update()?;
        self.take_name(&container.name, &container.id)?;
        Ok(disk::rename(dir, &self.layout().container(&container.id))?)
    }

    /// Takes a name for a container; the caller holds the update lock.
    fn take_name(&self, name: &str, id: &ContainerId) -> Result<(), NameContainerError> {
        // its own already where a crash broke off a renaming
        if let Some(holder) = self.name_holder(name)?
            && holder != *id
        {
            return Err(NameContainerError::NameTaken { name: name.to_owned(), holder });
        }
        // a name whose container is gone is left from a crash, and is replaced
        let unnamed = self.lease()?.fresh_path()?;
        drop(disk::write_file(&unnamed, format!("{id}\n").as_bytes())?);
        Ok(self.replace(&unnamed, &self.layout().name(name))?)
    }

    /// The container that has a name now.
    fn name_holder(&self, name: &str) -> Result<Option<ContainerId>, FileError> {
        let Some(id) = self.name_record(name)? else { return Ok(None) };
        let path = self.layout().container(&id).join("container");
        Ok(if_there(std::fs::metadata(&path).at("reading", &path))?.map(|_| id))
    }

    /// The container that a name was given to; a file that names none was torn by a crash.
    pub(crate) fn name_record(&self, name: &str) -> Result<Option<ContainerId>, FileError> {
        let bytes = if_whole(disk::read(&self.layout().name(name)))?;
        Ok(bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim_end().parse().ok()))
    }
}

fn check_name(name: &str) -> Result<(), NameContainerError> {
    if is_name(name) && name.len() >= 2 {
        Ok(())
    } else {
        Err(NameContainerError::InvalidName(name.to_owned()))
    }
}

/// Whether a text may name a container or a volume, and hence a file of the store.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 255
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}
