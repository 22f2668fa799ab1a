//! Tags: the list of a repository's, however many pages it has.

use lighter_image::Reference;
use serde::Deserialize;
use ureq::http::Method;

use crate::client::{Client, Place, first_good, is_cancelled};
use crate::config::NameError;
use crate::event::ignore_events;
use crate::transport::error::TransportError;
use crate::transport::exchange::Response;
use crate::transport::scope::Scopes;
use crate::transport::session::{Call, Target};

/// How many tags are asked for at a time.
const PAGE: usize = 1000;

/// Why a repository's tags cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum TagsError {
    /// The name is not to be asked for.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The registry knows no such repository.
    #[error("repository {repository} not found")]
    NotFound {
        /// The repository.
        repository: String,
        /// The registry's answer.
        source: Box<TransportError>,
    },
    /// The registry did not give them out.
    #[error("listing the tags of `{repository}`")]
    Transport {
        /// The repository.
        repository: String,
        /// Why not.
        source: Box<TransportError>,
    },
    /// There is no end of them.
    #[error("`{repository}` has more than {limit} tags")]
    TooMany {
        /// The repository.
        repository: String,
        /// How many there may be.
        limit: usize,
    },
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Client {
    /// Lists the tags of a name's repository, in the registry's order.
    ///
    /// # Errors
    /// [`TagsError`].
    /// # Source
    /// OCI distribution-spec, "Listing tags".
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>, TagsError> {
        let is_final =
            |error: &TagsError| matches!(error, TagsError::Transport { source, .. } if is_cancelled(source));
        let places = self.places(reference)?;
        first_good(places, is_final, |place| self.tags_from(place, &reference.familiar_repository()))
    }

    fn tags_from(&self, place: &Place, repository: &str) -> Result<Vec<String>, TagsError> {
        let error = |source: TransportError| {
            let (repository, source) = (repository.to_owned(), Box::new(source));
            if source.is_not_found() {
                return TagsError::NotFound { repository, source };
            }
            TagsError::Transport { repository, source }
        };
        let limit = self.config().limits.tags;
        let mut tags = Vec::new();
        let mut target = Target::Path(format!("/v2/{}/tags/list?n={PAGE}", place.repository));
        loop {
            let mut call = Call::new(Method::GET, String::new(), Scopes::pull(&place.repository), &[200]);
            call.target = target;
            let response = place.session.call(&mut call, &ignore_events).map_err(error)?;
            let next = next_page(&response).map_err(error)?;
            let request = response.request.clone();
            let bytes = response.bytes(self.config().limits.document_bytes).map_err(error)?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|fault| {
                error(TransportError::Protocol { request, reason: format!("the list is not valid: {fault}") })
            })?;
            let page = page.tags.unwrap_or_default();
            let is_empty = page.is_empty();
            tags.extend(page);
            if tags.len() > limit {
                return Err(TagsError::TooMany { repository: repository.to_owned(), limit });
            }
            match next {
                Some(url) if !is_empty => target = Target::Url(url),
                _ => return Ok(tags),
            }
        }
    }
}

/// Where the next page is, where there is one.
///
/// # Source
/// RFC 8288, section 3.
fn next_page(response: &Response) -> Result<Option<crate::Url>, TransportError> {
    let Some(link) = response.header("link").and_then(read_link) else { return Ok(None) };
    let joined = response.request.url.join(link);
    joined.map(Some).map_err(|source| TransportError::Address { request: response.request.clone(), source })
}

pub(crate) fn read_link(value: &str) -> Option<&str> {
    let (target, parameters) = value.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| {
        let parameter = parameter.trim().to_ascii_lowercase().replace(' ', "");
        parameter == "rel=\"next\"" || parameter == "rel=next"
    };
    parameters.split(';').any(is_next).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read() {
        let check = |value: &str, expected| assert_eq!(read_link(value), expected, "{value}");
        check("</v2/a/tags/list?last=x&n=1>; rel=\"next\"", Some("/v2/a/tags/list?last=x&n=1"));
        check("<x>; title=\"t\"; rel=next", Some("x"));
        check("<x>; rel=\"prev\"", None);
        check("x", None);
    }
}
