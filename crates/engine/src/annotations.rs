//! Annotations: free notes in the documents of an image, on four levels.

use std::collections::BTreeMap;

use lighter_image::{Descriptor, Index, Platform, go_json, media_type};

/// The levels, as `--annotation` and image records name them.
const LEVELS: [&str; 4] = ["manifest", "manifest-descriptor", "index", "index-descriptor"];

/// What is noted in the documents beside what must be there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) manifest: BTreeMap<String, String>,
    pub(crate) manifest_descriptor: BTreeMap<String, String>,
    pub(crate) index: BTreeMap<String, String>,
    pub(crate) index_descriptor: BTreeMap<String, String>,
}

impl Notes {
    /// Reads notes by level and key, as `index:org.example.key`.
    pub(crate) fn of<'a>(annotations: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let mut notes = Self::default();
        for (qualified, value) in annotations {
            let (level, key) = match qualified.split_once(':') {
                Some((level, key)) if LEVELS.contains(&level) => (level, key),
                _ => ("manifest", qualified.as_str()),
            };
            notes.put(level, key, value);
        }
        notes
    }

    /// Adds a note; one on a level that does not exist stands in the manifest.
    pub(crate) fn put(&mut self, level: &str, key: &str, value: &str) {
        let notes = match level {
            "index" => &mut self.index,
            "index-descriptor" => &mut self.index_descriptor,
            "manifest-descriptor" => &mut self.manifest_descriptor,
            _ => &mut self.manifest,
        };
        notes.insert(key.to_owned(), value.to_owned());
    }

    /// All of them, by level and key.
    pub(crate) fn qualified(&self) -> BTreeMap<String, String> {
        let levels = [&self.manifest, &self.manifest_descriptor, &self.index, &self.index_descriptor];
        let named = LEVELS.iter().zip(levels);
        named
            .flat_map(|(level, notes)| {
                notes.iter().map(move |(key, value)| (format!("{level}:{key}"), value.clone()))
            })
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an index is needed to hold them, though there is one image only.
    pub(crate) fn need_index(&self) -> bool {
        !self.index.is_empty() || !self.index_descriptor.is_empty()
    }

    /// An index with the one manifest in it, and what describes it.
    ///
    /// # Errors
    /// None in practice: it can be written as JSON.
    pub(crate) fn index_of(
        &self,
        manifest: &Descriptor,
        platform: Platform,
    ) -> Result<(Descriptor, Vec<u8>), serde_json::Error> {
        let mut entry = manifest.clone();
        entry.annotations.extend(self.manifest_descriptor.clone());
        entry.platform = Some(platform);
        let index = Index { annotations: self.index.clone(), ..Index::of(vec![entry]) };
        let bytes = go_json::to_vec(&index)?;
        let mut described = Descriptor::of(media_type::OCI_INDEX, &bytes);
        described.annotations.clone_from(&self.index_descriptor);
        Ok((described, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_keep_their_levels() {
        let text = |text: &str| text.to_owned();
        let given: BTreeMap<String, String> = [
            (text("manifest:a"), text("1")),
            (text("index:a"), text("2")),
            (text("index-descriptor:a"), text("3")),
            (text("manifest-descriptor:a"), text("4")),
        ]
        .into();
        let notes = Notes::of(&given);
        assert_eq!(notes.qualified(), given);
        assert!(notes.need_index());
        let plain = Notes::of(&BTreeMap::from([(text("odd:key"), text("v"))]));
        assert_eq!(plain.manifest, BTreeMap::from([(text("odd:key"), text("v"))]));
        assert!(!plain.need_index() && Notes::default().is_empty());
    }

    #[test]
    fn an_index_of_one_says_what_it_runs_on() {
        let mut notes = Notes::default();
        notes.put("index", "a", "1");
        notes.put("index-descriptor", "b", "2");
        notes.put("manifest-descriptor", "c", "3");
        let manifest = Descriptor::of(media_type::OCI_MANIFEST, b"{}");
        let (described, bytes) = notes.index_of(&manifest, Platform::new("linux", "amd64", None)).unwrap();
        let index: Index = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(described.annotations["b"], "2");
        assert_eq!(
            (index.annotations["a"].as_str(), index.manifests[0].annotations["c"].as_str()),
            ("1", "3")
        );
        assert!(index.manifests[0].platform.is_some());
    }
}
