//! The client: one for a program, shared by all of its threads.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lighter_image::Reference;

use crate::cancel::Cancel;
use crate::config::{Config, NameError, Source};
use crate::credential::Credentials;
use crate::transport::error::TransportError;
use crate::transport::exchange::Http;
use crate::transport::session::Session;
use crate::transport::warning::Warning;

/// Talks to registries. Making one costs nothing: connections, certificates and credentials come when needed.
pub struct Client {
    pub(crate) http: Arc<Http>,
    pub(crate) credentials: Arc<Credentials>,
    sessions: Mutex<HashMap<(String, bool), Arc<Session>>>,
}

/// One repository at one host.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) session: Arc<Session>,
    pub(crate) repository: String,
    pub(crate) is_mirror: bool,
}

impl Client {
    /// A client with these settings, which stops when `cancel` says so.
    pub fn new(config: Config, cancel: Cancel) -> Self {
        let credentials =
            Credentials::new(config.credentials.clone(), config.timeouts.helper, cancel.clone());
        Self {
            http: Arc::new(Http::new(config, cancel)),
            credentials: Arc::new(credentials),
            sessions: Mutex::default(),
        }
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.http.config
    }

    /// What registries have wanted people to know so far, each once.
    ///
    /// # Source
    /// OCI distribution-spec, "Warnings".
    pub fn warnings(&self) -> Vec<Warning> {
        self.http.warnings.all()
    }

    /// What tells it to stop.
    pub fn cancel(&self) -> &Cancel {
        &self.http.cancel
    }

    /// Where to look for a name: mirrors first.
    pub(crate) fn places(&self, reference: &Reference) -> Result<Vec<Place>, NameError> {
        let sources = self.config().registries.sources(reference)?;
        Ok(sources.iter().map(|source| self.place(source)).collect())
    }

    /// Where to write under a name.
    pub(crate) fn destination(&self, reference: &Reference) -> Result<Place, NameError> {
        Ok(self.place(&self.config().registries.destination(reference)?))
    }

    fn place(&self, source: &Source) -> Place {
        Place {
            session: self.session(source),
            repository: source.repository.clone(),
            is_mirror: source.is_mirror,
        }
    }

    fn session(&self, source: &Source) -> Arc<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source.host.clone(), source.insecure);
        let session = sessions.entry(key).or_insert_with(|| {
            Arc::new(Session::new(Arc::clone(&self.http), Arc::clone(&self.credentials), source))
        });
        Arc::clone(session)
    }

    /// Forgets what was learned about hosts, as after a login or a logout.
    pub(crate) fn forget_sessions(&self) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("http", &self.http).finish_non_exhaustive()
    }
}

/// Asks one place after the other, until one has a good answer; the last one's failure is the one that counts.
pub(crate) fn first_good<T, E>(
    places: Vec<Place>,
    is_final: impl Fn(&E) -> bool,
    mut ask: impl FnMut(&Place) -> Result<T, E>,
) -> Result<T, E> {
    let mut outcome = None;
    for place in places {
        match ask(&place) {
            Err(error) if place.is_mirror && !is_final(&error) => {
                tracing::debug!(host = place.session.host, "a mirror was of no use");
                outcome = Some(Err(error));
            }
            other => return other,
        }
    }
    outcome.expect("the place itself is always the last one, and its answer is returned")
}

/// Whether asking elsewhere is pointless.
pub(crate) fn is_cancelled(error: &TransportError) -> bool {
    matches!(error, TransportError::Cancelled(_))
}
