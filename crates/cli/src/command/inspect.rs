//! `inspect`: all there is to know of things, as JSON or under a template.

use crate::args::inspect::{ImageInspect, Inspect};
use crate::command::{container, platform};
use crate::failure::Failure;
use crate::render::document;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::image::{self, StoredImage};
use serde_json::Value;

/// What `--type` may say, of the things that lighter has.
const TYPES: [&str; 4] = ["container", "image", "network", "volume"];

impl Verb for Inspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        if let Some(kind) = self.r#type.as_deref().filter(|kind| !TYPES.contains(kind)) {
            let known = TYPES.map(|kind| format!("{kind:?}")).join(", ");
            return Err(Failure::new(format!("unknown type: {kind:?}: must be one of {known}")));
        }
        let store = session.open_store()?;
        let wanted = self.r#type.as_deref();
        let image = |found: StoredImage| {
            if self.size {
                session.remark("WARNING: --size ignored for image");
            }
            described(&store, &found)
        };
        all(session, &self.names, self.format.as_deref(), |name| match wanted {
            None => anything(&store, name, self.size, &image),
            Some("image") => found(&store, name).and_then(&image),
            Some(kind) => match container::inspected(&store, kind, name, self.size)? {
                Some(document) => Ok(document),
                None => Err(Failure::new(format!("Error: No such {kind}: {name}"))),
            },
        })
    }
}

/// Describes what goes by a name: a container first, then an image, a network, a volume.
fn anything(
    store: &Store,
    name: &str,
    size: bool,
    of_image: &impl Fn(StoredImage) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    if let Some(document) = container::inspected(store, "container", name, size)? {
        return Ok(document);
    }
    match image::look_up(store, name) {
        Ok(image) => return of_image(image),
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(Failure::because(&error)),
    }
    for kind in ["network", "volume"] {
        if let Some(document) = container::inspected(store, kind, name, size)? {
            return Ok(document);
        }
    }
    Err(Failure::new(format!("Error: No such object: {name}")))
}

impl Verb for ImageInspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        all(session, &self.images, self.format.as_deref(), |name| {
            let image = found(&store, name)?;
            platform::check(self.platform.as_deref(), name, &image)?;
            described(&store, &image)
        })
    }
}

/// Shows everything that can be found, then tells what could not.
///
/// # Errors
/// What could not be found or shown.
pub(crate) fn all(
    session: &Session,
    names: &[String],
    format: Option<&str>,
    find: impl Fn(&str) -> Result<Value, Failure>,
) -> Result<u8, Failure> {
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match find(name) {
            Ok(document) => documents.push(document),
            Err(failure) => failures.push(failure.text),
        }
    }
    let text = document::inspected(format, &documents)?;
    // a template that had nothing to be about ends its line all the same, as Docker's does
    session.print(if text.is_empty() { "\n" } else { &text })?;
    if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
}

fn found(store: &Store, name: &str) -> Result<StoredImage, Failure> {
    image::look_up(store, name).map_err(|error| Failure::because(&error))
}

fn described(store: &Store, image: &StoredImage) -> Result<Value, Failure> {
    let description = image::inspect(store, image).map_err(|error| Failure::because(&error))?;
    serde_json::to_value(description).map_err(|error| Failure::because(&error))
}
