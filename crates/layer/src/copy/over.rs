//! Copying what differs from an earlier copy, into a layer directory that lies on the earlier one's.

#[cfg(test)]
mod tests;

use lighter_image::ImagePath;

use super::inventory::{Difference, Piece, Record};
use super::{CopyOptions, Destination, Inventory, prepare, tree};
use crate::entry::{Entry, Kind};
use crate::view::{View, ViewError};
use crate::writer::{LayerWriter, Slot, WriteError};

/// An earlier copy of the same directory to the same place, on the same layers.
#[derive(Clone, Copy)]
pub struct Earlier<'a> {
    /// What it stood on.
    pub parent: &'a View,
    /// Its layer alone.
    pub layer: &'a View,
    /// What it has put there.
    pub inventory: &'a Inventory,
}

/// Writes the difference between an earlier copy and what a copy would give now.
///
/// `to` stands on `earlier.layer` on `earlier.parent`. `false` where the difference is too large, cannot be told by
/// a directory that lies on the other, or where the source changed meanwhile: what was written is to be thrown away
/// then, and the whole to be copied.
///
/// # Errors
/// As for [`super::copy`].
pub fn copy_over(
    from: &View,
    source: &ImagePath,
    to: &LayerWriter,
    destination: &Destination,
    options: &CopyOptions<'_>,
    (earlier, now): (Earlier<'_>, &Inventory),
) -> Result<bool, WriteError> {
    let Some(differences) = now.differences(earlier.inventory) else { return Ok(false) };
    let Some((source, entry)) = from.resolve(source)? else { return Ok(false) };
    if !entry.is_folder() {
        return Ok(false);
    }
    let target = prepare(&source, &entry, to, destination, options)?;
    if !earlier.layer.lookup(&target)?.is_some_and(|entry| entry.is_folder()) {
        return Ok(false);
    }
    if earlier.inventory.top() != now.top() {
        let slot = to.slot(&target, options.new_folders())?;
        to.touch(&slot, now.top());
    }
    let mut job = Over { from, source, to, target, options, earlier };
    for difference in differences {
        if !job.apply(difference)? {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Over<'a> {
    from: &'a View,
    source: ImagePath,
    to: &'a LayerWriter,
    target: ImagePath,
    options: &'a CopyOptions<'a>,
    earlier: Earlier<'a>,
}

impl Over<'_> {
    fn apply(&mut self, difference: Difference<'_>) -> Result<bool, WriteError> {
        match difference {
            Difference::Gone(path) => {
                // a whiteout would hide what the layers below have there
                if self.below(path)?.is_some() {
                    return Ok(false);
                }
                let (slot, name) = self.slot(path)?;
                slot.remove(name)?;
                Ok(true)
            }
            Difference::Folder(record) => self.folder(record).map(|()| true),
            Difference::Content(record) => self.content(record),
        }
    }

    /// What the layers below the earlier copy have at a path.
    fn below(&self, path: &[u8]) -> Result<Option<Entry>, WriteError> {
        Ok(self.earlier.parent.lookup(&self.target.join(path))?)
    }

    /// The directory of an entry, and the entry's name.
    fn slot<'p>(&self, path: &'p [u8]) -> Result<(Slot, &'p [u8]), WriteError> {
        let (parent, name) = split(path);
        let parent = if parent.is_empty() { self.target.clone() } else { self.target.join(parent) };
        Ok((self.to.slot(&parent, self.options.new_folders())?, name))
    }

    fn folder(&self, record: Record<'_>) -> Result<(), WriteError> {
        let (slot, name) = self.slot(record.path)?;
        let metadata = record.metadata();
        let (slot, fresh) = self.to.enter(&slot, name, &metadata)?;
        if fresh { Ok(()) } else { self.to.restyle(&slot, &metadata) }
    }

    fn content(&self, record: Record<'_>) -> Result<bool, WriteError> {
        let (parent, name) = split(record.path);
        let parent = if parent.is_empty() { self.source.clone() } else { self.source.join(parent) };
        let folder = match self.from.folder(&parent) {
            Ok(folder) => folder,
            Err(ViewError::Missing { .. } | ViewError::WrongKind { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let fail = |error| WriteError::View(ViewError::io(&self.source.join(record.path), error));
        let Some(found) = folder.find(name).map_err(fail)? else { return Ok(false) };
        let expected = if record.piece == Piece::Link { Kind::Link } else { Kind::File };
        if found.entry.kind != expected {
            return Ok(false);
        }
        let (slot, name) = self.slot(record.path)?;
        let mut job = tree::Job::new(self.to, CopyOptions { threads: 1, ..*self.options });
        job.run(None, |job| job.single(&folder, (name, found), &slot, name))?;
        Ok(true)
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
