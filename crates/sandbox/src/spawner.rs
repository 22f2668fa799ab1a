//! The threads that start all sandboxes: one for each PID namespace in which children are started.
//!
//! The kernel ties "kill me when my parent dies" to the *thread* that started the child. A thread that lives as long
//! as the process makes that promise hold for the process, whichever thread calls [`crate::spawn`]. It has all
//! signals blocked. A thread that has once entered another PID namespace for its children may be unable to come back
//! (it would need rights outside its user namespace), so each serves one namespace and stays there.
//!
//! A child knows nothing yet of what it is to become: that comes with its order. So where one child is likely to be
//! followed by another of its kind, a *spare* is started at once, and gets ready while the first one's program runs. Where
//! a child is expected before all is known about it, it is started as a spare, too.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
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

    /// Ends one that nobody wants.
    fn end(self) {
        let ended = pidfd_send_signal(&self.pidfd, Signal::KILL)
            .and_then(|()| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED));
        if let Err(error) = ended {
            tracing::debug!(%error, "a spare was not ended");
        }
    }
}

type Answer = Result<Started, Errno>;

enum Job {
    Start { kind: Kind, another_follows: bool, answer: Sender<Answer> },
    Expect(Kind),
}

/// A child that waits for somebody to want it.
struct Spare {
    kind: Kind,
    started: Started,
    /// Whether it is of no use to anybody but the first who wants a child.
    for_first: bool,
}

/// Which namespace a thread serves: device and inode number, or the process's own.
type Place = Option<(u64, u64)>;

static THREADS: Mutex<BTreeMap<Place, SyncSender<Job>>> = Mutex::new(BTreeMap::new());

/// Starts a child from the thread for its PID namespace.
pub(crate) fn start(request: Request) -> Answer {
    let (sender, answer) = channel();
    let job = Job::Start { kind: request.kind, another_follows: request.another_follows, answer: sender };
    thread_for(request.pid_namespace)?.send(job).map_err(|_| Errno::CHILD)?;
    answer.recv().unwrap_or(Err(Errno::CHILD))
}

/// Starts a child that somebody will soon want, without waiting for it. If the next one is of another kind, it is ended.
pub(crate) fn expect(kind: Kind) -> Result<(), Errno> {
    thread_for(None)?.send(Job::Expect(kind)).map_err(|_| Errno::CHILD)
}

/// The thread for a PID namespace, or for the process's own.
fn thread_for(namespace: Option<OwnedFd>) -> Result<SyncSender<Job>, Errno> {
    let place = namespace.as_ref().map(place_of).transpose()?;
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(thread) = threads.get(&place) {
        return Ok(thread.clone());
    }
    let thread = new_thread(namespace)?;
    threads.insert(place, thread.clone());
    Ok(thread)
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
    let mut spare: Option<Spare> = None;
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Expect(kind) if spare.is_none() => spare = new_spare(kind, true, &mut stack),
            Job::Expect(_) => {}
            Job::Start { kind, another_follows, answer } => {
                let ready = take_spare(&mut spare, kind);
                if answer.send(ready.map_or_else(|| clone(kind, &mut stack), Ok)).is_err() {
                    tracing::warn!("nobody waits for a started sandbox");
                }
                if another_follows && spare.is_none() {
                    spare = new_spare(kind, false, &mut stack);
                }
            }
        }
    }
}

fn new_spare(kind: Kind, for_first: bool, stack: &mut ChildStack) -> Option<Spare> {
    clone(kind, stack).inspect_err(|error| tracing::debug!(%error, "no spare")).ok().map(|started| Spare {
        kind,
        started,
        for_first,
    })
}

/// Takes the spare if it is of a kind; one that somebody has ended meanwhile is as good as none.
fn take_spare(spare: &mut Option<Spare>, kind: Kind) -> Option<Started> {
    let taken = spare.take_if(|spare| spare.kind == kind || spare.for_first || !spare.started.is_alive())?;
    if taken.kind == kind && taken.started.is_alive() {
        return Some(taken.started);
    }
    taken.started.end();
    None
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
