//! Who the program is, and what it may do.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::{At, Caller, Result, die_with_caller};
use crate::capability::Capabilities;
use crate::message::Stage;
use crate::seccomp;
use crate::spec::{Seccomp, User};
use crate::sys;

/// All that makes up the rights of the program.
pub(super) struct Identity<'a> {
    pub(super) user: &'a User,
    pub(super) capabilities: Capabilities,
    pub(super) seccomp: &'a Seccomp,
    pub(super) no_new_privileges: bool,
    pub(super) die_with_parent: bool,
}

/// Keeps processes of the same PID namespace from looking into this one while it still holds more than they do.
pub(super) fn hide_from_neighbours() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .at(Stage::Namespaces, || "process attributes".to_owned())
}

/// Takes on the identity; what it does not have is given up for good.
pub(super) fn assume(caller: &Caller, identity: &Identity<'_>) -> Result<()> {
    leave_keyring()?;
    if identity.no_new_privileges {
        set_no_new_privs(true).at(Stage::User, || "no_new_privs".to_owned())?;
    }
    // without it, the kernel wants a capability that is given up below; with it, the filter need not allow that
    if !identity.no_new_privileges {
        install_filter(identity)?;
    }
    let held = capabilities(None).at(Stage::User, || "own capabilities".to_owned())?;
    let kept = identity.capabilities.bits() & held.permitted.bits();
    bound(kept)?;
    become_user(caller, identity.user)?;
    keep(identity.user, kept)?;
    die_with_caller(identity.die_with_parent)?;
    if identity.no_new_privileges { install_filter(identity) } else { Ok(()) }
}

fn install_filter(identity: &Identity<'_>) -> Result<()> {
    let of_docker;
    let (program, flags) = match identity.seccomp {
        Seccomp::Unconfined => return Ok(()),
        Seccomp::DockerDefault => {
            of_docker = seccomp::docker_default(identity.capabilities);
            (&of_docker, 0)
        }
        Seccomp::Custom(filter) => (&filter.program, filter.flags),
    };
    sys::install_filter(program, flags).at(Stage::Seccomp, || format!("{} instructions", program.len()))
}

fn leave_keyring() -> Result<()> {
    match sys::join_new_session_keyring() {
        // Used up or absent keyrings do no harm: the system call filter keeps containers from them.
        Ok(()) | Err(Errno::NOSYS | Errno::DQUOT | Errno::PERM | Errno::NOMEM) => Ok(()),
        Err(error) => Err(error).at(Stage::User, || "session keyring".to_owned()),
    }
}

/// Gives up every capability that is not in `kept`, also for programs with set-user-ID bits.
fn bound(kept: u64) -> Result<()> {
    for number in 0..64 {
        let single = CapabilitySet::from_bits_retain(1 << number);
        if kept & single.bits() != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(single) {
            Ok(()) => {}
            // The kernel has no more of them.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error).at(Stage::User, || format!("capability {number}")),
        }
    }
    Ok(())
}

fn become_user(caller: &Caller, user: &User) -> Result<()> {
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match set_thread_groups(&groups) {
        Ok(()) => {}
        // With a single mapped id, groups cannot be changed at all.
        Err(Errno::PERM) if groups.is_empty() || user.uid == 0 => {}
        Err(error @ (Errno::PERM | Errno::INVAL)) => caller.warn("supplementary groups", error)?,
        Err(error) => return Err(error).at(Stage::User, || "supplementary groups".to_owned()),
    }
    let gid = Gid::from_raw(user.gid);
    set_thread_res_gid(gid, gid, gid).at(Stage::User, || format!("group {}", user.gid))?;
    let uid = Uid::from_raw(user.uid);
    set_thread_res_uid(uid, uid, uid).at(Stage::User, || format!("user {}", user.uid))
}

fn keep(user: &User, kept: u64) -> Result<()> {
    let name = || "capabilities".to_owned();
    clear_ambient_capability_set().at(Stage::User, name)?;
    let own = if user.uid == 0 { kept } else { 0 };
    let own = CapabilitySet::from_bits_retain(own);
    let sets = CapabilitySets { effective: own, permitted: own, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).at(Stage::User, name)
}
