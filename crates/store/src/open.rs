//! Opening a store: one small file is read, nothing is made before something is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::disk;
use crate::error::{At as _, FileError, ReadWholeError, if_there};
use crate::id::random_text;
use crate::layout::{Layout, TOP};
use crate::lease::{self, Lease, Pin};
use crate::lock::{self, Gate, Passage};

/// The version of the format that this program reads and writes.
const VERSION: u32 = 1;
/// What the version file begins with.
const MARK: &str = "lighter-store ";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory holds something else.
    #[error("`{}` is not a lighter store: it has other files in it, and no version file", .0.display())]
    NotAStore(PathBuf),
    /// The version file is damaged.
    #[error("`{}` does not say the version of the store", .0.display())]
    NoVersion(PathBuf),
    /// A newer lighter made it.
    #[error("the store `{}` has format {found}, and this lighter knows formats up to {VERSION}: use a newer lighter", root.display())]
    Newer {
        /// The store.
        root: PathBuf,
        /// The version it has.
        found: u32,
    },
    /// The directory cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A store; cheap to clone, and usable from many threads and processes at once.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    ready: AtomicBool,
    gate: Gate,
    lease: Mutex<Option<Arc<Lease>>>,
    boot: OnceLock<String>,
}

impl Store {
    /// Opens the store at `root`.
    ///
    /// A store that does not exist is made when something is first written; until then it is empty.
    ///
    /// # Errors
    /// [`OpenError::Newer`] for a store of a later format, [`OpenError::NotAStore`] for a directory that
    /// holds something else.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        let ready = is_a_store(root, &layout)?;
        Ok(Self {
            shared: Arc::new(Shared {
                gate: Gate::new(layout.gate()),
                layout,
                ready: AtomicBool::new(ready),
                lease: Mutex::default(),
                boot: OnceLock::new(),
            }),
        })
    }

    /// Opens the store as if the machine had been started anew under this boot id, as tests of crash
    /// safety need it.
    ///
    /// # Errors
    /// As [`Store::open`].
    #[doc(hidden)]
    pub fn open_in_boot(root: &Path, boot: &str) -> Result<Self, OpenError> {
        let store = Self::open(root)?;
        store.shared.boot.get_or_init(|| boot.to_owned());
        Ok(store)
    }

    /// The directory of the store.
    pub fn root(&self) -> &Path {
        self.shared.layout.root()
    }

    /// Which other ordinary user, or users, may write the directory of the store, or may open it to themselves. That is
    /// usual for volumes of pods, where nobody else is there, and so no error.
    ///
    /// # Errors
    /// [`FileError`] where the directory cannot be looked at.
    pub fn open_to(&self) -> Result<Option<String>, FileError> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = if_there(std::fs::metadata(self.root()).at("reading", self.root()))?;
        Ok(metadata.and_then(|metadata| match (metadata.uid(), metadata.mode()) {
            (owner, _) if owner != 0 && owner != rustix::process::geteuid().as_raw() => {
                Some(format!("user {owner}"))
            }
            (_, mode) if mode & 0o002 != 0 => Some("everybody".to_owned()),
            (_, mode) if mode & 0o020 != 0 => Some("its group".to_owned()),
            _ => None,
        }))
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    /// The id of the machine's current boot.
    pub(crate) fn boot(&self) -> &str {
        self.shared.boot.get_or_init(|| {
            if let Some(boot) = crate::failpoint::boot() {
                return boot;
            }
            let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
            let id: String = text.chars().filter(|c| c.is_ascii_hexdigit() || *c == '-').collect();
            // without a boot id nothing unsynced may be trusted by the next process
            if id.is_empty() { random_text(16) } else { id }
        })
    }

    /// Makes the store's directories where they are missing: before something is written that the store knows nothing of.
    ///
    /// # Errors
    /// [`FileError`] where they cannot be made.
    pub fn ready(&self) -> Result<(), FileError> {
        if self.shared.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let layout = &self.shared.layout;
        disk::make_dir(layout.root())?;
        close_to_others(layout.root());
        for name in TOP {
            disk::make_dir(&layout.top(name))?;
        }
        // what is made there are whole trees
        for name in ["scratch", "containers"] {
            disk::spread(&layout.top(name));
        }
        let unnamed = layout.top(&format!(".version-{}", random_text(8)));
        let file = disk::write_file(&unnamed, format!("{MARK}{VERSION}\n").as_bytes())?;
        disk::sync_file(&file, &unnamed)?;
        disk::rename(&unnamed, &layout.version())?;
        disk::sync_dir(layout.root())?;
        self.shared.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// The lease of this process, taken when first needed.
    pub(crate) fn lease(&self) -> Result<Arc<Lease>, FileError> {
        let mut lease = self.shared.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = &*lease {
            return Ok(Arc::clone(lease));
        }
        let taken = match self.take_lease() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                lease::reap(&self.shared.layout)?;
                self.empty_trash()?;
                self.take_lease()?
            }
            taken => taken?,
        };
        self.make_room_where_tight();
        let taken = Arc::new(taken);
        *lease = Some(Arc::clone(&taken));
        Ok(taken)
    }

    fn take_lease(&self) -> Result<Lease, FileError> {
        // inside the gate: a lease that nobody holds yet looks like one of a dead process
        let _inside = self.enter()?;
        Lease::take(&self.shared.layout)
    }

    /// Passes through the gate: what is published and pinned inside is seen by every collector.
    pub(crate) fn enter(&self) -> Result<Passage<'_>, FileError> {
        self.ready()?;
        self.shared.gate.enter()
    }

    /// Closes the gate: nothing is published or pinned by others until the result is dropped.
    pub(crate) fn close_gate(&self) -> Result<lock::Closed, FileError> {
        // taken before: with the gate closed there is no way to a lease
        self.lease()?;
        self.shared.gate.close()
    }

    /// Looks something up so that it cannot be collected between the look and the use.
    ///
    /// A store that cannot be written is read without pins: there is no other way, and a collector that
    /// runs beside it is somebody else's decision.
    pub(crate) fn look_up<T, E: From<FileError>>(
        &self,
        pins: &[Pin<'_>],
        look: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if !self.shared.ready.load(Ordering::Acquire) {
            return look();
        }
        let pinned = self.enter().and_then(|passage| {
            let lease = self.lease()?;
            pins.iter().try_for_each(|pin| lease.pin(*pin))?;
            Ok(passage)
        });
        match pinned {
            Ok(passage) => {
                let found = look();
                drop(passage);
                found
            }
            Err(error) if is_read_only(&error) => look(),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the lock under which records are read, changed and written back.
    pub(crate) fn update(&self) -> Result<std::fs::File, FileError> {
        self.ready()?;
        lock::hold(&self.shared.layout.update_lock())
    }
}

fn is_read_only(error: &FileError) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Whether the store is there; an error for a directory that neither is one nor may become one.
fn is_a_store(root: &Path, layout: &Layout) -> Result<bool, OpenError> {
    if let Some(text) = read_version(layout)? {
        return check_version(root, &text).map(|()| true);
    }
    if may_become_a_store(root)? {
        return Ok(false);
    }
    // another process may have made the store between the two looks
    match read_version(layout)? {
        Some(text) => check_version(root, &text).map(|()| true),
        None => Err(OpenError::NotAStore(root.to_owned())),
    }
}

fn read_version(layout: &Layout) -> Result<Option<Vec<u8>>, OpenError> {
    match disk::read_whole(&layout.version(), 1 << 12) {
        Ok(text) => Ok(text),
        Err(ReadWholeError::File(error)) => Err(error.into()),
        Err(_) => Err(OpenError::NoVersion(layout.version())),
    }
}

fn check_version(root: &Path, text: &[u8]) -> Result<(), OpenError> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.strip_prefix(MARK)?.trim_end().parse::<u32>().ok())
        .filter(|number| *number > 0);
    match number {
        Some(found) if found > VERSION => Err(OpenError::Newer { root: root.to_owned(), found }),
        Some(_) => Ok(()),
        None => Err(OpenError::NoVersion(root.join("version"))),
    }
}

/// A directory without a version file is a new store if it is missing, empty, or was being made.
fn may_become_a_store(root: &Path) -> Result<bool, FileError> {
    let ours = |name: &String| {
        let name = name.as_str();
        TOP.contains(&name)
            || matches!(name, "lock" | "update-lock" | "lost+found")
            || name.starts_with(".version-")
    };
    Ok(disk::names(root)?.iter().all(ours))
}

/// Layers hold set-user-id programs and other people's files: nobody else may come near.
fn close_to_others(root: &Path) {
    let closed = if_there(std::fs::metadata(root).at("reading", root)).and_then(|metadata| {
        let mode =
            metadata.map_or(0, |metadata| std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()));
        if mode & 0o777 == mode & 0o700 {
            return Ok(());
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(root, private).at("setting the mode of", root)
    });
    if let Err(error) = closed {
        tracing::warn!(%error, "the store's directory is open to others");
    }
}
