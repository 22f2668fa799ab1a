//! Downloads: files from anywhere, as `ADD` names them. No registry's credentials are ever sent.

use std::fmt;
use std::io::{self, Read};

use ureq::BodyReader;
use ureq::http::Method;

use crate::client::Client;
use crate::event::{Events, TransferEvent};
use crate::transport::error::{RequestName, TransportError};
use crate::transport::exchange::{Body, Patience, Request, failure};
use crate::transport::redirect::{self, Policy};
use crate::transport::retry;
use crate::transport::url::Url;

/// What is known of a file from an earlier time, so that it need not be sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its tag.
    pub etag: Option<String>,
    /// When it was changed, in the server's words.
    pub last_modified: Option<String>,
}

/// An answer about a file.
#[derive(Debug)]
pub enum Download<'a> {
    /// It is what it was.
    Unchanged,
    /// Here it is.
    Found(Box<File<'a>>),
}

/// A file that is being sent.
pub struct File<'a> {
    /// Where it is in the end, after all redirects.
    pub url: Url,
    /// What is to be remembered of it.
    pub known: Known,
    /// The name that the server gives it.
    pub disposition: Option<String>,
    /// What it is.
    pub media_type: Option<String>,
    /// How many bytes it has, where the server says so.
    pub size_bytes: Option<u64>,
    body: BodyReader<'static>,
    request: RequestName,
    read_bytes: u64,
    events: Events<'a>,
}

impl Client {
    /// Asks for a file. Redirects are followed, and trouble that may pass is waited for.
    ///
    /// # Errors
    /// [`TransportError`]; what goes wrong later is in the file's stream.
    pub fn download<'a>(
        &self,
        url: &Url,
        known: &Known,
        events: Events<'a>,
    ) -> Result<Download<'a>, TransportError> {
        let mut headers = vec![("accept", "*/*".to_owned())];
        headers.extend(known.etag.iter().map(|etag| ("if-none-match", etag.clone())));
        headers.extend(known.last_modified.iter().map(|date| ("if-modified-since", date.clone())));
        let response = retry::run(self.config().retries, self.cancel(), events, || {
            let request = Request {
                method: Method::GET,
                url: url.clone(),
                headers: headers.clone(),
                authorization: None,
                body: Body::None,
                patience: Patience::Usual,
            };
            redirect::follow(&self.http, request, Policy::Free)?.expect(&[200, 304])
        })?;
        if response.status == 304 {
            return Ok(Download::Unchanged);
        }
        let text = |name: &str| response.header(name).map(str::to_owned);
        let known = Known { etag: text("etag"), last_modified: text("last-modified") };
        let (disposition, media_type) = (text("content-disposition"), text("content-type"));
        let (request, size_bytes) = (response.request.clone(), response.content_length());
        events(TransferEvent::Started { offset_bytes: 0, total_bytes: size_bytes });
        Ok(Download::Found(Box::new(File {
            url: request.url.clone(),
            known,
            disposition,
            media_type,
            size_bytes,
            body: response.into_reader(),
            request,
            read_bytes: 0,
            events,
        })))
    }
}

impl Read for File<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self
            .body
            .read(buffer)
            .map_err(|error| io::Error::new(error.kind(), failure(&self.request, error.into())))?;
        self.read_bytes += count as u64;
        match count {
            0 if buffer.is_empty() => {}
            0 => (self.events)(TransferEvent::Finished),
            _ => (self.events)(TransferEvent::Advanced { bytes: count as u64 }),
        }
        Ok(count)
    }
}

impl fmt::Debug for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("url", &self.url)
            .field("read_bytes", &self.read_bytes)
            .finish_non_exhaustive()
    }
}
