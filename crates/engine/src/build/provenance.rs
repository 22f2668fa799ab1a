//! Where a result comes from, as the metadata file says it: the form and the names are those of BuildKit's provenance
//! in its smallest mode.

use std::collections::BTreeMap;

use lighter_build::{ImageInput, Inputs};
use lighter_image::{DiffId, Digest};
use serde_json::{Value, json};

use super::{BuildRequest, ContextSource, FileSource};

/// What was fetched for a build beside images: by address, the name of the digest, and the digest.
pub(crate) type Fetched = BTreeMap<String, (&'static str, String)>;

/// What a build was made from.
pub(super) fn of(request: &BuildRequest, inputs: &Inputs, fetched: &Fetched) -> Value {
    let mut images: Vec<Value> = inputs
        .images
        .iter()
        .map(|(source, image)| {
            let (name, platform) = (package(&source.reference), source.platform.to_string().replace('/', "%2F"));
            json!({ "uri": format!("{name}?platform={platform}"), "digest": { "sha256": digest(image).hex() } })
        })
        .collect();
    images.sort_by_key(|material| material["uri"].to_string());
    let others =
        fetched.iter().map(|(uri, (kind, digest))| json!({ "uri": uri, "digest": { *kind: digest } }));
    images.extend(others);
    let mut parameters = json!({ "frontend": "dockerfile.v0" });
    if matches!(request.context, ContextSource::Directory(_)) {
        parameters["locals"] = json!([{ "name": "context" }, { "name": "dockerfile" }]);
    }
    json!({
        "builder": { "id": "" },
        "buildType": "https://mobyproject.org/buildkit@v1",
        "materials": images,
        "invocation": {
            "configSource": { "entryPoint": entry_point(request) },
            "parameters": parameters,
            "environment": { "platform": inputs.plan.platform.to_string() },
        },
    })
}

/// An image as a package: `pkg:docker/busybox@latest`.
fn package(reference: &str) -> String {
    let Ok(reference) = reference.parse::<lighter_image::Reference>() else {
        return format!("pkg:docker/{reference}");
    };
    let version =
        reference.tag().map(str::to_owned).or_else(|| reference.digest().map(|digest| digest.to_string()));
    let version = version.map(|version| format!("@{version}")).unwrap_or_default();
    format!("pkg:docker/{}{version}", reference.familiar_repository())
}

/// The digest of an image's manifest, or of its layers where it came without one.
fn digest(image: &ImageInput) -> Digest {
    if let Some(digest) = image.shown.rsplit_once('@').and_then(|(_, digest)| digest.parse().ok()) {
        return digest;
    }
    let chain = |chain: Option<Digest>, layer: &DiffId| match chain {
        None => layer.0,
        Some(chain) => Digest::of(format!("{chain} {layer}")),
    };
    image.layers.iter().fold(None, |below, layer| Some(chain(below, layer))).unwrap_or(image.id.0)
}

fn entry_point(request: &BuildRequest) -> String {
    match &request.file {
        Some(FileSource::Path(path)) => path
            .file_name()
            .map_or_else(|| "Dockerfile".to_owned(), |name| name.to_string_lossy().into_owned()),
        Some(FileSource::Url(url)) => url.clone(),
        Some(FileSource::Stdin) | None => "Dockerfile".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_packages() {
        let check = |reference: &str, expected: &str| assert_eq!(package(reference), expected);
        check("docker.io/library/busybox:latest", "pkg:docker/busybox@latest");
        check("registry.example/a/b:1", "pkg:docker/registry.example/a/b@1");
    }

    #[test]
    fn an_image_without_a_manifest_is_known_by_its_layers() {
        let (a, b) = (DiffId(Digest::of("a")), DiffId(Digest::of("b")));
        let image = |layers: &[DiffId], shown: &str| ImageInput {
            id: lighter_image::ImageId(Digest::of("id")),
            layers: layers.to_vec(),
            shown: shown.to_owned(),
        };
        assert_eq!(digest(&image(&[a], "x:1")), a.0);
        assert_eq!(digest(&image(&[a, b], "x:1")), Digest::of(format!("{a} {b}")));
        let named = Digest::of("m");
        assert_eq!(digest(&image(&[a], &format!("x:1@{named}"))), named);
    }
}
