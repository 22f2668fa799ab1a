//! What a sandboxed process may do.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use lighter_sandbox::{Capabilities, Device, Namespace, Network, Resource, Rlimit, Seccomp, User};

use crate::fixture::{Fixture, output_of, start, succeed};

pub(crate) const CASES: &[crate::Case] = &[
    ("rights::roots_capabilities_are_dockers", roots_capabilities_are_dockers),
    ("rights::users_keep_the_bounding_set_only", users_keep_the_bounding_set_only),
    ("rights::no_new_privileges", no_new_privileges),
    ("rights::namespaces_are_its_own", namespaces_are_its_own),
    ("rights::namespaces_can_be_joined", namespaces_can_be_joined),
    ("rights::host_is_out_of_reach", host_is_out_of_reach),
    ("rights::device_nodes_are_dead", device_nodes_are_dead),
    ("rights::device_nodes_are_its_own", device_nodes_are_its_own),
    ("rights::names_and_parameters", names_and_parameters),
    ("rights::limits", limits),
    ("rights::network_choices", network_choices),
    ("rights::privileged", privileged),
];

const STATUS: &str = "grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status | tr -d '\\t'";

fn roots_capabilities_are_dockers() {
    let expected = "CapInh:0000000000000000\nCapPrm:00000000a80425fb\nCapEff:00000000a80425fb\n\
                    CapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n";
    assert_eq!(output_of(STATUS), expected);
}

fn has_many_ids() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().nth(2) != Some("1") || map.lines().count() > 1
}

fn users_keep_the_bounding_set_only() {
    if !has_many_ids() {
        return;
    }
    let fixture = Fixture::new();
    let mut spec = fixture.script(&format!("{STATUS}; id -u; id -g; id -G; echo x > /dev/stdout"));
    spec.user = User { uid: 1000, gid: 1001, groups: vec![1001, 1002] };
    let out = succeed(&spec);
    assert_eq!(
        out,
        "CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n\
         CapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n\
         1000\n1001\n1001 1002\nx\n"
    );
}

fn no_new_privileges() {
    let fixture = Fixture::new();
    let mut spec = fixture.script("grep NoNew /proc/self/status | tr -d '\\t'");
    spec.no_new_privileges = true;
    spec.seccomp = Seccomp::Unconfined;
    assert_eq!(succeed(&spec), "NoNewPrivs:1\n");
}

fn namespaces_are_its_own() {
    let out = output_of("for n in mnt pid ipc uts net; do readlink /proc/self/ns/$n; done");
    for (name, inside) in ["mnt", "pid", "ipc", "uts", "net"].iter().zip(out.lines()) {
        let outside = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(outside.to_str().unwrap(), inside);
    }
    let fixture = Fixture::new();
    let mut spec = fixture.script("for n in ipc uts net; do readlink /proc/self/ns/$n; done");
    spec.ipc = Namespace::Host;
    spec.uts = Namespace::Host;
    spec.network = Network::Host;
    let out = succeed(&spec);
    for (name, inside) in ["ipc", "uts", "net"].iter().zip(out.lines()) {
        let outside = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(outside.to_str().unwrap(), inside);
    }
}

fn namespaces_can_be_joined() {
    let fixture = Fixture::new();
    let (target, _reader) = start(&fixture.command(&["sleep", "100"])).unwrap();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", target.pid());
    let beside = Fixture::new();
    let mut spec = beside.script(
        "for n in ipc uts net pid; do readlink /proc/self/ns/$n; done; ps ax | grep -c '[s]leep 100'",
    );
    spec.ipc = Namespace::Join(path("ipc").into());
    spec.uts = Namespace::Join(path("uts").into());
    spec.pid = Namespace::Join(path("pid").into());
    spec.network = Network::Namespace(path("net").into());
    let out = succeed(&spec);
    let mut lines = out.lines();
    for kind in ["ipc", "uts", "net", "pid"] {
        let theirs = std::fs::read_link(path(kind)).unwrap();
        assert_eq!(theirs.to_str(), lines.next(), "{kind}");
    }
    assert_eq!(lines.next(), Some("1"));
    target.kill(9).unwrap();
    target.wait().unwrap();
}

fn host_is_out_of_reach() {
    let out = output_of(
        "mount -t tmpfs none /tmp 2>/dev/null || echo mount; \
         unshare -m true 2>/dev/null || echo unshare; \
         unshare -r true 2>/dev/null || echo userns; \
         echo 1 2>/dev/null > /proc/sys/kernel/panic || echo sysctl; \
         dmesg 2>/dev/null || echo dmesg; \
         hostname x 2>/dev/null || echo hostname; \
         ls /proc | grep -c '^[0-9]'",
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(&lines[..6], ["mount", "unshare", "userns", "sysctl", "dmesg", "hostname"]);
    assert!(lines[6].parse::<u32>().unwrap() < 6, "{out}");
}

fn device_nodes_are_dead() {
    let out = output_of(
        "for d in / /dev /tmp; do mknod $d/n c 1 5 2>/dev/null && head -c 1 $d/n 2>/dev/null; rm -f $d/n; done; echo done",
    );
    assert_eq!(out, "done\n");
}

/// What a container does to the nodes of its devices stays with it.
fn device_nodes_are_its_own() {
    let hosts = || {
        ["null", "zero", "full", "random", "urandom", "tty"].map(|name| {
            let status = std::fs::metadata(format!("/dev/{name}")).unwrap();
            // others may write to them meanwhile
            (name, status.mode(), status.uid(), status.gid(), status.mtime() == 1)
        })
    };
    let before = hosts();
    let fixture = Fixture::new();
    let mut spec = fixture.script(
        "cd /dev; for d in null zero full random urandom tty asked /proc/self/fd/0; do \
         chmod 646 $d; chown 5:5 $d; touch -d @1 $d; done 2>/dev/null; \
         for d in zero full random urandom asked; do head -c 1 $d | wc -c; done; echo x > null && wc -c < null",
    );
    spec.devices = vec![Device { source: "/dev/zero".into(), target: "/dev/asked".to_owned() }];
    let outcome = crate::fixture::run(&spec);
    let after = hosts();
    if before != after {
        for (name, mode, uid, gid, _) in before {
            let path = format!("/dev/{name}");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
        }
    }
    assert_eq!(before, after);
    assert_eq!(outcome.output, "1\n1\n1\n1\n1\n0\n");
}

fn names_and_parameters() {
    let fixture = Fixture::new();
    let mut spec = fixture.script(
        "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_default_ttl",
    );
    spec.hostname = Some("box".to_owned());
    spec.domainname = Some("example".to_owned());
    spec.sysctls = vec![("net.ipv4.ip_default_ttl".to_owned(), "44".to_owned())];
    assert_eq!(succeed(&spec), "box\nexample\n44\n");
    spec.sysctls = vec![("kernel.panic".to_owned(), "1".to_owned())];
    let error = start(&spec).expect_err("not of a namespace");
    assert_eq!(error.to_string(), "setting limits: sysctl kernel.panic");
}

fn limits() {
    let fixture = Fixture::new();
    let mut spec = fixture.script("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj");
    spec.rlimits = vec![Rlimit { resource: Resource::Nofile, soft: Some(111), hard: Some(222) }];
    spec.oom_score_adj = Some(500);
    assert_eq!(succeed(&spec), "111\n222\n500\n");
}

fn network_choices() {
    let out = output_of("ls /sys/class/net; grep -c . /proc/net/dev; cat /sys/class/net/lo/flags");
    assert_eq!(out, "lo\n3\n0x9\n");
}

fn privileged() {
    let fixture = Fixture::new();
    let script = "mount -t tmpfs none /tmp && echo mounted; grep Seccomp: /proc/self/status | tr -d '\\t'; \
                  grep ' /sys ' /proc/mounts | cut -d ' ' -f 4 | cut -c 1-2; grep -c ' /proc/[a-z]* ' /proc/mounts";
    let spec = fixture.script(script).into_privileged();
    assert_eq!(spec.capabilities, Capabilities::all());
    let outcome = crate::fixture::run(&spec);
    assert_eq!(outcome.output, "mounted\nSeccomp:0\nrw\n0\n");
}
