//! `inspect`: a container as Docker's engine describes it, with the fields that scripts look at.

mod mounts;

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use lighter_sandbox::cgroup::Flow;
use lighter_sandbox::network::{Publication, Six};
use lighter_sandbox::{DEFAULT_SHM_SIZE_BYTES, MASKED_PATHS, READONLY_PATHS, Rlimit};
use lighter_store::Store;
use serde_json::{Map, Value, json};

use super::exec_ids;
use super::network::look_up;
use super::settings::{
    HostAddress, HostSettings, NetworkChoice, NetworkWish, RestartPolicy, Settings, Sharing,
};
use super::shim::network::names_of;
use super::shim::spec;
use super::state::{Container, EndpointState, State, Status, find};
use crate::image::NEVER;

/// Describes a container.
pub fn inspect(store: &Store, container: &Container) -> Value {
    let Container { record, state } = container;
    let settings = &state.settings;
    let paths = store.container_paths(&record.id);
    let command = settings.command();
    // whoever shares another's network has the other's files
    let other = match &settings.host.network {
        NetworkChoice::Container(id) => find(store, id).ok(),
        _ => None,
    };
    let dir = other.map_or_else(|| paths.dir.clone(), |other| store.container_paths(&other.record.id).dir);
    let in_folder = |name: &str| dir.join(name).to_string_lossy().into_owned();
    json!({
        "Id": record.id.as_str(),
        "Created": time(Timestamp::try_from(record.created_at).ok()),
        "Path": command.first().cloned().unwrap_or_default(),
        "Args": command.get(1..).unwrap_or_default(),
        "State": state_of(state),
        "Image": record.image.map(|image| image.to_string()).unwrap_or_default(),
        "ResolvConfPath": in_folder("resolv.conf"),
        "HostnamePath": in_folder("hostname"),
        "HostsPath": in_folder("hosts"),
        "LogPath": paths.log.to_string_lossy(),
        "Name": format!("/{}", record.name),
        "RestartCount": state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": none_if_empty(exec_ids::running(&paths.dir)),
        "HostConfig": host_config(settings, &record.name),
        "GraphDriver": graph_driver(store, container),
        "Mounts": mounts::mounts(store, &settings.host.mounts),
        "Config": config(settings),
        "NetworkSettings": network_settings(store, container),
    })
}

/// A time as Docker's engine writes it.
pub(super) fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

/// A time of the store's as Docker's engine writes it.
pub fn written_time(when: SystemTime) -> String {
    time(Timestamp::try_from(when).ok())
}

fn state_of(state: &State) -> Value {
    let is = |status: Status| state.status == status;
    let mut shown = json!({
        "Status": state.status.name(),
        "Running": state.is_running() || is(Status::Restarting),
        "Paused": is(Status::Paused),
        "Restarting": is(Status::Restarting),
        "OOMKilled": state.oom_killed,
        "Dead": is(Status::Dead),
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(state.started_at),
        "FinishedAt": time(state.finished_at),
    });
    if let (Some(health), Value::Object(fields)) = (&state.health, &mut shown) {
        let log: Vec<Value> = health
            .log
            .iter()
            .map(|probe| {
                json!({
                    "Start": probe.start.to_string(),
                    "End": probe.end.to_string(),
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                })
            })
            .collect();
        let health = json!({ "Status": health.status, "FailingStreak": health.failing_streak, "Log": log });
        fields.insert("Health".to_owned(), health);
    }
    shown
}

fn config(settings: &Settings) -> Value {
    let set = |names: &mut dyn Iterator<Item = String>| -> Value {
        Value::Object(names.map(|name| (name, json!({}))).collect::<Map<_, _>>())
    };
    let volumes: Vec<String> = settings.anonymous_volumes().map(str::to_owned).collect();
    let mut config = json!({
        "Hostname": settings.hostname,
        "Domainname": settings.domainname.clone().unwrap_or_default(),
        "User": settings.user,
        "AttachStdin": settings.stdin_once,
        "AttachStdout": settings.attach_output.contains(&"stdout".to_owned()),
        "AttachStderr": settings.attach_output.contains(&"stderr".to_owned()),
        "Tty": settings.tty,
        "OpenStdin": settings.open_stdin,
        "StdinOnce": settings.stdin_once,
        "Env": none_if_empty(&settings.env),
        "Cmd": settings.cmd,
        "Image": settings.image_name,
        "Volumes": if volumes.is_empty() { Value::Null } else { set(&mut volumes.into_iter()) },
        "WorkingDir": settings.working_dir,
        "Entrypoint": settings.entrypoint,
        "OnBuild": Value::Null,
        "Labels": settings.labels,
    });
    let Value::Object(fields) = &mut config else { return config };
    if !settings.exposed_ports.is_empty() {
        fields.insert("ExposedPorts".to_owned(), set(&mut settings.exposed_ports.iter().cloned()));
    }
    if let Some(check) = &settings.healthcheck {
        fields.insert("Healthcheck".to_owned(), serde_json::to_value(check).unwrap_or_default());
    }
    if let Some(signal) = &settings.stop_signal {
        fields.insert("StopSignal".to_owned(), json!(signal));
    }
    if let Some(seconds) = settings.stop_timeout_seconds {
        fields.insert("StopTimeout".to_owned(), json!(seconds));
    }
    in_order(config, &CONFIG_ORDER)
}

/// The order of the fields in which Docker's engine writes them.
const CONFIG_ORDER: [&str; 22] = [
    "Hostname",
    "Domainname",
    "User",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "ExposedPorts",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Env",
    "Cmd",
    "Healthcheck",
    "Image",
    "Volumes",
    "WorkingDir",
    "Entrypoint",
    "OnBuild",
    "Labels",
    "StopSignal",
    "StopTimeout",
    "Shell",
];

fn host_config(settings: &Settings, name: &str) -> Value {
    let host = &settings.host;
    let mut shown = Map::new();
    for part in [files_of(host, name), confinement_of(host), limits_of(host)] {
        if let Value::Object(fields) = part {
            shown.extend(fields);
        }
    }
    in_order(Value::Object(shown), &HOST_ORDER)
}

/// An object with these fields first, in this order; what is not among them follows.
fn in_order(value: Value, order: &[&str]) -> Value {
    let Value::Object(fields) = value else { return value };
    let place = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by_key(|(name, _)| place(name));
    Value::Object(fields.into_iter().collect())
}

/// The order in which Docker's engine writes the host's settings.
const HOST_ORDER: [&str; 71] = [
    "Binds",
    "ContainerIDFile",
    "LogConfig",
    "NetworkMode",
    "PortBindings",
    "RestartPolicy",
    "AutoRemove",
    "VolumeDriver",
    "VolumesFrom",
    "ConsoleSize",
    "Annotations",
    "CapAdd",
    "CapDrop",
    "CgroupnsMode",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "IpcMode",
    "Cgroup",
    "Links",
    "OomScoreAdj",
    "PidMode",
    "Privileged",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "SecurityOpt",
    "StorageOpt",
    "Tmpfs",
    "UTSMode",
    "UsernsMode",
    "ShmSize",
    "Sysctls",
    "Runtime",
    "Isolation",
    "CpuShares",
    "Memory",
    "NanoCpus",
    "CgroupParent",
    "BlkioWeight",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "Ulimits",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
    "Mounts",
    "MaskedPaths",
    "ReadonlyPaths",
    "Init",
    "KernelMemory",
    "KernelMemoryTCP",
];

/// The part of the host's settings about files, networks and life.
fn files_of(host: &HostSettings, own_name: &str) -> Value {
    let restart_count = match host.restart {
        RestartPolicy::OnFailure(most) => most,
        _ => 0,
    };
    let on_default = host.links.iter().filter(|_| host.network == NetworkChoice::Bridge);
    let links: Vec<String> = on_default.map(|(name, alias)| format!("/{name}:/{own_name}/{alias}")).collect();
    let mut shown = json!({
        "Binds": none_if_empty(mounts::binds(&host.mounts)),
        "ContainerIDFile": "",
        "LogConfig": { "Type": host.log.driver(), "Config": host.log.options },
        "NetworkMode": network_mode(&host.network),
        "PortBindings": port_bindings(&host.publications),
        "RestartPolicy": { "Name": host.restart.name(), "MaximumRetryCount": restart_count },
        "AutoRemove": host.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": Value::Null,
        "ConsoleSize": [0, 0],
        "Dns": host.dns.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "DnsOptions": host.dns_options,
        "DnsSearch": host.dns_search,
        "ExtraHosts": none_if_empty(host.extra_hosts.iter().map(extra_host).collect::<Vec<_>>()),
        "Links": none_if_empty(links),
        "PublishAllPorts": host.publish_all,
    });
    let (tmpfs, mounts) = (mounts::tmpfs(&host.mounts), mounts::wishes(&host.mounts));
    if let Value::Object(fields) = &mut shown {
        let mut add = |name: &str, is_empty: bool, value: Value| {
            if !is_empty {
                fields.insert(name.to_owned(), value);
            }
        };
        add("Annotations", host.annotations.is_empty(), json!(host.annotations));
        add("Tmpfs", tmpfs.is_empty(), json!(tmpfs));
        add("Mounts", mounts.is_empty(), json!(mounts));
        add(
            "Sysctls",
            host.sysctls.is_empty(),
            json!(host.sysctls.iter().cloned().collect::<BTreeMap<_, _>>()),
        );
        add("Init", !host.init, json!(true));
    }
    shown
}

/// The part about what the container may do.
fn confinement_of(host: &HostSettings) -> Value {
    let hidden = |paths: &[&str]| if host.privileged { Value::Null } else { json!(paths) };
    let devices: Vec<Value> = host
        .devices
        .iter()
        .map(|device| {
            json!({
                "PathOnHost": device.source.to_string_lossy(),
                "PathInContainer": device.target,
                "CgroupPermissions": "rwm",
            })
        })
        .collect();
    json!({
        "CapAdd": none_if_empty(&host.cap_add),
        "CapDrop": none_if_empty(&host.cap_drop),
        "CgroupnsMode": if host.host_cgroups { "host" } else { "private" },
        "GroupAdd": none_if_empty(&host.group_add),
        "IpcMode": sharing(&host.ipc, "private"),
        "Cgroup": "",
        "OomScoreAdj": host.oom_score_adj.unwrap_or_default(),
        "PidMode": sharing(&host.pid, ""),
        "Privileged": host.privileged,
        "ReadonlyRootfs": host.readonly_root,
        "SecurityOpt": none_if_empty(security_options(host)),
        "UTSMode": sharing(&host.uts, ""),
        "UsernsMode": "",
        "ShmSize": host.shm_size_bytes.unwrap_or(DEFAULT_SHM_SIZE_BYTES),
        "Runtime": "lighter",
        "Isolation": "",
        "Devices": devices,
        "DeviceCgroupRules": none_if_empty(&host.limits.device_rules),
        "DeviceRequests": Value::Null,
        "MaskedPaths": hidden(&MASKED_PATHS),
        "ReadonlyPaths": hidden(&READONLY_PATHS),
    })
}

/// The part about what the container may use.
fn limits_of(host: &HostSettings) -> Value {
    let limits = &host.limits;
    let twice = limits.memory_bytes.and_then(|bytes| i64::try_from(bytes.saturating_mul(2)).ok());
    let rlimits: Vec<Value> = host.rlimits.iter().map(rlimit).collect();
    let rates = |flow: Flow| -> Vec<Value> {
        let of_flow = limits.device_rates.iter().filter(|rate| rate.flow == flow);
        of_flow.map(|rate| json!({ "Path": rate.path, "Rate": rate.per_second })).collect()
    };
    let weights = limits.device_weights.iter();
    let weights: Vec<Value> =
        weights.map(|(path, weight)| json!({ "Path": path, "Weight": weight })).collect();
    json!({
        "CpuShares": limits.cpu_shares.unwrap_or_default(),
        "Memory": limits.memory_bytes.unwrap_or_default(),
        "NanoCpus": limits.nano_cpus.unwrap_or_default(),
        "CgroupParent": host.cgroup_parent.clone().unwrap_or_default(),
        "BlkioWeight": limits.blkio_weight.unwrap_or_default(),
        "BlkioWeightDevice": weights,
        "BlkioDeviceReadBps": rates(Flow::ReadBytes),
        "BlkioDeviceWriteBps": rates(Flow::WriteBytes),
        "BlkioDeviceReadIOps": rates(Flow::Reads),
        "BlkioDeviceWriteIOps": rates(Flow::Writes),
        "CpuRealtimePeriod": limits.cpu_realtime_period.unwrap_or_default(),
        "CpuRealtimeRuntime": limits.cpu_realtime_runtime.unwrap_or_default(),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "CpuPeriod": limits.cpu_period.unwrap_or_default(),
        "CpuQuota": limits.cpu_quota.unwrap_or_default(),
        "CpusetCpus": limits.cpuset_cpus.clone().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.clone().unwrap_or_default(),
        "MemoryReservation": limits.memory_reservation_bytes.unwrap_or_default(),
        "MemorySwap": limits.memory_swap_bytes.or(twice).unwrap_or_default(),
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids,
        "Ulimits": rlimits,
    })
}

fn rlimit(limit: &Rlimit) -> Value {
    let value = |limit: Option<u64>| limit.map_or(json!(-1), |limit| json!(limit));
    json!({
        "Name": serde_json::to_value(limit.resource).unwrap_or_default(),
        "Hard": value(limit.hard),
        "Soft": value(limit.soft),
    })
}

fn none_if_empty<T: serde::Serialize>(list: impl AsRef<[T]>) -> Value {
    let list = list.as_ref();
    if list.is_empty() { Value::Null } else { json!(list) }
}

fn extra_host((name, address): &(String, HostAddress)) -> String {
    match address {
        HostAddress::Address(address) => format!("{name}:{address}"),
        HostAddress::Gateway => format!("{name}:host-gateway"),
    }
}

/// `--network` as Docker's engine writes it.
pub fn network_mode(choice: &NetworkChoice) -> String {
    match choice {
        NetworkChoice::Bridge => "bridge".to_owned(),
        NetworkChoice::Host => "host".to_owned(),
        NetworkChoice::None => "none".to_owned(),
        NetworkChoice::Container(id) => format!("container:{id}"),
        NetworkChoice::Named(name) => name.clone(),
    }
}

fn sharing(sharing: &Sharing, private: &str) -> String {
    match sharing {
        Sharing::Private => private.to_owned(),
        Sharing::Host => "host".to_owned(),
        Sharing::Container(id) => format!("container:{id}"),
        Sharing::Shareable => "shareable".to_owned(),
        Sharing::None => "none".to_owned(),
    }
}

fn port_bindings(publications: &[Publication]) -> Value {
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in publications {
        let host_port = match port.host_ports {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        };
        let address = port.host_address.map(|address| address.to_string()).unwrap_or_default();
        bindings
            .entry(format!("{}/{}", port.container_port, port.transport))
            .or_default()
            .push(json!({ "HostIp": address, "HostPort": host_port }));
    }
    json!(bindings)
}

fn network_settings(store: &Store, container: &Container) -> Value {
    let state = &container.state;
    let host = &state.settings.host;
    let network = state.network.clone().unwrap_or_default();
    let mut ports: BTreeMap<String, Value> = BTreeMap::new();
    if state.is_running() {
        ports.extend(state.settings.exposed_ports.iter().map(|port| (port.clone(), Value::Null)));
    }
    for binding in &network.bindings {
        let shown =
            json!({ "HostIp": binding.host.ip().to_string(), "HostPort": binding.host.port().to_string() });
        let port = ports.entry(format!("{}/{}", binding.container_port, binding.transport)).or_default();
        match port {
            Value::Array(list) => list.push(shown),
            other => *other = json!([shown]),
        }
    }
    let mut networks = Map::new();
    let mut names: Vec<String> = host.networks.iter().map(|wish| wish.network.clone()).collect();
    if names.is_empty() {
        names.push(network_mode(&host.network));
    }
    for name in names.into_iter().filter(|name| !name.starts_with("container:")) {
        let shown = endpoint(store, container, network.endpoints.get(&name), &name);
        networks.insert(name, shown);
    }
    let default = network.endpoints.get("bridge");
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": if state.pid > 0 { format!("/proc/{}/ns/net", state.pid) } else { String::new() },
        "Ports": ports,
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": Value::Null,
        "SecondaryIPv6Addresses": Value::Null,
        "EndpointID": "",
        "Gateway": default.map(|one| one.endpoint.gateway.to_string()).unwrap_or_default(),
        "GlobalIPv6Address": default.and_then(six_of).map(|six| six.address.to_string()).unwrap_or_default(),
        "GlobalIPv6PrefixLen": default.and_then(six_of).map(|six| six.subnet.prefix_len()).unwrap_or_default(),
        "IPAddress": default.map(|one| one.endpoint.address.to_string()).unwrap_or_default(),
        "IPPrefixLen": default.map(|one| one.endpoint.subnet.prefix_len()).unwrap_or_default(),
        "IPv6Gateway": "",
        "MacAddress": default.map(hardware_address).unwrap_or_default(),
        "Networks": networks,
    })
}

/// A network, as the container is or was in it: which one it is, and its names there, it knows since it first ran.
fn endpoint(store: &Store, container: &Container, state: Option<&EndpointState>, name: &str) -> Value {
    let has_run = container.state.started_at.is_some();
    let known = state.map(|one| one.network_id.clone());
    let id = known.or_else(|| Some(look_up(store, name).ok().filter(|_| has_run)?.id));
    let wish = container.state.settings.host.networks.iter().find(|wish| wish.network == name);
    let names = wish
        .filter(|wish| (has_run || wish.by_hand) && name != "bridge")
        .map(|wish| names_of(container, wish));
    let aliases = wish.map(|wish| wish.aliases.clone()).unwrap_or_default();
    let by_hand = wish.is_some_and(|wish| wish.by_hand);
    let options = wish.map(|wish| wish.driver_options.clone()).unwrap_or_default();
    let six = state.and_then(six_of);
    json!({
        "IPAMConfig": wish.map_or(Value::Null, wished_addresses),
        "Links": none_if_empty(wish.map(|wish| wish.links.clone()).unwrap_or_default()),
        "Aliases": if by_hand { json!(aliases) } else { none_if_empty(aliases) },
        "MacAddress": state.map(hardware_address).unwrap_or_default(),
        "DriverOpts": if by_hand || !options.is_empty() { json!(options) } else { Value::Null },
        "GwPriority": wish.map_or(0, |wish| wish.gateway_priority),
        "NetworkID": id.unwrap_or_default(),
        "EndpointID": state.map(|one| one.endpoint.host_interface.clone()).unwrap_or_default(),
        "Gateway": state.map(|one| one.endpoint.gateway.to_string()).unwrap_or_default(),
        "IPAddress": state.map(|one| one.endpoint.address.to_string()).unwrap_or_default(),
        "IPPrefixLen": state.map(|one| one.endpoint.subnet.prefix_len()).unwrap_or_default(),
        "IPv6Gateway": state.and_then(|one| one.endpoint.gateway6).map(|gateway| gateway.to_string()).unwrap_or_default(),
        "GlobalIPv6Address": six.map(|six| six.address.to_string()).unwrap_or_default(),
        "GlobalIPv6PrefixLen": six.map(|six| six.subnet.prefix_len()).unwrap_or_default(),
        "DNSNames": state.filter(|_| name != "bridge").map(|one| one.aliases.clone()).or(names),
    })
}

fn six_of(state: &EndpointState) -> Option<Six> {
    state.endpoint.six
}

/// The addresses that are wished for; who came by hand has wishes, be they none.
fn wished_addresses(wish: &NetworkWish) -> Value {
    let mut wished = Map::new();
    let six = wish.address6.map(|address| ("IPv6Address", address.to_string()));
    for (name, address) in
        wish.address.map(|address| ("IPv4Address", address.to_string())).into_iter().chain(six)
    {
        wished.insert(name.to_owned(), json!(address));
    }
    if wished.is_empty() && !wish.by_hand { Value::Null } else { Value::Object(wished) }
}

fn hardware_address(state: &EndpointState) -> String {
    state.endpoint.hardware_address.map(|byte| format!("{byte:02x}")).join(":")
}

fn graph_driver(store: &Store, container: &Container) -> Value {
    let paths = store.container_paths(&container.record.id);
    let lowers = spec::lowers(store, container).unwrap_or_else(|error| {
        tracing::warn!(%error, "the layers below a container are not shown");
        Vec::new()
    });
    let lowers: Vec<String> = lowers.iter().rev().map(|path| path.to_string_lossy().into_owned()).collect();
    json!({
        "Data": {
            "LowerDir": lowers.join(":"),
            "UpperDir": paths.upper.to_string_lossy(),
            "WorkDir": paths.work.to_string_lossy(),
        },
        "Name": "overlay2",
    })
}

/// Those that were asked for, and the one that comes with processes or memory that are also of others.
fn security_options(host: &HostSettings) -> Vec<String> {
    let mut options = host.security_options.clone();
    let unlabelled = "label=disable".to_owned();
    let is_shared = host.pid == Sharing::Host || host.ipc == Sharing::Host;
    if is_shared && !options.contains(&unlabelled) {
        options.push(unlabelled);
    }
    options
}
