//! `images`: lists what the store holds.

use crate::args::images::Images;
use crate::failure::Failure;
use crate::render::listing::Listing;
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::image::{self, Filter, ImageSummary};
use lighter_image::{Digest, Reference};
use serde_json::{Value, json};

const NONE: &str = "<none>";
const UNKNOWN: &str = "N/A";

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

impl Verb for Images {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let now = Timestamp::now();
        let mut filters = self.filter.clone();
        let name = self.repository.as_ref().filter(|name| !name.is_empty());
        filters.extend(name.map(|name| format!("reference={name}")));
        let filters: Vec<Filter> = filters
            .iter()
            .map(|filter| Filter::parse(filter, now))
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::because(&error))?;
        let store = session.open_store()?;
        let images = image::list(&store, &filters).map_err(|error| Failure::because(&error))?;
        let rows: Vec<Value> = images.iter().flat_map(|image| self.rows(image, now)).collect();
        let table = if self.digests {
            "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
        } else {
            "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
        };
        let listing = Listing { table, quiet: "{{.ID}}", headings: HEADINGS, methods: &[] };
        session.print(&listing.render(self.format.as_deref(), self.quiet, &rows)?).map(|()| 0)
    }
}

impl Images {
    /// The rows of one image: one for each of its names.
    fn rows(&self, image: &ImageSummary, now: Timestamp) -> Vec<Value> {
        let with_digests =
            self.digests || self.format.as_ref().is_some_and(|format| format.contains(".Digest"));
        names(&image.references, with_digests)
            .into_iter()
            .map(|(repository, tag, digest)| {
                // an image that does not say when it was made counts as one of 1970
                let created = image.created.unwrap_or(Timestamp::UNIX_EPOCH);
                json!({
                    "Containers": UNKNOWN,
                    "CreatedAt": units::time(created),
                    "CreatedSince": units::age(created, now),
                    "Digest": digest.map_or_else(|| NONE.to_owned(), |digest| digest.to_string()),
                    "ID": if self.no_trunc { image.id.to_string() } else { image.id.0.short() },
                    "Repository": repository,
                    "SharedSize": UNKNOWN,
                    "Size": units::short_size(image.size_bytes),
                    "Tag": tag,
                    "UniqueSize": UNKNOWN,
                    "VirtualSize": units::size(image.size_bytes),
                })
            })
            .collect()
    }
}

/// Repository, tag and digest of every row of an image, as Docker pairs them.
///
/// A digest stands beside the tags of its repository when digests are shown, and has a row of its own when its
/// repository has no tag.
fn names(references: &[Reference], with_digests: bool) -> Vec<(String, String, Option<Digest>)> {
    let mut rows = Vec::new();
    let of = |repository: &str| {
        let digests = references.iter().filter(|other| other.familiar_repository() == repository);
        digests.filter_map(Reference::digest).collect::<Vec<_>>()
    };
    for reference in references {
        let repository = reference.familiar_repository();
        let row = |tag: &str, digest| (repository.clone(), tag.to_owned(), digest);
        match (reference.tag(), reference.digest()) {
            (Some(tag), _) if with_digests && !of(&repository).is_empty() => {
                rows.extend(of(&repository).into_iter().map(|digest| row(tag, Some(digest))));
            }
            (Some(tag), _) => rows.push(row(tag, None)),
            (None, Some(digest)) => {
                let named =
                    |other: &Reference| other.tag().is_some() && other.familiar_repository() == repository;
                if !references.iter().any(named) {
                    rows.push(row(NONE, Some(digest)));
                }
            }
            (None, None) => rows.push(row(NONE, None)),
        }
    }
    if rows.is_empty() {
        rows.push((NONE.to_owned(), NONE.to_owned(), None));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_image() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let check = |references: &[&str], with_digests, expected: &[&str]| {
            let references: Vec<Reference> = references
                .iter()
                .map(|text| text.replace("@D", &format!("@{digest}")).parse().expect("a name"))
                .collect();
            let shown: Vec<String> = names(&references, with_digests)
                .into_iter()
                .map(|(repository, tag, digest)| {
                    format!("{repository} {tag} {}", if digest.is_some() { "D" } else { "-" })
                })
                .collect();
            assert_eq!(shown, expected);
        };
        check(&[], false, &["<none> <none> -"]);
        check(&["busybox:latest", "a.b/c:1"], false, &["busybox latest -", "a.b/c 1 -"]);
        check(&["busybox:latest", "busybox@D"], false, &["busybox latest -"]);
        check(&["busybox:1", "busybox:2", "busybox@D"], true, &["busybox 1 D", "busybox 2 D"]);
        check(&["busybox@D"], false, &["busybox <none> D"]);
    }
}
