//! A merged, read-only view of stacked layer directories.
//!
//! The directories are in overlay form (whiteouts are character devices 0/0, opaque directories carry an
//! attribute), so a view shows what an overlay mount of them would show, without mounting anything. A plain
//! directory, such as a build context, is a view of one layer in which nothing is special.
//!
//! Every look-up stays inside the view: links, absolute ones and `..` included, are resolved here or by
//! `openat2` with `RESOLVE_IN_ROOT`, never by the host's rules.

mod folder;
mod resolve;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lighter_image::ImagePath;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::dirfd;
use crate::entry::{Entry, Kind, Xattrs};
use crate::policy::{Marks, Policy};
pub(crate) use folder::{Folder, Found, Item};

/// Why a path of a view could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A layer directory cannot be opened.
    #[error("layer directory `{}`", path.display())]
    Layer {
        /// The directory on the host.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file system refused.
    #[error("`{path}`")]
    Io {
        /// The path inside the view.
        path: ImagePath,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is nothing at the path.
    #[error("`{path}`: no such file or directory")]
    Missing {
        /// The path inside the view.
        path: ImagePath,
    },
    /// A link leads out of the directory that it must stay in.
    #[error("`{path}` leads out of `{base}`")]
    Escapes {
        /// The path inside the view.
        path: ImagePath,
        /// The directory.
        base: ImagePath,
    },
    /// Links lead to links without end.
    #[error("`{path}`: too many levels of symbolic links")]
    TooManyLinks {
        /// The path inside the view.
        path: ImagePath,
    },
    /// Something else was expected at the path.
    #[error("`{path}` is a {found}, not a {wanted}")]
    WrongKind {
        /// The path inside the view.
        path: ImagePath,
        /// What it is.
        found: Kind,
        /// What was asked for.
        wanted: Kind,
    },
    /// The file is larger than the caller can take.
    #[error("`{path}` is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The path inside the view.
        path: ImagePath,
        /// How much the caller can take.
        limit_bytes: u64,
    },
}

impl ViewError {
    pub(crate) fn io(path: &ImagePath, source: impl Into<io::Error>) -> Self {
        Self::Io { path: path.clone(), source: source.into() }
    }
}

/// A merged, read-only view of stacked layer directories, or of one plain directory.
///
/// A clone is cheap: it shares the open directories.
#[derive(Clone)]
pub struct View {
    /// Top first, unlike everywhere outside.
    layers: Arc<[OpenLayer]>,
    rules: Rules,
}

/// A layer directory that is open, for one view after the other.
///
/// A clone is cheap: it shares the open directory.
#[derive(Debug, Clone)]
pub struct OpenLayer {
    root: Arc<OwnedFd>,
    /// Whether its top directory hides all below.
    is_opaque: bool,
}

impl OpenLayer {
    /// Opens a layer directory.
    ///
    /// # Errors
    /// [`ViewError::Layer`] for a directory that is not there.
    pub fn open(path: &Path) -> Result<Self, ViewError> {
        Self::open_as(path, Policy::of_process())
    }

    fn open_as(path: &Path, policy: Policy) -> Result<Self, ViewError> {
        let root =
            dirfd::open_root(path).map_err(|source| ViewError::Layer { path: path.to_owned(), source })?;
        Ok(Self::new(Arc::new(root), policy))
    }

    fn new(root: Arc<OwnedFd>, policy: Policy) -> Self {
        let is_opaque = dirfd::has_xattr(&root, policy.marks.opaque(), b"y");
        Self { root, is_opaque }
    }
}

/// What in a directory means something else than it seems.
#[derive(Clone, Copy)]
struct Rules {
    /// Whether character devices 0/0 and opaque attributes remove what is below.
    marks: Option<Marks>,
    /// Whether attributes say who owns an entry.
    recorded: bool,
}

impl View {
    /// Opens layer directories, bottom first; none at all is an empty root.
    ///
    /// # Errors
    /// [`ViewError::Layer`] for a directory that is not there.
    pub fn open<P: AsRef<Path>>(layers: &[P]) -> Result<Self, ViewError> {
        Self::open_as(layers, Policy::of_process())
    }

    /// Opens layer directories that were written under this policy, bottom first.
    ///
    /// # Errors
    /// [`ViewError::Layer`] for a directory that is not there.
    pub fn open_as<P: AsRef<Path>>(layers: &[P], policy: Policy) -> Result<Self, ViewError> {
        let open = layers.iter().map(|path| OpenLayer::open_as(path.as_ref(), policy));
        Ok(Self::stacked(open.collect::<Result<_, _>>()?, policy))
    }

    /// A view of layers that are open already, bottom first.
    pub fn of_layers(layers: Vec<OpenLayer>) -> Self {
        Self::stacked(layers, Policy::of_process())
    }

    fn stacked(mut layers: Vec<OpenLayer>, policy: Policy) -> Self {
        layers.reverse();
        if let Some(last) = layers.iter().position(|layer| layer.is_opaque) {
            layers.truncate(last + 1);
        }
        Self { layers: layers.into(), rules: Rules::of(policy) }
    }

    /// A view in which nothing exists but the root.
    pub fn empty() -> Self {
        Self::stacked(Vec::new(), Policy::of_process())
    }

    /// A view of a plain directory: nothing in it is taken as a mark of overlayfs.
    pub fn of_directory(directory: OwnedFd) -> Self {
        let layer = OpenLayer { root: Arc::new(directory), is_opaque: false };
        Self { layers: Arc::new([layer]), rules: Rules { marks: None, recorded: false } }
    }

    /// Opens a plain directory.
    ///
    /// # Errors
    /// [`ViewError::Layer`] when it is no directory that can be read.
    pub fn open_directory(path: &Path) -> Result<Self, ViewError> {
        dirfd::open_root(path)
            .map(Self::of_directory)
            .map_err(|source| ViewError::Layer { path: path.to_owned(), source })
    }

    /// Opens one layer directory so that its marks are seen as the entries that they are on the disk.
    pub(crate) fn open_raw(path: &Path, policy: Policy) -> Result<Self, ViewError> {
        let mut view = Self::open_directory(path)?;
        view.rules.recorded = policy.marks == Marks::User;
        Ok(view)
    }

    /// This view with one more layer directory on top.
    #[must_use]
    pub(crate) fn with_top(&self, root: Arc<OwnedFd>, policy: Policy) -> Self {
        Self { rules: Rules::of(policy), ..self.with_layer(OpenLayer::new(root, policy)) }
    }

    /// This view with one more layer on top, which is open already.
    #[must_use]
    pub fn with_layer(&self, top: OpenLayer) -> Self {
        let below = if top.is_opaque { &[] } else { &*self.layers };
        let layers = std::iter::once(top).chain(below.iter().cloned()).collect();
        Self { layers, rules: self.rules }
    }

    /// Says what is at a path; links in the middle are followed, the last part is not.
    ///
    /// # Errors
    /// [`ViewError::Io`] and [`ViewError::TooManyLinks`]; nothing there is `None`, no error.
    pub fn lookup(&self, path: &ImagePath) -> Result<Option<Entry>, ViewError> {
        if let [layer] = &*self.layers {
            return self.lookup_in_one(layer, path);
        }
        Ok(self.locate(path, false)?.into_entry())
    }

    /// The kernel resolves links as well as we do where there is but one layer.
    fn lookup_in_one(&self, layer: &OpenLayer, path: &ImagePath) -> Result<Option<Entry>, ViewError> {
        match dirfd::open_in_root(&layer.root, path.relative(), OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) if self.rules.recorded => {
                drop(fd);
                Ok(self.locate(path, false)?.into_entry())
            }
            Ok(fd) => {
                let entry = dirfd::stat_fd(fd).map_err(|error| ViewError::io(path, error))?;
                Ok(Some(entry).filter(|entry| !self.rules.is_whiteout(entry)))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP) => Err(ViewError::TooManyLinks { path: path.clone() }),
            Err(error) => Err(ViewError::io(path, error)),
        }
    }

    /// Follows links to the end, and says the real path and what is there.
    ///
    /// # Errors
    /// [`ViewError::Io`] and [`ViewError::TooManyLinks`]; nothing there is `None`, no error.
    pub fn resolve(&self, path: &ImagePath) -> Result<Option<(ImagePath, Entry)>, ViewError> {
        let located = self.locate(path, true)?;
        let real = located.path();
        Ok(located.into_entry().map(|entry| (real, entry)))
    }

    /// Follows links, the last one included, as far as there is anything; the rest is kept as it is.
    ///
    /// It is where a file made under that name would come to be.
    ///
    /// # Errors
    /// [`ViewError::Io`] and [`ViewError::TooManyLinks`].
    pub fn canonical(&self, path: &ImagePath) -> Result<ImagePath, ViewError> {
        Ok(self.locate(path, true)?.path())
    }

    /// Like [`View::canonical`], but a link at the very end stays itself.
    ///
    /// # Errors
    /// [`ViewError::Io`] and [`ViewError::TooManyLinks`].
    pub fn canonical_parent(&self, path: &ImagePath) -> Result<ImagePath, ViewError> {
        Ok(self.locate(path, false)?.path())
    }

    /// Like [`View::canonical`], for a path below a real directory that is the root to all links on the way.
    ///
    /// # Errors
    /// [`ViewError::Escapes`], besides those of a look-up.
    pub(crate) fn canonical_within(
        &self,
        base: &ImagePath,
        path: &[u8],
        follow_last: bool,
    ) -> Result<ImagePath, ViewError> {
        Ok(self.locate_within(base, path, follow_last)?.path())
    }

    /// Lists a directory, sorted bytewise; a link to one is followed.
    ///
    /// # Errors
    /// [`ViewError::Missing`] and [`ViewError::WrongKind`], besides those of a look-up.
    pub fn read_dir(&self, path: &ImagePath) -> Result<Vec<(Vec<u8>, Entry)>, ViewError> {
        let folder = self.folder(path)?;
        let items = folder.items().map_err(|error| ViewError::io(path, error))?;
        Ok(items.into_iter().map(|item| (item.name, item.found.entry)).collect())
    }

    /// Opens a regular file; a link to one is followed.
    ///
    /// # Errors
    /// [`ViewError::Missing`] and [`ViewError::WrongKind`], besides those of a look-up.
    pub fn open_file(&self, path: &ImagePath) -> Result<File, ViewError> {
        let located = self.locate(path, true)?;
        let Some(entry) = located.entry() else { return Err(ViewError::Missing { path: path.clone() }) };
        if entry.kind != Kind::File {
            return Err(ViewError::WrongKind { path: path.clone(), found: entry.kind, wanted: Kind::File });
        }
        let fd = located.open().map_err(|error| ViewError::io(path, error))?;
        let opened = dirfd::stat_fd(&fd).map_err(|error| ViewError::io(path, error))?;
        if opened.kind != Kind::File {
            return Err(ViewError::WrongKind { path: path.clone(), found: opened.kind, wanted: Kind::File });
        }
        Ok(File::from(fd))
    }

    /// Reads a regular file of at most `limit_bytes`; a link to one is followed.
    ///
    /// # Errors
    /// [`ViewError::TooLarge`], besides those of [`View::open_file`].
    pub fn read_file(&self, path: &ImagePath, limit_bytes: u64) -> Result<Vec<u8>, ViewError> {
        let file = self.open_file(path)?;
        let mut bytes = Vec::new();
        let mut limited = file.take(limit_bytes.saturating_add(1));
        limited.read_to_end(&mut bytes).map_err(|error| ViewError::io(path, error))?;
        if bytes.len() as u64 > limit_bytes {
            return Err(ViewError::TooLarge { path: path.clone(), limit_bytes });
        }
        Ok(bytes)
    }

    /// Reads where a link points.
    ///
    /// # Errors
    /// [`ViewError::Missing`] and [`ViewError::WrongKind`], besides those of a look-up.
    pub fn read_link(&self, path: &ImagePath) -> Result<Vec<u8>, ViewError> {
        let located = self.locate(path, false)?;
        match located.entry() {
            None => Err(ViewError::Missing { path: path.clone() }),
            Some(entry) if entry.kind != Kind::Link => {
                Err(ViewError::WrongKind { path: path.clone(), found: entry.kind, wanted: Kind::Link })
            }
            Some(_) => located.read_link().map_err(|error| ViewError::io(path, error)),
        }
    }

    /// Reads the extended attributes of what is at a path, without the marks of overlayfs and lighter.
    ///
    /// # Errors
    /// [`ViewError::Missing`], besides those of a look-up.
    pub fn xattrs(&self, path: &ImagePath) -> Result<Xattrs, ViewError> {
        let located = self.locate(path, false)?;
        if located.entry().is_none() {
            return Err(ViewError::Missing { path: path.clone() });
        }
        located.xattrs().map_err(|error| ViewError::io(path, error))
    }

    /// Opens the one plain directory at a path, where this view has a single layer.
    ///
    /// # Errors
    /// As for [`View::read_dir`]; `None` where the directory is merged from several.
    pub fn plain_folder(&self, path: &ImagePath) -> Result<Option<OwnedFd>, ViewError> {
        let folder = self.folder(path)?;
        match folder.parts.as_slice() {
            [part] => part.fd.try_clone().map(Some).map_err(|error| ViewError::io(path, error)),
            _ => Ok(None),
        }
    }

    /// The merged directory at a path; a link to one is followed.
    pub(crate) fn folder(&self, path: &ImagePath) -> Result<Folder, ViewError> {
        let located = self.locate(path, true)?;
        match located.entry() {
            None => Err(ViewError::Missing { path: path.clone() }),
            Some(entry) if !entry.is_folder() => {
                Err(ViewError::WrongKind { path: path.clone(), found: entry.kind, wanted: Kind::Folder })
            }
            Some(_) => Ok(located.into_folder()),
        }
    }

    /// The merged top directory.
    pub(crate) fn root(&self) -> Folder {
        Folder::root(self)
    }
}

impl Rules {
    const fn of(policy: Policy) -> Self {
        Self { marks: Some(policy.marks), recorded: matches!(policy.marks, Marks::User) }
    }

    fn is_whiteout(self, entry: &Entry) -> bool {
        self.marks.is_some() && entry.is_whiteout()
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fds: Vec<_> = self.layers.iter().map(|layer| layer.root.as_fd()).collect();
        f.debug_struct("View").field("layers", &fds).finish_non_exhaustive()
    }
}
