//! Upload sessions: begun, asked about, and ended, as the registry directs.

use lighter_image::Digest;
use ureq::http::Method;

use crate::client::Place;
use crate::event::ignore_events;
use crate::transport::error::TransportError;
use crate::transport::exchange::{Body, Patience, Response};
use crate::transport::scope::Scopes;
use crate::transport::session::{Call, Target};
use crate::transport::url::{Url, encode};

/// An upload that a registry has begun.
#[derive(Debug, Clone)]
pub(super) struct UploadSession {
    /// Where the next request of this upload goes.
    pub(super) location: Url,
    /// The shortest piece that the registry takes, but for the last one.
    pub(super) least_chunk_bytes: u64,
}

/// Begins an upload.
pub(super) fn begin(place: &Place) -> Result<UploadSession, TransportError> {
    let path = format!("/v2/{}/blobs/uploads/", place.repository);
    let scopes = Scopes::push(&place.repository);
    let mut call = Call::new(Method::POST, path, scopes, &[202]);
    begun(place.session.call(&mut call, &ignore_events)?)
}

/// Takes a blob from another repository; `None` where that was possible, else the upload that was begun instead.
pub(super) fn mount(
    place: &Place,
    digest: &Digest,
    from: &str,
) -> Result<Option<UploadSession>, TransportError> {
    let (digest, from_text) = (encode(&digest.to_string()), encode(from));
    let path = format!("/v2/{}/blobs/uploads/?mount={digest}&from={from_text}", place.repository);
    let scopes = Scopes::push(&place.repository).and(Scopes::pull(from));
    let mut call = Call::new(Method::POST, path, scopes, &[201, 202]);
    let response = place.session.call(&mut call, &ignore_events)?;
    if response.status == 201 {
        response.discard();
        return Ok(None);
    }
    begun(response).map(Some)
}

fn begun(response: Response) -> Result<UploadSession, TransportError> {
    let least = response.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
    let location = location(&response)?;
    response.discard();
    Ok(UploadSession { location, least_chunk_bytes: least.unwrap_or(0) })
}

impl UploadSession {
    /// Sends bytes that follow those that are there; `range` says which they are, where that must be said.
    pub(super) fn patch(
        &mut self,
        place: &Place,
        body: Body<'_>,
        range: Option<(u64, u64)>,
    ) -> Result<(), TransportError> {
        let mut call = self.call(place, Method::PATCH, body, &[201, 202, 204]);
        if let Some((first, last)) = range {
            call.headers.push(("content-range", format!("{first}-{last}")));
        }
        let response = place.session.attempt(&mut call)?;
        self.location = location(&response)?;
        response.discard();
        Ok(())
    }

    /// Ends the upload: what was sent is this blob. A body is sent with it where nothing was sent before.
    pub(super) fn commit(
        &self,
        place: &Place,
        digest: &Digest,
        body: Body<'_>,
    ) -> Result<Option<Digest>, TransportError> {
        let mut call = self.call(place, Method::PUT, body, &[201, 204]);
        call.target = Target::Url(self.location.with_query("digest", &digest.to_string()));
        call.patience = Patience::Commit;
        let response = place.session.attempt(&mut call)?;
        let said = response.header("docker-content-digest").and_then(|text| text.parse().ok());
        response.discard();
        Ok(said)
    }

    /// Asks how many bytes the registry has; `None` where it cannot tell.
    pub(super) fn received(&mut self, place: &Place) -> Result<Option<u64>, TransportError> {
        let mut call = self.call(place, Method::GET, Body::None, &[204]);
        let response = place.session.call(&mut call, &ignore_events)?;
        if response.header("location").is_some() {
            self.location = location(&response)?;
        }
        Ok(received(&response))
    }

    /// Tells the registry that nothing more comes. It finds that out itself in the end, so a failure does not matter.
    pub(super) fn abandon(&self, place: &Place) {
        let mut call = self.call(place, Method::DELETE, Body::None, &[200, 202, 204]);
        match place.session.attempt(&mut call) {
            Ok(response) => response.discard(),
            Err(error) => tracing::debug!(%error, "an upload was left unfinished"),
        }
    }

    fn call<'a>(&self, place: &Place, method: Method, body: Body<'a>, expected: &'a [u16]) -> Call<'a> {
        let mut call = Call::new(method, String::new(), Scopes::push(&place.repository), expected);
        call.target = Target::Url(self.location.clone());
        if !matches!(body, Body::None) {
            call.headers.push(("content-type", "application/octet-stream".to_owned()));
        }
        call.body = body;
        call
    }
}

fn location(response: &Response) -> Result<Url, TransportError> {
    let request = response.request.clone();
    let Some(location) = response.header("location") else {
        let reason = "the answer does not say where the upload goes on".to_owned();
        return Err(TransportError::Protocol { request, reason });
    };
    let joined = response.request.url.join(location);
    joined.map_err(|source| TransportError::Address { request, source })
}

/// How many bytes an answer says are there. `0-0` is what registries say of one byte and of none.
fn received(response: &Response) -> Option<u64> {
    let range = response.header("range")?.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    (first.trim() == "0" && last > 0).then_some(last + 1)
}
