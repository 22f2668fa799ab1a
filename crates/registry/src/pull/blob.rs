//! Blobs: read as a stream that goes on after a cut, and ends only if it was what it should be.

use std::fmt;
use std::io::{self, Read};

use lighter_image::{Descriptor, Digest, Hasher, Reference};
use ureq::BodyReader;
use ureq::http::Method;

use crate::cancel::{Cancel, Cancelled};
use crate::client::{Client, Place, is_cancelled};
use crate::config::{NameError, Retries};
use crate::event::{Events, TransferEvent, ignore_events};
use crate::transport::error::{RequestName, TransportError};
use crate::transport::exchange::{Response, failure};
use crate::transport::retry::Attempts;
use crate::transport::scope::Scopes;
use crate::transport::session::Call;

/// After this many bytes, earlier failures do not count any more.
const PROGRESS: u64 = 64 << 10;
/// How often one blob may be taken up again in all.
const MOST_RESUMES: u32 = 1000;

/// Why a blob's bytes cannot be had, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The name is not to be asked for.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The registry did not give it out.
    #[error("blob {digest}")]
    Transport {
        /// The blob.
        digest: Digest,
        /// Why not.
        source: Box<TransportError>,
    },
    /// What came is something else.
    #[error("digest mismatch: blob {expected} arrived as {actual}")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// What came has another size.
    #[error("size mismatch: blob {digest} has {expected} bytes, and {actual} came")]
    Size {
        /// What was asked for.
        digest: Digest,
        /// How many bytes it has.
        expected: u64,
        /// How many came, or were announced.
        actual: u64,
    },
    /// It is larger than it may be.
    #[error("blob {digest} has {size_bytes} bytes, which is more than the limit of {limit_bytes}")]
    TooLarge {
        /// What was asked for.
        digest: Digest,
        /// How many bytes it is said to have.
        size_bytes: u64,
        /// How many it may have.
        limit_bytes: u64,
    },
}

impl FetchError {
    /// Whether the registry knows no such blob.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if source.is_not_found())
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Digest { .. } | Self::Size { .. } | Self::TooLarge { .. } => io::ErrorKind::InvalidData,
            Self::Transport { source, .. } if source.is_not_found() => io::ErrorKind::NotFound,
            Self::Name(_) | Self::Transport { .. } => io::ErrorKind::Other,
        }
    }
}

impl From<FetchError> for io::Error {
    fn from(error: FetchError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl Client {
    /// Fetches a blob as a stream. `have` has seen the bytes that are there already, which are not sent again;
    /// a new one means from the beginning.
    ///
    /// # Errors
    /// [`FetchError`] where no byte of it can be had; what goes wrong later is in the stream.
    /// # Source
    /// OCI distribution-spec, "Pulling blobs".
    pub fn fetch_blob<'a>(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        have: Hasher,
        events: Events<'a>,
    ) -> Result<BlobReader<'a>, FetchError> {
        let limit_bytes = self.config().limits.layer_bytes;
        let (digest, size_bytes) = (descriptor.digest, descriptor.size);
        if size_bytes > limit_bytes {
            return Err(FetchError::TooLarge { digest, size_bytes, limit_bytes });
        }
        if have.size_bytes() > size_bytes {
            return Err(FetchError::Size { digest, expected: size_bytes, actual: have.size_bytes() });
        }
        let retries = self.config().retries;
        let mut reader = BlobReader {
            places: self.places(reference)?,
            digest,
            size_bytes,
            seen: have,
            body: None,
            attempts: Attempts::new(retries),
            retries,
            resumes: 0,
            since_failure: 0,
            is_done: false,
            events,
            cancel: self.cancel().clone(),
        };
        reader.start()?;
        Ok(reader)
    }

    /// Fetches a whole blob into memory, and believes it only if it is what it should be.
    ///
    /// # Errors
    /// [`FetchError`], also where it is larger than `limit_bytes`.
    pub fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let (digest, size_bytes) = (descriptor.digest, descriptor.size);
        if size_bytes > limit_bytes {
            return Err(FetchError::TooLarge { digest, size_bytes, limit_bytes });
        }
        let mut reader = self.fetch_blob(reference, descriptor, Hasher::new(), &ignore_events)?;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 32 << 10];
        loop {
            match reader.advance(&mut buffer)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// The bytes of a blob, as a stream.
///
/// After a cut it asks for the rest, as often as the configuration allows; a place that is of no use is left
/// for the next one. The stream ends without an error only if the blob's size and digest are right: until then,
/// its bytes must not be used for good. The errors of `read` have a [`FetchError`] inside.
pub struct BlobReader<'a> {
    /// What is left of them: the first is the one that is asked.
    places: Vec<Place>,
    digest: Digest,
    size_bytes: u64,
    seen: Hasher,
    body: Option<Open>,
    attempts: Attempts,
    retries: Retries,
    resumes: u32,
    since_failure: u64,
    is_done: bool,
    events: Events<'a>,
    cancel: Cancel,
}

/// An answer whose body is being read.
struct Open {
    body: BodyReader<'static>,
    request: RequestName,
    /// Bytes that were sent although they are there already.
    skip_bytes: u64,
}

impl BlobReader<'_> {
    /// How many bytes of the blob are there.
    pub fn position_bytes(&self) -> u64 {
        self.seen.size_bytes()
    }

    fn start(&mut self) -> Result<(), FetchError> {
        if self.seen.size_bytes() < self.size_bytes || self.size_bytes == 0 {
            self.open()?;
        }
        let (offset_bytes, total_bytes) = (self.seen.size_bytes(), Some(self.size_bytes));
        (self.events)(TransferEvent::Started { offset_bytes, total_bytes });
        Ok(())
    }

    /// Reads some bytes; none means that the blob is complete and right.
    fn advance(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        if self.is_done || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.cancel.check().map_err(|Cancelled| self.transport(Cancelled.into()))?;
            if self.seen.size_bytes() == self.size_bytes {
                return self.finish().map(|()| 0);
            }
            let Some(open) = &mut self.body else {
                self.open()?;
                continue;
            };
            match open.body.read(buffer) {
                Ok(0) => {
                    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was cut");
                    let error = TransportError::Io { request: open.request.clone(), source };
                    self.failed(error)?;
                }
                Ok(count) if open.skip_bytes > 0 => {
                    let skipped = usize::try_from(open.skip_bytes).unwrap_or(usize::MAX).min(count);
                    open.skip_bytes -= skipped as u64;
                    if skipped < count {
                        buffer.copy_within(skipped..count, 0);
                        return self.accept(&buffer[..count - skipped]);
                    }
                }
                Ok(count) => return self.accept(&buffer[..count]),
                Err(error) => {
                    let error = failure(&open.request, error.into());
                    self.failed(error)?;
                }
            }
        }
    }

    fn accept(&mut self, bytes: &[u8]) -> Result<usize, FetchError> {
        let count = bytes.len() as u64;
        let actual = self.seen.size_bytes() + count;
        if actual > self.size_bytes {
            return Err(FetchError::Size { digest: self.digest, expected: self.size_bytes, actual });
        }
        self.seen.update(bytes);
        self.since_failure += count;
        (self.events)(TransferEvent::Advanced { bytes: count });
        Ok(bytes.len())
    }

    /// All bytes are there: nothing may follow, and the digest must be right.
    fn finish(&mut self) -> Result<(), FetchError> {
        if let Some(mut open) = self.body.take() {
            // reading the end gives the connection back; a failure here says nothing about the bytes
            if let Ok(more @ 1..) = open.body.read(&mut [0; 1]) {
                let (digest, expected) = (self.digest, self.size_bytes);
                return Err(FetchError::Size { digest, expected, actual: expected + more as u64 });
            }
        }
        let actual = self.seen.clone().finish();
        if actual != self.digest {
            return Err(FetchError::Digest { expected: self.digest, actual });
        }
        self.is_done = true;
        (self.events)(TransferEvent::Finished);
        Ok(())
    }

    /// Asks for what is missing, until there is an answer that can be used.
    fn open(&mut self) -> Result<(), FetchError> {
        loop {
            match self.ask() {
                Ok(open) => {
                    self.body = Some(open);
                    return Ok(());
                }
                Err(FetchError::Transport { source, .. }) => self.failed(*source)?,
                Err(error) if self.places.len() > 1 => self.next_place(&error),
                Err(error) => return Err(error),
            }
        }
    }

    fn ask(&self) -> Result<Open, FetchError> {
        let place = &self.places[0];
        let path = format!("/v2/{}/blobs/{}", place.repository, self.digest);
        let mut call = Call::new(Method::GET, path, Scopes::pull(&place.repository), &[200, 206]);
        let offset = self.seen.size_bytes();
        if offset > 0 {
            call.headers.push(("range", format!("bytes={offset}-")));
        }
        let response = place.session.attempt(&mut call).map_err(|source| self.transport(source))?;
        let start = self.start_of(&response)?;
        let announced = response.content_length().map(|length| start.saturating_add(length));
        if let Some(actual) = announced.filter(|announced| *announced != self.size_bytes) {
            return Err(FetchError::Size { digest: self.digest, expected: self.size_bytes, actual });
        }
        let request = response.request.clone();
        Ok(Open { body: response.into_reader(), request, skip_bytes: offset - start })
    }

    /// Where in the blob an answer begins: not after what is missing.
    ///
    /// # Source
    /// RFC 9110, sections 14.4 and 15.3.7.
    fn start_of(&self, response: &Response) -> Result<u64, FetchError> {
        if response.status != 206 {
            return Ok(0);
        }
        let offset = self.seen.size_bytes();
        let range = response.header("content-range").and_then(read_content_range);
        range.filter(|start| *start <= offset).ok_or_else(|| {
            self.transport(TransportError::Protocol {
                request: response.request.clone(),
                reason: format!("the answer does not begin at byte {offset}, which was asked for"),
            })
        })
    }

    /// Decides what follows a failure: another attempt here, one elsewhere, or the end.
    fn failed(&mut self, error: TransportError) -> Result<(), FetchError> {
        self.body = None;
        self.resumes += 1;
        if self.since_failure >= PROGRESS {
            self.attempts.progressed();
        }
        self.since_failure = 0;
        if self.resumes > MOST_RESUMES || is_cancelled(&error) {
            return Err(self.transport(error));
        }
        match self.attempts.after(error, &self.cancel, self.events) {
            Ok(()) => Ok(()),
            Err(error) if self.places.len() > 1 && !is_cancelled(&error) => {
                self.next_place(&error);
                Ok(())
            }
            Err(error) => Err(self.transport(error)),
        }
    }

    fn next_place(&mut self, error: &dyn fmt::Display) {
        let left = self.places.remove(0);
        tracing::debug!(host = left.session.host, %error, "a mirror was of no use");
        self.attempts = Attempts::new(self.retries);
    }

    fn transport(&self, source: TransportError) -> FetchError {
        FetchError::Transport { digest: self.digest, source: Box::new(source) }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.advance(buffer)?)
    }
}

impl fmt::Debug for BlobReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("digest", &self.digest)
            .field("size_bytes", &self.size_bytes)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// The first byte that an answer of a range begins with.
pub(crate) fn read_content_range(value: &str) -> Option<u64> {
    let (range, _) = value.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        let check = |value: &str, expected| assert_eq!(read_content_range(value), expected, "{value}");
        check("bytes 5-9/10", Some(5));
        check("bytes 0-0/*", Some(0));
        check("bytes 9-5/10", None);
        check("bytes */10", None);
        check("items 5-9/10", None);
        check("", None);
    }
}
