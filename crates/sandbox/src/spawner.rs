//! The threads that start all sandboxes: one for each PID namespace in which children are started.
//!
//! The kernel ties "kill me when my parent dies" to the *thread* that started the child. A thread that lives as long
//! as the process makes that promise hold for the process, whichever thread calls [`crate::spawn`]. It has all
//! signals blocked. A thread that has once entered another PID namespace for its children may be unable to come back
//! (it would need rights outside its user namespace), so each serves one namespace and stays there.
//!
//! A child knows nothing yet of what it is to become: that comes with its order. So where one child is likely to be
//! followed by another of its kind, a *spare* is started at once, and gets ready while the first one's program runs.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sys::{self, ChildStack, CloneExec};

/// A child to start.
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// PID namespace to start it in, instead of the caller's.
    pub(crate) pid_namespace: Option<OwnedFd>,
    /// Whether another of this kind is likely to follow.
    pub(crate) another_follows: bool,
}

/// What a child is before it has its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// `CLONE_NEW*` flags.
    pub(crate) namespaces: i32,
    /// Whether it divides into a keeper and process 1 of these namespaces; else it is in them itself.
    pub(crate) keeper: bool,
}

/// A started child.
pub(crate) struct Started {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// Where it waits for its order.
    pub(crate) socket: UnixStream,
}

impl Started {
    fn is_alive(&self) -> bool {
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&Timespec::default())) == Ok(0)
    }
}

type Answer = Result<Started, Errno>;

struct Job {
    kind: Kind,
    another_follows: bool,
    answer: Sender<Answer>,
}

/// Which namespace a thread serves: device and inode number, or the process's own.
type Place = Option<(u64, u64)>;

static THREADS: Mutex<BTreeMap<Place, SyncSender<Job>>> = Mutex::new(BTreeMap::new());

/// Starts a child from the thread for its PID namespace.
pub(crate) fn start(request: Request) -> Answer {
    let (sender, answer) = channel();
    let job = Job { kind: request.kind, another_follows: request.another_follows, answer: sender };
    let place = request.pid_namespace.as_ref().map(place_of).transpose()?;
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = if let Some(thread) = threads.get(&place) {
        thread.clone()
    } else {
        let thread = new_thread(request.pid_namespace)?;
        threads.insert(place, thread.clone());
        thread
    };
    drop(threads);
    thread.send(job).map_err(|_| Errno::CHILD)?;
    answer.recv().unwrap_or(Err(Errno::CHILD))
}

fn place_of(namespace: &OwnedFd) -> Result<(u64, u64), Errno> {
    let status = rustix::fs::fstat(namespace)?;
    Ok((status.st_dev, status.st_ino))
}

/// Makes a thread for a namespace; an error if it may not be entered.
fn new_thread(namespace: Option<OwnedFd>) -> Result<SyncSender<Job>, Errno> {
    let (sender, jobs) = sync_channel(16);
    let (ready, is_ready) = channel();
    std::thread::Builder::new()
        .name("sandbox-spawner".to_owned())
        .spawn(move || {
            let entered = enter(namespace.as_ref());
            let is_usable = entered.is_ok();
            if ready.send(entered).is_ok() && is_usable {
                serve(&jobs);
            }
        })
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
    is_ready.recv().unwrap_or(Err(Errno::CHILD))?;
    Ok(sender)
}

fn enter(namespace: Option<&OwnedFd>) -> Result<(), Errno> {
    sys::block_signals()?;
    match namespace {
        Some(namespace) => move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ProcessID)),
        None => Ok(()),
    }
}

/// Serves for ever: the senders are never dropped.
fn serve(jobs: &Receiver<Job>) {
    let mut stack = ChildStack::new();
    let mut spare: Option<(Kind, Started)> = None;
    while let Ok(job) = jobs.recv() {
        // one that somebody has ended meanwhile is as good as none
        let ready = spare.take_if(|(kind, spare)| *kind == job.kind || !spare.is_alive());
        let answer = match ready {
            Some((kind, started)) if kind == job.kind && started.is_alive() => Ok(started),
            _ => clone(job.kind, &mut stack),
        };
        if job.answer.send(answer).is_err() {
            tracing::warn!("nobody waits for a started sandbox");
        }
        if job.another_follows && spare.is_none() {
            let started = clone(job.kind, &mut stack);
            spare = started
                .inspect_err(|error| tracing::debug!(%error, "no spare"))
                .ok()
                .map(|new| (job.kind, new));
        }
    }
}

fn clone(kind: Kind, stack: &mut ChildStack) -> Answer {
    let arguments = crate::self_exe::init_arguments(kind.keeper.then_some(kind.namespaces));
    let (ours, theirs) =
        UnixStream::pair().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let theirs = out_of_the_way(theirs)?;
    // its own streams come with the order
    let null = out_of_the_way(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)?;
    let request = CloneExec {
        // a keeper stays outside, and makes them for what it keeps
        namespaces: if kind.keeper { 0 } else { kind.namespaces },
        program: crate::self_exe::open()?,
        args: &arguments,
        descriptors: [&null, &null, &null, &theirs].map(AsFd::as_fd),
    };
    let (pid, pidfd) = sys::clone_exec(&request, stack)?;
    Ok(Started { pid, pidfd, socket: ours })
}

/// Gives a descriptor a number that cannot be one of those the child places.
fn out_of_the_way(descriptor: impl AsFd) -> Result<OwnedFd, Errno> {
    fcntl_dupfd_cloexec(descriptor, 10)
}
