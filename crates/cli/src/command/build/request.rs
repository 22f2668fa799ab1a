//! From the words of `build` to what is meant.

use super::{locations, sources};
use crate::args::build::Build;
use crate::args::value;
use crate::command::builder::only_default;
use crate::command::platform;
use crate::environment;
use crate::failure::Failure;
use crate::registry;
use crate::session::Session;
use jiff::Timestamp;
use lighter_dockerfile::plan::RunNetwork;
use lighter_engine::build::{
    BuildRequest, CacheLocation, CacheRules, LayerForm, Limits, OnError, OutputKind, Pull, RunSettings,
};
use lighter_image::{Platform, Reference};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The levels of annotations.
const LEVELS: [&str; 4] = ["index", "index-descriptor", "manifest", "manifest-descriptor"];

/// What the user asks for.
///
/// # Errors
/// What cannot be understood, and what lighter does not do.
pub(super) fn of(args: &Build, session: &Session) -> Result<BuildRequest, Failure> {
    refuse(args, session)?;
    let context = sources::context(&args.context);
    let mut request = BuildRequest::new(context, Timestamp::now());
    request.file = args.file.as_deref().map(sources::file);
    request.named_contexts = sources::named(&args.build_context)?;
    request.target.clone_from(&args.target);
    request.build_args = sources::proxies(session);
    request.build_args.extend(variables(&args.build_arg)?);
    request.labels = args.label.iter().map(|text| pair(text)).collect::<Result<_, _>>()?;
    request.tags = args.tag.iter().map(|tag| name(tag)).collect::<Result<_, _>>()?;
    request.platform = match args.platform.as_slice() {
        [] => None,
        [one] => Some(platform::parse(one)?),
        _ => {
            return Err(Failure::new(
                "ERROR: a build for several platforms at once is not supported: build one after the other",
            ));
        }
    };
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    request.annotations = annotations(&args.annotation, &platform)?;
    request.pull = if args.pull { Pull::Always } else { Pull::Missing };
    request.cache = CacheRules { no_cache: args.no_cache, no_cache_filter: args.no_cache_filter.clone() };
    request.cache_from =
        args.cache_from.iter().map(|text| locations::cache(text)).collect::<Result<_, _>>()?;
    request.cache_to = args.cache_to.iter().map(|text| locations::cache(text)).collect::<Result<_, _>>()?;
    request.secrets = sources::secrets(&args.secret, session)?;
    request.ssh = sources::ssh(&args.ssh)?;
    request.run = run_settings(args)?;
    request.layers = layers(args)?;
    request.outputs = locations::outputs(args, session)?;
    if args.iidfile.is_some()
        && request.outputs.iter().any(|output| matches!(output.kind, OutputKind::Local | OutputKind::Tar))
    {
        return Err(Failure::new("ERROR: local and tar exporters are incompatible with image ID file"));
    }
    inline_cache(&mut request)?;
    request.jobs = match args.jobs {
        Some(0) => return Err(Failure::new("ERROR: --jobs must be at least 1")),
        jobs => jobs,
    };
    match environment::source_date_epoch() {
        Some(text) if text == "context" => {
            // behind those that are given, which count
            request.build_args.insert(0, ("SOURCE_DATE_EPOCH".to_owned(), text));
        }
        text => request.source_date_epoch = text.as_deref().map(epoch).transpose()?,
    }
    request.explain = args.explain;
    request.on_error = on_error(args)?;
    request.attach = super::shell::attach().filter(|_| request.on_error == OnError::Shell);
    request.cache_limit_bytes = cache_limit()?;
    request.registry = registry::settings(session)?;
    Ok(request)
}

/// Options that Docker has and lighter has not: each says so. What Docker only warns of is no failure here.
fn refuse(args: &Build, session: &Session) -> Result<(), Failure> {
    let off = |value: &Option<String>| {
        value.as_deref().is_none_or(|value| matches!(value, "false" | "0" | "disabled=true"))
    };
    only_default(args.builder.as_deref())?;
    if !args.security_opt.is_empty() {
        session.remark("WARNING: --security-opt does nothing for builds: write `RUN --security=insecure`");
    }
    if args.isolation.as_deref().is_some_and(|name| !matches!(name, "default" | "")) {
        session.remark("WARNING: --isolation does nothing for builds");
    }
    let unsupported = |what: &str| Err(Failure::new(format!("ERROR: {what}")));
    match args {
        _ if args.context == "-" && args.file.as_deref() == Some("-") => Err(Failure::new(
            "ERROR: failed to build: invalid argument: can't use stdin for both build context and dockerfile",
        )),
        _ if !args.attest.iter().all(|text| text.ends_with("disabled=true"))
            || !off(&args.provenance)
            || !off(&args.sbom) =>
        {
            unsupported(
                "attestations are not supported: leave out --attest, --provenance and --sbom, or set them to false",
            )
        }
        _ => Ok(()),
    }
}

/// What shall become of a step that fails.
fn on_error(args: &Build) -> Result<OnError, Failure> {
    match args.on_error.as_str() {
        "remove" => Ok(OnError::Remove),
        "keep" => Ok(OnError::Keep),
        "shell" if args.context == "-" || args.file.as_deref() == Some("-") => Err(Failure::new(
            "ERROR: --on-error=shell needs standard input for the shell: give a folder as context, and a file",
        )),
        "shell" if args.progress.as_deref() == Some("tty") => {
            Err(Failure::new("ERROR: --on-error=shell does not go with --progress=tty"))
        }
        "shell" => Ok(OnError::Shell),
        other => Err(Failure::new(format!(
            "ERROR: --on-error={other} is not supported: it must be remove, keep or shell"
        ))),
    }
}

/// How large the build cache may become.
fn cache_limit() -> Result<Option<u64>, Failure> {
    let Some(text) = environment::cache_limit() else { return Ok(None) };
    let invalid = |error| Failure::new(format!("ERROR: LIGHTER_CACHE_LIMIT: {error}"));
    value::bytes(&text).map(Some).map_err(invalid)
}

fn run_settings(args: &Build) -> Result<RunSettings, Failure> {
    let (mut insecure, mut host_network) = (false, false);
    for entitlement in &args.allow {
        match entitlement.as_str() {
            "security.insecure" => insecure = true,
            "network.host" => host_network = true,
            other => {
                return Err(Failure::new(format!(
                    "ERROR: --allow {other}: lighter knows network.host and security.insecure"
                )));
            }
        }
    }
    let network = match args.network.as_str() {
        "default" | "bridge" | "" => RunNetwork::Default,
        "none" => RunNetwork::None,
        "host" => RunNetwork::Host,
        other => {
            return Err(Failure::new(format!(
                "ERROR: network mode {other:?} not supported by a build: it is default, none or host"
            )));
        }
    };
    Ok(RunSettings {
        network,
        extra_hosts: args.add_host.iter().map(|text| host(text)).collect::<Result<_, _>>()?,
        shm_size_bytes: args.shm_size,
        ulimits: args.ulimit.iter().map(|limit| (limit.name.clone(), limit.soft, limit.hard)).collect(),
        insecure_is_allowed: insecure,
        host_network_is_allowed: host_network || network == RunNetwork::Host,
        limits: Limits {
            cgroup_parent: args.cgroup_parent.clone(),
            memory_bytes: args.memory,
            memory_swap_bytes: args.memory_swap,
            cpu_shares: args.cpu_shares,
            cpu_quota: args.cpu_quota,
            cpu_period: args.cpu_period,
            cpuset_cpus: args.cpuset_cpus.clone(),
            cpuset_mems: args.cpuset_mems.clone(),
        },
        ..RunSettings::default()
    })
}

fn host(text: &str) -> Result<(String, Option<IpAddr>), Failure> {
    let invalid = || Failure::new(format!("ERROR: invalid host {text}: it must be NAME:ADDRESS"));
    let (name, address) = text.split_once(['=', ':']).ok_or_else(invalid)?;
    if name.is_empty() {
        return Err(invalid());
    }
    if address == "host-gateway" {
        return Ok((name.to_owned(), None));
    }
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    address.parse().map(|address| (name.to_owned(), Some(address))).map_err(|_| invalid())
}

/// Of each, `NAME=VALUE`, or the caller's variable of that name.
fn variables(texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut variables = Vec::with_capacity(texts.len());
    for text in texts {
        let (name, value) = pair(text)?;
        if text.contains('=') {
            variables.push((name, value));
        } else {
            variables.extend(environment::passed_on(text).map(|value| (name, value)));
        }
    }
    Ok(variables)
}

fn pair(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(Failure::new(format!("ERROR: invalid key-value pair {text:?}: empty key")));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn name(text: &str) -> Result<Reference, Failure> {
    match text.parse::<Reference>() {
        Ok(reference) if reference.digest().is_some() => Err(Failure::new(format!(
            "ERROR: invalid tag {text:?}: refusing to create a tag with a digest reference"
        ))),
        Ok(reference) => Ok(reference),
        Err(error) => Err(Failure::new(format!("ERROR: invalid tag {text:?}: {error}"))),
    }
}

/// `--layers`, `--squash`.
fn layers(args: &Build) -> Result<LayerForm, Failure> {
    match (args.layers.as_deref(), args.squash) {
        (None | Some("squash"), true) | (Some("squash"), false) => Ok(LayerForm::Squash),
        (None | Some("step"), false) => Ok(LayerForm::PerStep),
        (Some("merge-copy"), false) => Ok(LayerForm::MergeCopy),
        (Some(other), true) => {
            Err(Failure::new(format!("ERROR: --squash and --layers={other} contradict each other")))
        }
        (Some(other), false) => Err(Failure::new(format!(
            "ERROR: --layers={other} is not supported: it is step, merge-copy or squash"
        ))),
    }
}

/// The older way to ask for `--cache-to type=inline`, and what an inline cache needs.
fn inline_cache(request: &mut BuildRequest) -> Result<(), Failure> {
    let asked = request.build_args.iter().rev().find(|(name, _)| name == "BUILDKIT_INLINE_CACHE");
    let asked = asked.is_some_and(|(_, value)| crate::args::switch(value).unwrap_or(false));
    if asked && !request.cache_to.iter().any(|location| location.kind == "inline") {
        let inline = CacheLocation { kind: "inline".to_owned(), attributes: BTreeMap::new() };
        request.cache_to.push(inline);
    }
    let inline = request.cache_to.iter().any(|location| location.kind == "inline");
    if inline && request.layers != LayerForm::PerStep {
        return Err(Failure::new(
            "ERROR: an inline cache is made of the layers of the steps, which --squash and --layers join: \
             use --cache-to type=registry or type=local",
        ));
    }
    Ok(())
}

/// `[LEVEL[PLATFORM][,LEVEL]:]KEY=VALUE`, once for each level; those of other platforms are nobody's.
fn annotations(texts: &[String], platform: &Platform) -> Result<Vec<(String, String)>, Failure> {
    let mut annotations = Vec::new();
    for text in texts {
        let (key, content) = text
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("ERROR: invalid annotation {text:?}, expected key=value")))?;
        let (levels, key) = match key.split_once(':') {
            Some((levels, key)) => (levels, key),
            None => ("manifest", key),
        };
        for level in levels.split(',') {
            let (level, of) = level_of(level)?;
            if of.is_none_or(|of| platform.satisfies(&of)) {
                annotations.push((format!("{level}:{key}"), content.to_owned()));
            }
        }
    }
    Ok(annotations)
}

/// A level, and the platform in brackets behind it.
fn level_of(text: &str) -> Result<(&str, Option<Platform>), Failure> {
    let fault = |what: String| Failure::new(format!("ERROR: failed to build: parse annotations: {what}"));
    let shape = || {
        fault(format!(
            "invalid annotation type {text:?}, expected type and optional platform in square brackets"
        ))
    };
    let (level, of) = match text.split_once('[') {
        Some((level, rest)) => (level, rest.strip_suffix(']').filter(|of| !of.is_empty()).ok_or_else(shape)?),
        None => (text, ""),
    };
    if !LEVELS.contains(&level) {
        return Err(fault(format!("unknown annotation type {level:?}")));
    }
    if of.is_empty() {
        return Ok((level, None));
    }
    if level.starts_with("index") {
        return Err(fault(format!("{level} annotations are not for one platform")));
    }
    let platform = of.parse().map_err(|_| fault(format!("invalid platform {of:?}")))?;
    Ok((level, Some(platform)))
}

fn epoch(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| {
        Failure::new(format!(
            "ERROR: invalid SOURCE_DATE_EPOCH: {text:?} is not a number of seconds, nor `context`"
        ))
    })
}

/// `KEY=VALUE` fields of an option, by key in lower case.
///
/// # Errors
/// A field without `=`, or quotes that do not match.
pub(super) fn attributes(option: &str, text: &str) -> Result<Vec<(String, String)>, Failure> {
    let fields = value::fields(text).map_err(|why| Failure::new(format!("ERROR: {option}: {why}")))?;
    fields
        .iter()
        .map(|field| match field.split_once('=') {
            Some((key, content)) => Ok((key.trim().to_lowercase(), content.to_owned())),
            None => Err(Failure::new(format!(
                "ERROR: {option}: invalid field {field:?}, must be a key=value pair"
            ))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let shown =
                |address: Option<IpAddr>| address.map_or("gateway".to_owned(), |address| address.to_string());
            let read = host(text).ok().map(|(name, address)| (name, shown(address)));
            assert_eq!(read, expected.map(|(name, address)| (name.to_owned(), address.to_owned())), "{text}");
        };
        check("db.test:10.1.2.3", Some(("db.test", "10.1.2.3")));
        check("db=::1", Some(("db", "::1")));
        check("db:[::1]", Some(("db", "::1")));
        check("db=host-gateway", Some(("db", "gateway")));
        check("db", None);
        check(":1.2.3.4", None);
        check("db:x", None);
    }

    #[test]
    fn annotations_have_levels() {
        let platform = Platform::new("linux", "amd64", None);
        let read = |text: &str| annotations(&[text.to_owned()], &platform).ok();
        let owned = |list: &[(&str, &str)]| {
            Some(list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
        };
        assert_eq!(read("a=b"), owned(&[("manifest:a", "b")]));
        assert_eq!(read("index,manifest:a=b=c"), owned(&[("index:a", "b=c"), ("manifest:a", "b=c")]));
        assert_eq!(read("manifest:x:a=b"), owned(&[("manifest:x:a", "b")]));
        assert_eq!(read("manifest[linux/amd64],index:a=b"), owned(&[("manifest:a", "b"), ("index:a", "b")]));
        assert_eq!(read("manifest-descriptor[linux/amd64]:a=b"), owned(&[("manifest-descriptor:a", "b")]));
        assert_eq!(read("manifest[linux/arm64]:a=b"), owned(&[]));
        for text in ["x:a=b", "a", "manifest[]:a=b", "manifest[linux/amd64:a=b", "index[linux/amd64]:a=b"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(name("a").map(|name| name.familiar()).ok().as_deref(), Some("a"));
        assert!(name("A").is_err() && name("a@sha256:00").is_err());
    }
}
