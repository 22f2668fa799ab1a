//! An image of a registry under a template: data with the names that Go's types have, JSON with its own.

use super::failed;
use crate::failure::Failure;
use crate::template::{Schema, Template, TemplateError, html_safe};
use lighter_engine::registry::{Client, Member, RawManifest};
use lighter_image::{Manifest, Platform, Reference, media_type};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What Go's types know of these data.
const SCHEMA: Schema = Schema {
    maps: &["Annotations", "ExposedPorts", "Labels", "Volumes"],
    lists: &["Cmd", "Entrypoint", "Env", "History", "Manifests", "OSFeatures", "OnBuild", "Shell", "URLs"],
    texts: &["ArtifactType", "Author", "Comment", "OSVersion", "StopSignal", "User", "Variant", "WorkingDir"],
    pointers: &["Healthcheck", "Platform"],
    json: Some(as_json),
    ..Schema::NOTHING
};

/// The names of fields that are not the JSON name with another first letter.
const NAMES: [(&str, &str); 10] = [
    ("os", "OS"),
    ("os.version", "OSVersion"),
    ("os.features", "OSFeatures"),
    ("rootfs", "RootFS"),
    ("diff_ids", "DiffIDs"),
    ("created_by", "CreatedBy"),
    ("empty_layer", "EmptyLayer"),
    ("urls", "URLs"),
    ("Provenance", "Provenance"),
    ("SBOM", "SBOM"),
];

/// Fields of a configuration, in Go's order: others are not shown.
const OF_IMAGE: [&str; 10] = [
    "created",
    "author",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "config",
    "rootfs",
    "history",
];
/// The same of an index.
const OF_INDEX: [&str; 5] = ["schemaVersion", "mediaType", "digest", "size", "manifests"];

/// Objects whose keys are no field names.
fn is_kept(name: &str) -> bool {
    matches!(name, "annotations" | "Annotations" | "config" | "Config")
}

/// What is known of an image; configurations are only fetched where the template asks for them.
pub(super) fn data(
    client: &Client,
    reference: &Reference,
    raw: &RawManifest,
    members: &[Member],
    format: &str,
) -> Result<Value, Failure> {
    let mut manifest: Map<String, Value> =
        serde_json::from_slice(&raw.bytes).map_err(|error| failed(&error))?;
    let is_index = media_type::is_index(&raw.descriptor.media_type);
    manifest.insert("mediaType".to_owned(), json!(raw.descriptor.media_type));
    manifest.insert("digest".to_owned(), json!(raw.descriptor.digest));
    manifest.insert("size".to_owned(), json!(raw.descriptor.size));
    let manifest = if is_index {
        let fields = OF_INDEX.iter().chain(&["annotations"]);
        chosen(&manifest, fields.copied())
    } else {
        chosen(&manifest, ["mediaType", "digest", "size"].into_iter())
    };
    let asks = format.contains(".Image") || format.contains("json") || format.contains("{{.}}");
    let image = if asks { images(client, reference, raw, members)? } else { Value::Null };
    let named = json!({ "name": reference.to_string(), "manifest": manifest, "image": image });
    let Value::Object(mut fields) = go_named(named) else { return Ok(Value::Null) };
    // attestations are not read
    fields.insert("Provenance".to_owned(), json!({}));
    fields.insert("SBOM".to_owned(), json!({}));
    Ok(Value::Object(fields))
}

/// Data under a template.
pub(super) fn formatted(format: &str, data: &Value) -> Result<String, Failure> {
    let source = if format == "json" { "{{json .}}" } else { format };
    let fault = |error: TemplateError| Failure::new(format!("ERROR: {}", error.named("")));
    let template = Template::parse(source).map_err(fault)?;
    template.render(data, &SCHEMA).map_err(fault)
}

fn chosen<'a>(fields: &Map<String, Value>, names: impl Iterator<Item = &'a str>) -> Value {
    let there = |name: &str| fields.get(name).map(|value| (name.to_owned(), value.clone()));
    Value::Object(names.filter_map(there).collect())
}

/// The configurations of the images: one, or one for each platform.
fn images(
    client: &Client,
    reference: &Reference,
    raw: &RawManifest,
    members: &[Member],
) -> Result<Value, Failure> {
    if !media_type::is_index(&raw.descriptor.media_type) {
        return config(client, reference, raw);
    }
    let mut all = BTreeMap::new();
    for member in members {
        let platform = member.descriptor.platform.clone().map(Platform::normal);
        let Some(platform) = platform.filter(|platform| platform.os != "unknown") else {
            continue;
        };
        let raw = client.manifest(&member.source).map_err(|error| failed(&error))?;
        all.insert(platform.to_string(), config(client, reference, &raw)?);
    }
    match all.len() {
        1 => Ok(all.into_values().next().unwrap_or_default()),
        _ => Ok(Value::Object(all.into_iter().collect())),
    }
}

fn config(client: &Client, reference: &Reference, raw: &RawManifest) -> Result<Value, Failure> {
    let manifest: Manifest = serde_json::from_slice(&raw.bytes).map_err(|error| failed(&error))?;
    let limit = client.config().limits.config_bytes;
    let bytes = client.blob(reference, &manifest.config, limit).map_err(|error| failed(&error))?;
    let fields: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    Ok(chosen(&fields, OF_IMAGE.into_iter()))
}

/// A document with the names that Go's types have: `mediaType` is `MediaType`, `diff_ids` is `DiffIDs`.
fn go_named(value: Value) -> Value {
    renamed(value, go_name)
}

/// The same the other way.
fn as_json(value: &Value) -> String {
    let Value::Object(_) = value else { return pretty(value) };
    let mut named = renamed(value.clone(), json_name);
    if let Value::Object(fields) = &mut named
        && fields.contains_key("manifest")
    {
        fields.retain(|name, _| !matches!(name.as_str(), "Provenance" | "SBOM"));
    }
    pretty(&named)
}

fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).expect("a JSON value can be written to memory");
    html_safe(&text)
}

fn renamed(value: Value, name: fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            let one = |(key, value): (String, Value)| {
                let value = if is_kept(&key) { value } else { renamed(value, name) };
                (name(&key), value)
            };
            Value::Object(fields.into_iter().map(one).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(|value| renamed(value, name)).collect()),
        value => value,
    }
}

fn go_name(name: &str) -> String {
    match NAMES.iter().find(|(json, _)| *json == name) {
        Some((_, go)) => (*go).to_owned(),
        None => with_first(name, |letter| letter.to_ascii_uppercase()),
    }
}

fn json_name(name: &str) -> String {
    match NAMES.iter().find(|(_, go)| *go == name) {
        Some((json, _)) => (*json).to_owned(),
        None => with_first(name, |letter| letter.to_ascii_lowercase()),
    }
}

/// A name with another first letter; platforms are keys too, and stay what they are.
fn with_first(name: &str, change: impl Fn(char) -> char) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) if !name.contains('/') => change(first).to_string() + letters.as_str(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_gos_and_back() {
        let check = |name: &str, expected: &str| {
            assert_eq!(go_name(name), expected);
            assert_eq!(json_name(expected), name);
        };
        check("mediaType", "MediaType");
        check("os", "OS");
        check("os.version", "OSVersion");
        check("rootfs", "RootFS");
        check("diff_ids", "DiffIDs");
        check("linux/arm64", "linux/arm64");
    }

    #[test]
    fn templates_and_json_can_be_mixed() {
        let image = json!({ "linux/amd64": { "os": "linux", "config": { "Labels": { "a": "b" } } } });
        let data = go_named(json!({ "name": "n", "manifest": { "mediaType": "m" }, "image": image }));
        let check = |format, expected| assert_eq!(formatted(format, &data).map_err(|f| f.text), expected);
        check("{{.Manifest.MediaType}} {{json .Manifest}}", Ok("m {\n  \"mediaType\": \"m\"\n}".to_owned()));
        check("{{(index .Image \"linux/amd64\").Config.Labels.a}}", Ok("b".to_owned()));
        check("{{", Err("ERROR: template: :1: unclosed action".to_owned()));
    }
}
