//! From the options of `run` and `create` to what the engine is asked for.

use super::{gpus, limits, security};
use crate::args::container::mount;
use crate::args::container::options::Options;
use crate::args::value::fields;
use crate::environment;
use lighter_engine::container::{
    CreateRequest, Device, HostAddress, HostSettings, LogSettings, NetworkChoice, NetworkWish, Publication,
    Resource, RestartPolicy, Rlimit, Sharing,
};
use lighter_image::Healthcheck;
use std::collections::{BTreeMap, BTreeSet};

/// Why a container cannot be asked for.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The options cannot be read.
    Options(String),
    /// They can, but no engine makes such a container: in Docker its daemon says so.
    Engine(String),
}

impl Refusal {
    /// Why.
    pub(super) fn text(&self) -> &str {
        let (Self::Options(text) | Self::Engine(text)) = self;
        text
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self::Options(text)
    }
}

/// What the engine is asked for.
///
/// # Errors
/// Options that have no sense, contradict each other, or are not supported.
pub(super) fn request(mut options: Options) -> Result<CreateRequest, Refusal> {
    refuse(&options)?;
    let health = health(&options)?;
    let host = host(&mut options)?;
    let mut words = options.words.into_iter();
    let image = words.next().unwrap_or_default();
    let stop_timeout_seconds = options.stop_timeout.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
    Ok(CreateRequest {
        image,
        name: options.name,
        args: words.collect(),
        entrypoint: options.entrypoint,
        env: environment_of(&options.env_file, options.env)?,
        user: options.user,
        working_dir: options.workdir,
        hostname: options.hostname,
        domainname: options.domainname,
        tty: options.tty,
        open_stdin: options.interactive,
        stdin_once: false,
        attach_output: Vec::new(),
        labels: labels(&options.label_file, &options.label)?,
        stop_signal: options.stop_signal,
        stop_timeout_seconds,
        healthcheck: health,
        no_healthcheck: options.no_healthcheck,
        expose: exposed(&options.expose)?,
        volumes_from: options.volumes_from,
        host,
    })
}

/// Options that are understood, but cannot be kept.
fn refuse(options: &Options) -> Result<(), Refusal> {
    if let Some(gpus) = &options.gpus {
        gpus::refuse(gpus)?;
    }
    let given = [
        ("--use-api-socket", options.use_api_socket),
        ("--link-local-ip", !options.link_local_ip.is_empty()),
    ];
    if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
        return Err(format!("option {option} is not supported").into());
    }
    options.storage_opt.iter().try_for_each(|option| limits::refuse_storage_option(option))?;
    if let Some(runtime) = options.runtime.as_deref().filter(|name| !matches!(*name, "runc" | "lighter")) {
        return Err(Refusal::Engine(format!("unknown or invalid runtime name: {runtime}")));
    }
    if let Some(mode) = options.isolation.as_deref().filter(|mode| !matches!(*mode, "" | "default")) {
        return Err(Refusal::Engine(format!("invalid isolation ({mode}): linux only supports 'default'")));
    }
    if options.cgroupns.as_deref().is_some_and(|mode| !matches!(mode, "" | "host" | "private")) {
        return Err("--cgroupns: invalid CGROUP mode".to_owned().into());
    }
    if let Some(share) = options.memory_swappiness.filter(|share| !(-1..=100).contains(share)) {
        return Err(format!("invalid value: {share}. Valid memory swappiness range is 0-100").into());
    }
    if let Some(driver) = options.volume_driver.as_deref().filter(|name| *name != "local") {
        return Err(Refusal::Engine(format!("volume driver {driver:?} is not supported: local is")));
    }
    if options.userns.as_deref().is_some_and(|mode| mode != "host") {
        return Err("--userns: invalid USER mode".to_owned().into());
    }
    Ok(())
}

fn host(options: &mut Options) -> Result<HostSettings, Refusal> {
    let (network, networks) = networks(options)?;
    Ok(HostSettings {
        mounts: mounts(options)?,
        publications: publications(&options.publish)?,
        publish_all: options.publish_all,
        network,
        networks,
        links: links(&options.link)?,
        extra_hosts: options.add_host.iter().map(|text| extra_host(text)).collect::<Result<_, _>>()?,
        dns: std::mem::take(&mut options.dns),
        dns_search: std::mem::take(&mut options.dns_search),
        dns_options: std::mem::take(&mut options.dns_option),
        cap_add: std::mem::take(&mut options.cap_add),
        cap_drop: std::mem::take(&mut options.cap_drop),
        privileged: options.privileged,
        security_options: security::options(&options.security_opt)?,
        devices: options.device.iter().map(|text| device(text)).collect::<Result<_, _>>()?,
        group_add: std::mem::take(&mut options.group_add),
        readonly_root: options.read_only,
        init: options.init,
        shm_size_bytes: options.shm_size.filter(|size| *size > 0),
        rlimits: rlimits(options)?,
        sysctls: std::mem::take(&mut options.sysctl),
        oom_score_adj: options.oom_score_adj.filter(|score| *score != 0),
        ipc: sharing(options.ipc.as_deref(), "ipc", "IPC")?,
        pid: sharing(options.pid.as_deref(), "pid", "PID")?,
        uts: sharing(options.uts.as_deref(), "uts", "UTS")?,
        limits: limits::limits(options),
        restart: restart(options)?,
        auto_remove: options.rm,
        log: LogSettings {
            driver: options.log_driver.take().unwrap_or_default(),
            options: pairs(&options.log_opt),
        },
        annotations: pairs(&options.annotation),
        cgroup_parent: options.cgroup_parent.take().filter(|parent| !parent.is_empty()),
        host_cgroups: options.cgroupns.as_deref() == Some("host"),
    })
}

/// `KEY=VALUE` each; without a value it is empty.
fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}

fn restart(options: &Options) -> Result<RestartPolicy, Refusal> {
    let policy: RestartPolicy =
        options.restart.parse().map_err(|error: lighter_engine::container::ParseRestartPolicyError| {
            Refusal::Engine(error.to_string())
        })?;
    if options.rm && policy != RestartPolicy::No {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned().into());
    }
    Ok(policy)
}

fn mounts(options: &mut Options) -> Result<Vec<lighter_engine::container::ContainerMount>, Refusal> {
    let mut mounts = Vec::new();
    for volume in &options.volume {
        mounts.push(mount::parse_volume(volume).map_err(Refusal::Engine)?);
    }
    for wish in std::mem::take(&mut options.mount) {
        mounts.push(wish.into_wish()?);
    }
    for tmpfs in &options.tmpfs {
        mounts.push(mount::parse_tmpfs(tmpfs).map_err(Refusal::Engine)?);
    }
    Ok(mounts)
}

fn publications(texts: &[String]) -> Result<Vec<Publication>, String> {
    let mut publications = Vec::new();
    for text in texts {
        publications.extend(publication(text)?);
    }
    Ok(publications)
}

/// `-p` in its short form, or as `target=80,published=8080,protocol=tcp`.
fn publication(text: &str) -> Result<Vec<Publication>, String> {
    if !text.contains('=') {
        return Publication::parse(text).map_err(|error| error.to_string());
    }
    let (mut address, mut target, mut published) = (String::new(), String::new(), String::new());
    let mut protocol = "tcp".to_owned();
    for field in fields(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field: {field}"))?;
        match key {
            "target" => value.clone_into(&mut target),
            "published" => value.clone_into(&mut published),
            "protocol" => value.clone_into(&mut protocol),
            "host_ip" if value.contains(':') => address = format!("[{value}]:"),
            "host_ip" => address = format!("{value}:"),
            // as Docker has it, it says nothing to a container that is no service's
            "mode" => {}
            _ => return Err(format!("invalid field key: {key}")),
        }
    }
    let separator = if published.is_empty() && address.is_empty() { "" } else { ":" };
    Publication::parse(&format!("{address}{published}{separator}{target}/{protocol}"))
        .map_err(|error| error.to_string())
}

/// `--expose`, ranges spelled out.
fn exposed(texts: &[String]) -> Result<Vec<String>, String> {
    let mut ports = Vec::new();
    for text in texts {
        let invalid = || format!("invalid range format for --expose: {text}");
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u16, u16) =
            (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
        if !matches!(protocol, "tcp" | "udp" | "sctp") || first > last {
            return Err(invalid());
        }
        ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    Ok(ports)
}

/// `--network`, once or several times, with what is wished of each.
fn networks(options: &Options) -> Result<(NetworkChoice, Vec<NetworkWish>), Refusal> {
    let mut wishes = Vec::new();
    for text in &options.network {
        wishes.push(network(text)?);
    }
    if wishes.is_empty() {
        wishes.push(NetworkWish::of("bridge"));
    }
    let first = &mut wishes[0];
    first.aliases.extend(options.network_alias.iter().cloned());
    if let Some(ip) = &options.ip {
        let invalid = |_| Refusal::Engine(format!("invalid IPv4 address: {ip}"));
        first.address = Some(ip.parse().map_err(invalid)?);
    }
    if let Some(ip) = &options.ip6 {
        let invalid = |_| Refusal::Engine(format!("invalid IPv6 address: {ip}"));
        first.address6 = Some(ip.parse().map_err(invalid)?);
    }
    first.hardware_address = options.mac_address.clone().or(first.hardware_address.take());
    let choice = choice(&first.network)?;
    let on_bridges = matches!(choice, NetworkChoice::Bridge | NetworkChoice::Named(_));
    once_each(&wishes)?;
    let own = |wish: &NetworkWish| {
        !matches!(wish.network.as_str(), "default" | "bridge" | "host" | "none")
            && !wish.network.starts_with("container:")
    };
    if wishes.iter().any(own) && !wishes.iter().all(own) || !on_bridges && wishes.len() > 1 {
        let conflict =
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes";
        return Err(conflict.to_owned().into());
    }
    if !matches!(choice, NetworkChoice::Named(_)) {
        if !wishes[0].aliases.is_empty() {
            let fault = "network-scoped aliases are only supported for user-defined networks";
            return Err(fault.to_owned().into());
        }
        if wishes[0].address.is_some() || wishes[0].address6.is_some() {
            let fault = "user specified IP address is supported on user defined networks only";
            return Err(Refusal::Engine(fault.to_owned()));
        }
    }
    if choice == NetworkChoice::Bridge {
        "bridge".clone_into(&mut wishes[0].network);
    }
    if matches!(choice, NetworkChoice::Container(_)) {
        conflicts_with_shared_network(options)?;
    }
    if !on_bridges {
        wishes.clear();
    }
    Ok((choice, wishes))
}

/// What a network's name chooses.
fn choice(name: &str) -> Result<NetworkChoice, Refusal> {
    Ok(match name {
        "default" | "bridge" => NetworkChoice::Bridge,
        "host" => NetworkChoice::Host,
        "none" => NetworkChoice::None,
        name => match name.strip_prefix("container:") {
            Some("") => {
                return Err(Refusal::Engine("invalid container format container:<name|id>".to_owned()));
            }
            Some(other) => NetworkChoice::Container(other.to_owned()),
            None => NetworkChoice::Named(name.to_owned()),
        },
    })
}

/// No container is on a network twice, nor on others beside the host's or none.
fn once_each(wishes: &[NetworkWish]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = wishes.iter().find(|wish| !seen.insert(&wish.network)) {
        return Err(format!("network {:?} is specified multiple times", twice.network).into());
    }
    let is_built_in =
        |wish: &NetworkWish| matches!(wish.network.as_str(), "default" | "bridge" | "host" | "none");
    let alone = wishes.iter().find(|wish| matches!(wish.network.as_str(), "none" | "host"));
    if let Some(alone) = alone.filter(|_| wishes.len() > 1 && wishes.iter().all(is_built_in)) {
        let kind = if alone.network == "none" { "private (none)" } else { "host" };
        return Err(Refusal::Engine(format!(
            "container cannot be connected to multiple networks with one of the networks in {kind} mode"
        )));
    }
    Ok(())
}

/// A container in the network of another has its name, its files and its ports.
fn conflicts_with_shared_network(options: &Options) -> Result<(), Refusal> {
    let conflicts = [
        ("hostname", options.hostname.is_some()),
        ("links", !options.link.is_empty()),
        ("dns", !options.dns.is_empty() || !options.dns_search.is_empty()),
        ("custom host-to-IP mapping", !options.add_host.is_empty()),
        ("mac-address", options.mac_address.is_some()),
        ("port publishing", !options.publish.is_empty() || options.publish_all),
        ("port exposing", !options.expose.is_empty()),
    ];
    match conflicts.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((what, _)) => {
            Err(Refusal::Engine(format!("conflicting options: {what} and the container type network mode")))
        }
    }
}

/// A network by name, or as `name=NAME,alias=ALIAS,ip=ADDRESS`.
fn network(text: &str) -> Result<NetworkWish, String> {
    if !text.contains('=') {
        return Ok(NetworkWish::of(text));
    }
    let mut wish = NetworkWish::of("");
    for field in fields(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        match key.to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut wish.network),
            "alias" => wish.aliases.push(value.to_owned()),
            "ip" => wish.address = Some(value.parse().map_err(|_| format!("invalid IPv4 address: {value}"))?),
            "ip6" => {
                wish.address6 = Some(value.parse().map_err(|_| format!("invalid IPv6 address: {value}"))?);
            }
            "mac-address" => wish.hardware_address = Some(value.to_owned()),
            "gw-priority" => {
                let invalid = |_| format!("invalid gw-priority ({value}): invalid syntax");
                wish.gateway_priority = value.parse().map_err(invalid)?;
            }
            "driver-opt" => {
                let pair = value.split_once('=').filter(|(key, _)| !key.is_empty());
                let (key, value) =
                    pair.ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                wish.driver_options.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
            _ => return Err(format!("unsupported network option '{key}'")),
        }
    }
    if wish.network.is_empty() { Err("network name is required".to_owned()) } else { Ok(wish) }
}

fn links(texts: &[String]) -> Result<Vec<(String, String)>, String> {
    let link = |text: &String| match text.split(':').collect::<Vec<_>>()[..] {
        [name] if !name.is_empty() => Ok((name.to_owned(), name.to_owned())),
        [name, alias] if !name.is_empty() && !alias.is_empty() => Ok((name.to_owned(), alias.to_owned())),
        _ => Err(format!("bad format for links: {text}")),
    };
    texts.iter().map(link).collect()
}

fn extra_host(text: &str) -> Result<(String, HostAddress), String> {
    let (name, address) =
        text.split_once(['=', ':']).ok_or_else(|| format!("bad format for add-host: {text:?}"))?;
    if name.is_empty() {
        return Err(format!("bad format for add-host: {text:?}"));
    }
    if address == "host-gateway" {
        return Ok((name.to_owned(), HostAddress::Gateway));
    }
    let plain = address.trim_start_matches('[').trim_end_matches(']');
    let parsed = plain.parse().map_err(|_| format!("invalid IP address in add-host: {address:?}"))?;
    Ok((name.to_owned(), HostAddress::Address(parsed)))
}

fn device(text: &str) -> Result<Device, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |word: &str| !word.is_empty() && word.bytes().all(|byte| b"rwm".contains(&byte));
    let (source, target) = match parts[..] {
        [path] => (path, path),
        [path, mode] if is_mode(mode) => (path, path),
        [source, target] => (source, target),
        [source, target, mode] if is_mode(mode) => (source, target),
        _ => return Err(format!("invalid device specification: {text}")),
    };
    if !source.starts_with('/') || !target.starts_with('/') {
        return Err(format!("invalid device specification: {text}"));
    }
    Ok(Device { source: source.into(), target: target.to_owned() })
}

fn rlimits(options: &Options) -> Result<Vec<Rlimit>, String> {
    let limit = |value: u64| (value != u64::MAX).then_some(value);
    let one = |ulimit: &crate::args::value::Ulimit| {
        let resource = Resource::from_name(&ulimit.name)
            .ok_or_else(|| format!("invalid ulimit type: {}", ulimit.name))?;
        Ok(Rlimit { resource, soft: limit(ulimit.soft), hard: limit(ulimit.hard) })
    };
    options.ulimit.iter().map(one).collect()
}

fn sharing(text: Option<&str>, option: &str, name: &str) -> Result<Sharing, Refusal> {
    match text {
        None | Some("" | "private") => Ok(Sharing::Private),
        Some("shareable") if option == "ipc" => Ok(Sharing::Shareable),
        Some("none") if option == "ipc" => Ok(Sharing::None),
        Some("host") => Ok(Sharing::Host),
        Some(text) => match text.strip_prefix("container:") {
            Some(other) if !other.is_empty() && option != "uts" => Ok(Sharing::Container(other.to_owned())),
            _ if option == "ipc" => Err(Refusal::Engine(format!("invalid IPC mode: {text}"))),
            _ => Err(format!("--{option}: invalid {name} mode").into()),
        },
    }
}

fn health(options: &Options) -> Result<Option<Healthcheck>, Refusal> {
    let check = Healthcheck {
        test: options
            .health_cmd
            .iter()
            .filter(|command| !command.is_empty())
            .flat_map(|command| ["CMD-SHELL".to_owned(), command.clone()])
            .collect(),
        interval: options.health_interval.unwrap_or_default(),
        timeout: options.health_timeout.unwrap_or_default(),
        start_period: options.health_start_period.unwrap_or_default(),
        start_interval: options.health_start_interval.unwrap_or_default(),
        retries: options.health_retries.unwrap_or_default(),
    };
    let given = check != Healthcheck::default();
    if given && options.no_healthcheck {
        return Err("--no-healthcheck conflicts with --health-* options".to_owned().into());
    }
    if check.retries < 0 {
        return Err("--health-retries cannot be negative".to_owned().into());
    }
    for (name, duration) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if (1..1_000_000).contains(&duration) {
            return Err(Refusal::Engine(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    Ok(given.then_some(check))
}

/// The variables of files, then those of the command line.
pub(super) fn environment_of(files: &[String], given: Vec<String>) -> Result<Vec<String>, String> {
    let mut variables = Vec::new();
    for file in files {
        for line in lines_of(file)? {
            let variable = variable_of_line(&line);
            variables.extend(variable.map_err(|fault| format!("invalid env file ({file}): {fault}"))?);
        }
    }
    variables.extend(given.into_iter().map(|variable| match environment::passed_on(&variable) {
        Some(value) if !variable.contains('=') => format!("{variable}={value}"),
        _ => variable,
    }));
    Ok(variables)
}

/// One line of a file of variables; a name alone is passed on from outside, if it is there.
fn variable_of_line(line: &str) -> Result<Option<String>, String> {
    let (name, value) = pair_of_line(line)?;
    let value = value.map_or_else(|| environment::passed_on(name), |value| Some(value.to_owned()));
    Ok(value.map(|value| format!("{name}={value}")))
}

/// The name on a line of a file, and the value, if it has one.
fn pair_of_line(line: &str) -> Result<(&str, Option<&str>), String> {
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (line, None),
    };
    let name = name.trim_start();
    if name.is_empty() {
        return Err(format!("no variable name on line '{line}'"));
    }
    if name.contains(char::is_whitespace) {
        return Err(format!("variable '{name}' contains whitespaces"));
    }
    Ok((name, value))
}

fn labels(files: &[String], given: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for file in files {
        for line in lines_of(file)? {
            // a name alone is none, other than on the command line
            let pair = pair_of_line(&line).map_err(|fault| format!("invalid env file ({file}): {fault}"))?;
            labels.extend(pair.1.map(|value| (pair.0.to_owned(), value.to_owned())));
        }
    }
    labels.extend(given.iter().map(|label| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        (key.to_owned(), value.to_owned())
    }));
    Ok(labels)
}

/// The lines of a file, without comments and empty ones.
fn lines_of(file: &str) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {file}: no such file or directory"),
        _ => format!("open {file}: {error}"),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let kept = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(kept.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_publication_is_a_short_one() {
        for (long, short) in [
            ("target=80", "80"),
            ("target=80,published=8080,mode=host", "8080:80"),
            ("target=80,published=8080,host_ip=127.0.0.1,protocol=udp", "127.0.0.1:8080:80/udp"),
            ("host_ip=127.0.0.1,target=80", "127.0.0.1::80"),
            ("host_ip=::1,target=80,published=8080", "[::1]:8080:80"),
        ] {
            let shown = |text: &str| format!("{:?}", publication(text));
            assert!(publication(long).is_ok(), "{}", shown(long));
            assert_eq!(shown(long), shown(short), "{long}");
        }
    }

    #[test]
    fn ports_to_expose() {
        assert_eq!(
            exposed(&["80".into(), "7-8/udp".into()]).as_deref(),
            Ok(&["80/tcp", "7/udp", "8/udp"].map(String::from)[..])
        );
        assert!(exposed(&["x".into()]).is_err() && exposed(&["9-8".into()]).is_err());
    }

    #[test]
    fn hosts() {
        let check = |text: &str, name: &str, address: &str| {
            let expected = HostAddress::Address(address.parse().expect("an address"));
            assert_eq!(extra_host(text), Ok((name.to_owned(), expected)), "{text}");
        };
        check("db:10.9.8.7", "db", "10.9.8.7");
        check("db=10.9.8.7", "db", "10.9.8.7");
        check("six:::1", "six", "::1");
        check("six=[::1]", "six", "::1");
        assert_eq!(extra_host("h:host-gateway"), Ok(("h".to_owned(), HostAddress::Gateway)));
        assert!(extra_host("h").is_err() && extra_host("h:x").is_err() && extra_host(":1.1.1.1").is_err());
    }

    #[test]
    fn devices() {
        let check = |text: &str, source: &str, target: &str| {
            let expected = Device { source: source.into(), target: target.to_owned() };
            assert_eq!(device(text), Ok(expected), "{text}");
        };
        check("/dev/a", "/dev/a", "/dev/a");
        check("/dev/a:rw", "/dev/a", "/dev/a");
        check("/dev/a:/dev/b:r", "/dev/a", "/dev/b");
        assert!(device("a").is_err() && device("/dev/a:/dev/b:x").is_err());
    }

    #[test]
    fn lines_of_variables() {
        assert_eq!(variable_of_line("C=with = and"), Ok(Some("C=with = and".to_owned())));
        assert!(variable_of_line("a b=1").is_err() && variable_of_line("=1").is_err());
        assert_eq!(variable_of_line("SURELY_NOT_SET_ANYWHERE"), Ok(None));
    }
}
