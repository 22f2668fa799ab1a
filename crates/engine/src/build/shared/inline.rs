//! A cache in an image: its configuration carries the keys of the steps that made its layers.

use lighter_build::{Built, SharedStep};
use lighter_image::{DiffId, Digest, ImageConfig, ImageId};
use serde::{Deserialize, Serialize};

use super::Record;

/// The field of the configuration.
const FIELD: &str = "dev.lighter.cache.v1";

/// What the configuration says of one layer: what a record says, without words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: Digest,
    pub(super) diff_id: DiffId,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Digest>,
}

impl Entry {
    pub(super) fn step(&self) -> SharedStep {
        let record = Record {
            key: self.key,
            description: String::new(),
            diff_id: self.diff_id,
            created: self.created.clone(),
            source: self.source,
        };
        record.step()
    }
}

/// What a configuration carries.
pub(super) fn entries(config: &ImageConfig) -> Vec<Entry> {
    let field = config.other.get(FIELD).cloned().unwrap_or_default();
    serde_json::from_value(field).unwrap_or_default()
}

/// Gives the image of a build the keys of its layers. It gets another id by that.
pub(in crate::build) fn add(built: &mut Built) -> Result<(), serde_json::Error> {
    let in_result = built.shared.iter().filter(|record| record.is_in_result);
    let entries: Vec<Entry> = in_result
        .map(|record| Entry {
            key: record.key,
            diff_id: record.step.diff_id,
            created: super::export::rfc3339(record.step.created_at),
            source: record.step.source,
        })
        .collect();
    built.config.other.insert(FIELD.to_owned(), serde_json::to_value(entries)?);
    built.config_bytes = built.config.to_json()?;
    built.image = ImageId(Digest::of(&built.config_bytes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cache_is_an_empty_one() {
        let mut config = ImageConfig::default();
        assert!(entries(&config).is_empty());
        config.other.insert(FIELD.to_owned(), serde_json::json!({"odd": 1}));
        assert!(entries(&config).is_empty());
    }
}
