//! One directory of a view: the directories of the layers that merge into it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Rules, View};
use crate::dirfd;
use crate::entry::{Device, Entry, Inode, Kind, Timestamp, Xattrs};
use crate::policy;

/// One directory of a view.
#[derive(Clone)]
pub(crate) struct Folder {
    /// Top first; none for the root of an empty view.
    pub(crate) parts: Vec<Part>,
    rules: Rules,
}

/// What one layer contributes to a directory.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) fd: Arc<OwnedFd>,
}

/// An entry, and which part of its directory shows it.
pub(crate) struct Found {
    pub(crate) entry: Entry,
    part: usize,
}

/// A named entry of a directory.
pub(crate) struct Item {
    pub(crate) name: Vec<u8>,
    pub(crate) found: Found,
}

impl Found {
    /// An entry of a directory that only one layer contributes to, known from elsewhere.
    pub(crate) const fn listed(entry: Entry) -> Self {
        Self { entry, part: 0 }
    }
}

impl Folder {
    pub(super) fn root(view: &View) -> Self {
        let parts = view.layers.iter().map(|layer| Part { fd: Arc::clone(&layer.root) }).collect();
        Self { parts, rules: view.rules }
    }

    /// What the directory itself is.
    pub(crate) fn entry(&self) -> io::Result<Entry> {
        match self.parts.first() {
            None => Ok(EMPTY_ROOT),
            Some(part) => self.completed(part, b"", dirfd::stat_fd(&part.fd)?),
        }
    }

    /// The attributes of the directory itself.
    pub(crate) fn own_xattrs(&self) -> io::Result<Xattrs> {
        self.parts.first().map_or(Ok(Vec::new()), |part| dirfd::xattrs(&part.fd, b""))
    }

    /// Finds a name.
    pub(crate) fn find(&self, name: &[u8]) -> io::Result<Option<Found>> {
        for (index, part) in self.parts.iter().enumerate() {
            match dirfd::stat(&part.fd, name) {
                Ok(None) => {}
                Ok(Some(entry)) if self.rules.is_whiteout(&entry) => return Ok(None),
                Ok(Some(entry)) => {
                    let entry = self.completed(part, name, entry)?;
                    return Ok(Some(Found { entry, part: index }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Lists all names, merged, sorted bytewise.
    pub(crate) fn items(&self) -> io::Result<Vec<Item>> {
        let mut items = match self.parts.as_slice() {
            [] => Vec::new(),
            [part] => self.items_of_one(part)?,
            parts => self.items_of_many(parts)?,
        };
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(items)
    }

    fn items_of_one(&self, part: &Part) -> io::Result<Vec<Item>> {
        let names = dirfd::names_and_devices(&part.fd)?;
        let mut items = Vec::with_capacity(names.len());
        // Whiteouts of a directory share an inode: it is looked at once.
        let mut device: Option<(u64, Entry)> = None;
        for (name, number) in names {
            let known = device.as_ref().filter(|(known, _)| number == Some(*known));
            // A name may vanish from a context while it is listed.
            let entry = match known {
                Some((_, entry)) => Some(entry.clone()),
                None => dirfd::stat(&part.fd, &name)?,
            };
            if let (Some(number), Some(entry)) = (number, &entry)
                && entry.is_whiteout()
            {
                device = Some((number, entry.clone()));
            }
            if let Some(entry) = entry
                && !self.rules.is_whiteout(&entry)
            {
                let entry = self.completed(part, &name, entry)?;
                items.push(Item { name, found: Found { entry, part: 0 } });
            }
        }
        Ok(items)
    }

    fn items_of_many(&self, parts: &[Part]) -> io::Result<Vec<Item>> {
        let mut seen: HashMap<Vec<u8>, Option<Found>> = HashMap::new();
        for (index, part) in parts.iter().enumerate() {
            for name in dirfd::names(&part.fd)? {
                if seen.contains_key(&name) {
                    continue;
                }
                let Some(entry) = dirfd::stat(&part.fd, &name)? else { continue };
                let found = if self.rules.is_whiteout(&entry) {
                    None
                } else {
                    Some(Found { entry: self.completed(part, &name, entry)?, part: index })
                };
                seen.insert(name, found);
            }
        }
        Ok(seen.into_iter().filter_map(|(name, found)| found.map(|found| Item { name, found })).collect())
    }

    /// Opens a directory that [`Folder::find`] or [`Folder::items`] showed.
    pub(crate) fn open_folder(&self, name: &[u8], found: &Found) -> io::Result<Self> {
        let mut parts = Vec::new();
        let candidates = &self.parts[found.part..];
        for (index, part) in candidates.iter().enumerate() {
            let fd = match dirfd::open_folder(&part.fd, name) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if index > 0 => continue,
                // Something else than a directory, a whiteout included, hides what is further below.
                Err(Errno::NOTDIR | Errno::LOOP) if index > 0 => break,
                Err(error) => return Err(error.into()),
            };
            let fd = Arc::new(fd);
            parts.push(Part { fd: Arc::clone(&fd) });
            if let Some(marks) = self.rules.marks
                && index + 1 < candidates.len()
                && dirfd::has_xattr(&fd, marks.opaque(), b"y")
            {
                break;
            }
        }
        Ok(Self { parts, rules: self.rules })
    }

    /// Opens a file that was shown.
    pub(crate) fn open_file(&self, name: &[u8], found: &Found) -> io::Result<OwnedFd> {
        Ok(dirfd::open_file(&self.parts[found.part].fd, name)?)
    }

    /// Reads a link that was shown.
    pub(crate) fn read_link(&self, name: &[u8], found: &Found) -> io::Result<Vec<u8>> {
        dirfd::read_link(&self.parts[found.part].fd, name)
    }

    /// Reads the attributes of an entry that was shown.
    pub(crate) fn xattrs(&self, name: &[u8], found: &Found) -> io::Result<Xattrs> {
        dirfd::xattrs(&self.parts[found.part].fd, name)
    }

    /// The directory descriptor that holds an entry that was shown.
    pub(crate) fn holder(&self, found: &Found) -> &Arc<OwnedFd> {
        &self.parts[found.part].fd
    }

    /// Puts in what attributes say where the process could not set it.
    fn completed(&self, part: &Part, name: &[u8], mut entry: Entry) -> io::Result<Entry> {
        if self.rules.recorded {
            complete(part, name, &mut entry)?;
        }
        Ok(entry)
    }
}

const EMPTY_ROOT: Entry = Entry {
    kind: Kind::Folder,
    mode_bits: 0o755,
    uid: 0,
    gid: 0,
    size_bytes: 0,
    allocated_bytes: 0,
    mtime: Timestamp::at_second(0),
    changed_at: Timestamp::at_second(0),
    device: Device { major: 0, minor: 0 },
    inode: Inode { device: 0, number: 0 },
    links: 2,
};

/// Puts in the owner and the device node that attributes say.
fn complete(part: &Part, name: &[u8], entry: &mut Entry) -> io::Result<()> {
    match entry.kind {
        Kind::File | Kind::Folder => {
            if let Some(owner) = dirfd::xattr(&part.fd, name, policy::OWNER.as_bytes())?
                && let Some((uid, gid)) = policy::parse_owner(&owner)
            {
                (entry.uid, entry.gid) = (uid, gid);
            }
            if entry.kind == Kind::File
                && entry.size_bytes == 0
                && let Some(node) = dirfd::xattr(&part.fd, name, policy::NODE.as_bytes())?
                && let Some((kind, device)) = policy::parse_node(&node)
            {
                (entry.kind, entry.device) = (kind, device);
            }
        }
        _ => {
            if let Some(list) = dirfd::xattr(&part.fd, b"", policy::CHILD_OWNERS.as_bytes())?
                && let Some((uid, gid)) = policy::child_owner(&list, name)
            {
                (entry.uid, entry.gid) = (uid, gid);
            }
        }
    }
    Ok(())
}
