//! The tar stream of a layer, hashed while its files are copied.
//!
//! It is the stream that [`crate::pack()`] makes of the finished layer, without reading that. The thread that walks
//! puts in directories and links; files come in pieces from the threads that copy. Who brings the piece that is next
//! hashes it, and all that wait behind it. Where the two could differ, it is given up.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lighter_image::{DiffId, Hasher, ImagePath};

use crate::archive::{BLOCK, Member, MemberKind, padding, write_head};
use crate::dirfd;
use crate::entry::{Device, Entry, Kind, Metadata};
use crate::pack::Packed;
use crate::policy::Policy;
use crate::writer::{LayerWriter, Slot, WriteError};

/// How many pieces may wait for those before them.
const MOST_WAITING: usize = 8;
/// How much content makes a piece.
pub(super) const PIECE_BYTES: u64 = 512 << 10;

/// The stream, as the threads share it.
pub(super) struct Packing {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// None while a thread hashes.
    hasher: Option<Hasher>,
    /// The number of the next piece.
    turn: u64,
    waiting: BTreeMap<u64, Vec<u8>>,
    spare: Vec<Vec<u8>>,
    is_given_up: bool,
}

/// The end of it at which the thread that walks is.
pub(super) struct Line {
    packing: Arc<Packing>,
    /// What comes before the next piece.
    ahead: Vec<u8>,
    turn: u64,
    members: u64,
}

/// The place of a piece in the stream.
pub(super) struct Ticket {
    pub(super) packing: Arc<Packing>,
    turn: u64,
    before: Vec<u8>,
}

impl Line {
    /// Starts the stream of a layer in which there is nothing yet but the way to a directory; none for any other.
    pub(super) fn start(to: &LayerWriter, target: &ImagePath) -> Result<Option<Self>, WriteError> {
        // elsewhere attributes say what the entries cannot
        if to.placer.policy != Policy::ROOT {
            return Ok(None);
        }
        let state = State {
            hasher: Some(Hasher::new()),
            turn: 0,
            waiting: BTreeMap::new(),
            spare: Vec::new(),
            is_given_up: false,
        };
        let packing = Arc::new(Packing { state: Mutex::new(state), changed: Condvar::new() });
        let mut line = Self { packing, ahead: Vec::new(), turn: 0, members: 0 };
        let names =
            |slot: &Slot| dirfd::names(&slot.upper).map_err(|error| WriteError::io(&slot.path, error));
        let mut slot = to.root_slot();
        for name in target.components() {
            if names(&slot)? != [name] {
                return Ok(None);
            }
            slot = to.enter(&slot, name, &Metadata::default())?.0;
            if !line.folder(to, &slot)? {
                return Ok(None);
            }
        }
        Ok(names(&slot)?.is_empty().then_some(line))
    }

    /// Puts in a directory, with the time that it will have. `false` where that is not known.
    pub(super) fn folder(&mut self, to: &LayerWriter, slot: &Slot) -> Result<bool, WriteError> {
        let fail = |error| WriteError::io(&slot.path, error);
        let Some((mode_bits, mtime)) = to.promised(&slot.path) else { return Ok(false) };
        let entry = dirfd::stat_fd(&slot.upper).map_err(fail)?;
        let xattrs = dirfd::xattrs_fd(&slot.upper).map_err(fail)?;
        let metadata = Metadata { mode_bits, mtime, ..Metadata::of(&entry, xattrs) };
        let path = [&slot.path[..], b"/"].concat();
        self.member(&member(path, &entry, metadata, Vec::new())).map_err(fail)?;
        Ok(true)
    }

    /// Puts in a link that was just made.
    pub(super) fn link(&mut self, slot: &Slot, name: &[u8], target: Vec<u8>) -> Result<(), WriteError> {
        let path = slot.path_of(name);
        let fail = |error| WriteError::io(&path, error);
        let entry = dirfd::stat(&slot.upper, name).map_err(fail)?;
        let entry = entry.ok_or_else(|| fail(io::ErrorKind::NotFound.into()))?;
        let xattrs = dirfd::xattrs(&slot.upper, name).map_err(fail)?;
        let metadata = Metadata::of(&entry, xattrs);
        self.member(&member(path.clone(), &entry, metadata, target)).map_err(fail)
    }

    fn member(&mut self, member: &Member) -> io::Result<()> {
        self.members += 1;
        write_head(member, &mut self.ahead)
    }

    /// Gives out the next place in the stream.
    pub(super) fn ticket(&mut self) -> Ticket {
        let turn = self.turn;
        self.turn += 1;
        Ticket { packing: Arc::clone(&self.packing), turn, before: std::mem::take(&mut self.ahead) }
    }

    /// Counts the files of a piece.
    pub(super) fn count(&mut self, files: usize) {
        self.members += files as u64;
    }

    pub(super) fn give_up(&self) {
        self.packing.give_up();
    }

    /// Ends the stream, after all pieces have come.
    pub(super) fn finish(mut self) -> Option<Packed> {
        self.ahead.resize(self.ahead.len() + 2 * BLOCK, 0);
        let mut state = self.packing.lock();
        if state.is_given_up || state.turn != self.turn {
            return None;
        }
        let mut hasher = state.hasher.take()?;
        hasher.update(&self.ahead);
        let size_bytes = hasher.size_bytes();
        Some(Packed { diff_id: DiffId(hasher.finish()), size_bytes, members: self.members })
    }
}

impl Packing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&'s self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits for a piece any more.
    pub(super) fn give_up(&self) {
        self.lock().is_given_up = true;
        self.changed.notify_all();
    }

    /// Hashes the piece that is next, those behind it, and so on, unless a thread is about it.
    fn hash_waiting<'s>(&'s self, mut state: MutexGuard<'s, State>) {
        while let Some(mut hasher) = state.hasher.take() {
            let turn = state.turn;
            let Some(piece) = state.waiting.remove(&turn) else {
                state.hasher = Some(hasher);
                return;
            };
            drop(state);
            hasher.update(&piece);
            state = self.pass_on(hasher, piece);
        }
    }

    /// Lets the next piece have its turn.
    fn pass_on(&self, hasher: Hasher, mut done: Vec<u8>) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.hasher = Some(hasher);
        state.turn += 1;
        if state.spare.len() < MOST_WAITING {
            done.clear();
            state.spare.push(done);
        }
        self.changed.notify_all();
        state
    }
}

impl Ticket {
    /// A buffer for the piece, which begins with what comes before its files.
    pub(super) fn piece(&self) -> Vec<u8> {
        let spare = self.packing.lock().spare.pop();
        let mut piece = spare.unwrap_or_default();
        piece.extend_from_slice(&self.before);
        piece
    }

    /// Brings the piece.
    pub(super) fn put(self, piece: Vec<u8>) {
        let packing = &self.packing;
        let mut state = packing.lock();
        while !state.is_given_up && state.turn != self.turn && state.waiting.len() >= MOST_WAITING {
            state = packing.wait(state);
        }
        if !state.is_given_up {
            state.waiting.insert(self.turn, piece);
            packing.hash_waiting(state);
        }
    }

    /// Brings the piece and after it the content of a file, for which it waits until it is next.
    pub(super) fn put_file(
        self,
        piece: Vec<u8>,
        file: &OwnedFd,
        size_bytes: u64,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let packing = &self.packing;
        let mut state = packing.lock();
        let mut hasher = loop {
            if state.is_given_up {
                return Ok(());
            }
            match state.hasher.take() {
                Some(hasher) if state.turn == self.turn => break hasher,
                hasher => state.hasher = hasher,
            }
            state = packing.wait(state);
        };
        drop(state);
        hasher.update(&piece);
        let read = hash_content(&mut hasher, file, size_bytes, buffer);
        packing.hash_waiting(packing.pass_on(hasher, piece));
        read
    }
}

/// Hashes the content of a file in a layer, and what pads it.
fn hash_content(hasher: &mut Hasher, file: &OwnedFd, size_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
    let end = hasher.size_bytes() + size_bytes;
    while hasher.size_bytes() < end {
        match rustix::io::read(file, &mut *buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    hasher.update(&[0; BLOCK][..padding(size_bytes)]);
    Ok(())
}

fn member(path: Vec<u8>, entry: &Entry, metadata: Metadata, link: Vec<u8>) -> Member {
    let kind = MemberKind::Entry(entry.kind);
    let size_bytes = if entry.kind == Kind::File { entry.size_bytes } else { 0 };
    Member { path, kind, link, metadata, device: Device::default(), size_bytes }
}

/// What comes before the content of a file that is just what was asked for.
pub(super) fn head_of_planned(metadata: &Metadata, path: Vec<u8>, size_bytes: u64) -> io::Result<Vec<u8>> {
    let kind = MemberKind::Entry(Kind::File);
    let metadata = metadata.clone();
    let member = Member { path, kind, link: Vec::new(), metadata, device: Device::default(), size_bytes };
    let mut head = Vec::with_capacity(BLOCK);
    write_head(&member, &mut head)?;
    Ok(head)
}

/// What comes before the content of a file that was just written.
pub(super) fn head_of_file(file: &OwnedFd, path: Vec<u8>) -> io::Result<(Vec<u8>, u64)> {
    let entry = dirfd::stat_fd(file)?;
    let metadata = Metadata::of(&entry, dirfd::xattrs_fd(file)?);
    let mut head = Vec::with_capacity(BLOCK);
    write_head(&member(path, &entry, metadata, Vec::new()), &mut head)?;
    Ok((head, entry.size_bytes))
}
