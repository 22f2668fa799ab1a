//! Manifests and indexes: fetched whole, and believed only if their digest is right.

use lighter_image::{Descriptor, Digest, ParseManifestError, Platform, Reference, media_type};
use ureq::http::Method;

use super::FetchError;
use crate::client::{Client, Place, first_good, is_cancelled};
use crate::config::NameError;
use crate::event::ignore_events;
use crate::transport::error::TransportError;
use crate::transport::exchange::Response;
use crate::transport::scope::Scopes;
use crate::transport::session::Call;

/// All that can be asked for, the newer ones first.
const ACCEPTED: &[&str] =
    &[media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST];

/// A manifest or an index as it was served: its bytes are its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why a name does not lead to an image.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name is not to be asked for.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The registry knows no such thing.
    #[error("manifest for {reference} not found")]
    NotFound {
        /// What was asked for.
        reference: String,
        /// The registry's answer.
        source: Box<TransportError>,
    },
    /// The registry did not give it out.
    #[error("resolving `{reference}`")]
    Transport {
        /// What was asked for.
        reference: String,
        /// Why not.
        source: Box<TransportError>,
    },
    /// The registry gave out something else.
    #[error("digest mismatch: the manifest of `{reference}` is {actual}, not {expected}")]
    Digest {
        /// What was asked for.
        reference: String,
        /// The digest that was named.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The registry gave out something of another size.
    #[error("size mismatch: the manifest of `{reference}` has {actual} bytes, not {expected}")]
    Size {
        /// What was asked for.
        reference: String,
        /// The size that was named.
        expected: u64,
        /// The size of what came.
        actual: u64,
    },
    /// It is not a document that can be read.
    #[error("the manifest of `{reference}`")]
    Parse {
        /// What was asked for.
        reference: String,
        /// Why not.
        source: ParseManifestError,
    },
    /// There is none for this platform.
    #[error("no matching manifest for {wanted} in the manifest list of `{reference}`, which has {available}")]
    NoPlatform {
        /// What was asked for.
        reference: String,
        /// The platform that was wanted.
        wanted: Box<Platform>,
        /// The platforms that there are.
        available: String,
    },
    /// It has more parts than any image should.
    #[error("`{reference}` has {count} {what}, which is more than the limit of {limit}")]
    TooMany {
        /// What was asked for.
        reference: String,
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// One of its layers is elsewhere, by licence, and not in the registry.
    #[error("layer {digest} of `{reference}` is a foreign layer: its bytes are not in the registry")]
    ForeignLayer {
        /// What was asked for.
        reference: String,
        /// The layer.
        digest: Digest,
    },
    /// It is no image, or one of an unknown kind.
    #[error("`{reference}`: media type `{media_type}` of its {part} is not supported")]
    MediaType {
        /// What was asked for.
        reference: String,
        /// Which part.
        part: &'static str,
        /// What it says it is.
        media_type: String,
    },
    /// Its parts contradict each other.
    #[error("`{reference}` contradicts itself: {reason}")]
    Contradiction {
        /// What was asked for.
        reference: String,
        /// How.
        reason: String,
    },
    /// The configuration could not be fetched.
    #[error("the configuration of `{reference}`")]
    Config {
        /// What was asked for.
        reference: String,
        /// Why not.
        source: Box<FetchError>,
    },
}

impl ResolveError {
    /// Whether the registry knows no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    fn of(reference: &Reference, source: TransportError) -> Self {
        let (reference, source) = (reference.familiar(), Box::new(source));
        if source.is_not_found() {
            return Self::NotFound { reference, source };
        }
        Self::Transport { reference, source }
    }

    fn is_final(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if is_cancelled(source))
    }
}

impl Client {
    /// Fetches the manifest or index that a name leads to: its digest where it names one, else its tag.
    ///
    /// # Errors
    /// [`ResolveError`]; what comes back is not yet parsed.
    /// # Source
    /// OCI distribution-spec, "Pulling manifests".
    pub fn manifest(&self, reference: &Reference) -> Result<RawManifest, ResolveError> {
        let reference = reference.clone().with_default_tag();
        let places = self.places(&reference)?;
        first_good(places, ResolveError::is_final, |place| self.manifest_from(place, &reference))
    }

    /// Fetches a manifest that is already described.
    ///
    /// # Errors
    /// [`ResolveError`], also where its size or media type are not as described.
    pub fn described_manifest(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<RawManifest, ResolveError> {
        let raw = self.manifest(&reference.with_digest(descriptor.digest))?;
        if raw.descriptor.size != descriptor.size {
            let (expected, actual) = (descriptor.size, raw.descriptor.size);
            return Err(ResolveError::Size { reference: reference.familiar(), expected, actual });
        }
        // what the index says is verified by its digest, what the header says is not
        let descriptor = Descriptor { platform: None, ..descriptor.clone() };
        Ok(RawManifest { descriptor, ..raw })
    }

    /// Asks what a name leads to, without fetching it; `None` where there is no such thing.
    ///
    /// # Errors
    /// [`ResolveError`], but for what is not found.
    /// # Source
    /// OCI distribution-spec, "Checking if content exists in the registry".
    pub fn head_manifest(&self, reference: &Reference) -> Result<Option<Descriptor>, ResolveError> {
        let reference = reference.clone().with_default_tag();
        let places = self.places(&reference)?;
        let found = first_good(places, ResolveError::is_final, |place| match head_from(place, &reference)? {
            Some(descriptor) => Ok(descriptor),
            None => self.manifest_from(place, &reference).map(|raw| raw.descriptor),
        });
        match found {
            Ok(descriptor) => Ok(Some(descriptor)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn manifest_from(&self, place: &Place, reference: &Reference) -> Result<RawManifest, ResolveError> {
        let fail = |source| ResolveError::of(reference, source);
        let response = ask(place, reference, Method::GET).map_err(fail)?;
        let said = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let media_type = response.media_type().unwrap_or_default().to_owned();
        let bytes = response.bytes(self.config().limits.manifest_bytes).map_err(fail)?;
        let actual = Digest::of(&bytes);
        for expected in [reference.digest(), said].into_iter().flatten() {
            if expected != actual {
                return Err(ResolveError::Digest { reference: reference.familiar(), expected, actual });
            }
        }
        let descriptor = Descriptor::new(media_type, actual, bytes.len() as u64);
        Ok(RawManifest { descriptor, bytes })
    }
}

/// Asks for the head only; `None` where the answer does not say enough.
fn head_from(place: &Place, reference: &Reference) -> Result<Option<Descriptor>, ResolveError> {
    let response =
        ask(place, reference, Method::HEAD).map_err(|source| ResolveError::of(reference, source))?;
    let digest = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
    let described = match (response.media_type(), digest, response.content_length()) {
        (Some(media_type), Some(digest), Some(size)) => Some(Descriptor::new(media_type, digest, size)),
        _ => None,
    };
    let wanted =
        |descriptor: &Descriptor| reference.digest().is_none_or(|digest| digest == descriptor.digest);
    Ok(described.filter(wanted))
}

fn ask(place: &Place, reference: &Reference, method: Method) -> Result<Response, TransportError> {
    let name = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let path = format!("/v2/{}/manifests/{name}", place.repository);
    let mut call = Call::new(method, path, Scopes::pull(&place.repository), &[200]);
    call.headers.push(("accept", ACCEPTED.join(", ")));
    place.session.call(&mut call, &ignore_events)
}
