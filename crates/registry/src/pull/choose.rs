//! Choice: which of an index's manifests is the one for a platform.

use lighter_image::{Descriptor, Index, Platform, media_type};

/// The key that marks a manifest as notes about another one.
const NOTES_ABOUT: &str = "vnd.docker.reference.type";

/// Finds the manifest that fits a platform best: the newest variant that it can run, and the first of equals.
///
/// Where nothing fits and there is exactly one manifest that does not say what it is for, it is taken: its
/// configuration says what it is for.
///
/// # Source
/// OCI image-spec, `image-index.md`, "platform".
pub fn choose<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    let mut best: Option<(&Descriptor, Option<String>)> = None;
    for descriptor in images(index) {
        let Some(platform) = &descriptor.platform else { continue };
        if !platform.satisfies(wanted) {
            continue;
        }
        let variant =
            Platform::new(&platform.os, &platform.architecture, platform.variant.as_deref()).variant;
        if best.as_ref().is_none_or(|(_, best)| variant > *best) {
            best = Some((descriptor, variant));
        }
    }
    let mut silent = images(index).filter(|descriptor| descriptor.platform.is_none());
    best.map(|(descriptor, _)| descriptor).or_else(|| match (silent.next(), silent.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    })
}

/// The platforms of an index, as a list to be read by people.
pub(super) fn available(index: &Index) -> String {
    let platforms: Vec<String> = images(index)
        .filter_map(|descriptor| descriptor.platform.as_ref())
        .take(32)
        .map(ToString::to_string)
        .collect();
    if platforms.is_empty() { "none".to_owned() } else { platforms.join(", ") }
}

/// The manifests that are images, and not notes about some.
fn images(index: &Index) -> impl Iterator<Item = &Descriptor> {
    index.manifests.iter().filter(|descriptor| {
        let kind = descriptor.media_type.as_str();
        let is_note = descriptor.annotations.contains_key(NOTES_ABOUT)
            || descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
        (media_type::is_manifest(kind) || media_type::is_index(kind)) && !is_note
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lighter_image::Digest;

    fn check(platforms: &[&str], wanted: &str, expected: Option<usize>) {
        let manifests: Vec<Descriptor> = platforms
            .iter()
            .enumerate()
            .map(|(number, platform)| {
                let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, format!("{number}").as_bytes());
                let mut parts = platform.split('/');
                if let (Some(os), Some(architecture)) = (parts.next(), parts.next()) {
                    let mut platform = Platform::new(os, architecture, None);
                    platform.architecture = architecture.to_owned();
                    platform.variant = parts.next().map(str::to_owned);
                    descriptor.platform = Some(platform);
                }
                descriptor
            })
            .collect();
        let expected = expected.map(|number| Digest::of(format!("{number}")));
        let index = Index { schema_version: 2, media_type: None, manifests, annotations: [].into() };
        let wanted: Platform = wanted.parse().expect("a platform");
        assert_eq!(choose(&index, &wanted).map(|d| d.digest), expected, "{platforms:?} {wanted}");
    }

    #[test]
    fn the_best_fit_is_chosen() {
        check(&["linux/arm64/v8", "linux/amd64", "linux/s390x"], "linux/amd64", Some(1));
        check(&["linux/arm64/v8", "linux/amd64"], "linux/arm64", Some(0));
        check(&["linux/arm64", "linux/s390x"], "linux/amd64", None);
        check(&["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v7", Some(1));
        check(&["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v6", Some(2));
        check(&["linux/arm/v7"], "linux/arm/v6", None);
        check(&["linux/amd64", "linux/amd64"], "linux/amd64", Some(0));
        check(&["unknown/unknown", "linux/amd64"], "linux/amd64", Some(1));
        check(&["windows/amd64"], "linux/amd64", None);
    }

    #[test]
    fn one_that_says_nothing_is_taken_where_it_is_the_only_one() {
        check(&["-"], "linux/amd64", Some(0));
        check(&["-", "-"], "linux/amd64", None);
        check(&["-", "linux/amd64"], "linux/amd64", Some(1));
        check(&[], "linux/amd64", None);
    }
}
