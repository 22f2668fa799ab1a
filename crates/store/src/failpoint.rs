//! Death at a chosen write point, to prove that the store survives it.
//!
//! Without the feature `failpoints` there is nothing here but empty functions that the compiler removes. With
//! it, a process can be told to die at its N-th write, as by `kill -9` or as by a loss of power: in the
//! second case what was not synced is taken back first, so that the disk shows what it might show then.

#[cfg(feature = "failpoints")]
pub use armed::{Death, Order, arm, point, points_passed};
#[cfg(feature = "failpoints")]
pub(crate) use armed::{all_synced, boot, dir_synced, renamed, renaming, synced, wrote};
#[cfg(not(feature = "failpoints"))]
pub use disarmed::point;
#[cfg(not(feature = "failpoints"))]
pub(crate) use disarmed::{all_synced, boot, dir_synced, renamed, renaming, synced, wrote};

#[cfg(not(feature = "failpoints"))]
mod disarmed {
    use std::path::Path;

    /// A write point, for those who keep files of their own in the store.
    #[inline]
    pub const fn point() {}
    #[inline]
    pub(crate) const fn boot() -> Option<String> {
        None
    }
    #[inline]
    pub(crate) const fn wrote(_path: &Path) {}
    #[inline]
    pub(crate) const fn synced(_path: &Path) {}
    #[inline]
    pub(crate) const fn renaming(_to: &Path) -> Option<Vec<u8>> {
        None
    }
    #[inline]
    pub(crate) fn renamed(_from: &Path, _to: &Path, _replaced: Option<Vec<u8>>) {}
    #[inline]
    pub(crate) const fn dir_synced(_path: &Path) {}
    #[inline]
    pub(crate) const fn all_synced() {}
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, PoisonError};

    /// How to die.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Death {
        /// As by `kill -9`: the kernel keeps what was written.
        Kill,
        /// As by a loss of power: files that were not synced are empty, and names in directories that were
        /// not synced are what they were before.
        PowerLoss,
    }

    /// A rename, and the file that it replaced.
    struct Renamed {
        from: PathBuf,
        to: PathBuf,
        replaced: Option<Vec<u8>>,
    }

    /// What the disk need not have yet.
    #[derive(Default)]
    struct Unsynced {
        power_loss: bool,
        boot: Option<String>,
        for_shim: Option<String>,
        files: BTreeSet<PathBuf>,
        renames: Vec<Renamed>,
    }

    /// What a whole program is told: `kill N`, `power N` or `count FILE`, with `shim ` before it where not the program
    /// but the shim that it starts is meant, and `; boot ID` behind it for the boot that it believes to be in.
    #[derive(Debug)]
    pub struct Order {
        count: Option<PathBuf>,
    }

    impl Order {
        /// Obeys an order; `None` where it makes no sense.
        pub fn obey(text: &str) -> Option<Self> {
            let (what, boot) =
                text.split_once("; boot ").map_or((text, None), |(what, boot)| (what, Some(boot)));
            if let Some(boot) = boot {
                locked(|unsynced| unsynced.boot = Some(boot.to_owned()));
            }
            if let Some(rest) = what.strip_prefix("shim ") {
                let boot = boot.map(|boot| format!("; boot {boot}")).unwrap_or_default();
                locked(|unsynced| unsynced.for_shim = Some(format!("{rest}{boot}")));
                return Some(Self { count: None });
            }
            match what.split_once(' ')? {
                ("count", path) => return Some(Self { count: Some(path.into()) }),
                ("kill", number) => arm(number.parse().ok()?, Death::Kill),
                ("power", number) => arm(number.parse().ok()?, Death::PowerLoss),
                _ => return None,
            }
            Some(Self { count: None })
        }

        /// What the shim is told that this process starts.
        pub fn for_shim() -> Option<String> {
            locked(|unsynced| unsynced.for_shim.clone())
        }
    }

    impl Drop for Order {
        fn drop(&mut self) {
            if let Some(path) = &self.count {
                let _told = fs::write(path, points_passed().to_string());
            }
        }
    }

    /// The boot that this process believes to be in.
    pub(crate) fn boot() -> Option<String> {
        locked(|unsynced| unsynced.boot.clone())
    }

    static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static UNSYNCED: Mutex<Unsynced> = Mutex::new(Unsynced {
        power_loss: false,
        boot: None,
        for_shim: None,
        files: BTreeSet::new(),
        renames: Vec::new(),
    });

    /// Lets the process die at the `number`-th write point from now; the first is 1.
    pub fn arm(number: u64, death: Death) {
        locked(|unsynced| unsynced.power_loss = death == Death::PowerLoss);
        PASSED.store(0, Ordering::SeqCst);
        LEFT.store(number, Ordering::SeqCst);
    }

    /// How many write points were passed since the process began, or since [`arm`].
    pub fn points_passed() -> u64 {
        PASSED.load(Ordering::SeqCst)
    }

    /// Counts one write point; kills the process where that was asked for.
    pub fn point() {
        PASSED.fetch_add(1, Ordering::SeqCst);
        if LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
            locked(Unsynced::take_back);
            // nothing after this line runs: the signal cannot be caught
            let _unreachable =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }

    /// A file was made or written.
    pub(crate) fn wrote(path: &Path) {
        locked(|unsynced| unsynced.files.insert(path.to_owned()));
    }

    /// A file's content is durable.
    pub(crate) fn synced(path: &Path) {
        locked(|unsynced| unsynced.files.remove(path));
    }

    /// A file may be replaced now: keeps it to put it back.
    pub(crate) fn renaming(to: &Path) -> Option<Vec<u8>> {
        let wanted = locked(|unsynced| unsynced.power_loss);
        if wanted { fs::read(to).ok() } else { None }
    }

    /// A name was given.
    pub(crate) fn renamed(from: &Path, to: &Path, replaced: Option<Vec<u8>>) {
        locked(|unsynced| {
            let moved: Vec<PathBuf> =
                unsynced.files.iter().filter(|file| file.starts_with(from)).cloned().collect();
            for file in moved {
                let rest = file.strip_prefix(from).map(Path::to_owned).unwrap_or_default();
                let new = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
                unsynced.files.remove(&file);
                unsynced.files.insert(new);
            }
            unsynced.renames.push(Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
        });
    }

    /// The names in a directory are durable.
    pub(crate) fn dir_synced(path: &Path) {
        locked(|unsynced| {
            let inside = |name: &Path| name.parent() == Some(path);
            unsynced.renames.retain(|renamed| !inside(&renamed.from) && !inside(&renamed.to));
        });
    }

    /// The whole file system is durable.
    pub(crate) fn all_synced() {
        locked(|unsynced| {
            unsynced.files.clear();
            unsynced.renames.clear();
        });
    }

    fn locked<T>(work: impl FnOnce(&mut Unsynced) -> T) -> T {
        work(&mut UNSYNCED.lock().unwrap_or_else(PoisonError::into_inner))
    }

    impl Unsynced {
        /// Makes the disk as it may be after a loss of power. What cannot be taken back is durable or gone.
        fn take_back(&mut self) {
            if !self.power_loss {
                return;
            }
            for path in &self.files {
                empty_file(path);
            }
            for renamed in self.renames.iter().rev() {
                // a layer's files are written by others, who do not sync them either; what is thrown away is old
                if !renamed.from.components().any(|part| part.as_os_str() == "scratch") {
                    let _back = fs::rename(&renamed.to, &renamed.from);
                    continue;
                }
                empty_tree(&renamed.to);
                let moved = fs::rename(&renamed.to, &renamed.from).is_ok();
                match &renamed.replaced {
                    Some(replaced) => drop(fs::write(&renamed.to, replaced)),
                    None if moved => {}
                    // where it came from is gone: it is garbage there, and nothing here
                    None => drop(fs::remove_file(&renamed.to).or_else(|_| fs::remove_dir_all(&renamed.to))),
                }
            }
        }
    }

    /// Empties a regular file; a link may lead to a file of the machine, and is left alone.
    fn empty_file(path: &Path) {
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
            let _gone = fs::OpenOptions::new().write(true).truncate(true).open(path);
        }
    }

    fn empty_tree(path: &Path) {
        if !fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            return empty_file(path);
        }
        let Ok(entries) = fs::read_dir(path) else { return };
        for entry in entries.flatten() {
            empty_tree(&entry.path());
        }
    }
}
