//! `cp`: between a container's files and the host's, with Docker's rules for paths. Nothing outside the container's
//! root is ever reached through its links; what is mounted in it is reached where it is.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use lighter_image::ImagePath;
use lighter_layer::compress::Decoder;
use lighter_layer::{
    ApplyError, CarryError, Entry, ExtractOptions, Kind, LayerWriter, PackError, Timestamp, View, ViewError,
    WriteError, carry, export_path, extract_archive,
};
use lighter_store::Store;

use super::settings::MountSource;
use super::shim::spec;
use super::state::{Container, FindError, check_gathered, find_whole};
use super::volume::{self, VolumeRoot};
use super::{events, files};

/// Why nothing, or not all, was copied. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// There is no such file in the container.
    #[error("Could not find the file {path} in container {container}")]
    Missing {
        /// The path.
        path: String,
        /// The container, as it was asked for.
        container: String,
    },
    /// There is no such file on the host.
    #[error("lstat {0}: no such file or directory")]
    MissingHere(String),
    /// The folder that is to hold the copy is not there.
    #[error("invalid output path: directory {0:?} does not exist")]
    NoParent(PathBuf),
    /// The destination is to be a folder, and is not there.
    #[error("no such directory")]
    NoFolder,
    /// The destination ends in a slash, and is no folder.
    #[error("not a directory")]
    NotFolder,
    /// A folder cannot be copied to a file.
    #[error("cannot copy directory")]
    FolderToFile,
    /// A file cannot take the place of a folder, nor a folder that of a file.
    #[error("cannot overwrite {there} {path:?} with {new}")]
    Overwrite {
        /// What is there.
        there: &'static str,
        /// Where.
        path: String,
        /// What would come.
        new: &'static str,
    },
    /// A device of the host is no place for a copy.
    #[error("invalid output path: {0:?} must be a directory or a regular file: got a device")]
    Device(String),
    /// An archive can only be unpacked into a folder.
    #[error("destination \"{0}\" must be a directory")]
    ArchiveToFile(String),
    /// Nothing can be written to the container.
    #[error("container rootfs is marked read-only")]
    ReadOnly,
    /// Nothing can be written to what is mounted there.
    #[error("mounted volume is marked read-only")]
    ReadOnlyMount,
    /// Something cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The same.
    #[error(transparent)]
    Pack(#[from] Box<PackError>),
    /// Something cannot be written.
    #[error(transparent)]
    Write(#[from] Box<WriteError>),
    /// The same.
    #[error(transparent)]
    Apply(#[from] Box<ApplyError>),
    /// Something cannot be carried from one place to the other.
    #[error(transparent)]
    Carry(#[from] Box<CarryError>),
    /// The container's user is nobody.
    #[error(transparent)]
    User(#[from] Box<lighter_build::UserError>),
    /// The host's files cannot be looked at.
    #[error("reading {path}")]
    Host {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl CopyError {
    /// Whether it is about the command line or this side's files alone.
    pub const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::MissingHere(_)
                | Self::NoParent(_)
                | Self::NoFolder
                | Self::NotFolder
                | Self::FolderToFile
                | Self::Overwrite { .. }
                | Self::ArchiveToFile(_)
                | Self::Device(_)
        )
    }
}

/// What is copied how.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyFlags {
    /// `-a`: what comes into a container belongs to its user.
    pub archive: bool,
    /// `-L`: a link as the source is followed.
    pub follow: bool,
}

/// Copies from a container to the host's files.
///
/// # Errors
/// [`CopyError`].
pub fn copy_out(
    store: &Store,
    text: &str,
    path: &str,
    destination: &str,
    flags: CopyFlags,
) -> Result<(), CopyError> {
    let container = find_whole(store, text)?;
    let source = Source::in_container(store, &container, text, path, flags.follow)?;
    refuse_device(destination)?;
    let target = here(destination)?;
    let (parent, name) = plan(&source, &target, destination)?;
    // whoever copies owns the copies
    let owner = Some((0, 0));
    let writer = LayerWriter::plain(&parent).map_err(Box::new)?;
    transfer(&source, &name, writer, &ImagePath::root(), owner)?;
    events::note(store, &container, "archive-path", &[]);
    Ok(())
}

/// A copy takes the place of what is there, and nothing may take the place of a device.
fn refuse_device(destination: &str) -> Result<(), CopyError> {
    let is_device = |kind: std::fs::FileType| kind.is_char_device() || kind.is_block_device();
    match std::fs::metadata(destination) {
        Ok(found) if is_device(found.file_type()) => Err(CopyError::Device(destination.to_owned())),
        _ => Ok(()),
    }
}

/// Writes what is at a container's path as a tar archive.
///
/// # Errors
/// [`CopyError`].
pub fn copy_to_archive(
    store: &Store,
    text: &str,
    path: &str,
    follow: bool,
    out: &mut dyn Write,
) -> Result<(), CopyError> {
    let container = find_whole(store, text)?;
    let source = Source::in_container(store, &container, text, path, follow)?;
    let name = match source.path.file_name() {
        _ if source.contents => b".".to_vec(),
        // a link that was followed goes by the name of what it leads to
        Some(name) if follow => name.to_vec(),
        _ => source.name.clone(),
    };
    export_path(&source.view, &source.path, &name, out).map_err(Box::new)?;
    events::note(store, &container, "archive-path", &[]);
    Ok(())
}

/// Copies from the host's files into a container.
///
/// # Errors
/// [`CopyError`].
pub fn copy_in(
    store: &Store,
    source: &str,
    text: &str,
    path: &str,
    flags: CopyFlags,
) -> Result<(), CopyError> {
    let source = Source::here(source, flags.follow)?;
    let container = find_whole(store, text)?;
    let site = Site::of(store, &container, &ImagePath::new(path))?;
    let target = site.target(path)?;
    let (parent, name) = plan_inside(&source, &site, &target, text, path)?;
    let owner = owner(store, &container, flags)?;
    transfer(&source, &name, site.writer(store, &container, &parent)?, &parent, owner)?;
    events::note(store, &container, "extract-to-dir", &[]);
    Ok(())
}

/// Unpacks a tar archive into a folder of a container.
///
/// # Errors
/// [`CopyError`].
pub fn copy_from_archive(
    store: &Store,
    archive: impl Read + Send,
    text: &str,
    path: &str,
    flags: CopyFlags,
) -> Result<(), CopyError> {
    let container = find_whole(store, text)?;
    let site = Site::of(store, &container, &ImagePath::new(path))?;
    let target = site.target(path)?;
    match &target.entry {
        Some(entry) if entry.is_folder() => {}
        _ => return Err(CopyError::ArchiveToFile(format!("{text}:{path}"))),
    }
    let options = extraction(owner(store, &container, flags)?);
    let writer = site.writer(store, &container, &target.real)?;
    let archive =
        Decoder::new(archive).map_err(|source| CopyError::Host { path: "the archive".into(), source })?;
    extract_archive(archive, &writer, &target.real, &options).map_err(Box::new)?;
    writer.finish().map_err(Box::new)?;
    events::note(store, &container, "extract-to-dir", &[]);
    Ok(())
}

/// Who owns what comes into a container: with `-a` the container's user, else whoever owns it outside.
fn owner(store: &Store, container: &Container, flags: CopyFlags) -> Result<Option<(u32, u32)>, CopyError> {
    // a container that names no user leaves owners as they are
    if !flags.archive || container.state.settings.user.is_empty() {
        return Ok(None);
    }
    let accounts = spec::accounts(&files::view(store, container)?)?;
    let user = spec::user(&accounts, &container.state.settings).map_err(Box::new)?;
    Ok(Some((user.uid, user.gid)))
}

/// What is copied.
struct Source {
    view: View,
    path: ImagePath,
    is_folder: bool,
    /// Its last name, as it was asked for.
    name: Vec<u8>,
    /// Whether what is in it is meant, not itself: the path ended in `/.`.
    contents: bool,
}

impl Source {
    fn in_container(
        store: &Store,
        container: &Container,
        text: &str,
        path: &str,
        follow: bool,
    ) -> Result<Self, CopyError> {
        let missing = || CopyError::Missing { path: path.to_owned(), container: text.to_owned() };
        let asked = ImagePath::new(path);
        let site = Site::of(store, container, &asked)?;
        let follow = follow || ends_as_folder(path);
        let found = if follow {
            site.view.resolve(&site.path)?
        } else {
            let real = site.view.canonical_parent(&site.path)?;
            site.view.lookup(&real)?.map(|entry| (real, entry))
        };
        let (real, entry) = found.ok_or_else(missing)?;
        if ends_as_folder(path) && !entry.is_folder() {
            return Err(missing());
        }
        let name = asked.file_name().unwrap_or(b"/").to_vec();
        let contents = entry.is_folder() && (ends_in_dot(path) || asked.is_root());
        Ok(Self { view: site.view, path: real, is_folder: entry.is_folder(), name, contents })
    }

    fn here(path: &str, follow: bool) -> Result<Self, CopyError> {
        let whole = std::path::absolute(path).map_err(|_| CopyError::MissingHere(path.to_owned()))?;
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory => CopyError::NotFolder,
            _ => CopyError::MissingHere(whole.to_string_lossy().trim_end_matches('/').to_owned()),
        };
        let follow = follow || ends_as_folder(path);
        let real = match (follow, whole.parent(), whole.file_name()) {
            (false, Some(parent), Some(name)) => parent.canonicalize().map_err(missing)?.join(name),
            _ => whole.canonicalize().map_err(missing)?,
        };
        let found = std::fs::symlink_metadata(&real).map_err(missing)?;
        if ends_as_folder(path) && !found.is_dir() {
            return Err(CopyError::NotFolder);
        }
        let name = whole.file_name().map_or(b"/".as_slice(), |name| name.as_bytes()).to_vec();
        let contents = found.is_dir() && (ends_in_dot(path) || whole.parent().is_none());
        let (folder, inner) = match (real.parent(), real.file_name()) {
            (Some(parent), Some(name)) => (parent, ImagePath::new(name.as_bytes())),
            _ => (Path::new("/"), ImagePath::root()),
        };
        let view = View::open_directory(folder)?;
        Ok(Self { view, path: inner, is_folder: found.is_dir(), name, contents })
    }

    const fn kind(&self) -> &'static str {
        if self.is_folder { "directory" } else { "non-directory" }
    }
}

fn ends_in_dot(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

fn ends_as_folder(path: &str) -> bool {
    path.ends_with('/') || ends_in_dot(path)
}

/// A destination on the host.
struct Here {
    path: PathBuf,
    is_folder: Option<bool>,
}

fn here(path: &str) -> Result<Here, CopyError> {
    let fail = |source| CopyError::Host { path: path.into(), source };
    let whole = std::path::absolute(path).map_err(fail)?;
    match std::fs::metadata(&whole) {
        Ok(found) => {
            let real = whole.canonicalize().map_err(fail)?;
            Ok(Here { path: real, is_folder: Some(found.is_dir()) })
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            let target = std::fs::read_link(&whole);
            // a link that leads nowhere yet is where the copy goes
            let path = match (target, whole.parent()) {
                (Ok(target), Some(parent)) => parent.join(target),
                _ => whole,
            };
            Ok(Here { path, is_folder: None })
        }
        Err(error) => Err(fail(error)),
    }
}

/// Into which folder of the host the copy goes, and under what name; an empty one for what is in a folder.
fn plan(source: &Source, target: &Here, text: &str) -> Result<(PathBuf, Vec<u8>), CopyError> {
    match target.is_folder {
        Some(true) if source.contents => Ok((target.path.clone(), b".".to_vec())),
        Some(true) => {
            let inside = target.path.join(std::ffi::OsStr::from_bytes(&source.name));
            if let Ok(found) = std::fs::symlink_metadata(&inside) {
                check_overwrite(source, found.is_dir(), &inside.to_string_lossy())?;
            }
            Ok((target.path.clone(), source.name.clone()))
        }
        Some(false) if source.is_folder => Err(CopyError::FolderToFile),
        Some(false) if text.ends_with('/') => Err(CopyError::NotFolder),
        None if !source.is_folder && ends_as_folder(text) => Err(CopyError::NoFolder),
        _ => {
            let (Some(parent), Some(name)) = (target.path.parent(), target.path.file_name()) else {
                return Err(CopyError::NoFolder);
            };
            if !parent.is_dir() {
                return Err(CopyError::NoParent(parent.to_owned()));
            }
            Ok((parent.to_owned(), name.as_bytes().to_vec()))
        }
    }
}

fn check_overwrite(source: &Source, is_folder: bool, path: &str) -> Result<(), CopyError> {
    if is_folder == source.is_folder {
        return Ok(());
    }
    let there = if is_folder { "directory" } else { "non-directory" };
    Err(CopyError::Overwrite { there, path: path.to_owned(), new: source.kind() })
}

/// Into which folder of the container the copy goes, and under what name.
fn plan_inside(
    source: &Source,
    site: &Site,
    target: &Target,
    text: &str,
    path: &str,
) -> Result<(ImagePath, Vec<u8>), CopyError> {
    match &target.entry {
        Some(entry) if entry.is_folder() && source.contents => Ok((target.real.clone(), b".".to_vec())),
        Some(entry) if entry.is_folder() => {
            let inside = target.real.join(&source.name);
            if let Some(there) = site.view.lookup(&inside)? {
                check_overwrite(source, there.is_folder(), &inside.to_string())?;
            }
            Ok((target.real.clone(), source.name.clone()))
        }
        Some(_) if source.is_folder => Err(CopyError::FolderToFile),
        Some(_) if path.ends_with('/') => Err(CopyError::NoFolder),
        None if !source.is_folder && ends_as_folder(path) => Err(CopyError::NoFolder),
        _ => {
            let (Some(parent), Some(name)) = (target.real.parent(), target.real.file_name()) else {
                return Err(CopyError::NoFolder);
            };
            if !site.view.lookup(&parent)?.is_some_and(|entry| entry.is_folder()) {
                let folder = ImagePath::new(path).parent().unwrap_or_else(ImagePath::root);
                return Err(CopyError::Missing { path: folder.to_string(), container: text.to_owned() });
            }
            Ok((parent, name.to_vec()))
        }
    }
}

/// How files come to a place where others are: none of them takes away a folder, or becomes one.
fn extraction(owner: Option<(u32, u32)>) -> ExtractOptions {
    ExtractOptions { owner, keep_kinds: true, ..ExtractOptions::default() }
}

/// Carries the source over as a stream, written by one thread and unpacked by another.
fn transfer(
    source: &Source,
    name: &[u8],
    writer: LayerWriter,
    folder: &ImagePath,
    owner: Option<(u32, u32)>,
) -> Result<(), CopyError> {
    let options = extraction(owner);
    carry(
        |out| export_path(&source.view, &source.path, name, out).map(drop),
        |stream| {
            let stream = io::BufReader::with_capacity(256 << 10, stream);
            extract_archive(stream, &writer, folder, &options)
        },
    )
    .map_err(Box::new)?;
    Ok(writer.finish().map_err(Box::new)?)
}

/// Where a path of a container is: in its own files, or in what is mounted there.
struct Site {
    view: View,
    /// The path there.
    path: ImagePath,
    kind: SiteKind,
}

enum SiteKind {
    /// The root as the running container sees it.
    Running(PathBuf),
    /// The container's own layer, above this view.
    Stopped(PathBuf, Box<View>),
    /// Something of the host's that is mounted.
    Mounted(PathBuf, bool),
}

/// Whether the process whose root this was has ended, which may not be written down yet.
fn is_gone(root: &Path) -> bool {
    std::fs::read_link(root).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

impl Site {
    fn of(store: &Store, container: &Container, path: &ImagePath) -> Result<Self, CopyError> {
        let root = PathBuf::from(format!("/proc/{}/root", container.state.pid));
        if container.state.is_running() && !is_gone(&root) {
            let view = View::open_directory(&root)?;
            return Ok(Self { view, path: path.clone(), kind: SiteKind::Running(root) });
        }
        check_gathered(store, container)?;
        let view = files::view(store, container)?;
        let real = view.canonical_parent(path)?;
        if let Some(site) = Self::mounted(store, container, &real)? {
            return Ok(site);
        }
        let upper = store.container_paths(&container.record.id).upper;
        let below = Box::new(files::below(store, container)?);
        Ok(Self { view, path: path.clone(), kind: SiteKind::Stopped(upper, below) })
    }

    /// What is mounted at or above a path.
    fn mounted(store: &Store, container: &Container, real: &ImagePath) -> Result<Option<Self>, CopyError> {
        let mut deepest: Option<(usize, (View, PathBuf, ImagePath), bool)> = None;
        for mount in &container.state.settings.host.mounts {
            let target = ImagePath::new(&mount.target);
            let depth = target.components().count();
            let is_deeper = deepest.as_ref().is_none_or(|(other, ..)| *other < depth);
            if !real.starts_with(&target) || !is_deeper {
                continue;
            }
            if let Some(source) = Self::mounted_folder(store, &mount.source)? {
                deepest = Some((depth, source, mount.read_only));
            }
        }
        let Some((depth, (view, source, top), read_only)) = deepest else { return Ok(None) };
        let path = real.components().skip(depth).fold(top, |path, name| path.join(name));
        Ok(Some(Self { view, path, kind: SiteKind::Mounted(source, read_only) }))
    }

    /// The directory of the host that a mount shows and where in it that begins, which no link in it leads out of.
    fn mounted_folder(
        store: &Store,
        source: &MountSource,
    ) -> Result<Option<(View, PathBuf, ImagePath)>, CopyError> {
        let (folder, part) = match source {
            MountSource::Bind { path, .. } => (path.clone(), ""),
            MountSource::Volume { name, subpath, .. } => match volume::root_of(store, name) {
                Ok(VolumeRoot::Folder(folder)) => (folder, subpath.as_str()),
                _ => return Ok(None),
            },
            MountSource::Tmpfs { .. } | MountSource::Image { .. } => return Ok(None),
        };
        if !folder.is_dir() {
            return Ok(None);
        }
        let view = View::open_directory(&folder)?;
        let found = view.resolve(&ImagePath::new(part))?;
        let top = found.filter(|(_, entry)| entry.is_folder()).map(|(top, _)| top);
        Ok(top.map(|top| (view, folder, top)))
    }

    /// What is at the path, links followed.
    fn target(&self, text: &str) -> Result<Target, CopyError> {
        let real = self.view.canonical(&self.path)?;
        let entry = self.view.lookup(&real)?;
        if entry.as_ref().is_some_and(|entry| entry.kind != Kind::Folder) && text.ends_with("/.") {
            return Err(CopyError::NotFolder);
        }
        Ok(Target { real, entry })
    }

    /// What writes below a folder of the place.
    fn writer(
        &self,
        store: &Store,
        container: &Container,
        folder: &ImagePath,
    ) -> Result<LayerWriter, CopyError> {
        let mounted = match self.kind {
            SiteKind::Running(_) => Self::mounted(store, container, folder)?,
            _ => None,
        };
        if matches!(mounted, Some(Self { kind: SiteKind::Mounted(_, true), .. })) {
            return Err(CopyError::ReadOnlyMount);
        }
        let is_in_root = mounted.is_none() && !matches!(self.kind, SiteKind::Mounted(..));
        if container.state.settings.host.readonly_root && is_in_root {
            return Err(CopyError::ReadOnly);
        }
        Ok(match &self.kind {
            SiteKind::Running(root) => LayerWriter::plain(root),
            SiteKind::Stopped(upper, below) => {
                LayerWriter::open(upper, (**below).clone(), Timestamp::default())
            }
            SiteKind::Mounted(_, true) => return Err(CopyError::ReadOnlyMount),
            SiteKind::Mounted(folder, false) => LayerWriter::plain(folder),
        }
        .map_err(Box::new)?)
    }
}

/// A destination in a container.
struct Target {
    real: ImagePath,
    entry: Option<Entry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_copy_takes_the_place_of_a_device() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).expect("is made");
        for path in ["/dev/null".as_ref(), link.as_path()] {
            let path = path.to_str().expect("is text");
            let said = refuse_device(path).expect_err("is refused").to_string();
            let why = "must be a directory or a regular file: got a device";
            assert_eq!(said, format!("invalid output path: {path:?} {why}"));
        }
        for path in [folder.path(), &folder.path().join("none"), "Cargo.toml".as_ref()] {
            refuse_device(path.to_str().expect("is text")).expect("is no device");
        }
    }
}
