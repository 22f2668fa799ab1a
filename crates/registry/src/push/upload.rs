//! Uploads of blobs whose digest is known: one stream, taken up again where it broke.

use std::io::{self, Read};

use lighter_image::{Digest, Reference};

use super::session::{self, UploadSession};
use super::{Open, PushError};
use crate::cancel::Cancel;
use crate::client::{Client, Place};
use crate::event::{Events, TransferEvent};
use crate::transport::error::TransportError;
use crate::transport::exchange::Body;
use crate::transport::retry::Attempts;

/// Up to this size a blob goes with the request that ends its upload: one request less.
const SMALL_BYTES: u64 = 1 << 20;

/// One blob on its way.
pub(super) struct Upload<'a> {
    place: &'a Place,
    repository: String,
    digest: Digest,
    size_bytes: u64,
    session: Option<UploadSession>,
    /// How many bytes the registry has.
    offset: u64,
    attempts: Attempts,
    has_renewed: bool,
    cancel: &'a Cancel,
    events: Events<'a>,
}

/// What broke a sending.
enum Broken {
    /// What was to be sent.
    Source(io::Error),
    Transport(TransportError),
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        client: &'a Client,
        place: &'a Place,
        reference: &Reference,
        (digest, size_bytes): (Digest, u64),
        events: Events<'a>,
    ) -> Self {
        Self {
            place,
            repository: reference.familiar_repository(),
            digest,
            size_bytes,
            session: None,
            offset: 0,
            attempts: Attempts::new(client.config().retries),
            has_renewed: false,
            cancel: client.cancel(),
            events,
        }
    }

    /// Takes the blob from another repository; says whether that was possible. Where it was not, the upload
    /// that the registry begins instead is used.
    pub(super) fn mount(&mut self, from: &str) -> Result<bool, PushError> {
        match session::mount(self.place, &self.digest, from) {
            Ok(None) => Ok(true),
            Ok(begun) => {
                self.session = begun;
                Ok(false)
            }
            // not being allowed to read there is no reason not to write here
            Err(error) if error.is_unauthorized() || error.is_not_found() => Ok(false),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Sends the blob.
    pub(super) fn run(&mut self, open: Open<'_>) -> Result<(), PushError> {
        let total_bytes = Some(self.size_bytes);
        (self.events)(TransferEvent::Started { offset_bytes: 0, total_bytes });
        loop {
            match self.attempt(open) {
                Ok(said) => {
                    (self.events)(TransferEvent::Finished);
                    let (expected, actual) = (self.digest, said.unwrap_or(self.digest));
                    return if expected == actual {
                        Ok(())
                    } else {
                        Err(PushError::Digest { expected, actual })
                    };
                }
                Err(Broken::Source(source)) => {
                    if let Some(session) = &self.session {
                        session.abandon(self.place);
                    }
                    return Err(PushError::Source { what: self.what(), source });
                }
                Err(Broken::Transport(error)) => self.recover(error)?,
            }
        }
    }

    fn attempt(&mut self, open: Open<'_>) -> Result<Option<Digest>, Broken> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => session::begin(self.place).map_err(Broken::Transport)?,
        };
        self.session = Some(session.clone());
        let left = self.size_bytes - self.offset;
        if self.offset == 0 && self.size_bytes <= SMALL_BYTES {
            return self.send(open, |place, body| session.commit(place, &self.digest, body));
        }
        if left > 0 {
            let last = self.size_bytes - 1;
            let range = (self.offset > 0).then_some((self.offset, last));
            self.send(open, |place, body| session.patch(place, body, range))?;
            self.offset = self.size_bytes;
            self.session = Some(session.clone());
        }
        session.commit(self.place, &self.digest, Body::None).map_err(Broken::Transport)
    }

    /// Sends what is missing as the body of a request.
    fn send<T>(
        &self,
        open: Open<'_>,
        request: impl FnOnce(&Place, Body<'_>) -> Result<T, TransportError>,
    ) -> Result<T, Broken> {
        let source = open(self.offset).map_err(Broken::Source)?;
        let mut counted = Counted { source, events: self.events, cancel: self.cancel, sent: 0, broken: None };
        let size_bytes = self.size_bytes - self.offset;
        let outcome = request(self.place, Body::Stream { reader: &mut counted, size_bytes });
        match (outcome, counted.broken) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(broken)) => Err(Broken::Source(broken)),
            (Err(error), None) => {
                (self.events)(TransferEvent::Rewound { bytes: counted.sent });
                Err(Broken::Transport(error))
            }
        }
    }

    /// After a failure: waits, asks how far the registry is, and begins anew where it does not know.
    fn recover(&mut self, error: TransportError) -> Result<(), PushError> {
        let lost = self.session.is_some() && is_lost(&error, self.offset > 0);
        if error.status() == Some(401) && !self.has_renewed {
            // a token that ran out has been renewed by now
            self.has_renewed = true;
        } else {
            let outcome = if lost {
                self.attempts.after_all(error, self.cancel, self.events)
            } else {
                self.attempts.after(error, self.cancel, self.events)
            };
            outcome.map_err(|error| self.error(error))?;
        }
        let position = match self.session.as_mut().filter(|_| !lost) {
            // a registry that cannot say how far it is gets all of it once more
            Some(session) => session.received(self.place).ok().flatten(),
            None => None,
        };
        let position = position.filter(|position| *position <= self.size_bytes);
        if position.is_none() {
            self.session = None;
        }
        let position = position.unwrap_or(0);
        (self.events)(if position >= self.offset {
            TransferEvent::Advanced { bytes: position - self.offset }
        } else {
            TransferEvent::Rewound { bytes: self.offset - position }
        });
        self.offset = position;
        Ok(())
    }

    fn what(&self) -> String {
        format!("blob {}", self.digest)
    }

    fn error(&self, source: TransportError) -> PushError {
        let repository = self.repository.clone();
        PushError::Transport { what: self.what(), repository, source: Box::new(source) }
    }
}

/// Whether a registry has forgotten an upload, or has it in a state that does not fit.
fn is_lost(error: &TransportError, resumed: bool) -> bool {
    let TransportError::Refused(refusal) = error else { return false };
    matches!(refusal.status, 404 | 416)
        || refusal.has_code("BLOB_UPLOAD_UNKNOWN")
        || refusal.has_code("BLOB_UPLOAD_INVALID")
        || (resumed && refusal.has_code("DIGEST_INVALID"))
}

/// What is sent, counted, and with its own failures kept apart from those of the connection.
struct Counted<'a> {
    source: Box<dyn Read + 'a>,
    events: Events<'a>,
    cancel: &'a Cancel,
    sent: u64,
    broken: Option<io::Error>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        let broken = match self.source.read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was said to be")
            }
            Ok(count) => {
                self.sent += count as u64;
                (self.events)(TransferEvent::Advanced { bytes: count as u64 });
                return Ok(count);
            }
            Err(error) => error,
        };
        let told = io::Error::new(broken.kind(), broken.to_string());
        self.broken = Some(broken);
        Err(told)
    }
}
