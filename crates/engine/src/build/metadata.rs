//! What `--metadata-file` holds.

use serde_json::{Map, Value, json};

use super::outputs::Written;

/// The metadata of a build, under the names that buildx gives them. `reference` is what its history knows it by.
pub(super) fn of(written: &Written, reference: Option<String>, provenance: Value) -> Value {
    let mut metadata = Map::new();
    let mut put = |name: &str, value: Value| drop(metadata.insert(name.to_owned(), value));
    put("buildx.build.provenance", provenance);
    if let Some(reference) = reference {
        put("buildx.build.ref", json!(format!("default/default/{reference}")));
    }
    if let Some(image) = written.image {
        put("containerimage.config.digest", json!(image.to_string()));
        let digest = written.top.as_ref().map_or(image.0, |top| top.digest);
        put("containerimage.digest", json!(digest.to_string()));
        if let Some(top) = &written.top {
            let mut top = top.clone();
            top.annotations.insert("config.digest".to_owned(), image.to_string());
            put("containerimage.descriptor", json!(top));
        }
    }
    if !written.names.is_empty() {
        put("image.name", json!(written.names.join(",")));
    }
    Value::Object(metadata)
}
