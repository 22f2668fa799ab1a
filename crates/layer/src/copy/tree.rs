//! Copying a directory: one thread walks, all of them copy.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use lighter_image::ImagePath;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::batch::{Batch, Planned, Way, copy_file};
use super::content::KERNEL_COPIES_FROM;
use super::packing::{Line, PIECE_BYTES};
use super::{Copied, CopyOptions, Verdict};
use crate::dirfd;
use crate::entry::{Inode, Kind, Metadata};
use crate::scan::Listing;
use crate::view::{Folder, Found, Item, ViewError};
use crate::writer::{LayerWriter, Slot, WriteError};

/// How many small files are handed over at once.
const BATCH: usize = 64;
/// A batch is handed over early when its content is this large.
const BATCH_BYTES: u64 = 4 << 20;
/// What a thread copies through.
const BUFFER_BYTES: usize = 1 << 20;

/// One copy into a layer.
pub(super) struct Job<'a> {
    to: &'a LayerWriter,
    options: CopyOptions<'a>,
    /// Where the first name of a shared file went.
    linked: HashMap<Inode, Vec<u8>>,
    copied: Copied,
    buffer: Vec<u8>,
    pool: Option<Pool<'a>>,
    /// Where the layer's tar stream is hashed by the way.
    line: Option<Line>,
}

/// The way to the threads that copy.
#[derive(Clone)]
struct Pool<'a> {
    batches: Sender<Batch<'a>>,
    outcome: Arc<Outcome>,
}

/// What the threads report.
#[derive(Default)]
struct Outcome {
    failed: AtomicBool,
    error: Mutex<Option<WriteError>>,
    size_bytes: AtomicU64,
}

/// A directory that is being copied.
struct Level<'a> {
    from: Folder,
    items: Items,
    /// How long the path is, without a slash at its end.
    length: usize,
    /// Where it goes; none yet where it is made only if something in it is copied.
    to: Option<Target>,
    name: Vec<u8>,
    metadata: Metadata,
    batch: Option<Batch<'a>>,
}

/// What is in a directory, with the numbers that a listing has for it.
enum Items {
    Read(std::vec::IntoIter<Item>),
    Listed(std::vec::IntoIter<(Item, usize)>),
}

impl Items {
    fn next(&mut self) -> Option<(Item, usize)> {
        match self {
            Self::Read(items) => items.next().map(|item| (item, 0)),
            Self::Listed(items) => items.next(),
        }
    }
}

/// A destination directory, and whether nothing was in it when it was entered.
struct Target {
    slot: Slot,
    fresh: bool,
}

impl<'a> Job<'a> {
    pub(super) fn new(to: &'a LayerWriter, options: CopyOptions<'a>) -> Self {
        Self {
            to,
            options,
            linked: HashMap::new(),
            copied: Copied::default(),
            buffer: Vec::new(),
            pool: None,
            line: None,
        }
    }

    /// Runs the walk with threads beside it, which start when there is enough to do.
    pub(super) fn run(
        &mut self,
        line: Option<Line>,
        walk: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<Copied, WriteError> {
        let helpers = self.options.threads.saturating_sub(1);
        let (batches, todo) = crossbeam_channel::bounded::<Batch<'a>>(4 * helpers.max(1));
        let outcome = Arc::new(Outcome::default());
        let way = self.way();
        self.line = line;
        let walked = std::thread::scope(|scope| {
            for _ in 0..helpers {
                let (todo, outcome) = (todo.clone(), Arc::clone(&outcome));
                // Threads cost little, and wait for the first batch.
                scope.spawn(move || work(&todo, &outcome, way));
            }
            if helpers > 0 {
                self.pool = Some(Pool { batches, outcome: Arc::clone(&outcome) });
            }
            let walked = walk(self);
            self.pool = None;
            if let (Err(_), Some(line)) = (&walked, &self.line) {
                line.give_up();
            }
            walked
        });
        let error = outcome.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = error {
            return Err(error);
        }
        walked?;
        self.to.set_packed(self.line.take().and_then(Line::finish));
        self.copied.size_bytes += outcome.size_bytes.load(Ordering::Relaxed);
        Ok(self.copied)
    }

    /// Copies what is in a directory into another, without recursion.
    pub(super) fn folder(&mut self, from: Folder, slot: Slot, real: &ImagePath) -> Result<(), WriteError> {
        self.copied.folders += 1;
        let fresh = slot.is_blank()?;
        let mut path = Vec::new();
        let listed = match self.options.listing.map(|listing| (listing, listing.range(real))) {
            None => None,
            Some((_, None)) => return Err(WriteError::Changed { path: real.clone() }),
            Some((listing, Some(range))) => Some((listing, range)),
        };
        let to = Some(Target { slot, fresh });
        let top = Level::open(from, &path, to, (Vec::new(), Metadata::default()), listed)?;
        let mut levels = vec![top];
        while let Some(level) = levels.last_mut() {
            path.truncate(level.length);
            let Some((item, node)) = level.items.next() else {
                if let Some(batch) = level.batch.take() {
                    self.hand_over(batch)?;
                }
                levels.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&item.name);
            let entry = &item.found.entry;
            let verdict =
                self.options.filter.map_or(Verdict::Keep, |filter| filter(&path, entry.is_folder()));
            match (verdict, entry.kind) {
                (Verdict::Skip, _) | (_, Kind::Socket) => {}
                (_, Kind::Folder) => self.enter(&mut levels, (item, node), verdict, &path)?,
                (Verdict::Descend, _) => {}
                (Verdict::Keep, _) => self.file(&mut levels, (item, node), &path)?,
            }
        }
        Ok(())
    }

    /// Opens a directory of the source, and its copy unless that has to wait.
    fn enter(
        &mut self,
        levels: &mut Vec<Level<'a>>,
        (Item { name, found }, node): (Item, usize),
        verdict: Verdict,
        path: &[u8],
    ) -> Result<(), WriteError> {
        let fail = |error| source_error(path, error);
        let from = &levels[levels.len() - 1].from;
        let inner = from.open_folder(&name, &found).map_err(fail)?;
        let mut metadata = self.options.metadata(&found.entry);
        if self.options.xattrs {
            metadata.xattrs = inner.own_xattrs().map_err(fail)?;
        }
        let mut to = None;
        if verdict == Verdict::Keep {
            self.settle(levels)?;
            self.flush(levels)?;
            if let Some(parent) = levels.last().and_then(|level| level.to.as_ref()) {
                self.make_way(&parent.slot, &name)?;
                let (slot, fresh) = self.to.enter(&parent.slot, &name, &metadata)?;
                if !fresh {
                    self.to.restyle(&slot, &metadata)?;
                }
                self.copied.folders += 1;
                self.put_folder(&slot)?;
                to = Some(Target { slot, fresh });
            }
        }
        let listed = self.options.listing.map(|listing| (listing, listing.inside(node)));
        levels.push(Level::open(inner, path, to, (name, metadata), listed)?);
        Ok(())
    }

    /// Makes the directories that waited for something to be copied into them.
    fn settle(&mut self, levels: &mut [Level<'a>]) -> Result<(), WriteError> {
        let made = levels.iter().rposition(|level| level.to.is_some()).unwrap_or(0);
        if made + 1 < levels.len() {
            self.flush(levels)?;
        }
        for at in made + 1..levels.len() {
            let [.., parent, level] = &mut levels[..=at] else { break };
            if let Some(parent) = &parent.to {
                self.make_way(&parent.slot, &level.name)?;
                let (slot, fresh) = self.to.enter(&parent.slot, &level.name, &level.metadata)?;
                if !fresh {
                    self.to.restyle(&slot, &level.metadata)?;
                }
                self.copied.folders += 1;
                self.put_folder(&slot)?;
                level.to = Some(Target { slot, fresh });
            }
        }
        Ok(())
    }

    /// Takes away what is no directory where one is to be, if that is wanted.
    fn make_way(&self, parent: &Slot, name: &[u8]) -> Result<(), WriteError> {
        if self.options.replaces && parent.state(name)?.is_some_and(|entry| !entry.is_folder()) {
            parent.drop_upper(name)?;
        }
        Ok(())
    }

    /// Hands over the files that come before what is next in the layer's tar stream.
    fn flush(&mut self, levels: &mut [Level<'a>]) -> Result<(), WriteError> {
        if self.line.is_none() {
            return Ok(());
        }
        levels.iter_mut().filter_map(|level| level.batch.take()).try_for_each(|batch| self.hand_over(batch))
    }

    fn put_folder(&mut self, slot: &Slot) -> Result<(), WriteError> {
        if let Some(line) = &mut self.line
            && !line.folder(self.to, slot)?
        {
            self.stop_packing();
        }
        Ok(())
    }

    fn stop_packing(&mut self) {
        if let Some(line) = self.line.take() {
            line.give_up();
        }
    }

    /// Copies an entry that is no directory, now or soon.
    fn file(
        &mut self,
        levels: &mut [Level<'a>],
        (Item { name, found }, node): (Item, usize),
        path: &[u8],
    ) -> Result<(), WriteError> {
        self.settle(levels)?;
        let is_odd = found.entry.kind != Kind::File || self.options.links && found.entry.is_linked_file();
        if is_odd {
            self.flush(levels)?;
        }
        let Some(Level { from, to: Some(Target { slot, fresh }), batch, .. }) = levels.last_mut() else {
            return Ok(());
        };
        if !*fresh && self.options.replaces {
            slot.drop_upper(&name)?;
        } else if !*fresh {
            slot.vacate(&name)?;
        }
        if is_odd {
            self.check_link((from, node), &name, &found, path)?;
            return self.odd_one(from, (&name, &found), slot, &name);
        }
        dirfd::check_length(path).map_err(|error| source_error(path, error.into()))?;
        let metadata = self.options.metadata(&found.entry);
        let holder = Arc::clone(from.holder(&found));
        self.enqueue(batch, &holder, slot, Planned { name, entry: found.entry, metadata, node })
    }

    /// Sees to it that a link still leads where it was listed to lead.
    fn check_link(
        &self,
        (from, node): (&Folder, usize),
        name: &[u8],
        found: &Found,
        path: &[u8],
    ) -> Result<(), WriteError> {
        let Some(listing) = self.options.listing.filter(|_| found.entry.kind == Kind::Link) else {
            return Ok(());
        };
        let target = from.read_link(name, found).map_err(|error| source_error(path, error))?;
        if target == listing.target(node) {
            Ok(())
        } else {
            Err(WriteError::Changed { path: ImagePath::new(path) })
        }
    }

    /// Copies one entry that is no directory.
    pub(super) fn single(
        &mut self,
        from: &Folder,
        (source, found): (&[u8], Found),
        to: &Slot,
        name: &[u8],
    ) -> Result<(), WriteError> {
        to.vacate(name)?;
        if found.entry.kind != Kind::File {
            return self.odd_one(from, (source, &found), to, name);
        }
        let metadata = self.file_metadata(from, source, &found)?;
        let fail = |error| WriteError::io(&to.path_of(name), error);
        self.buffer.resize(BUFFER_BYTES, 0);
        let holder = from.holder(&found);
        let way = self.way();
        let size =
            copy_file(way, (holder, source), (&to.upper, name), &found.entry, &metadata, &mut self.buffer);
        self.copied.size_bytes += size.map_err(fail)?;
        self.copied.files += 1;
        Ok(())
    }

    /// Links, pipes, devices, and files with several names: all that needs an order.
    fn odd_one(
        &mut self,
        from: &Folder,
        (source, found): (&[u8], &Found),
        to: &Slot,
        name: &[u8],
    ) -> Result<(), WriteError> {
        let entry = &found.entry;
        let fail = |error| WriteError::io(&to.path_of(name), error);
        let metadata = self.file_metadata(from, source, found)?;
        let (way, placer) = (self.way(), self.to.placer);
        self.copied.files += 1;
        if entry.kind != Kind::Link {
            self.stop_packing();
        }
        match entry.kind {
            Kind::Link => {
                let target = from.read_link(source, found).map_err(fail)?;
                let metadata = Metadata { mode_bits: 0o777, ..metadata };
                placer.make_link(&to.upper, name, &target, &metadata).map_err(fail)?;
                self.line.as_mut().map_or(Ok(()), |line| line.link(to, name, target))
            }
            Kind::File => {
                if let Some(first) = self.linked.get(&entry.inode)
                    && self.link(first, to, name)?
                {
                    return Ok(());
                }
                self.linked.insert(entry.inode, to.path_of(name));
                self.buffer.resize(BUFFER_BYTES, 0);
                let source = (from.holder(found), source);
                let size = copy_file(way, source, (&to.upper, name), entry, &metadata, &mut self.buffer);
                self.copied.size_bytes += size.map_err(fail)?;
                Ok(())
            }
            kind => placer.make_node(&to.upper, name, (kind, entry.device), &metadata).map_err(fail),
        }
    }

    const fn way(&self) -> Way {
        Way { placer: self.to.placer, xattrs: self.options.xattrs }
    }

    /// Gives a file one more name; `false` where the file system allows no further one.
    fn link(&self, first: &[u8], to: &Slot, name: &[u8]) -> Result<bool, WriteError> {
        let (parent, file) = match first.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&first[..slash], &first[slash + 1..]),
            None => (&b""[..], first),
        };
        let parent = self.to.upper_folder(parent)?;
        match rustix::fs::linkat(parent, file, &to.upper, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::MLINK) => Ok(false),
            Err(error) => Err(WriteError::io(&to.path_of(name), error)),
        }
    }

    /// What a copy gets; the attributes of a file are read once it is open.
    fn file_metadata(&self, from: &Folder, name: &[u8], found: &Found) -> Result<Metadata, WriteError> {
        let mut metadata = self.options.metadata(&found.entry);
        if self.options.xattrs && found.entry.kind != Kind::File {
            let xattrs = from.xattrs(name, found);
            metadata.xattrs = xattrs.map_err(|error| ViewError::io(&ImagePath::new(name), error))?;
        }
        Ok(metadata)
    }

    /// Collects files of one directory, and hands them over when there are enough.
    fn enqueue(
        &mut self,
        batch: &mut Option<Batch<'a>>,
        from: &Arc<OwnedFd>,
        to: &Slot,
        file: Planned,
    ) -> Result<(), WriteError> {
        let packs = self.line.is_some();
        let most_bytes = if packs { PIECE_BYTES } else { BATCH_BYTES };
        // such a file is a piece of its own
        let is_alone = packs && file.entry.size_bytes >= KERNEL_COPIES_FROM;
        let goes_along = |batch: &Batch| {
            Arc::ptr_eq(&batch.from, from)
                && Arc::ptr_eq(&batch.to, &to.upper)
                && batch.files.len() < BATCH
                && batch.size_bytes < most_bytes
                && !is_alone
        };
        if batch.as_ref().is_some_and(|batch| !goes_along(batch))
            && let Some(full) = batch.take()
        {
            self.hand_over(full)?;
        }
        let (line, listing) = (&mut self.line, self.options.listing);
        let open = batch.get_or_insert_with(|| Batch {
            from: Arc::clone(from),
            to: Arc::clone(&to.upper),
            path: to.path.clone(),
            files: Vec::new(),
            size_bytes: 0,
            listing,
            ticket: line.as_mut().map(Line::ticket),
        });
        open.size_bytes += file.entry.size_bytes;
        open.files.push(file);
        if is_alone && let Some(alone) = batch.take() {
            self.hand_over(alone)?;
        }
        Ok(())
    }

    /// Gives a batch to another thread, or copies it here where all are busy.
    fn hand_over(&mut self, batch: Batch<'a>) -> Result<(), WriteError> {
        self.copied.files += batch.files.len() as u64;
        if let Some(line) = &mut self.line {
            line.count(batch.files.len());
        }
        let batch = match &self.pool {
            None => batch,
            Some(pool) => {
                if pool.outcome.failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                match pool.batches.try_send(batch) {
                    Ok(()) => return Ok(()),
                    Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => batch,
                }
            }
        };
        self.buffer.resize(BUFFER_BYTES, 0);
        self.copied.size_bytes += batch.copy(self.way(), &mut self.buffer)?;
        Ok(())
    }
}

impl Level<'_> {
    fn open(
        from: Folder,
        path: &[u8],
        to: Option<Target>,
        (name, metadata): (Vec<u8>, Metadata),
        listed: Option<(&Listing, Range<usize>)>,
    ) -> Result<Self, WriteError> {
        dirfd::check_length(path).map_err(|error| source_error(path, error.into()))?;
        let items = match listed {
            Some((listing, range)) => Items::Listed(listing.items(range).into_iter()),
            None => Items::Read(from.items().map_err(|error| source_error(path, error))?.into_iter()),
        };
        Ok(Self { from, items, length: path.len(), to, name, metadata, batch: None })
    }
}

fn source_error(path: &[u8], error: io::Error) -> WriteError {
    WriteError::View(ViewError::io(&ImagePath::new(path), error))
}

/// Copies batches until there are no more, or one fails.
fn work(todo: &Receiver<Batch<'_>>, outcome: &Outcome, way: Way) {
    let mut buffer = Vec::new();
    for batch in todo {
        if outcome.failed.load(Ordering::Relaxed) {
            continue;
        }
        buffer.resize(BUFFER_BYTES, 0);
        match batch.copy(way, &mut buffer) {
            Ok(size) => {
                outcome.size_bytes.fetch_add(size, Ordering::Relaxed);
            }
            Err(error) => {
                outcome.failed.store(true, Ordering::Relaxed);
                outcome.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    }
}
