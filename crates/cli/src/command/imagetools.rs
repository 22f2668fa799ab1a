//! `buildx imagetools`: images in registries, looked at and put together without being fetched.

mod inspected;

use crate::args::imagetools::{ImagetoolsCreate, ImagetoolsInspect};
use crate::command::platform;
use crate::failure::Failure;
use crate::registry;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::manifest::{Combination, ManifestError, Part, publish, put_together};
use lighter_engine::registry::{Member, RawManifest, ResolveError};
use lighter_image::{Descriptor, Digest, Reference, media_type};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

impl Verb for ImagetoolsInspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        refuse_builder(self.builder.as_deref())?;
        if self.raw && self.format.is_some() {
            return Err(Failure::new("ERROR: format and raw cannot be used together"));
        }
        let client = registry::client(session, &Arc::default())?;
        let reference = name(&self.name)?;
        let missing = |error: lighter_engine::registry::ResolveError| {
            if error.is_not_found() {
                Failure::new(format!("ERROR: {reference}: not found"))
            } else {
                failed(&error)
            }
        };
        if self.raw {
            let raw = client.manifest(&reference).map_err(missing)?;
            return session.print(&String::from_utf8_lossy(&raw.bytes)).map(|()| 0);
        }
        let (raw, members) = client.members(&reference).map_err(missing)?;
        match &self.format {
            None => session.print(&listing(&reference, &raw, &members)),
            Some(format) => {
                let data = inspected::data(&client, &reference, &raw, &members, format)?;
                session.print(&inspected::formatted(format, &data)?)
            }
        }
        .map(|()| 0)
    }
}

fn listing(reference: &Reference, raw: &RawManifest, members: &[Member]) -> String {
    let Descriptor { media_type, digest, .. } = &raw.descriptor;
    let mut text = format!("Name:      {reference}\nMediaType: {media_type}\nDigest:    {digest}\n");
    if !media_type::is_index(media_type) {
        return text;
    }
    text.push_str("           \nManifests: \n");
    for (at, member) in members.iter().enumerate() {
        let (rows, width) = row(reference, &member.descriptor);
        if at > 0 {
            let _ = writeln!(text, "  {:width$}", "");
        }
        text.push_str(&rows);
    }
    text
}

/// What is known of one manifest, and how wide its first column is.
fn row(reference: &Reference, descriptor: &Descriptor) -> (String, usize) {
    let mut rows = vec![
        ("Name:", reference_at(reference, descriptor.digest)),
        ("MediaType:", descriptor.media_type.clone()),
    ];
    if let Some(platform) = &descriptor.platform {
        rows.push(("Platform:", platform.to_string()));
        rows.extend(platform.os_version.clone().map(|version| ("OSVersion:", version)));
        if !platform.os_features.is_empty() {
            rows.push(("OSFeatures:", platform.os_features.join(", ")));
        }
    }
    let width = rows.iter().map(|(title, _)| title.len() + 1).max().unwrap_or_default();
    let mut text = String::new();
    for (title, value) in rows {
        let _ = writeln!(text, "  {title:width$}{value}");
    }
    if !descriptor.annotations.is_empty() {
        text.push_str("  Annotations: \n");
        for (key, value) in &descriptor.annotations {
            let _ = writeln!(text, "    {key}: {value}");
        }
    }
    (text, width)
}

/// `name:tag@digest`.
fn reference_at(reference: &Reference, digest: Digest) -> String {
    match reference.tag() {
        Some(tag) => format!("{}:{tag}@{digest}", reference.repository()),
        None => reference.with_digest(digest).to_string(),
    }
}

impl Verb for ImagetoolsCreate {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        refuse_builder(self.builder.as_deref())?;
        if self.sources.is_empty() && self.file.is_empty() && !self.append {
            return Err(Failure::new("ERROR: no sources specified"));
        }
        if self.tag.is_empty() && !self.dry_run {
            return Err(Failure::new(
                "ERROR: can't push with no tags specified, please set --tag or --dry-run",
            ));
        }
        let client = registry::client(session, &Arc::default())?;
        let wanted = self.wanted()?;
        let (whole, members) = put_together(&client, &wanted).map_err(|error| told(&error))?;
        if self.dry_run {
            return session.print(&format!("{}\n", String::from_utf8_lossy(&whole.bytes))).map(|()| 0);
        }
        let quiet = matches!(self.progress.as_str(), "none" | "quiet");
        let say = |text: String| {
            if !quiet {
                session.remark(&text);
            }
        };
        for name in &wanted.names {
            let copying = |member: &Member| {
                say(format!("copying {} from {} to {name}", member.descriptor.digest, member.source));
            };
            say(format!("pushing {} to {name}", whole.descriptor.digest));
            publish(&client, (&whole, &members), name, &copying).map_err(|error| told(&error))?;
        }
        Ok(0)
    }
}

impl ImagetoolsCreate {
    fn wanted(&self) -> Result<Combination, Failure> {
        let mut parts = Vec::new();
        for path in &self.file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::new(format!("ERROR: reading {}: {error}", path.display())))?;
            parts.push(described(&text)?);
        }
        for source in &self.sources {
            parts.push(match source.parse::<Digest>() {
                _ if source.starts_with('{') => described(source)?,
                Ok(digest) => Part::Described(Box::new(Descriptor::new("", digest, 0))),
                Err(_) => Part::Name(name(source)?),
            });
        }
        let (mut annotations, mut of_manifests) = (BTreeMap::new(), Vec::new());
        for text in &self.annotation {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Failure::new(format!("ERROR: invalid annotation {text:?}, expected key=value"))
            })?;
            let (kind, key) = key.split_once(':').unwrap_or(("", key));
            match kind.strip_suffix(']').and_then(|kind| kind.split_once('[')) {
                None if kind == "index" => drop(annotations.insert(key.to_owned(), value.to_owned())),
                None if kind == "manifest-descriptor" => {
                    of_manifests.push((None, key.to_owned(), value.to_owned()));
                }
                Some(("manifest-descriptor", wanted)) => {
                    let wanted = platform::parse(wanted)?;
                    of_manifests.push((Some(wanted), key.to_owned(), value.to_owned()));
                }
                _ => {
                    return Err(Failure::new(format!("ERROR: {kind:?} annotations are not supported yet")));
                }
            }
        }
        Ok(Combination {
            names: self.tag.iter().map(|text| name(text)).collect::<Result<_, _>>()?,
            append: self.append,
            parts,
            platforms: self.platform.iter().map(|text| platform::parse(text)).collect::<Result<_, _>>()?,
            annotations,
            of_manifests,
            prefer_index: self.prefer_index,
        })
    }
}

fn described(text: &str) -> Result<Part, Failure> {
    let descriptor: Result<Descriptor, _> = serde_json::from_str(text);
    descriptor
        .map(|descriptor| Part::Described(Box::new(descriptor)))
        .map_err(|error| Failure::new(format!("ERROR: a source is no descriptor: {error}")))
}

fn name(text: &str) -> Result<Reference, Failure> {
    let parsed: Result<Reference, _> = text.parse();
    parsed.map(Reference::with_default_tag).map_err(|error| failed(&error))
}

fn refuse_builder(builder: Option<&str>) -> Result<(), Failure> {
    match builder {
        None | Some("" | "default") => Ok(()),
        Some(other) => {
            Err(Failure::new(format!("ERROR: no builder {other:?} found: lighter has \"default\"")))
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(format!("ERROR: {}", crate::failure::chain(error)))
}

fn told(error: &ManifestError) -> Failure {
    match error {
        ManifestError::Resolve(ResolveError::NotFound { reference, .. }) => {
            Failure::new(format!("ERROR: {reference}: not found"))
        }
        error => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_listed_like_buildx_lists_them() {
        let reference = name("r.test/a:1").expect("a name");
        let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, b"m");
        descriptor.platform = Some(lighter_image::Platform::new("linux", "amd64", None));
        let member = Member { source: reference.clone(), descriptor: descriptor.clone() };
        let raw =
            RawManifest { descriptor: Descriptor::of(media_type::OCI_INDEX, b"i"), bytes: b"i".to_vec() };
        let text = listing(&reference, &raw, &[member]);
        let end = format!(
            "  Name:      r.test/a:1@{}\n  MediaType: {}\n  Platform:  linux/amd64\n",
            descriptor.digest,
            media_type::OCI_MANIFEST
        );
        assert!(text.ends_with(&format!("           \nManifests: \n{end}")), "{text}");
    }
}
