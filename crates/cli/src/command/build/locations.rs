//! Where a build writes to, and where caches are.

use super::request::attributes;
use crate::args::build::Build;
use crate::failure::Failure;
use crate::session::Session;
use lighter_engine::build::{CacheLocation, Compression, Destination, Output, OutputKind, OutputOptions};
use lighter_image::Reference;

/// `--output`, `--load` and `--push`; none for an image in the store.
///
/// # Errors
/// What is no output.
pub(super) fn outputs(args: &Build, session: &Session) -> Result<Vec<Output>, Failure> {
    let given = args.output.iter().filter(|text| !text.is_empty());
    let mut outputs: Vec<Output> = given.map(|text| output(text)).collect::<Result<_, _>>()?;
    if session.prints_to_terminal()
        && let Some(output) = outputs.iter().find(|output| output.destination == Destination::Stdout)
    {
        let kind = match output.kind {
            OutputKind::Tar => "tar",
            OutputKind::Docker => "docker",
            _ => "oci",
        };
        return Err(Failure::new(format!(
            "ERROR: dest file is required for {kind} exporter. refusing to write to console"
        )));
    }
    let plain = |kind| Output { kind, destination: Destination::Store, options: OutputOptions::default() };
    if args.push {
        match outputs.iter_mut().find(|output| output.kind == OutputKind::Image) {
            Some(image) => image.options.push = true,
            None => outputs.push(plain(OutputKind::Registry)),
        }
    }
    if args.load && !outputs.iter().any(|output| output.kind == OutputKind::Docker) {
        outputs.push(plain(OutputKind::Docker));
    }
    let is_pushed = |output: &Output| output.options.push || output.kind == OutputKind::Registry;
    let needs_name = |output: &Output| is_pushed(output) && output.options.names.is_empty();
    if args.tag.is_empty() && outputs.iter().any(needs_name) {
        return Err(Failure::new("ERROR: failed to build: tag is needed when pushing to registry"));
    }
    Ok(outputs)
}

/// `DIR`, `-`, or `type=KIND,KEY=VALUE`.
fn output(text: &str) -> Result<Output, Failure> {
    let options = OutputOptions::default();
    if text == "-" {
        return Ok(Output { kind: OutputKind::Tar, destination: Destination::Stdout, options });
    }
    // as buildx reads it: one field is a folder, unless it is a type
    if !text.contains(',') && !text.starts_with("type=") {
        return Ok(Output { kind: OutputKind::Local, destination: Destination::Path(text.into()), options });
    }
    let mut kind = None;
    let mut destination = None;
    let mut options = options;
    for (key, value) in attributes("--output", text)? {
        match key.as_str() {
            "type" => kind = Some(self::kind(&value)?),
            "dest" => destination = Some(value),
            _ => option(&mut options, &key, &value)?,
        }
    }
    let kind = kind.ok_or_else(|| Failure::new(format!("ERROR: type is required for output {text:?}")))?;
    let destination = match (kind, destination.as_deref()) {
        (OutputKind::Local, None) => return Err(Failure::new("ERROR: dest is required for local exporter")),
        (OutputKind::Local, Some("-")) => {
            return Err(Failure::new("ERROR: dest cannot be stdout for local exporter"));
        }
        (OutputKind::Image | OutputKind::Registry, Some(_)) => {
            return Err(Failure::new(format!("ERROR: output {text:?} has no dest: it goes to the store")));
        }
        (OutputKind::Tar | OutputKind::Oci, None) if options.tar != Some(false) => Destination::Stdout,
        (OutputKind::Tar | OutputKind::Oci, None) => {
            return Err(Failure::new(format!("ERROR: dest is required for output {text:?}")));
        }
        (_, None) => Destination::Store,
        (_, Some("-")) => Destination::Stdout,
        (_, Some(path)) => Destination::Path(path.into()),
    };
    Ok(Output { kind, destination, options })
}

fn kind(text: &str) -> Result<OutputKind, Failure> {
    match text {
        "image" => Ok(OutputKind::Image),
        "registry" => Ok(OutputKind::Registry),
        "docker" => Ok(OutputKind::Docker),
        "oci" => Ok(OutputKind::Oci),
        "tar" => Ok(OutputKind::Tar),
        "local" => Ok(OutputKind::Local),
        "cacheonly" => Ok(OutputKind::CacheOnly),
        other => Err(Failure::new(format!(
            "ERROR: unsupported output type {other:?}: it is cacheonly, docker, image, local, oci, registry or tar"
        ))),
    }
}

fn option(options: &mut OutputOptions, key: &str, value: &str) -> Result<(), Failure> {
    let invalid =
        |why: &str| Failure::new(format!("ERROR: invalid value {value:?} of {key} in --output: {why}"));
    let switch = || crate::args::switch(value).map_err(|why| invalid(&why));
    match key {
        "name" => {
            for name in value.split(',') {
                let name: Reference = name.parse().map_err(|error| Failure::because(&error))?;
                options.names.push(name);
            }
        }
        "compression" => {
            options.compression = Some(match value {
                "uncompressed" => Compression::Uncompressed,
                "gzip" => Compression::Gzip,
                "zstd" => Compression::Zstd,
                _ => return Err(invalid("it is gzip, zstd or uncompressed")),
            });
        }
        "compression-level" => {
            options.compression_level = Some(value.parse().map_err(|_| invalid("it is a number"))?);
        }
        "force-compression" => options.force_compression = switch()?,
        "rewrite-timestamp" => options.rewrite_timestamp = switch()?,
        "tar" => options.tar = Some(switch()?),
        "push" => options.push = switch()?,
        "push-by-digest" => options.push_by_digest = switch()?,
        "oci-mediatypes" => options.oci_media_types = Some(switch()?),
        "store" => options.store = Some(switch()?),
        "platform-split" => options.platform_split = switch()?,
        // an image of the store is always ready to be run, and one that is pushed known by its digest
        "unpack" | "name-canonical" => {}
        _ if key.starts_with("annotation") => {
            options.annotations.insert(key.to_owned(), value.to_owned());
        }
        _ => return Err(Failure::new(format!("ERROR: unknown key {key:?} in --output"))),
    }
    Ok(())
}

/// `--cache-from` or `--cache-to`: `REF`, or `type=KIND,KEY=VALUE`.
///
/// # Errors
/// What is none.
pub(super) fn cache(text: &str) -> Result<CacheLocation, Failure> {
    if !text.contains('=') {
        let attributes = [("ref".to_owned(), text.to_owned())].into();
        return Ok(CacheLocation { kind: "registry".to_owned(), attributes });
    }
    let mut location =
        CacheLocation { kind: String::new(), attributes: attributes("cache", text)?.into_iter().collect() };
    location.kind = location.attributes.remove("type").unwrap_or_default();
    check_attributes(&location)?;
    match location.kind.as_str() {
        "local" | "registry" | "inline" => Ok(location),
        "" => Err(Failure::new(format!("ERROR: type required form> {text:?}"))),
        other => Err(Failure::new(format!(
            "ERROR: cache type {other:?} is not supported: it is inline, local or registry"
        ))),
    }
}

/// Refuses what would be left out of account.
fn check_attributes(location: &CacheLocation) -> Result<(), Failure> {
    let known: &[&str] = match location.kind.as_str() {
        // a folder holds the steps of all tags
        "local" => &["src", "dest", "tag"],
        "registry" => &["ref"],
        _ => &[],
    };
    // the documents are OCI's, one manifest for each record, whatever is asked for
    let always = [
        "mode",
        "compression",
        "compression-level",
        "force-compression",
        "ignore-error",
        "mounts",
        "oci-mediatypes",
        "image-manifest",
    ];
    for (key, value) in &location.attributes {
        let invalid = |why: &str| {
            Err(Failure::new(format!("ERROR: invalid value {value:?} of {key} of a cache: {why}")))
        };
        match key.as_str() {
            "mode" if !matches!(value.as_str(), "min" | "max") => return invalid("it is min or max"),
            "force-compression" | "ignore-error" | "mounts" if crate::args::switch(value).is_err() => {
                return invalid("it is true or false");
            }
            key if known.contains(&key) || always.contains(&key) => {}
            _ => {
                return Err(Failure::new(format!(
                    "ERROR: unknown key {key:?} of a cache of type {:?}",
                    location.kind
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_in_their_forms() {
        let check = |text: &str, kind, destination| {
            let read = output(text).unwrap_or_else(|failure| panic!("{text}: {}", failure.text));
            assert_eq!((read.kind, read.destination), (kind, destination), "{text}");
        };
        let path = |text: &str| Destination::Path(text.into());
        check("out", OutputKind::Local, path("out"));
        check("dest=x", OutputKind::Local, path("dest=x"));
        check("type=cacheonly", OutputKind::CacheOnly, Destination::Store);
        check("-", OutputKind::Tar, Destination::Stdout);
        check("type=local,dest=o", OutputKind::Local, path("o"));
        check("type=tar", OutputKind::Tar, Destination::Stdout);
        check("type=oci,dest=-", OutputKind::Oci, Destination::Stdout);
        check("type=docker", OutputKind::Docker, Destination::Store);
        check("type=docker,dest=x.tar", OutputKind::Docker, path("x.tar"));
        check("type=image,push=true", OutputKind::Image, Destination::Store);
        check("\"type=image\",\"name=a,b\"", OutputKind::Image, Destination::Store);
    }

    #[test]
    fn options_of_outputs() {
        let read = output("type=oci,dest=o,compression=zstd,compression-level=3,rewrite-timestamp=true,tar=false,annotation.a=b").expect("reads");
        assert_eq!(read.options.compression, Some(Compression::Zstd));
        assert_eq!(read.options.compression_level, Some(3));
        assert!(read.options.rewrite_timestamp);
        assert_eq!(read.options.tar, Some(false));
        assert_eq!(read.options.annotations.get("annotation.a").map(String::as_str), Some("b"));
    }

    #[test]
    fn faults() {
        for text in [
            "type=frob",
            "type=local",
            "type=local,dest=-",
            "type=oci,tar=maybe",
            "type=image,dest=x",
            "type=tar,frob=1",
        ] {
            assert!(output(text).is_err(), "{text}");
        }
        for text in [
            "type=gha",
            "mode=max",
            "type=local,dest=x,mode=most",
            "type=local,frob=1",
            "type=registry,ref=a,ignore-error=perhaps",
        ] {
            assert!(cache(text).is_err(), "{text}");
        }
    }

    #[test]
    fn caches() {
        assert_eq!(
            cache("r/c:1").map(|found| (found.kind, found.attributes["ref"].clone())),
            Ok(("registry".to_owned(), "r/c:1".to_owned()))
        );
        assert_eq!(
            cache("type=local,src=x").map(|found| found.attributes["src"].clone()),
            Ok("x".to_owned())
        );
    }
}
