//! Resource limits, kernel parameters and names.

use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Resource as RawResource, Rlimit as RawRlimit, getrlimit, setrlimit};
use rustix::system::{setdomainname, sethostname};

use super::{At, Caller, Result};
use crate::message::Stage;
use crate::spec::{Namespace, Resource, Rlimit, Spec};
use crate::sys;
use crate::sysctl::is_namespaced_sysctl;

/// Sets resource limits; what cannot be raised is raised as far as it goes, and said.
pub(super) fn set_resource_limits(caller: &Caller, limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let resource = raw(limit.resource);
        let wanted = RawRlimit { current: limit.soft, maximum: limit.hard };
        match setrlimit(resource, wanted) {
            Ok(()) => {}
            Err(Errno::PERM) => {
                let bound = getrlimit(resource).maximum;
                let lower = |wish: Option<u64>| match (wish, bound) {
                    (Some(wish), Some(bound)) => Some(wish.min(bound)),
                    (None, bound) => bound,
                    (wish, None) => wish,
                };
                let possible = RawRlimit { current: lower(wanted.current), maximum: lower(wanted.maximum) };
                setrlimit(resource, possible).at(Stage::Limits, || format!("{:?}", limit.resource))?;
                caller.warn(format!("raising the limit {:?}", limit.resource), Errno::PERM)?;
            }
            Err(error) => {
                return Err(error).at(Stage::Limits, || format!("{:?}", limit.resource));
            }
        }
    }
    Ok(())
}

fn raw(resource: Resource) -> RawResource {
    match resource {
        Resource::As => RawResource::As,
        Resource::Core => RawResource::Core,
        Resource::Cpu => RawResource::Cpu,
        Resource::Data => RawResource::Data,
        Resource::Fsize => RawResource::Fsize,
        Resource::Locks => RawResource::Locks,
        Resource::Memlock => RawResource::Memlock,
        Resource::Msgqueue => RawResource::Msgqueue,
        Resource::Nice => RawResource::Nice,
        Resource::Nofile => RawResource::Nofile,
        Resource::Nproc => RawResource::Nproc,
        Resource::Rss => RawResource::Rss,
        Resource::Rtprio => RawResource::Rtprio,
        Resource::Rttime => RawResource::Rttime,
        Resource::Sigpending => RawResource::Sigpending,
        Resource::Stack => RawResource::Stack,
    }
}

/// Sets how soon the kernel kills it when memory runs out.
pub(super) fn set_oom_score(caller: &Caller, score: Option<i32>) -> Result<()> {
    let Some(score) = score else {
        return Ok(());
    };
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            caller.warn("lowering the out-of-memory score", Errno::ACCESS)
        }
        Err(error) => Err(error).at(Stage::Limits, || "oom_score_adj".to_owned()),
    }
}

/// Sets host and domain name of an own UTS namespace.
pub(super) fn set_names(spec: &Spec) -> Result<()> {
    if spec.uts != Namespace::Private {
        return Ok(());
    }
    if let Some(name) = &spec.hostname {
        sethostname(name.as_bytes()).at(Stage::Limits, || format!("host name {name}"))?;
    }
    if let Some(name) = &spec.domainname {
        setdomainname(name.as_bytes()).at(Stage::Limits, || format!("domain name {name}"))?;
    }
    Ok(())
}

/// Sets kernel parameters of the container's namespaces.
pub(super) fn set_sysctls(sysctls: &[(String, String)]) -> Result<()> {
    for (name, value) in sysctls {
        if !is_namespaced_sysctl(name) {
            return Err(Errno::PERM).at(Stage::Limits, || format!("sysctl {name}"));
        }
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        std::fs::write(path, value).at(Stage::Limits, || format!("sysctl {name}"))?;
    }
    Ok(())
}

/// Brings the loopback interface up.
pub(super) fn bring_loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    use std::os::fd::AsFd;
    let name = || "loopback interface".to_owned();
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .at(Stage::Namespaces, name)?;
    sys::bring_loopback_up(socket.as_fd()).at(Stage::Namespaces, name)
}
