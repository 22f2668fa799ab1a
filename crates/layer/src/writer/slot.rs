//! One directory of a layer, open for writing.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use lighter_image::ImagePath;

use super::WriteError;
use crate::dirfd;
use crate::entry::Entry;
use crate::place;
use crate::view::Folder;

/// A directory that is being written.
#[derive(Clone)]
pub(crate) struct Slot {
    /// Its path without the slash at the start; empty for the root.
    pub(crate) path: Vec<u8>,
    pub(crate) upper: Arc<OwnedFd>,
    /// What of the layers below shows through.
    pub(super) lower: Option<Folder>,
    /// Whether it was just made, with nothing in it or below it.
    pub(super) new: bool,
}

impl Slot {
    /// The path of an entry, without the slash at the start.
    pub(crate) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len() + name.len() + 1);
        path.extend_from_slice(&self.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Says what a name of a directory is in the merged tree.
    pub(crate) fn state(&self, name: &[u8]) -> Result<Option<Entry>, WriteError> {
        let fail = |error: io::Error| WriteError::io(&self.path_of(name), error);
        match dirfd::stat(&self.upper, name).map_err(fail)? {
            Some(entry) if entry.is_whiteout() => Ok(None),
            Some(entry) => Ok(Some(entry)),
            None => match &self.lower {
                None => Ok(None),
                Some(lower) => Ok(lower.find(name).map_err(fail)?.map(|found| found.entry)),
            },
        }
    }

    /// Makes room for something that is no directory.
    pub(crate) fn vacate(&self, name: &[u8]) -> Result<(), WriteError> {
        if self.state(name)?.is_some_and(|entry| entry.is_folder()) {
            return Err(WriteError::IsFolder { path: ImagePath::new(self.path_of(name)) });
        }
        self.drop_upper(name)
    }

    /// Removes what this layer has under a name.
    pub(crate) fn drop_upper(&self, name: &[u8]) -> Result<(), WriteError> {
        let fail = |error: io::Error| WriteError::io(&self.path_of(name), error);
        match dirfd::stat(&self.upper, name).map_err(fail)? {
            Some(entry) => place::remove(&self.upper, name, &entry).map_err(fail),
            None => Ok(()),
        }
    }

    /// Whether nothing at all is in a directory, so that names in it need no look-up.
    pub(crate) fn is_blank(&self) -> Result<bool, WriteError> {
        if self.new {
            return Ok(true);
        }
        let below = self.lower.iter().flat_map(|lower| lower.parts.iter().map(|part| &part.fd));
        for fd in below.chain([&self.upper]) {
            if !dirfd::names(fd).map_err(|error| WriteError::io(&self.path, error))?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a layer below has a directory under a name.
    pub(crate) fn hides_folder(&self, name: &[u8]) -> Result<bool, WriteError> {
        let Some(lower) = &self.lower else { return Ok(false) };
        let found = lower.find(name).map_err(|error| WriteError::io(&self.path_of(name), error))?;
        Ok(found.is_some_and(|found| found.entry.is_folder()))
    }

    /// Removes a name from the merged tree.
    pub(crate) fn remove(&self, name: &[u8]) -> Result<(), WriteError> {
        self.drop_upper(name)?;
        let fail = |error: io::Error| WriteError::io(&self.path_of(name), error);
        if let Some(lower) = &self.lower
            && lower.find(name).map_err(fail)?.is_some()
        {
            place::make_whiteout(&self.upper, name).map_err(fail)?;
        }
        Ok(())
    }
}
