//! `--format` of the verbs that show one thing.

use crate::template::{Schema, Template, TemplateError};
use serde_json::Value;

/// A value under a format: `json`, or a template; with a line end.
///
/// # Errors
/// A fault of the template, which goes by `name`.
pub(crate) fn formatted(
    format: &str,
    name: &str,
    value: &Value,
    schema: &Schema,
) -> Result<String, TemplateError> {
    let source = if format == "json" { "{{json .}}" } else { format };
    let template = Template::parse(source).map_err(|error| error.named(name))?;
    let text = template.render(value, schema).map_err(|error| error.named(name))?;
    Ok(text + "\n")
}

/// The machine's architecture, by Go's name.
pub(crate) fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// What Go's types know of the things that `inspect` shows, and JSON does not.
const INSPECTED: Schema = Schema {
    maps: &["ExposedPorts", "Networks", "PortBindings", "Ports", "Services", "Status", "Volumes"],
    text_maps: &[
        "Annotations",
        "AuxiliaryAddresses",
        "Data",
        "DriverOpts",
        "Labels",
        "Options",
        "StorageOpt",
        "Sysctls",
        "Tmpfs",
    ],
    lists: &[
        "Aliases",
        "Args",
        "Binds",
        "CapAdd",
        "CapDrop",
        "Cmd",
        "BlkioDeviceReadBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceWriteIOps",
        "BlkioWeightDevice",
        "DNSNames",
        "DeviceCgroupRules",
        "DeviceRequests",
        "Devices",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Entrypoint",
        "Env",
        "ExecIDs",
        "ExtraHosts",
        "GroupAdd",
        "Layers",
        "Links",
        "MaskedPaths",
        "Mounts",
        "OnBuild",
        "Peers",
        "ReadonlyPaths",
        "RepoDigests",
        "RepoTags",
        "SecondaryIPAddresses",
        "SecondaryIPv6Addresses",
        "SecurityOpt",
        "Shell",
        "Ulimits",
        "VolumesFrom",
    ],
    texts: &[
        "Author",
        "Comment",
        "Container",
        "Created",
        "DockerVersion",
        "Driver",
        "IPRange",
        "MacAddress",
        "Name",
        "OsVersion",
        "StopSignal",
        "User",
        "Variant",
        "WorkingDir",
    ],
    numbers: &["Retries", "VirtualSize"],
    durations: &["Interval", "StartInterval", "StartPeriod", "Timeout"],
    pointers: &[
        "ClusterVolume",
        "ContainerConfig",
        "Descriptor",
        "Health",
        "Healthcheck",
        "Init",
        "Manifests",
        "SizeRootFs",
        "SizeRw",
        "StopTimeout",
        "UsageData",
    ],
    ..Schema::NOTHING
};

/// Documents as `inspect` prints them: a JSON array, with lines or without, or one line of a template each.
///
/// # Errors
/// A fault of the template.
pub(crate) fn inspected(format: Option<&str>, documents: &[Value]) -> Result<String, TemplateError> {
    match format {
        None | Some("") => Ok(indented(documents)),
        Some("json") => Ok(format!("{}\n", Value::from(documents))),
        Some(format) => documents
            .iter()
            .map(|document| formatted(format, "", &typed(document.clone()), &INSPECTED))
            .collect(),
    }
}

/// The configuration of an image as a template sees it: Go's type has its fields in another order than the API's
/// answer, and none that is empty.
fn typed(mut document: Value) -> Value {
    const ORDER: [&str; 13] = [
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "ArgsEscaped",
        "Healthcheck",
        "OnBuild",
        "Shell",
    ];
    let is_image = document.get("RootFS").is_some();
    if let Some(Value::Object(config)) = document.get_mut("Config").filter(|_| is_image) {
        config.retain(|_, value| !(value.is_null() || value == ""));
        let fields = ORDER.iter().filter_map(|name| config.shift_remove_entry(*name)).collect();
        let rest = std::mem::replace(config, fields);
        config.extend(rest);
    }
    document
}

fn indented(documents: &[Value]) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(documents, &mut serializer).expect("a JSON value can be written to memory");
    text.push(b'\n');
    String::from_utf8(text).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arrays_and_lines() {
        let documents =
            [json!({"Id": "1", "Config": {"Cmd": null}}), json!({"Id": "2", "Config": {"Cmd": ["a"]}})];
        let check =
            |format, expected: &str| assert_eq!(inspected(format, &documents).as_deref(), Ok(expected));
        check(Some("{{.Id}} {{.Config.Cmd}}{{.Config.User}}"), "1 []\n2 [a]\n");
        check(
            Some("json"),
            "[{\"Id\":\"1\",\"Config\":{\"Cmd\":null}},{\"Id\":\"2\",\"Config\":{\"Cmd\":[\"a\"]}}]\n",
        );
        let image =
            [json!({"RootFS": {}, "Config": {"Cmd": ["a"], "Entrypoint": null, "Env": ["b"], "User": ""}})];
        assert_eq!(
            inspected(Some("{{json .Config}} {{.Config.User}}{{.Config.Entrypoint}}{{.Created}}"), &image)
                .as_deref(),
            Ok("{\"Env\":[\"b\"],\"Cmd\":[\"a\"]} []\n"),
            "in the order of Go's type"
        );
        assert_eq!(inspected(None, &[]).as_deref(), Ok("[]\n"));
        assert_eq!(
            inspected(None, &[json!({"a": [1]})]).as_deref(),
            Ok("[\n    {\n        \"a\": [\n            1\n        ]\n    }\n]\n")
        );
    }
}
