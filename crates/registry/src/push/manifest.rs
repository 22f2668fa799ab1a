//! Manifests and indexes: put under a tag or under their digest.

use lighter_image::{Digest, Reference};
use ureq::http::Method;

use super::PushError;
use crate::client::Client;
use crate::event::ignore_events;
use crate::transport::exchange::{Body, Patience};
use crate::transport::scope::Scopes;
use crate::transport::session::Call;

impl Client {
    /// Puts a manifest or an index, whose parts are there already, under the name's tag; under its digest where
    /// the name has no tag.
    ///
    /// # Errors
    /// [`PushError`]; the registry says which part it lacks.
    /// # Source
    /// OCI distribution-spec, "Pushing manifests".
    pub fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, PushError> {
        let place = self.destination(reference)?;
        let digest = Digest::of(bytes);
        if let Some(expected) = reference.digest().filter(|expected| *expected != digest) {
            return Err(PushError::Digest { expected, actual: digest });
        }
        let name = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let path = format!("/v2/{}/manifests/{name}", place.repository);
        let mut call = Call::new(Method::PUT, path, Scopes::push(&place.repository), &[200, 201, 202]);
        call.headers.push(("content-type", media_type.to_owned()));
        call.body = Body::Bytes(bytes);
        call.patience = Patience::Commit;
        let response = place.session.call(&mut call, &ignore_events).map_err(|source| {
            let (what, repository) = (format!("manifest {name}"), reference.familiar_repository());
            PushError::Transport { what, repository, source: Box::new(source) }
        })?;
        let said = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        response.discard();
        match said {
            Some(actual) if actual != digest => Err(PushError::Digest { expected: digest, actual }),
            _ => Ok(digest),
        }
    }
}
