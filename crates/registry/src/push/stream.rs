//! Uploads of bytes that are made while they are sent: in pieces, each of which can be sent again.

use std::io::{self, Read};

use lighter_image::{Digest, Hasher, Reference};

use super::PushError;
use super::session::{self, UploadSession};
use crate::client::{Client, Place};
use crate::event::{Events, TransferEvent};
use crate::transport::error::TransportError;
use crate::transport::exchange::Body;
use crate::transport::retry::Attempts;

/// What such uploads are called in messages, before their digest is known.
const WHAT: &str = "a new layer";
/// The largest piece that a registry may insist on.
const LARGEST_CHUNK: u64 = 64 << 20;

impl Client {
    /// Sends bytes whose digest is not known yet, and says what it is. One piece at a time is held in memory.
    ///
    /// # Errors
    /// [`PushError`]; [`PushError::Lost`] where the registry has forgotten the upload, which cannot be begun
    /// again here, as the bytes are gone: the caller can make them once more.
    /// # Source
    /// OCI distribution-spec, "Pushing a blob in chunks".
    pub fn push_stream(
        &self,
        reference: &Reference,
        source: &mut dyn Read,
        events: Events<'_>,
    ) -> Result<(Digest, u64), PushError> {
        let place = self.destination(reference)?;
        let repository = reference.familiar_repository();
        let session = session::begin(&place).map_err(|error| failed(&repository, error))?;
        let least = session.least_chunk_bytes;
        let chunk_bytes = self.config().limits.chunk_bytes;
        let mut pieces =
            Pieces { client: self, place: &place, repository, session, seen: Hasher::new(), events };
        if least > LARGEST_CHUNK {
            return Err(pieces.odd(format!("it wants pieces of {least} bytes")));
        }
        events(TransferEvent::Started { offset_bytes: 0, total_bytes: None });
        let mut piece = vec![0; chunk_bytes.max(usize::try_from(least).unwrap_or(0))];
        loop {
            self.cancel().check().map_err(|cancelled| pieces.failed(cancelled.into()))?;
            let filled = fill(source, &mut piece).map_err(|source| {
                pieces.session.abandon(pieces.place);
                PushError::Source { what: WHAT.to_owned(), source }
            })?;
            if filled > 0 {
                pieces.send(&piece[..filled])?;
            }
            if filled < piece.len() {
                break;
            }
        }
        drop(piece);
        let size_bytes = pieces.seen.size_bytes();
        let digest = pieces.seen.clone().finish();
        let said = pieces.commit(&digest)?;
        if let Some(actual) = said.filter(|said| *said != digest) {
            return Err(PushError::Digest { expected: digest, actual });
        }
        events(TransferEvent::Finished);
        Ok((digest, size_bytes))
    }
}

struct Pieces<'a> {
    client: &'a Client,
    place: &'a Place,
    repository: String,
    session: UploadSession,
    /// What the registry has.
    seen: Hasher,
    events: Events<'a>,
}

impl Pieces<'_> {
    /// Sends a piece, and after a failure what is missing of it.
    fn send(&mut self, piece: &[u8]) -> Result<(), PushError> {
        let start = self.seen.size_bytes();
        let end = start + piece.len() as u64;
        let mut attempts = Attempts::new(self.client.config().retries);
        let mut sent = 0;
        while sent < piece.len() {
            let range = (start + sent as u64, end - 1);
            let body = Body::Bytes(&piece[sent..]);
            match self.session.patch(self.place, body, Some(range)) {
                Ok(()) => break,
                Err(error) => self.wait(&mut attempts, error)?,
            }
            let there = match self.session.received(self.place) {
                Ok(there) => there.unwrap_or(start),
                Err(error) if is_forgotten(&error) => {
                    return Err(PushError::Lost { what: WHAT.to_owned() });
                }
                Err(error) => return Err(self.failed(error)),
            };
            let within = there.checked_sub(start).and_then(|within| usize::try_from(within).ok());
            sent = within.filter(|within| *within <= piece.len()).ok_or_else(|| {
                self.odd(format!("it has {there} bytes of an upload where {start} to {end} were sent"))
            })?;
        }
        self.seen.update(piece);
        (self.events)(TransferEvent::Advanced { bytes: piece.len() as u64 });
        Ok(())
    }

    fn commit(&self, digest: &Digest) -> Result<Option<Digest>, PushError> {
        let mut attempts = Attempts::new(self.client.config().retries);
        loop {
            match self.session.commit(self.place, digest, Body::None) {
                Ok(said) => return Ok(said),
                Err(error) => self.wait(&mut attempts, error)?,
            }
        }
    }

    fn wait(&self, attempts: &mut Attempts, error: TransportError) -> Result<(), PushError> {
        if is_forgotten(&error) {
            return Err(PushError::Lost { what: WHAT.to_owned() });
        }
        let (cancel, events) = (self.client.cancel(), self.events);
        let outcome = match error.status() {
            // it has more or less than we think, and says how much when it is asked
            Some(416) => attempts.after_all(error, cancel, events),
            _ => attempts.after(error, cancel, events),
        };
        outcome.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: TransportError) -> PushError {
        failed(&self.repository, error)
    }

    fn odd(&self, reason: String) -> PushError {
        self.failed(TransportError::Host { host: self.place.session.host.clone(), reason })
    }
}

fn failed(repository: &str, source: TransportError) -> PushError {
    PushError::Transport {
        what: WHAT.to_owned(),
        repository: repository.to_owned(),
        source: Box::new(source),
    }
}

/// Whether a registry knows nothing of an upload any more, or no more than that it broke.
fn is_forgotten(error: &TransportError) -> bool {
    match error {
        TransportError::Refused(refusal) => {
            refusal.status == 404
                || refusal.has_code("BLOB_UPLOAD_UNKNOWN")
                || refusal.has_code("BLOB_UPLOAD_INVALID")
        }
        _ => false,
    }
}

/// Reads until the buffer is full or there is no more.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
