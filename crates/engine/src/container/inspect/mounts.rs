//! The mounts of a container, as `inspect` tells them.

use super::super::settings::{ContainerMount, MountSource};
use lighter_store::Store;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What came of `-v`.
pub(super) fn binds(mounts: &[ContainerMount]) -> Vec<String> {
    let bind = |mount: &ContainerMount| {
        let source = match &mount.source {
            _ if mount.long_form => return None,
            MountSource::Bind { path, .. } => path.to_string_lossy().into_owned(),
            MountSource::Volume { name, anonymous: false, .. } => name.clone(),
            _ => return None,
        };
        let mode = if mount.mode.is_empty() { String::new() } else { format!(":{}", mount.mode) };
        Some(format!("{source}:{}{mode}", mount.target))
    };
    mounts.iter().filter_map(bind).collect()
}

/// Whether it came of `--tmpfs`.
fn is_short_tmpfs(mount: &ContainerMount) -> bool {
    matches!(mount.source, MountSource::Tmpfs { .. }) && !mount.long_form
}

/// What came of `--tmpfs`.
pub(super) fn tmpfs(mounts: &[ContainerMount]) -> BTreeMap<String, String> {
    mounts
        .iter()
        .filter(|mount| is_short_tmpfs(mount))
        .map(|mount| (mount.target.clone(), mount.mode.clone()))
        .collect()
}

/// What came of `--mount`.
pub(super) fn wishes(mounts: &[ContainerMount]) -> Vec<Value> {
    let wish = |mount: &ContainerMount| {
        let (kind, source, options) = match &mount.source {
            MountSource::Bind { path, create, propagation } => {
                let create = create.then(|| ("CreateMountpoint", json!(true)));
                let propagation = propagation.as_ref().map(|word| ("Propagation", json!(word)));
                let options: Map<String, Value> = propagation
                    .into_iter()
                    .chain(create)
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect();
                let options = if options.is_empty() { Value::Null } else { options.into() };
                ("bind", path.to_string_lossy().into_owned(), ("BindOptions", options))
            }
            MountSource::Volume { name, anonymous, no_copy, .. } => {
                let options = if *no_copy { json!({ "NoCopy": true }) } else { Value::Null };
                let name = if *anonymous { String::new() } else { name.clone() };
                ("volume", name, ("VolumeOptions", options))
            }
            MountSource::Image { name, subpath, .. } => {
                let options = if subpath.is_empty() { Value::Null } else { json!({ "Subpath": subpath }) };
                ("image", name.clone(), ("ImageOptions", options))
            }
            MountSource::Tmpfs { size_bytes, mode_bits, .. } => {
                let size = size_bytes.map(|bytes| ("SizeBytes", json!(bytes)));
                let mode = mode_bits.map(|bits| ("Mode", json!(bits)));
                let options: Map<String, Value> =
                    size.into_iter().chain(mode).map(|(name, value)| (name.to_owned(), value)).collect();
                let options = if options.is_empty() { Value::Null } else { options.into() };
                ("tmpfs", String::new(), ("TmpfsOptions", options))
            }
        };
        let fields = [
            ("Type", json!(kind)),
            ("Source", none_if_blank(&source)),
            ("Target", json!(mount.target)),
            ("ReadOnly", if mount.read_only && kind != "image" { json!(true) } else { Value::Null }),
            options,
        ];
        let given = fields.into_iter().filter(|(_, value)| !value.is_null());
        given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<String, Value>>().into()
    };
    mounts.iter().filter(|mount| mount.long_form).map(wish).collect()
}

fn none_if_blank(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

/// What is mounted.
pub(super) fn mounts(store: &Store, mounts: &[ContainerMount]) -> Vec<Value> {
    let one = |mount: &ContainerMount| {
        let (kind, source, propagation) = match &mount.source {
            MountSource::Bind { path, propagation, .. } => {
                ("bind", path.clone(), propagation.as_deref().unwrap_or("rprivate"))
            }
            MountSource::Volume { name, .. } => ("volume", store.volume_path(name).unwrap_or_default(), ""),
            MountSource::Image { layers, .. } => {
                let top = layers.last().map(|layer| store.layer_path(layer)).unwrap_or_default();
                ("image", top, "rprivate")
            }
            MountSource::Tmpfs { .. } => ("tmpfs", PathBuf::new(), ""),
        };
        let shared =
            if matches!(mount.source, MountSource::Volume { anonymous: false, .. }) { "z" } else { "" };
        let mut shown = json!({ "Type": kind });
        if let (MountSource::Volume { name, .. } | MountSource::Image { name, .. }, Value::Object(fields)) =
            (&mount.source, &mut shown)
        {
            fields.insert("Name".to_owned(), json!(name));
        }
        let rest = json!({
            "Source": source.to_string_lossy(),
            "Destination": mount.target,
            "Driver": if kind == "volume" { json!("local") } else { Value::Null },
            "Mode": if mount.mode.is_empty() { shared } else { mount.mode.as_str() },
            "RW": !mount.read_only,
            "Propagation": propagation,
        });
        if let (Value::Object(fields), Value::Object(rest)) = (&mut shown, rest) {
            fields.extend(rest.into_iter().filter(|(_, value)| !value.is_null()));
        }
        shown
    };
    mounts.iter().filter(|mount| !is_short_tmpfs(mount)).map(one).collect()
}
