//! `inspect` of images, in the form of Docker's Engine API.

use lighter_image::{ContainerConfig, DiffId, ImageId};
use lighter_store::{RecordError, Store};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::content_bytes;
use super::size::SizeError;
use super::stored::StoredImage;

/// Why an image could not be described.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Its names cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It cannot be measured.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// It cannot be written as JSON.
    #[error("writing the description")]
    Json(#[from] serde_json::Error),
}

/// What there is to know of an image.
///
/// # Source
/// Docker Engine API, `ImageInspect`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageInspect {
    id: ImageId,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: String,
    comment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    docker_version: String,
    author: String,
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    size: u64,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: Layers,
    metadata: Metadata,
    config: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    data: Map<String, Value>,
    name: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layers {
    r#type: &'static str,
    layers: Vec<DiffId>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: String,
}

/// Docker's word for "never".
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// Describes an image.
///
/// # Errors
/// [`InspectError`], where its names or layers cannot be read.
pub fn inspect(store: &Store, image: &StoredImage) -> Result<ImageInspect, InspectError> {
    let tags = store.tags_of(&image.record.id)?;
    let (digests, names): (Vec<_>, Vec<_>) =
        tags.iter().map(|tagged| &tagged.reference).partition(|reference| reference.digest().is_some());
    let last_tagged = tags.iter().map(|tagged| tagged.tagged_at).max();
    let mut size = 0;
    for layer in &image.record.layers {
        size += content_bytes(store, layer)?;
    }
    let config = &image.config;
    let comment = config.history.last().map(|step| step.comment.clone()).unwrap_or_default();
    let other = |key: &str| config.other.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(ImageInspect {
        id: image.record.id,
        repo_tags: names.iter().map(|reference| reference.familiar()).collect(),
        repo_digests: digests.iter().map(|reference| reference.familiar()).collect(),
        parent: String::new(),
        comment: other("comment").unwrap_or(comment),
        created: config.created.clone(),
        docker_version: other("docker_version").unwrap_or_default(),
        author: config.author.clone().unwrap_or_default(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        // as Docker takes an image that does not say
        os: if config.os.is_empty() { "linux".to_owned() } else { config.os.clone() },
        os_version: config.os_version.clone(),
        size,
        graph_driver: graph_driver(store, image),
        root_fs: Layers { r#type: "layers", layers: image.record.layers.clone() },
        metadata: Metadata { last_tag_time: last_tagged.map_or_else(|| NEVER.to_owned(), rfc3339) },
        config: inspected_config(&config.config)?,
    })
}

fn rfc3339(time: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| NEVER.to_owned(), |time| time.to_string())
}

/// Where the layers are on this machine, for tools that look.
fn graph_driver(store: &Store, image: &StoredImage) -> GraphDriver {
    let path = |diff_id: &DiffId| {
        let layer = store.layer_by_diff_id(diff_id).ok().flatten()?;
        let dirs = store.layer_dirs(&layer).ok()?;
        Some(dirs.into_iter().rev().map(|dir| dir.to_string_lossy().into_owned()))
    };
    // the top one first, as overlayfs names them
    let mut paths = image.record.layers.iter().rev().filter_map(path).flatten();
    let mut data = Map::new();
    if let Some(top) = paths.next() {
        data.insert("UpperDir".to_owned(), Value::String(top));
    }
    let lower = paths.collect::<Vec<_>>().join(":");
    if !lower.is_empty() {
        data.insert("LowerDir".to_owned(), Value::String(lower));
    }
    GraphDriver { data, name: "overlay2" }
}

/// The configuration as the Engine API shows it: sorted, and with the fields that are always there.
fn inspected_config(config: &ContainerConfig) -> Result<Map<String, Value>, serde_json::Error> {
    let mut fields = match serde_json::to_value(config)? {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for name in ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"] {
        fields.entry(name).or_insert(Value::Null);
    }
    for name in ["User", "WorkingDir"] {
        fields.entry(name).or_insert_with(|| json!(""));
    }
    let mut sorted: Vec<_> = fields.into_iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(sorted.into_iter().collect())
}
