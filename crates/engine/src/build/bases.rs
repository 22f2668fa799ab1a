//! The images that a plan needs to know: found in the store, else asked for at their registry.

use std::collections::HashMap;

use lighter_build::{ImageInput, Reporter};
use lighter_dockerfile::plan::{Base, BaseNeed, ImageSource, Lowered, Plan, Request, lower};
use lighter_dockerfile::{Code, Diagnostic, Parsed};
use lighter_image::{DiffId, Digest, ImageConfig, ImageId, ParseReferenceError, Reference, error_chain};
use lighter_store::Store;

use super::{BuildFailure, BuildRequest, Pull, oci_layout};
use crate::fetch::Network;
use crate::image::{LookError, look_up};
use crate::pull::{KnownImage, PullError, learn};

/// What marks the name of a context that is an OCI layout.
pub(super) const OCI_LAYOUT: &str = "oci-layout://";

/// The images of a plan.
pub(super) type Images = HashMap<ImageSource, ImageInput>;

/// What is known of an image: how it enters the build, its configuration, the digest of its manifest.
type Known = (ImageInput, ImageConfig, Option<Digest>);

/// Looks images up, and remembers them.
pub(super) struct Bases<'a> {
    store: &'a Store,
    network: &'a Network,
    request: &'a BuildRequest,
    reporter: &'a Reporter<'a>,
    known: HashMap<ImageSource, Base>,
    images: Images,
}

impl<'a> Bases<'a> {
    pub(super) fn new(
        store: &'a Store,
        network: &'a Network,
        request: &'a BuildRequest,
        reporter: &'a Reporter<'a>,
    ) -> Self {
        Self { store, network, request, reporter, known: HashMap::new(), images: HashMap::new() }
    }

    pub(super) fn into_images(self) -> Images {
        self.images
    }

    /// Plans; the inner failure is what is wrong with the Dockerfile.
    pub(super) fn lower(
        &mut self,
        parsed: &Parsed,
        wanted: &Request,
    ) -> Result<Result<Plan, Vec<Diagnostic>>, BuildFailure> {
        loop {
            match lower(&parsed.file, wanted, &self.known) {
                Lowered::Plan(plan) => return Ok(Ok(*plan)),
                Lowered::Faults(diagnostics) => return Ok(Err(diagnostics)),
                Lowered::NeedsBases(needs) => {
                    let mut faults = Vec::new();
                    for need in needs {
                        faults.extend(self.find(&need)?);
                    }
                    if !faults.is_empty() {
                        return Ok(Err(faults));
                    }
                }
            }
            if self.request.cancel.is_cancelled() {
                return Err(BuildFailure::Cancelled);
            }
        }
    }

    /// Looks an image up; what is wrong with its name comes back.
    fn find(&mut self, need: &BaseNeed) -> Result<Option<Diagnostic>, BuildFailure> {
        let work = self.reporter.begin(format!("[internal] load metadata for {}", need.reference));
        match self.known_image(need) {
            Ok((image, config, digest)) => {
                self.known.insert(need.key(), Base { config, digest });
                self.images.insert(need.key(), image);
                work.done();
                Ok(None)
            }
            Err(BaseError::Cancelled) => {
                work.cancelled();
                Err(BuildFailure::Cancelled)
            }
            Err(error) => {
                work.failed(&error);
                Ok(Some(fault(need, &error)))
            }
        }
    }

    /// An image of the store, where it has one that will do; else the one of the registry.
    fn known_image(&self, need: &BaseNeed) -> Result<Known, BaseError> {
        if let Some(layout) = need.reference.strip_prefix(OCI_LAYOUT) {
            return Ok(oci_layout::open(self.store, layout, &need.platform)?);
        }
        if self.request.pull == Pull::Missing {
            match look_up(self.store, &need.reference) {
                Ok(image) if image.config.platform().satisfies(&need.platform) => {
                    let digest = image.record.manifests.first().map(|manifest| manifest.digest);
                    let input = input(need, image.record.id, image.record.layers, digest);
                    return Ok((input, image.config, digest));
                }
                // what is here is for another platform
                Ok(_) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.ask(need)
    }

    /// Asks the registry for an image's metadata. Its layers are fetched when a step needs them.
    fn ask(&self, need: &BaseNeed) -> Result<Known, BaseError> {
        let reference: Reference = need.reference.parse()?;
        let client = self.network.client(&self.request.cancel);
        let learned = learn(self.store, client, &reference, &need.platform, self.request.now.into());
        if self.request.cancel.is_cancelled() {
            return Err(BaseError::Cancelled);
        }
        let KnownImage { record, config, digest, .. } = learned.map_err(Box::new)?;
        Ok((input(need, record.id, record.layers, Some(digest)), config, Some(digest)))
    }
}

/// Why a base cannot be had.
#[derive(Debug, thiserror::Error)]
enum BaseError {
    #[error("cancelled")]
    Cancelled,
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(transparent)]
    Name(#[from] ParseReferenceError),
    #[error(transparent)]
    Registry(#[from] Box<PullError>),
    #[error(transparent)]
    Layout(#[from] oci_layout::LayoutError),
}

fn input(need: &BaseNeed, id: ImageId, layers: Vec<DiffId>, digest: Option<Digest>) -> ImageInput {
    let shown = match digest {
        Some(digest) => format!("{}@{digest}", need.reference),
        None => need.reference.clone(),
    };
    ImageInput { id, layers, shown }
}

/// A base that cannot be had, as a fault of the line that names it.
fn fault(need: &BaseNeed, error: &BaseError) -> Diagnostic {
    let reason = error_chain(error);
    let (written, reference) = (&need.written, &need.reference);
    let message = format!("{written}: failed to resolve source metadata for {reference}: {reason}");
    Diagnostic::error(Code::ImageName, need.span, message).with_help(need.help.clone())
}

/// The name of a diagnostic's rule.
pub(super) fn code_name(diagnostic: &Diagnostic) -> String {
    match serde_json::to_value(diagnostic.code) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => {
            fields.values().next().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}
