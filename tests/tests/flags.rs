//! Flags of containers and networks that few ask for: devices, shared mounts, addresses.

use std::process::Command;

use lighter_tests::{Lighter, eventually};

/// Words separated by blanks.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Whether this process is the machine's root, and may do what is tried.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_whole = map.split_whitespace().last() == Some("4294967295");
    is_whole && std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Whether the kernel keeps rates of devices for control groups, of either version.
fn rates_are_kept() -> bool {
    let top = std::path::Path::new("/sys/fs/cgroup");
    let controllers = std::fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
    top.join("blkio/blkio.throttle.read_bps_device").exists() || words(&controllers).contains(&"io")
}

/// A block device of this machine.
fn block_device() -> Option<String> {
    let name = std::fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = name.filter_map(|name| name.into_string().ok()).collect();
    names.retain(|name| std::path::Path::new("/dev").join(name).exists());
    names.sort();
    names.pop().map(|name| format!("/dev/{name}"))
}

#[test]
fn the_use_of_a_device_is_bounded() {
    let lighter = Lighter::with_busybox();
    let run = |option: &str| {
        let mut line = words("run --rm");
        line.extend(words(option));
        line.extend(["busybox", "true"]);
        let said = lighter.run(line);
        (said.code, said.err)
    };
    for (option, code, says) in [
        ("--device-read-bps /dev/nosuch:1", 127, "stat /dev/nosuch: no such file or directory"),
        ("--device-read-bps x:1", 125, "bad format for device path: x:1"),
        ("--device-write-iops /dev/null:1k", 125, "Number must be a positive integer"),
        ("--blkio-weight-device /dev/null:5", 125, "invalid weight for device: /dev/null:5"),
        ("--storage-opt size=1g", 125, "supported only for overlay over xfs with 'pquota' mount option"),
        ("--storage-opt x", 125, "invalid storage option"),
    ] {
        let (found, err) = run(option);
        assert_eq!((found, err.contains(says)), (code, true), "{option}\n{err}");
    }
    let Some(device) = block_device().filter(|_| is_root() && rates_are_kept()) else { return };
    let rates = format!("--device-read-bps={device}:1mb");
    lighter.ok(["run", "-d", "--name", "box", &rates, "busybox", "sleep", "1000"]);
    let shown = lighter.ok(["inspect", "-f", "{{json .HostConfig.BlkioDeviceReadBps}}", "box"]);
    assert_eq!(shown, format!("[{{\"Path\":\"{device}\",\"Rate\":1048576}}]\n"));
    let id = lighter.ok(["inspect", "-f", "{{.Id}}", "box"]);
    let found = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", id.trim()]).output();
    let folders = String::from_utf8(found.expect("find runs").stdout).expect("text");
    let kept = folders.lines().any(|folder| {
        let read = |file: &str| std::fs::read_to_string(format!("{folder}/{file}")).unwrap_or_default();
        read("blkio.throttle.read_bps_device").contains(" 1048576") || read("io.max").contains("rbps=1048576")
    });
    assert!(kept, "{folders}");
    lighter.ok(["rm", "-f", "box"]);
}

#[test]
fn rules_say_which_nodes_can_be_opened() {
    let lighter = Lighter::with_busybox();
    let rule = ["run", "--rm", "--device-cgroup-rule", "c 1:5 r x", "busybox", "true"];
    assert!(lighter.refused(rule).contains("invalid device cgroup format 'c 1:5 r x'"));
    let are_there = ["/sys/fs/cgroup/devices/devices.list", "/dev/loop-control"];
    if !is_root() || are_there.iter().any(|path| !std::path::Path::new(path).exists()) {
        return;
    }
    let script =
        "mknod /own c 10 237; (: < /own) && echo opened; mknod /usual c 1 3; (: > /usual) && echo usual";
    let with_rule = |rule: &str| {
        lighter.run(["run", "--rm", "--device-cgroup-rule", rule, "busybox", "sh", "-c", script]).out
    };
    assert_eq!(with_rule("c 10:237 r"), "opened\nusual\n");
    assert_eq!(with_rule("c 10:236 r"), "usual\n");
    assert_eq!(lighter.run(["run", "--rm", "busybox", "sh", "-c", script]).out, "");
}

#[test]
fn real_time_is_had_where_the_kernel_has_it() {
    let lighter = Lighter::with_busybox();
    let line = words("run --rm --cpu-rt-period 100 --cpu-rt-runtime 200 busybox true");
    let said = lighter.refused(line);
    let expected = ["cannot be higher than cpu real-time period", "does not support CPU real-time scheduler"];
    assert!(expected.iter().any(|text| said.contains(text)), "{said}");
    lighter.ok(words("create --name box busybox true"));
    lighter.ok(words("update --cpu-rt-period 500000 --cpu-rt-runtime 1000 box"));
    let template = "{{.HostConfig.CpuRealtimePeriod}} {{.HostConfig.CpuRealtimeRuntime}}";
    assert_eq!(lighter.ok(["inspect", "-f", template, "box"]), "500000 1000\n");
    lighter.ok(["rm", "box"]);
}

#[test]
fn mounts_are_seen_on_the_other_side_where_the_host_shares_its_own() {
    let lighter = Lighter::with_busybox();
    let folder = lighter.path("shared");
    std::fs::create_dir_all(folder.join("inner")).expect("makes folders");
    let volume = |word: &str| format!("{}:/m:{word}", folder.display());
    let own = volume("rshared");
    lighter.ok(["create", "--name", "box", "-v", &own, "busybox", "true"]);
    let template = "{{range .Mounts}}{{.Mode}} {{.Propagation}}{{end}}";
    assert_eq!(lighter.ok(["inspect", "-f", template, "box"]), "rshared rshared\n");
    lighter.ok(["rm", "box"]);
    if !is_root() {
        return;
    }
    let sh =
        |script: String| Command::new("sh").args(["-c", &script]).status().is_ok_and(|done| done.success());
    let place = folder.display().to_string();
    assert!(sh(format!(
        "mount -t tmpfs lighter-test {place} && mount --make-private {place} && mkdir {place}/inner"
    )));
    let run = |word: &str| lighter.run(["run", "--rm", "-v", &volume(word), "busybox", "true"]).err;
    assert!(run("shared").contains("but it is not a shared mount"));
    assert!(run("rslave").contains("but it is not a shared or slave mount"));
    assert!(sh(format!("mount --make-shared {place}")));
    let cap = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
    for (name, word) in [("both", "rshared"), ("one", "rslave"), ("none", "rprivate")] {
        let mounted = volume(word);
        let line = ["run", "-d", "--name", name, "-v", &mounted].into_iter().chain(cap);
        lighter.ok(line.chain(["busybox", "sleep", "1000"]));
    }
    lighter.ok(words("exec both mount -t tmpfs lighter-test /m/inner"));
    let sees = |name: &str| lighter.run(["exec", name, "grep", "-q", " /m/inner ", "/proc/mounts"]).code == 0;
    assert_eq!([sees("both"), sees("one"), sees("none")], [true, true, false]);
    lighter.ok(words("rm -f both one none"));
    // namespaces that the kernel has not taken down yet keep what they have seen
    eventually("the mounts can go", || {
        sh(format!("! mountpoint -q {place}/inner || umount {place}/inner"))
            && sh(format!("! mountpoint -q {place} || umount {place}"))
    });
}

#[test]
fn processes_of_exec_are_told() {
    let lighter = Lighter::with_busybox();
    lighter.ok(words("run -d --name box busybox sleep 1000"));
    let ids = || lighter.ok(["inspect", "-f", "{{len .ExecIDs}} {{json .ExecIDs}}", "box"]);
    assert_eq!(ids(), "0 null\n");
    lighter.ok(words("exec -d box sleep 100"));
    lighter.ok(words("exec box true"));
    assert!(ids().starts_with("1 [\""), "{}", ids());
    lighter.ok(["exec", "box", "sh", "-c", "kill $(pidof sleep | tr ' ' '\n' | grep -v '^1$')"]);
    eventually("it has ended", || ids() == "0 null\n");
    lighter.ok(words("rm -f box"));
}

#[test]
fn networks_that_are_none() {
    let lighter = Lighter::new();
    for (options, says) in [
        ("--ipv4=false", "IPv4 or IPv6 must be enabled"),
        ("--subnet 10.77.0.0/24 --ip-range 10.78.0.0/25", "no matching subnet for range 10.78.0.0/25"),
        ("--gateway 10.77.0.1", "every ip-range or gateway must have a corresponding subnet"),
        ("--aux-address a=10.77.0.5", "no matching subnet for aux-address 10.77.0.5"),
        ("--subnet 10.77.0.0/24 --subnet 10.77.0.0/25", "multiple overlapping subnet"),
        ("--subnet 10.77.0.0/24 --subnet 10.79.0.0/24", "bridge driver doesn't support multiple subnets"),
        ("--subnet 10.77.0.5/24", "invalid subnet 10.77.0.5/24: it should be 10.77.0.0/24"),
        ("--config-only --internal", "configuration network can only contain network specific fields"),
        ("--config-from nosuch", "configuration network \"nosuch\" does not exist"),
        ("--ingress", "Ingress network can only be global scope network"),
        ("--scope swarm", "cannot create a swarm scoped network when swarm is not active"),
        ("--ipam-driver null", "ipv4 pool is empty"),
        ("-d nosuch", "plugin \"nosuch\" not found"),
        ("-o com.docker.network.driver.mtu=-1", "invalid MTU number: -1"),
    ] {
        let line = words("network create").into_iter().chain(words(options)).chain(["net"]);
        let said = lighter.run(line);
        assert_eq!((said.code, said.err.contains(says)), (1, true), "{options}\n{}", said.all());
    }
    lighter.ok(words("network create --config-only --subnet 10.77.0.0/24 --label a=b net"));
    let template = "{{.Driver}} {{.ConfigOnly}} {{json .IPAM.Config}}";
    let shown = lighter.ok(["network", "inspect", "-f", template, "net"]);
    assert_eq!(shown, "null true [{\"Subnet\":\"10.77.0.0/24\"}]\n");
    lighter.ok(words("network rm net"));
}

#[test]
fn a_network_has_ranges_options_and_addresses_of_ipv6() {
    if !is_root() {
        return;
    }
    let lighter = Lighter::with_busybox();
    // of this process alone: another may run the same case on this machine
    let number = std::process::id();
    let (six, four) = (
        format!("fd00:7e57:{:x}:{:x}:", (number >> 16) + 1, number & 0xffff | 1),
        format!("198.18.{}", number % 256),
    );
    let bridge = format!("lighter-{number}");
    let create = format!(
        "network create --ipv6 --subnet {six}:/64 --subnet {four}.0/24 --ip-range {four}.8/29 \
         --aux-address a={four}.9 -o com.docker.network.bridge.name={bridge} net"
    );
    lighter.ok(words(&create));
    lighter.ok(words("run -d --name box --network net busybox sleep 1000"));
    let template = "{{with .NetworkSettings.Networks.net}}{{.IPAddress}} {{.Gateway}} {{.GlobalIPv6Address}} \
                    {{.GlobalIPv6PrefixLen}} {{.IPv6Gateway}}{{end}}";
    let shown = lighter.ok(["inspect", "-f", template, "box"]);
    assert_eq!(shown, format!("{four}.10 {four}.8 {six}:a 64 {six}:1\n"));
    let run = |options: &str, script: &str| {
        let line = words("run --rm --network net").into_iter().chain(words(options));
        lighter.run(line.chain(["busybox", "sh", "-c", script]))
    };
    let script = format!("ip -6 a show eth0; ping -6 -c1 -W60 box && ping -6 -c1 -W60 {six}:1");
    let reached = run(&format!("--ip6 {six}:77"), &script);
    assert_eq!(reached.code, 0, "{}", reached.all());
    assert!(reached.out.contains(&format!("{six}:77/64")), "{}", reached.out);
    for (options, says) in [
        (format!("--ip6 {six}:a"), "already in use"),
        (
            "--ip6 fd00:7e58::1".to_owned(),
            "no configured subnet or ip-range contain the IP address fd00:7e58::1",
        ),
        (format!("--ip {four}.9"), "already in use"),
    ] {
        let said = run(&options, "true");
        assert_eq!((said.code, said.err.contains(says)), (125, true), "{options}\n{}", said.all());
    }
    lighter.ok(words("rm -f box"));
    lighter.ok(words("network rm net"));
    assert!(!std::path::Path::new("/sys/class/net").join(bridge).exists());
}

#[test]
fn those_on_a_network_are_kept_from_each_other() {
    if !is_root() {
        return;
    }
    let lighter = Lighter::with_busybox();
    lighter.ok(words("network create -o com.docker.network.bridge.enable_icc=false net"));
    lighter.ok(words("run -d --name box --network net busybox sleep 1000"));
    let ping = |target: &str, seconds: u32| {
        lighter.run(words(&format!("run --rm --network net busybox ping -c1 -W{seconds} {target}"))).code
    };
    let gateway = lighter.ok(["inspect", "-f", "{{.NetworkSettings.Networks.net.Gateway}}", "box"]);
    assert_eq!((ping("box", 2), ping(gateway.trim(), 60)), (1, 0));
    lighter.ok(words("rm -f box"));
    lighter.ok(words("network rm net"));
}
