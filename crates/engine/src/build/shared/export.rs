//! `--cache-to`: the steps of a build, for other machines.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use lighter_build::{Built, CancelToken, Reporter, SharedRecord, Work};
use lighter_dockerfile::plan::Plan;
use lighter_image::{
    Descriptor, Digest, Document, Index, Reference, error_chain, go_json, media_type, parse_document,
};

use super::local::Layout;
use super::registry::tag_of;
use super::upload::Uploads;
use super::{ARTIFACT, DIFF_ID, KEY, Record, SharedError, manifest_of, mounts};
use crate::build::outputs::PackStyle;
use crate::build::{CacheLocation, Compression};

/// Brings the steps of a build to the places of `--cache-to`.
pub(in crate::build) fn export(
    uploads: &Uploads<'_>,
    cancel: &CancelToken,
    locations: &[CacheLocation],
    (plan, built): (&Plan, &Built),
    reporter: &Reporter<'_>,
) -> Result<(), SharedError> {
    for location in locations.iter().filter(|location| location.kind != "inline") {
        let title = match location.kind.as_str() {
            "local" => "exporting cache to client directory".to_owned(),
            kind => format!("exporting cache to {kind}"),
        };
        let work = reporter.begin(title);
        let all = location.is_on("mode", "max");
        let wanted: Vec<&SharedRecord> =
            built.shared.iter().filter(|record| all || record.is_in_result).collect();
        let mounts = if location.is_true("mounts") { mounts::ids(plan) } else { BTreeSet::new() };
        let job = style(location).map(|style| Job { uploads, style, wanted, mounts, cancel, work: &work });
        let result = job.and_then(|job| match location.kind.as_str() {
            "local" => job.to_folder(&destination(location)?),
            _ => job.to_registry(&target(location)?),
        });
        match result {
            Err(error) if location.is_true("ignore-error") && !cancel.is_cancelled() => {
                work.warn(format!("the cache is not exported: {}", error_chain(&error)));
                work.done();
            }
            result => work.finish(result)?,
        }
    }
    Ok(())
}

/// How the layers of a cache are packed.
pub(super) fn style(location: &CacheLocation) -> Result<PackStyle, SharedError> {
    let attribute = |name: &str| location.attributes.get(name).map(String::as_str);
    let compression = match attribute("compression") {
        // for what only lighter reads, the quickest
        None | Some("zstd") => Compression::Zstd,
        Some("gzip") => Compression::Gzip,
        Some("uncompressed") => Compression::Uncompressed,
        Some(other) => {
            return Err(SharedError::Location(format!("unknown compression {other} of the cache")));
        }
    };
    let level = attribute("compression-level")
        .map(str::parse)
        .transpose()
        .map_err(|_| SharedError::Location("compression-level of the cache must be a number".to_owned()))?;
    Ok(PackStyle { compression, level, force: location.is_true("force-compression") })
}

/// The reference of a cache in a registry.
pub(super) fn target(location: &CacheLocation) -> Result<Reference, SharedError> {
    let name = location.attribute("--cache-to", "ref")?;
    let reference: Reference =
        name.parse().map_err(|error| SharedError::Location(format!("--cache-to {name}: {error}")))?;
    Ok(reference.with_default_tag())
}

fn destination(location: &CacheLocation) -> Result<std::path::PathBuf, SharedError> {
    Ok(location.attribute("--cache-to", "dest")?.into())
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

struct Job<'a> {
    uploads: &'a Uploads<'a>,
    style: PackStyle,
    wanted: Vec<&'a SharedRecord>,
    mounts: BTreeSet<&'a str>,
    cancel: &'a CancelToken,
    work: &'a Work<'a>,
}

/// A record, ready to be written.
struct Ready {
    config: Vec<u8>,
    manifest: Vec<u8>,
    entry: Descriptor,
}

impl Ready {
    fn of(shared: &SharedRecord, layer: Descriptor) -> Result<Self, SharedError> {
        let record = Record {
            key: shared.key,
            description: shared.description.clone(),
            diff_id: shared.step.diff_id,
            created: rfc3339(shared.step.created_at),
            source: shared.step.source,
        };
        let (manifest, config) = manifest_of(&record, layer)?;
        let manifest = go_json::to_vec(&manifest)?;
        let entry = entry_of(shared, &manifest);
        Ok(Self { config, manifest, entry })
    }
}

impl Job<'_> {
    fn tell(&self, what: &str) {
        self.work.progress(format!("writing {what}"), 0, None, true);
    }

    fn to_folder(&self, folder: &Path) -> Result<(), SharedError> {
        let layout = Layout::make(folder)?;
        let mut entries = Vec::new();
        for shared in &self.wanted {
            self.check()?;
            let name = tag_of(&shared.key);
            if let Some(manifest) = layout.manifest(&name)?
                && is_same(&manifest, shared)
            {
                entries.push(entry_of(shared, &manifest));
                continue;
            }
            let layer = self.uploads.pack(self.style, &shared.step.diff_id)?;
            let digest = layer.digest;
            layout.put_layer(self.uploads.store, &layer)?;
            let ready = Ready::of(shared, layer)?;
            layout.put_record(&name, &ready.config, &ready.manifest)?;
            entries.push(ready.entry);
            self.tell(&format!("layer {digest}"));
        }
        for id in &self.mounts {
            let Some(ready) = mounts::ready(self.uploads.store, id, self.cancel)? else { continue };
            layout.put_layer(self.uploads.store, &ready.layer)?;
            layout.put_record(&mounts::name_of(id), &ready.config, &ready.manifest)?;
            entries.push(ready.entry);
            self.tell(&format!("cache mount {id}"));
        }
        layout.list(entries)
    }

    fn to_registry(&self, reference: &Reference) -> Result<(), SharedError> {
        let client = self.uploads.client();
        let tagged =
            |tag: &str| reference.with_tag(tag).map_err(|error| SharedError::Location(error.to_string()));
        let mut entries = Vec::new();
        for shared in &self.wanted {
            let named = tagged(&tag_of(&shared.key))?;
            let before = match client.manifest(&named) {
                Ok(before) => Some(before.bytes),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(Box::new(error).into()),
            };
            if let Some(manifest) = before.filter(|manifest| is_same(manifest, shared)) {
                entries.push(entry_of(shared, &manifest));
                continue;
            }
            let layer = self.uploads.send(reference, self.style, &shared.step.diff_id)?;
            let digest = layer.digest;
            let ready = Ready::of(shared, layer)?;
            self.uploads.send_bytes(reference, &ready.config)?;
            client.put_manifest(&named, media_type::OCI_MANIFEST, &ready.manifest).map_err(Box::new)?;
            entries.push(ready.entry);
            self.tell(&format!("layer {digest}"));
        }
        for id in &self.mounts {
            let Some(ready) = mounts::ready(self.uploads.store, id, self.cancel)? else { continue };
            self.uploads.send_blob(reference, &ready.layer)?;
            self.uploads.send_bytes(reference, &ready.config)?;
            let named = tagged(&mounts::name_of(id))?;
            client.put_manifest(&named, media_type::OCI_MANIFEST, &ready.manifest).map_err(Box::new)?;
            entries.push(ready.entry);
            self.tell(&format!("cache mount {id}"));
        }
        let index = go_json::to_vec(&Index::of(entries))?;
        client.put_manifest(reference, media_type::OCI_INDEX, &index).map_err(Box::new)?;
        Ok(())
    }

    fn check(&self) -> Result<(), SharedError> {
        if self.cancel.is_cancelled() { Err(SharedError::Cancelled) } else { Ok(()) }
    }
}

/// Whether a record that is there already says of a step what would be written.
fn is_same(manifest: &[u8], shared: &SharedRecord) -> bool {
    let Ok(Document::Manifest(manifest)) = parse_document(manifest, None) else { return false };
    let says = |name: &str, digest: Digest| {
        manifest.annotations.get(name).is_some_and(|found| *found == digest.to_string())
    };
    says(KEY, shared.key) && says(DIFF_ID, shared.step.diff_id.0)
}

fn entry_of(shared: &SharedRecord, manifest: &[u8]) -> Descriptor {
    let mut entry = Descriptor::of(media_type::OCI_MANIFEST, manifest);
    entry.artifact_type = Some(ARTIFACT.to_owned());
    entry.annotations.insert(KEY.to_owned(), shared.key.to_string());
    entry
}
