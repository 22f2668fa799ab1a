//! `info`: the store and the machine.

use crate::args::system::Info;
use crate::command::login::HUB_ADDRESS;
use crate::failure::{Failure, chain};
use crate::render::{document, units};
use crate::session::Session;
use crate::template::Schema;
use crate::verb::Verb;
use lighter_engine::system::{CgroupVersion, inspect_machine, overlay_refusal};
use lighter_engine::{Store, container, container::Status};
use serde_json::{Value, json};
use std::fmt::Write as _;

const SCHEMA: Schema = Schema {
    lists: &["Labels", "SecurityOptions", "Warnings", "DriverStatus", "Controllers"],
    ..Schema::NOTHING
};

impl Verb for Info {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let place = session.store()?;
        let store = session.open_store()?;
        let facts = facts(&store, &place.display().to_string(), session.debug)?;
        let text = match &self.format {
            Some(format) => document::formatted(format, "", &facts, &SCHEMA)?,
            None => described(&facts),
        };
        session.print(&text).map(|()| 0)
    }
}

fn facts(store: &Store, place: &str, debug: bool) -> Result<Value, Failure> {
    let machine = inspect_machine();
    let (mounts, remark) = mounting(store);
    let remarks = remark.into_iter().chain(who_may_write(store)?);
    let system = rustix::system::uname();
    let containers = container::all(store).map_err(|error| Failure::because(&error))?;
    let images = store.images().map_err(|error| Failure::because(&error))?.len();
    let count = |status| containers.iter().filter(|container| container.state.status == status).count();
    let (running, paused) = (count(Status::Running), count(Status::Paused));
    let memory = rustix::system::sysinfo();
    let mut security: Vec<String> =
        machine.security_modules.iter().map(|module| format!("name={module}")).collect();
    if machine.seccomp.is_yes() {
        security.push("name=seccomp,profile=builtin".to_owned());
    }
    if !machine.is_real_root {
        security.push("name=rootless".to_owned());
    }
    let cgroup = match machine.cgroups {
        CgroupVersion::Absent => "none",
        CgroupVersion::V1 | CgroupVersion::Hybrid => "1",
        CgroupVersion::V2 => "2",
    };
    Ok(json!({
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": containers.len() - running - paused,
        "Images": images,
        // Docker's names for layers that are mounted, and for copies
        "Driver": if mounts { "overlay2" } else { "vfs" },
        "CgroupVersion": cgroup,
        "Controllers": machine.controllers,
        "SecurityOptions": security,
        "KernelVersion": machine.kernel,
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": system.machine().to_string_lossy(),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory.totalram as u64 * u64::from(memory.mem_unit),
        "DockerRootDir": place,
        "Name": system.nodename().to_string_lossy(),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "ID": place,
        "Runtimes": {"lighter": {"path": "lighter"}},
        "DefaultRuntime": "lighter",
        "InitBinary": "lighter",
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "CgroupDriver": "cgroupfs",
        "LoggingDriver": "json-file",
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Log": ["json-file", "local", "none"]},
        "Swarm": {"LocalNodeState": "inactive"},
        "IndexServerAddress": HUB_ADDRESS,
        "Debug": debug,
        "ExperimentalBuild": false,
        "Labels": [],
        "ClientInfo": {"Version": env!("CARGO_PKG_VERSION"), "Context": "default", "Debug": debug},
        "Warnings": warnings(&machine, remarks),
    }))
}

/// What this machine lacks, and what would help.
fn warnings(
    machine: &lighter_engine::system::MachineReport,
    remarks: impl Iterator<Item = String>,
) -> Vec<String> {
    use lighter_engine::system::Availability;
    [
        ("user namespaces", &machine.user_namespaces),
        ("subordinate ids", &machine.subordinate_ids),
        ("overlayfs", &machine.overlay),
        ("system call filters", &machine.seccomp),
    ]
    .into_iter()
    .filter_map(|(what, availability)| match availability {
        Availability::Yes => None,
        Availability::No { reason, remedy } => Some(format!("no {what}: {reason}; {remedy}")),
    })
    .chain(remarks)
    .collect()
}

/// Whether layers are mounted over the store, and what is to be said of that. One that is not there yet is not made to
/// find out.
fn mounting(store: &Store) -> (bool, Option<String>) {
    match store.root().exists().then(|| overlay_refusal(store)).transpose().map(Option::flatten) {
        Ok(None) => (true, None),
        Ok(Some(error)) => {
            let remark = format!(
                "overlay file systems cannot be mounted over the store ({error}): commands and containers work on copies; \
                 put the store (LIGHTER_ROOT) on ext4, xfs, btrfs or tmpfs"
            );
            (false, Some(remark))
        }
        Err(error) => (true, Some(format!("the store cannot be written: {}", chain(&error)))),
    }
}

/// Who else may write the store, and what mends that.
fn who_may_write(store: &Store) -> Result<Option<String>, Failure> {
    let others = store.open_to().map_err(|error| Failure::because(&error))?;
    let place = store.root().display();
    Ok(others.map(|who| {
        format!(
            "{who} may write the store: `chmod 700 {place}`, or name a folder that is closed (LIGHTER_ROOT)"
        )
    }))
}

fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn described(facts: &Value) -> String {
    let plain = |name: &str| match &facts[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut text =
        format!("Client:\n Version:    {0}\n Context:    default\n\nServer:\n", plain("ServerVersion"));
    let mut line = |indent: &str, name: &str, value: String| {
        let _ = writeln!(text, "{indent}{name}: {value}");
    };
    line(" ", "Containers", plain("Containers"));
    line("  ", "Running", plain("ContainersRunning"));
    line("  ", "Paused", plain("ContainersPaused"));
    line("  ", "Stopped", plain("ContainersStopped"));
    line(" ", "Images", plain("Images"));
    line(" ", "Server Version", plain("ServerVersion"));
    line(" ", "Storage Driver", plain("Driver"));
    line(" ", "Cgroup Version", plain("CgroupVersion"));
    line(" ", "Security Options", String::new());
    for option in facts["SecurityOptions"].as_array().into_iter().flatten() {
        let name = option.as_str().unwrap_or_default().trim_start_matches("name=");
        let (name, rest) = name.split_once(',').unwrap_or((name, ""));
        line("  ", name, rest.to_owned());
    }
    line(" ", "Kernel Version", plain("KernelVersion"));
    line(" ", "Operating System", plain("OperatingSystem"));
    line(" ", "OSType", plain("OSType"));
    line(" ", "Architecture", plain("Architecture"));
    line(" ", "CPUs", plain("NCPU"));
    line(" ", "Total Memory", units::binary_size(facts["MemTotal"].as_u64().unwrap_or(0)));
    line(" ", "Name", plain("Name"));
    line(" ", "Docker Root Dir", plain("DockerRootDir"));
    for warning in facts["Warnings"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "WARNING: {}", warning.as_str().unwrap_or_default());
    }
    text
}
