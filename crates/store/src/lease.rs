//! Leases: what a working process holds against collection.
//!
//! A lease is a file that its process keeps locked. It lists what the process relies on (pins), and gives a
//! scratch directory its owner. When the process dies, the kernel frees the lock, and whoever comes next
//! throws the scratch away.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lighter_image::{DiffId, Digest, ImageId};

use crate::disk;
use crate::error::{At as _, FileError, if_there};
use crate::failpoint::point;
use crate::id::{ContainerId, LayerId, random_text};
use crate::layout::Layout;
use crate::lock;

/// Something that must not be collected while the lease lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pin<'a> {
    Layer(&'a LayerId),
    Blob(&'a Digest),
    Diff(&'a DiffId),
    Image(&'a ImageId),
    Step(&'a Digest),
    Container(&'a ContainerId),
}

impl Pin<'_> {
    fn line(self) -> String {
        match self {
            Self::Layer(id) => format!("layer {id}\n"),
            Self::Blob(digest) => format!("blob {}\n", digest.hex()),
            Self::Diff(id) => format!("diff {}\n", id.0.hex()),
            Self::Image(id) => format!("image {}\n", id.0.hex()),
            Self::Step(key) => format!("step {}\n", key.hex()),
            Self::Container(id) => format!("container {id}\n"),
        }
    }
}

/// All that the living leases of a store pin.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    pub(crate) layers: HashSet<LayerId>,
    pub(crate) blobs: HashSet<Digest>,
    pub(crate) diffs: HashSet<DiffId>,
    pub(crate) images: HashSet<ImageId>,
    pub(crate) steps: HashSet<Digest>,
    pub(crate) containers: HashSet<ContainerId>,
}

impl Pins {
    fn add(&mut self, line: &str) {
        let Some((kind, name)) = line.split_once(' ') else { return };
        if let ("layer", Ok(id)) = (kind, name.parse()) {
            self.layers.insert(id);
        }
        if let ("container", Ok(id)) = (kind, name.parse()) {
            self.containers.insert(id);
        }
        let Ok(digest) = Digest::from_hex(name) else { return };
        match kind {
            "blob" => drop(self.blobs.insert(digest)),
            "diff" => drop(self.diffs.insert(DiffId(digest))),
            "image" => drop(self.images.insert(ImageId(digest))),
            "step" => drop(self.steps.insert(digest)),
            _ => {}
        }
    }
}

/// The lines of a lease file.
#[derive(Debug, Default)]
struct Pinned {
    lines: HashSet<String>,
    /// Whether the last line may have been cut off, as by a full disk.
    torn: bool,
}

impl Pinned {
    /// Writes one more line, each once.
    fn add(&mut self, line: String, mut file: impl Write) -> io::Result<()> {
        if self.lines.contains(&line) {
            return Ok(());
        }
        let end_of_torn = if self.torn { "\n" } else { "" };
        self.torn = true;
        point();
        file.write_all(format!("{end_of_torn}{line}").as_bytes())?;
        self.torn = false;
        self.lines.insert(line);
        Ok(())
    }
}

/// The lease of this process on one store.
#[derive(Debug)]
pub(crate) struct Lease {
    path: PathBuf,
    file: File,
    pinned: Mutex<Pinned>,
    scratch: PathBuf,
    scratch_made: AtomicBool,
    next: AtomicU64,
    trash: PathBuf,
}

impl Lease {
    /// Takes a new lease, and throws away what dead processes left.
    pub(crate) fn take(layout: &Layout) -> Result<Self, FileError> {
        let id = random_text(16);
        // locked before it has its name, so that nobody can take it for dead
        let unnamed = layout.lease(&format!(".new-{id}"));
        let path = layout.lease(&id);
        let file = disk::open_lock(&unnamed)?;
        lock::exclusive(&file, &unnamed)?;
        disk::rename(&unnamed, &path)?;
        reap(layout)?;
        Ok(Self {
            path,
            file,
            pinned: Mutex::default(),
            scratch: layout.scratch(&id),
            scratch_made: AtomicBool::new(false),
            next: AtomicU64::new(0),
            trash: layout.top("trash"),
        })
    }

    /// Holds something against collection until the lease ends. The caller is inside the gate.
    pub(crate) fn pin(&self, pin: Pin<'_>) -> Result<(), FileError> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        pinned.add(pin.line(), &self.file).at("writing", &self.path)
    }

    /// A path in the scratch directory that nothing uses yet.
    pub(crate) fn fresh_path(&self) -> Result<PathBuf, FileError> {
        if !self.scratch_made.load(Ordering::Acquire) {
            disk::make_dir(&self.scratch)?;
            self.scratch_made.store(true, Ordering::Release);
        }
        Ok(self.scratch.join(self.next.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    fn end(&self) -> Result<(), FileError> {
        if self.scratch_made.load(Ordering::Acquire) {
            let gone = std::fs::remove_dir(&self.scratch);
            if gone.is_err() {
                let grave = self.trash.join(random_text(16));
                if_there(disk::rename(&self.scratch, &grave))?;
            }
        }
        disk::remove_file(&self.path)?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            // the next process that takes a lease does it
            tracing::warn!(%error, "ending a lease");
        }
    }
}

/// Moves the scratch of dead processes to the trash. It is quick; the trash is emptied elsewhere.
pub(crate) fn reap(layout: &Layout) -> Result<(), FileError> {
    for name in disk::names(&layout.top("leases"))? {
        if name.starts_with('.') {
            continue;
        }
        let path = layout.lease(&name);
        let Some(file) = if_there(File::open(&path).at("opening", &path))? else { continue };
        // while we hold it, nobody else reaps this one
        if !lock::try_exclusive(&file, &path)? {
            continue;
        }
        if_there(disk::rename(&layout.scratch(&name), &layout.top("trash").join(random_text(16))))?;
        disk::remove_file(&path)?;
    }
    Ok(())
}

/// What all living processes pin, and who they are. The caller has closed the gate.
pub(crate) fn pins(layout: &Layout) -> Result<(Pins, HashSet<String>), FileError> {
    let mut pins = Pins::default();
    let mut living = HashSet::new();
    for name in disk::names(&layout.top("leases"))? {
        let path = layout.lease(&name);
        let Some(file) = if_there(File::open(&path).at("opening", &path))? else { continue };
        if lock::try_shared(&file, &path)? {
            // a lease without its name yet belongs to nobody who has pinned anything
            continue;
        }
        let text = disk::read(&path)?.unwrap_or_default();
        String::from_utf8_lossy(&text).lines().for_each(|line| pins.add(line));
        living.insert(name);
    }
    Ok((pins, living))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk<'a>(&'a mut Vec<u8>, usize);

    impl Write for Disk<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.1 - self.0.len());
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pin_that_was_cut_off_spoils_no_other() {
        let digests = [Digest::of("first"), Digest::of("second"), Digest::of("third")];
        for room in 0..200 {
            let mut text = Vec::new();
            let mut pinned = Pinned::default();
            let mut held = HashSet::new();
            for (digest, room) in digests.iter().zip([1000, room, 1000]) {
                let room = text.len().max(room);
                if pinned.add(Pin::Blob(digest).line(), Disk(&mut text, room)).is_ok() {
                    held.insert(*digest);
                }
            }
            let mut pins = Pins::default();
            String::from_utf8(text).unwrap().lines().for_each(|line| pins.add(line));
            assert!(pins.blobs.is_superset(&held), "with room for {room}");
            assert!(held.len() >= 2);
        }
    }
}
