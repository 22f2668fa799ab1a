//! Finding a path in a merged tree, links resolved by hand.

use std::io;
use std::os::fd::OwnedFd;

use lighter_image::ImagePath;

use super::{Folder, Found, View, ViewError};
use crate::dirfd;
use crate::entry::{Entry, Kind, Xattrs};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// How far a path leads.
pub(super) struct Located {
    /// The directories entered, the root first; `names` are their names without the root's.
    folders: Vec<Folder>,
    names: Vec<Vec<u8>>,
    /// What is at the end, where it is no directory.
    leaf: Option<(Vec<u8>, Found)>,
    /// What of the path does not exist.
    rest: Vec<Vec<u8>>,
    /// What the last directory is, where the path ends there.
    own: Option<Entry>,
    /// How many of the folders belong to the root that links cannot leave.
    floor: usize,
}

impl View {
    /// Follows a path as far as it leads.
    pub(super) fn locate(&self, path: &ImagePath, follow_last: bool) -> Result<Located, ViewError> {
        let at = Located {
            folders: vec![self.root()],
            names: Vec::new(),
            leaf: None,
            rest: Vec::new(),
            own: None,
            floor: 1,
        };
        at.follow(path, path.components().rev().map(<[u8]>::to_vec).collect(), follow_last)
    }

    /// Follows a path below a real directory, out of which no link leads: an absolute one begins there.
    pub(super) fn locate_within(
        &self,
        base: &ImagePath,
        path: &[u8],
        follow_last: bool,
    ) -> Result<Located, ViewError> {
        let mut at = self.locate(base, true)?;
        if at.rest.is_empty() && at.leaf.is_none() {
            at.floor = at.folders.len();
        }
        let whole = base.join(path);
        let pending = path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
        at.follow(&whole, pending, follow_last)
    }
}

impl Located {
    /// Goes on from here: the parts that come last are the next ones.
    fn follow(
        self,
        path: &ImagePath,
        mut pending: Vec<Vec<u8>>,
        follow_last: bool,
    ) -> Result<Self, ViewError> {
        let mut at = self;
        let fail = |error: io::Error| ViewError::io(path, error);
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." && at.is_at_floor() {
                let base = ImagePath::new(at.names.join(&b'/'));
                return Err(ViewError::Escapes { path: path.clone(), base });
            }
            if !at.enters(&name) {
                continue;
            }
            let Some(found) = at.here().find(&name).map_err(fail)? else {
                at.rest.push(name);
                continue;
            };
            match found.entry.kind {
                Kind::Folder => {
                    let folder = at.here().open_folder(&name, &found).map_err(fail)?;
                    at.own = Some(found.entry);
                    at.folders.push(folder);
                    at.names.push(name);
                }
                Kind::Link if follow_last || pending.iter().any(|part| is_real(part)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ViewError::TooManyLinks { path: path.clone() });
                    }
                    let target = at.here().read_link(&name, &found).map_err(fail)?;
                    if target.first() == Some(&b'/') {
                        at.back_to_root();
                    }
                    pending.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => at.leaf = Some((name, found)),
            }
        }
        if at.leaf.is_none() && at.own.is_none() {
            at.own = Some(at.here().entry().map_err(fail)?);
        }
        Ok(at)
    }
}

/// Whether a part of a path goes anywhere.
fn is_real(part: &[u8]) -> bool {
    !part.is_empty() && part != b"."
}

impl Located {
    fn here(&self) -> &Folder {
        self.folders.last().expect("the root is never left")
    }

    /// Whether a step up would leave a root that is not the view's own.
    fn is_at_floor(&self) -> bool {
        self.floor > 1 && self.folders.len() == self.floor && self.rest.is_empty() && self.leaf.is_none()
    }

    fn back_to_root(&mut self) {
        self.folders.truncate(self.floor);
        self.names.truncate(self.floor - 1);
        self.own = None;
    }

    /// Deals with the parts that need no look-up; says whether this one does.
    fn enters(&mut self, name: &[u8]) -> bool {
        match name {
            b"" | b"." => false,
            b".." => {
                if self.rest.pop().is_none() && self.leaf.take().is_none() && self.folders.len() > 1 {
                    self.folders.pop();
                    self.names.pop();
                    self.own = None;
                }
                false
            }
            _ if self.leaf.is_some() || !self.rest.is_empty() => {
                self.rest.push(name.to_vec());
                false
            }
            _ => true,
        }
    }

    /// The real path, what does not exist included.
    pub(super) fn path(&self) -> ImagePath {
        let mut path = Vec::new();
        let leaf = self.leaf.as_ref().map(|(name, _)| name);
        for name in self.names.iter().chain(leaf).chain(&self.rest) {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        ImagePath::new(path)
    }

    pub(super) fn entry(&self) -> Option<&Entry> {
        match &self.leaf {
            _ if !self.rest.is_empty() => None,
            Some((_, found)) => Some(&found.entry),
            None => self.own.as_ref(),
        }
    }

    pub(super) fn into_entry(self) -> Option<Entry> {
        match self.leaf {
            _ if !self.rest.is_empty() => None,
            Some((_, found)) => Some(found.entry),
            None => self.own,
        }
    }

    pub(super) fn into_folder(mut self) -> Folder {
        self.folders.pop().expect("the root is never left")
    }

    /// Opens the leaf for reading.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        match &self.leaf {
            Some((name, found)) => self.here().open_file(name, found),
            None => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn read_link(&self) -> io::Result<Vec<u8>> {
        match &self.leaf {
            Some((name, found)) => self.here().read_link(name, found),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    pub(super) fn xattrs(&self) -> io::Result<Xattrs> {
        match (&self.leaf, self.here().parts.first()) {
            (Some((name, found)), _) => self.here().xattrs(name, found),
            (None, Some(part)) => dirfd::xattrs(&part.fd, b""),
            (None, None) => Ok(Vec::new()),
        }
    }
}
