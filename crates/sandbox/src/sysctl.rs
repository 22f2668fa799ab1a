//! Kernel parameters: which ones a container may set.

/// Whether a kernel parameter belongs to a namespace, so that it does not change the host.
pub fn is_namespaced_sysctl(name: &str) -> bool {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    if name.contains('/') || name.split('.').any(str::is_empty) {
        return false;
    }
    IPC.contains(&name) || name.starts_with("fs.mqueue.") || name.starts_with("net.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_of_a_namespace_are_taken() {
        let check = |name: &str, expected: bool| assert_eq!(is_namespaced_sysctl(name), expected, "{name}");
        check("net.ipv4.ip_default_ttl", true);
        check("kernel.shmmax", true);
        check("fs.mqueue.msg_max", true);
        check("kernel.core_pattern", false);
        check("vm.overcommit_memory", false);
        check("net..x", false);
        check("net./../kernel.core_pattern", false);
    }
}
