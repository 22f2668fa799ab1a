//! The push side: only what the registry lacks is sent.

mod manifest;
mod session;
mod stream;
mod upload;

use std::io::{self, Read};

use lighter_image::{Digest, Reference};

use crate::client::Client;
use crate::config::NameError;
use crate::event::{Events, ignore_events};
use crate::transport::error::TransportError;
use crate::transport::scope::Scopes;
use crate::transport::session::Call;

/// Gives out what is to be sent, from this byte on. It is asked again when a sending has to begin once more.
pub type Open<'a> = &'a mut dyn FnMut(u64) -> io::Result<Box<dyn Read>>;

/// How a blob came to be in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// It was in this other repository of the registry.
    Mounted(String),
    /// It was sent.
    Uploaded,
}

/// Why something could not be brought into a repository.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The name is not to be written to.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The registry did not take it.
    #[error("pushing {what} to `{repository}`")]
    Transport {
        /// What was to be sent.
        what: String,
        /// Where to.
        repository: String,
        /// Why not.
        source: Box<TransportError>,
    },
    /// What was to be sent could not be read.
    #[error("reading {what}")]
    Source {
        /// What was to be sent.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The registry says that it has something else now.
    #[error("digest mismatch: the registry has {actual} where {expected} was sent")]
    Digest {
        /// What was sent.
        expected: Digest,
        /// What the registry says.
        actual: Digest,
    },
    /// An upload was lost that cannot be begun again.
    #[error("the registry lost the upload of {what}")]
    Lost {
        /// What was being sent.
        what: String,
    },
}

impl Client {
    /// Asks whether a repository has a blob; its size, where it has.
    ///
    /// # Errors
    /// [`PushError::Transport`] for any answer but yes and no.
    /// # Source
    /// OCI distribution-spec, "Checking if content exists in the registry".
    pub fn blob_exists(&self, reference: &Reference, digest: &Digest) -> Result<Option<u64>, PushError> {
        let place = self.destination(reference)?;
        let path = format!("/v2/{}/blobs/{digest}", place.repository);
        let scopes = Scopes::push(&place.repository);
        let mut call = Call::new(ureq::http::Method::HEAD, path, scopes, &[200, 404]);
        let response = place.session.call(&mut call, &ignore_events).map_err(|source| {
            let (what, repository) = (format!("blob {digest}"), reference.familiar_repository());
            PushError::Transport { what, repository, source: Box::new(source) }
        })?;
        Ok((response.status == 200).then(|| response.content_length().unwrap_or_default()))
    }

    /// Brings a blob into a repository: nothing is sent where it is there already, or in one of the other
    /// repositories of the same registry that are named.
    ///
    /// # Errors
    /// [`PushError`].
    /// # Source
    /// OCI distribution-spec, "Pushing blobs" and "Mounting a blob from another repository".
    pub fn push_blob(
        &self,
        reference: &Reference,
        blob: (Digest, u64),
        mount_from: &[String],
        open: Open<'_>,
        events: Events<'_>,
    ) -> Result<Pushed, PushError> {
        if self.blob_exists(reference, &blob.0)?.is_some() {
            return Ok(Pushed::Existed);
        }
        let place = self.destination(reference)?;
        let mut upload = upload::Upload::new(self, &place, reference, blob, events);
        for other in mount_from.iter().filter(|other| **other != place.repository) {
            if upload.mount(other)? {
                return Ok(Pushed::Mounted(other.clone()));
            }
        }
        upload.run(open)?;
        Ok(Pushed::Uploaded)
    }
}
