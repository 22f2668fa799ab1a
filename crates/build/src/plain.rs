//! Sandboxes where overlay file systems cannot be mounted: on copies, from which the changes are gathered afterwards.

use std::io;
use std::path::{Path, PathBuf};

use lighter_image::ImagePath;
use lighter_layer::{PlainTree, View, ViewError, WriteError};
use lighter_sandbox::{Mount, MountKind, Root, SandboxError, Spec, Stage, Stub, Tmpfs, try_overlay};
use lighter_store::{FileError, Store};

/// Mount points that every sandbox has.
const SYSTEM_POINTS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The copy of the root.
const COPY: &str = "copy";

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// A directory cannot be made.
    #[error("making `{}`", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is copied cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The copy, or what was changed in it, cannot be written.
    #[error(
        "working on a copy, as overlay file systems cannot be mounted over the store: put it (LIGHTER_ROOT) on ext4, xfs, \
         btrfs or tmpfs"
    )]
    Write(#[from] WriteError),
}

/// Whether a store's owner wants it so: there is a file of this name in it.
pub fn is_asked_for(store: &Store) -> bool {
    store.root().join("copies").exists()
}

/// Why overlay file systems cannot be mounted over directories of a store; `None` where they can.
///
/// # Errors
/// When the store cannot be written.
pub fn refusal(store: &Store) -> Result<Option<io::Error>, FileError> {
    if is_asked_for(store) {
        return Ok(Some(io::Error::other("the file `copies` in it asks for that")));
    }
    let scratch = store.new_layer()?;
    Ok(try_overlay(scratch.dir()).err())
}

/// Why a sandbox that could not be set up needs copies; `None` where the error has another cause.
///
/// # Errors
/// When the store cannot be written.
pub fn refusal_behind(error: &SandboxError, store: &Store) -> Result<Option<io::Error>, FileError> {
    match error {
        SandboxError::Setup { stage: Stage::Root | Stage::Mounts, .. } => refusal(store),
        _ => Ok(None),
    }
}

/// The root of a sandbox, copied.
#[derive(Debug)]
pub struct PlainRoot {
    tree: PlainTree,
    lowers: Vec<PathBuf>,
    upper: PathBuf,
}

impl PlainRoot {
    /// The copy of a sandbox whose owner has died before it could gather the changes.
    pub fn left_behind(spec: &Spec, beside: &Path) -> Option<Self> {
        let copy = beside.join(COPY);
        let Root::Overlay { lowers, upper, .. } = &spec.root else { return None };
        let tree = PlainTree::forgotten(&copy);
        copy.exists().then(|| Self { tree, lowers: lowers.clone(), upper: upper.clone() })
    }

    /// Writes what was changed into the directory that would have taken the changes.
    ///
    /// # Errors
    /// [`PlainError::Write`].
    pub fn write_changes(&self) -> Result<(), PlainError> {
        Ok(self.tree.write_changes(&self.lowers, &self.upper)?)
    }
}

/// Puts copies, which are made in a directory, in the place of all overlays of a spec; `None` where the root is none.
///
/// # Errors
/// [`PlainError`]; what was copied until then is in the directory.
pub fn without_overlays(spec: &mut Spec, beside: &Path) -> Result<Option<PlainRoot>, PlainError> {
    for (number, mount) in spec.mounts.iter_mut().enumerate() {
        copy_mount(mount, &beside.join(format!("copy-{number}")))?;
    }
    let Root::Overlay { lowers, upper, .. } = &spec.root else { return Ok(None) };
    let (lowers, upper, copy) = (lowers.clone(), upper.clone(), beside.join(COPY));
    make_folder(&copy)?;
    let stack: Vec<PathBuf> = lowers.iter().chain([&upper]).cloned().collect();
    let tree = PlainTree::copy(&stack, &copy, &points(spec))?;
    spec.root = Root::Directory(copy);
    Ok(Some(PlainRoot { tree, lowers, upper }))
}

/// What the sandbox mounts onto, and its mode if it is a directory.
fn points(spec: &Spec) -> Vec<(ImagePath, Option<u32>)> {
    let folder_mode = |mount: &Mount| match &mount.kind {
        MountKind::Bind { source, part: Some(part), .. } => is_folder_in(source, part).then_some(0o755),
        MountKind::Bind { source, part: None, .. } => source.is_dir().then_some(0o755),
        MountKind::File { .. } => None,
        // the file system takes the mode of what it is mounted on
        MountKind::Tmpfs(Tmpfs { mode_bits: None, .. }) => Some(0o1777),
        MountKind::Tmpfs(_) | MountKind::Overlay { .. } => Some(0o755),
    };
    let transient = spec.mounts.iter().filter(|mount| mount.stub == Stub::Transient);
    let mounts = transient.map(|mount| (ImagePath::new(&mount.target), folder_mode(mount)));
    let devices = spec.devices.iter().map(|device| (ImagePath::new(&device.target), None));
    SYSTEM_POINTS
        .iter()
        .map(|path| (ImagePath::new(path), Some(0o755)))
        .chain(mounts)
        .chain(devices)
        .collect()
}

/// Whether a path in a directory is a folder; links are followed inside of it.
fn is_folder_in(directory: &Path, part: &str) -> bool {
    let found = View::open_directory(directory).and_then(|view| view.resolve(&ImagePath::new(part)));
    found.is_ok_and(|found| found.is_some_and(|(_, entry)| entry.is_folder()))
}

/// Makes a bind mount of one that shows a part of a stack.
fn copy_mount(mount: &mut Mount, copy: &Path) -> Result<(), PlainError> {
    let MountKind::Overlay { lowers, scratch, source } = &mount.kind else { return Ok(()) };
    let upper = scratch.as_ref().map(|scratch| scratch.upper.clone());
    let stack: Vec<PathBuf> = lowers.iter().cloned().chain(upper).collect();
    make_folder(copy)?;
    PlainTree::copy(&stack, copy, &[])?;
    let missing = || ViewError::Missing { path: ImagePath::new(source) };
    let (real, _) = View::open(&stack)?.resolve(&ImagePath::new(source))?.ok_or_else(missing)?;
    mount.read_only |= scratch.is_none();
    mount.kind = MountKind::Bind { source: copy.join(real.relative_os()), part: None, recursive: false };
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), PlainError> {
    std::fs::create_dir(path).map_err(|source| PlainError::Folder { path: path.to_owned(), source })
}
