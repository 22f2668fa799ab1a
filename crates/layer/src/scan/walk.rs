//! The walk: directories are a stack of tasks that several threads take from.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use lighter_image::ImagePath;

use super::index::Index;
use super::{Node, ScanError};
use crate::copy::{Filter, Verdict};
use crate::dirfd;
use crate::entry::Kind;

/// A directory with more names is looked at in pieces, so that one thread does not have it all.
const PIECE: usize = 512;

/// The directories that were read, by number, with their entries; pieces of a large one are not in order. The end of a
/// directory among them is its number, and whether it counts only if something in it does: see [`mark`].
pub(super) struct Folders(Vec<Vec<Node>>);

enum Task {
    /// Reads the names of a directory.
    Open { number: usize, parent: Arc<OwnedFd>, name: Vec<u8>, path: Vec<u8> },
    /// Looks at some of them.
    Look { number: usize, folder: Arc<OwnedFd>, names: Vec<Vec<u8>>, path: Arc<Vec<u8>> },
}

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    /// Tasks that were taken and may bring new ones.
    under_way: usize,
    folders: Vec<Vec<Node>>,
    failed: Option<ScanError>,
}

struct Walk<'a> {
    state: Mutex<State>,
    changed: Condvar,
    filter: Option<Filter<'a>>,
    index: &'a Index,
}

/// Reads all that the filter keeps. Files that are as they were get their digests.
pub(super) fn walk(
    root: &OwnedFd,
    filter: Option<Filter<'_>>,
    index: &Index,
    threads: usize,
) -> Result<Folders, ScanError> {
    let fail = |source| ScanError::Read { path: ImagePath::root(), source };
    let root = Arc::new(root.try_clone().map_err(fail)?);
    let first = Task::Open { number: 0, parent: root, name: b".".to_vec(), path: Vec::new() };
    let state = State { tasks: vec![first], folders: vec![Vec::new()], ..State::default() };
    let walk = Walk { state: Mutex::new(state), changed: Condvar::new(), filter, index };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(|| walk.work());
        }
        walk.work();
    });
    let state = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failed.map_or(Ok(Folders(state.folders)), Err)
}

/// What stands for the end of a directory until that is known.
const fn mark(number: usize, only_for_content: bool) -> usize {
    number << 1 | only_for_content as usize
}

impl Folders {
    /// Puts them into one list in depth-first order.
    pub(super) fn assemble(mut self) -> Vec<Node> {
        // in one piece from the start: there are many, and no two copies should be in memory
        let mut nodes = Vec::with_capacity(self.0.iter().map(Vec::len).sum());
        self.add(0, &mut nodes);
        nodes
    }

    /// Directories that count only for their content are left out where they are empty.
    fn add(&mut self, number: usize, nodes: &mut Vec<Node>) {
        let mut read = std::mem::take(&mut self.0[number]);
        read.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        for node in read {
            let (at, mark) = (nodes.len(), node.end());
            let is_folder = node.is_folder();
            nodes.push(node);
            if is_folder {
                self.add(mark >> 1, nodes);
                if mark & 1 == 1 && nodes.len() == at + 1 {
                    nodes.pop();
                    continue;
                }
            }
            let end = nodes.len();
            nodes[at].set_end(end);
        }
    }
}

impl Walk<'_> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(task) = self.take() {
            let done = match task {
                Task::Open { number, parent, name, path } => self.open(number, &parent, &name, path),
                Task::Look { number, folder, names, path } => self.look(number, &folder, names, &path),
            };
            let mut state = self.lock();
            state.under_way -= 1;
            if let Err(error) = done {
                state.failed.get_or_insert(error);
                state.tasks.clear();
            }
            if state.under_way == 0 && state.tasks.is_empty() {
                self.changed.notify_all();
            }
        }
    }

    /// Takes the newest task: depth first, so that few directories are open at once.
    fn take(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            if let Some(task) = state.tasks.pop() {
                state.under_way += 1;
                return Some(task);
            }
            if state.under_way == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open(&self, number: usize, parent: &OwnedFd, name: &[u8], path: Vec<u8>) -> Result<(), ScanError> {
        use rustix::io::Errno;
        dirfd::check_length(&path).map_err(|error| failed(&path, error))?;
        let folder = match dirfd::open_folder(parent, name) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(failed(&path, error)),
        };
        let mut names = dirfd::names_once(&folder).map_err(|error| failed(&path, error))?;
        // in order already where it is put together: that happens in one thread
        names.sort_unstable();
        if names.len() <= PIECE {
            return self.look(number, &Arc::new(folder), names, &path);
        }
        let (folder, path) = (Arc::new(folder), Arc::new(path));
        let mut state = self.lock();
        while !names.is_empty() {
            let names = names.split_off(names.len().saturating_sub(PIECE));
            let (folder, path) = (Arc::clone(&folder), Arc::clone(&path));
            state.tasks.push(Task::Look { number, folder, names, path });
        }
        self.changed.notify_all();
        Ok(())
    }

    fn look(
        &self,
        number: usize,
        folder: &Arc<OwnedFd>,
        names: Vec<Vec<u8>>,
        path: &[u8],
    ) -> Result<(), ScanError> {
        let mut walked = Vec::with_capacity(names.len());
        let mut child = path.to_vec();
        if !child.is_empty() {
            child.push(b'/');
        }
        let length = child.len();
        let mut near = 0;
        for name in names {
            child.truncate(length);
            child.extend_from_slice(&name);
            let Some(entry) = dirfd::stat(folder, &name).map_err(|error| failed(&child, error))? else {
                continue;
            };
            let verdict = self.filter.map_or(Verdict::Keep, |filter| filter(&child, entry.is_folder()));
            if verdict == Verdict::Skip || verdict == Verdict::Descend && !entry.is_folder() {
                continue;
            }
            let target = match entry.kind {
                Kind::Link => dirfd::read_link(folder, &name).map_err(|error| failed(&child, error))?,
                _ => Vec::new(),
            };
            let digest = match entry.kind {
                Kind::File => self.index.find(&entry, &mut near).map_or_else(OnceLock::new, OnceLock::from),
                _ => OnceLock::new(),
            };
            let node = Node::new(&name, &entry, &target, digest);
            let mut node = node.ok_or_else(|| failed(&child, rustix::io::Errno::NAMETOOLONG))?;
            node.set_end(mark(0, verdict == Verdict::Descend));
            walked.push(node);
        }
        self.put(number, folder, walked, path);
        Ok(())
    }

    /// Puts down what was found, and the directories to be read next.
    fn put(&self, number: usize, folder: &Arc<OwnedFd>, mut walked: Vec<Node>, path: &[u8]) {
        let mut state = self.lock();
        let before = state.tasks.len();
        for node in walked.iter_mut().filter(|node| node.is_folder()) {
            let number = state.folders.len();
            node.set_end(node.end() | mark(number, false));
            state.folders.push(Vec::new());
            let mut below = path.to_vec();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(node.name());
            let (parent, name) = (Arc::clone(folder), node.name().to_vec());
            state.tasks.push(Task::Open { number, parent, name, path: below });
        }
        if state.tasks.len() > before {
            self.changed.notify_all();
        }
        state.folders[number].append(&mut walked);
    }
}

fn failed(path: &[u8], source: impl Into<std::io::Error>) -> ScanError {
    ScanError::Read { path: ImagePath::new(path), source: source.into() }
}
