//! System calls that rustix lacks: the only file of the project with unsafe code.
//!
//! Each block holds one operation; its comment names the precondition.
#![expect(unsafe_code, reason = "these calls have no safe wrapper")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

type Result<T> = std::result::Result<T, Errno>;

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn check(returned: libc::c_long) -> Result<libc::c_long> {
    if returned < 0 {
        return Err(last_errno());
    }
    Ok(returned)
}

/// Sends any signal, real-time ones included, to the process behind `pidfd`.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: the descriptor is open; a null `siginfo_t` is allowed; no memory is written.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(returned).map(drop)
}

/// What a cloned child becomes.
pub(crate) struct CloneExec<'a> {
    /// `CLONE_NEW*` flags.
    pub(crate) namespaces: c_int,
    /// The program, open; not under one of the numbers 0 to 3.
    pub(crate) program: BorrowedFd<'a>,
    /// Its arguments.
    pub(crate) args: &'a [CString],
    /// Descriptors that become 0, 1, 2, 3; none of them may be one of these numbers itself.
    pub(crate) descriptors: [BorrowedFd<'a>; 4],
}

/// What the child needs, made before it exists, since it shares the parent's memory.
struct ChildPlan {
    program: c_int,
    argv: Vec<*const c_char>,
    envp: [*const c_char; 1],
    descriptors: [c_int; 4],
}

/// Memory for the stack of children, which only one of them uses at a time.
pub(crate) struct ChildStack(Vec<u128>);

impl ChildStack {
    /// 64 KiB.
    pub(crate) fn new() -> Self {
        Self(vec![0; (64 << 10) / size_of::<u128>()])
    }
}

/// Starts `program` in new namespaces and returns its number and a descriptor of it.
///
/// The calling thread stands still until the child has executed the program; the child does nothing before but place
/// its descriptors. The caller must have all signals blocked, so that no handler runs in the child.
pub(crate) fn clone_exec(request: &CloneExec<'_>, stack: &mut ChildStack) -> Result<(i32, OwnedFd)> {
    let mut argv: Vec<*const c_char> = request.args.iter().map(|a| a.as_ptr()).collect();
    argv.push(std::ptr::null());
    let plan = ChildPlan {
        program: request.program.as_raw_fd(),
        argv,
        envp: [std::ptr::null()],
        descriptors: request.descriptors.map(|fd| fd.as_raw_fd()),
    };
    let top = stack.0.as_mut_ptr_range().end.cast::<c_void>();
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: the stack is aligned, large enough and lives until the call returns, which is after the child has left
    // this memory (CLONE_VFORK); `plan` and `pidfd` live as long; the child runs `become_program` only, which makes
    // no call that is unsafe beside a suspended parent.
    let pid = unsafe {
        libc::clone(
            become_program,
            top,
            flags | request.namespaces,
            std::ptr::from_ref(&plan).cast_mut().cast::<c_void>(),
            &raw mut pidfd,
        )
    };
    check(pid.into())?;
    // SAFETY: the kernel has put a new descriptor here, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((pid, pidfd))
}

/// Runs in the child: places the descriptors and executes, or exits with 127.
extern "C" fn become_program(argument: *mut c_void) -> c_int {
    // SAFETY: `clone_exec` passes its `ChildPlan`, which outlives this child's use of it.
    let plan = unsafe { &*argument.cast::<ChildPlan>() };
    for (place, descriptor) in (0..).zip(plan.descriptors) {
        // SAFETY: system call on numbers only; the descriptor table is the child's own.
        if unsafe { libc::dup2(descriptor, place) } < 0 {
            return 127;
        }
    }
    // SAFETY: argv and envp are arrays that end in null, of strings that live in the suspended parent.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            plan.program,
            c"".as_ptr(),
            plan.argv.as_ptr(),
            plan.envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    127
}

/// Blocks every signal in the calling thread.
pub(crate) fn block_signals() -> Result<()> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `all` is writable memory of that type.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: sigfillset has initialised it.
    let all = unsafe { all.assume_init() };
    // SAFETY: both pointers are valid or null.
    let returned = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
    if returned != 0 {
        return Err(Errno::from_raw_os_error(returned));
    }
    Ok(())
}

/// A mount attribute change.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MountAttributes {
    /// `MOUNT_ATTR_*` to set.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub(crate) clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE` or 0 for no change.
    pub(crate) propagation: u64,
    /// Whether the mounts below change as well.
    pub(crate) recursive: bool,
}

/// Makes a mount read-only.
pub(crate) const MOUNT_ATTR_RDONLY: u64 = 0x1;
/// Takes the meaning from set-user-ID bits.
pub(crate) const MOUNT_ATTR_NOSUID: u64 = 0x2;
/// Takes the meaning from device nodes.
pub(crate) const MOUNT_ATTR_NODEV: u64 = 0x4;
/// Forbids execution.
pub(crate) const MOUNT_ATTR_NOEXEC: u64 = 0x8;

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct RawMountAttributes {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes attributes of the mount at `path` below `directory`, or of `directory` itself for an empty path.
pub(crate) fn mount_setattr(directory: BorrowedFd<'_>, path: &CStr, change: MountAttributes) -> Result<()> {
    let attributes = RawMountAttributes {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: 0,
    };
    let mut flags = 0;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    if change.recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path ends in NUL, the structure lives across the call and its size is given.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<RawMountAttributes>(),
        )
    };
    check(returned).map(drop)
}

/// Gives every signal its default meaning and unblocks all of them.
pub(crate) fn reset_signals() -> Result<()> {
    // the kernel's `struct sigaction`, all zeros: the default, no flags, no mask
    const DEFAULT: [u64; 4] = [0; 4];
    // not through libc, which keeps some numbers to itself: those may come ignored from whoever started us
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours; the kernel reads a structure that is long enough, writes
        // nothing, and refuses the numbers that cannot be changed.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `none` is writable memory of that type.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialised it.
    let none = unsafe { none.assume_init() };
    // SAFETY: both pointers are valid or null.
    let returned = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    if returned != 0 {
        return Err(Errno::from_raw_os_error(returned));
    }
    Ok(())
}

/// Takes every descriptor from `first` on away from programs that this process executes.
pub(crate) fn close_on_exec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: system call on numbers only; no descriptor is closed now.
    let returned = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    check(returned).map(drop)
}

/// Takes over a descriptor that the parent has placed at a known number.
pub(crate) fn inherited_descriptor(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: system call on a number only.
    check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: it is open, and this is called once for a number that only the parent's protocol uses.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Replaces the program of this process; returns only if that fails.
pub(crate) fn execve(program: &CStr, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        let ends = std::iter::once(std::ptr::null());
        strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
    };
    let arguments = pointers(args);
    let environment = pointers(env);
    // SAFETY: the path ends in NUL; argv and envp are arrays that end in null, of strings that live across the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_errno()
}

/// One instruction of a system call filter, as the kernel reads it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Instruction {
    /// What to do.
    pub(crate) code: u16,
    /// How many instructions to skip if the comparison holds.
    pub(crate) jump_true: u8,
    /// How many to skip if not.
    pub(crate) jump_false: u8,
    /// Operand.
    pub(crate) operand: u32,
}

/// The kernel's `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Puts this thread under a system call filter for good.
pub(crate) fn install_filter(instructions: &[Instruction], flags: u32) -> Result<()> {
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    let program = Program {
        length: u16::try_from(instructions.len()).map_err(|_| Errno::INVAL)?,
        instructions: instructions.as_ptr(),
    };
    // SAFETY: the program and its instructions live across the call, in the kernel's layout, and the length is right.
    let returned =
        unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check(returned).map(drop)
}

/// Leaves the caller's session keyring for a new, empty one.
pub(crate) fn join_new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is read or written.
    let returned =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<c_char>()) };
    check(returned).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn bring_loopback_up(any_socket: BorrowedFd<'_>) -> Result<()> {
    const SIOCSIFFLAGS: libc::Ioctl = 0x8914;
    const UP_AND_RUNNING: libc::c_short = 0x41;
    // SAFETY: `ifreq` is plain data for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = (*byte).cast_signed();
    }
    request.ifr_ifru.ifru_flags = UP_AND_RUNNING;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq` with a name and flags, which lives across the call.
    let returned = unsafe { libc::ioctl(any_socket.as_raw_fd(), SIOCSIFFLAGS, &raw const request) };
    check(returned.into()).map(drop)
}

/// Makes a copy of this process, which must have a single thread; `None` is the copy.
pub(crate) fn fork() -> Result<Option<i32>> {
    // SAFETY: with a single thread no lock can be held by another one that is missing in the copy.
    let pid = unsafe { libc::fork() };
    match check(pid.into())? {
        0 => Ok(None),
        _ => Ok(Some(pid)),
    }
}

/// Waits for the next of this thread's blocked signals.
pub(crate) fn wait_signal() -> Result<i32> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `all` is writable memory of that type.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set is initialised; a null info is allowed.
    let signal = unsafe { libc::sigwaitinfo(all.as_ptr(), std::ptr::null_mut()) };
    check(signal.into())?;
    Ok(signal)
}

/// Gives one signal its default action; whether it is blocked stays as it is.
pub(crate) fn default_signal(signal: i32) -> Result<()> {
    // SAFETY: the default action runs no code of ours.
    if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
        return Err(last_errno());
    }
    Ok(())
}

/// Lets one signal through, with its default action; what else is blocked stays so.
pub(crate) fn admit_signal(signal: i32) -> Result<()> {
    default_signal(signal)?;
    let mut one = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `one` is writable memory of that type.
    unsafe { libc::sigemptyset(one.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialised it.
    let mut one = unsafe { one.assume_init() };
    // SAFETY: the set is initialised.
    check(unsafe { libc::sigaddset(&raw mut one, signal) }.into())?;
    // SAFETY: both pointers are valid or null.
    let returned = unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const one, std::ptr::null_mut()) };
    if returned == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(returned)) }
}

/// Sends any signal, real-time ones included, to a process.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: system call on numbers only.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Leaves namespaces for new ones; with `CLONE_NEWPID`, only children begin in it. The caller must have a single thread.
pub(crate) fn unshare_namespaces(flags: c_int) -> Result<()> {
    // SAFETY: flags of namespaces have no effect on memory or descriptors.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Leaves the caller's cgroup namespace for a new one.
pub(crate) fn unshare_cgroup_namespace() -> Result<()> {
    // SAFETY: this flag has no effect on memory, descriptors or other threads' state.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into()).map(drop)
}

/// Puts this process, which must have a single thread, in a new user namespace with mounts of its own.
pub(crate) fn unshare_user_and_mounts() -> Result<()> {
    // SAFETY: neither flag has an effect on memory or descriptors; the kernel refuses a process with several threads.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) }.into()).map(drop)
}

/// Gives this process mounts of its own.
pub(crate) fn unshare_mounts() -> Result<()> {
    // SAFETY: the flag has no effect on memory or descriptors; other threads would keep the mounts they have.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into()).map(drop)
}

/// Ends a forked copy of a process at once, without the clean-up that is the original's business.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: it does not return, and runs no code of ours.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Runs a change that cannot be taken back in a thread of its own.
    fn in_thread<T: Send + 'static>(change: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(change).join().expect("thread")
    }

    /// Runs it in a forked copy of this process and returns its exit status.
    fn in_copy(action: impl FnOnce() -> i32) -> i32 {
        match fork().expect("fork") {
            None => exit_now(action()),
            Some(pid) => {
                let pid = rustix::process::Pid::from_raw(pid);
                let options = rustix::process::WaitOptions::empty();
                let ended = rustix::process::waitpid(pid, options).expect("wait");
                ended.and_then(|(_, status)| status.exit_status()).expect("status")
            }
        }
    }

    fn status_line(name: &str) -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("line").trim().to_owned()
    }

    #[test]
    fn signals_are_sent_by_descriptor_and_number() {
        let own =
            rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
                .expect("pidfd");
        assert_eq!(pidfd_send_signal(own.as_fd(), 0), Ok(()));
        assert_eq!(pidfd_send_signal(own.as_fd(), 999), Err(Errno::INVAL));
        assert_eq!(kill(std::process::id().cast_signed(), 0), Ok(()));
        assert_eq!(kill(i32::MAX, 0), Err(Errno::SRCH));
    }

    #[test]
    fn signals_are_blocked_awaited_and_reset() {
        in_thread(|| {
            block_signals().expect("block");
            assert_eq!(status_line("SigBlk:"), "fffffffe7ffbfeff");
        });
        let awaited = in_copy(|| {
            let sent = block_signals().and_then(|()| kill(std::process::id().cast_signed(), libc::SIGUSR2));
            i32::from(sent.is_err() || wait_signal() != Ok(libc::SIGUSR2))
        });
        assert_eq!(awaited, 0);
        let reset = in_copy(|| {
            let done = block_signals().and_then(|()| reset_signals());
            let is_clean = ["SigBlk:", "SigIgn:", "SigCgt:"].iter().all(|name| {
                let set = u64::from_str_radix(&status_line(name), 16);
                set == Ok(0)
            });
            i32::from(done.is_err() || !is_clean)
        });
        assert_eq!(reset, 0);
    }

    #[test]
    fn a_program_is_started_with_its_descriptors() {
        let program = rustix::fs::open(
            "/bin/sh",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .and_then(|shell| rustix::io::fcntl_dupfd_cloexec(shell, 10))
        .expect("shell");
        let (reader, writer) = std::io::pipe().expect("pipe");
        let [stdin, control] = [reader.as_fd(), writer.as_fd()]
            .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 10).expect("descriptor"));
        drop(writer);
        let args = ["sh", "-c", "echo $0 >&3; exit 7"].map(|arg| CString::new(arg).expect("text"));
        let status = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    block_signals().expect("block");
                    let request = CloneExec {
                        namespaces: 0,
                        program: program.as_fd(),
                        args: &args,
                        descriptors: [&stdin, &stdin, &stdin, &control].map(AsFd::as_fd),
                    };
                    let (pid, pidfd) = clone_exec(&request, &mut ChildStack::new()).expect("clone");
                    assert!(pid > 0);
                    let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
                    rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED)
                })
                .join()
                .expect("thread")
        });
        assert_eq!(status.expect("wait").expect("ended").exit_status(), Some(7));
        drop(control);
        let said = std::io::read_to_string(reader).expect("text");
        assert_eq!(said, "sh\n");
    }

    #[test]
    fn what_cannot_be_executed_is_said() {
        assert_eq!(execve(c"/no/such", &[], &[]), Errno::NOENT);
        assert_eq!(execve(c"/etc", &[], &[]), Errno::ACCESS);
    }

    #[test]
    fn descriptors_are_taken_over_and_closed_on_exec() {
        assert_eq!(inherited_descriptor(1 << 20).expect_err("not open"), Errno::BADF);
        let closing = in_copy(|| {
            let file = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
            let Ok(file) = file else { return 1 };
            let done = close_on_exec_from(3);
            let flags = rustix::io::fcntl_getfd(&file);
            i32::from(done.is_err() || flags != Ok(rustix::io::FdFlags::CLOEXEC))
        });
        assert_eq!(closing, 0);
    }

    #[test]
    fn a_filter_answers_calls() {
        in_thread(|| {
            rustix::thread::set_no_new_privs(true).expect("no_new_privs");
            let load_number = Instruction { code: 0x20, jump_true: 0, jump_false: 0, operand: 0 };
            let is_getpgid = Instruction {
                code: 0x15,
                jump_true: 0,
                jump_false: 1,
                operand: u32::try_from(libc::SYS_getpgid).expect("number"),
            };
            let answer = |operand| Instruction { code: 0x06, jump_true: 0, jump_false: 0, operand };
            let filter = [load_number, is_getpgid, answer(0x0005_0059), answer(0x7fff_0000)];
            install_filter(&filter, 0).expect("install");
            let error = rustix::process::getpgid(None).expect_err("denied");
            assert_eq!(error.raw_os_error(), 0x59);
            assert_eq!(install_filter(&[], 0), Err(Errno::INVAL));
        });
    }

    #[test]
    fn the_session_keyring_is_left() {
        in_thread(|| match join_new_session_keyring() {
            Ok(()) | Err(Errno::DQUOT | Errno::NOSYS | Errno::PERM) => {}
            Err(error) => panic!("{error}"),
        });
    }

    #[test]
    fn namespaces_are_entered_by_copies_with_one_thread() {
        let is_new = |kind: &str, before: &std::path::Path| {
            std::fs::read_link(format!("/proc/self/ns/{kind}")).is_ok_and(|now| now != before)
        };
        let before = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("link");
        let (user, mounts, cgroup) = (before("user"), before("mnt"), before("cgroup"));
        let status = in_copy(|| match unshare_user_and_mounts() {
            Ok(()) => {
                let further = unshare_mounts().and_then(|()| unshare_cgroup_namespace());
                let all = is_new("user", &user) && is_new("mnt", &mounts) && is_new("cgroup", &cgroup);
                i32::from(further.is_err() || !all)
            }
            // The machine forbids them.
            Err(Errno::PERM | Errno::NOSPC) => 0,
            Err(_) => 2,
        });
        assert_eq!(status, 0);
    }

    #[test]
    fn loopback_and_mounts_need_rights_and_good_arguments() {
        let file = std::fs::File::open("/dev/null").expect("file");
        assert_eq!(bring_loopback_up(file.as_fd()), Err(Errno::NOTTY));
        let change = MountAttributes { set: 1 << 40, ..MountAttributes::default() };
        let refused = mount_setattr(file.as_fd(), c"", change).expect_err("no such attribute");
        assert!([Errno::INVAL, Errno::PERM].contains(&refused), "{refused}");
    }
}
