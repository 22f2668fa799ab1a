//! Login and logout: a name and a password are tried before they are kept.

use ureq::http::Method;

use crate::Secret;
use crate::client::Client;
use crate::credential::{Credential, CredentialError, Proof, Stored};
use crate::event::ignore_events;
use crate::transport::error::TransportError;
use crate::transport::scope::Scopes;
use crate::transport::session::{Call, Session};

/// Why nobody was logged in, or out.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The registry does not take this name and password.
    #[error("login to `{host}`: unauthorized: incorrect username or password")]
    Unauthorized {
        /// The registry.
        host: String,
        /// Its answer.
        source: Box<TransportError>,
    },
    /// The registry could not be asked.
    #[error("login to `{host}`")]
    Transport {
        /// The registry.
        host: String,
        /// Why not.
        source: Box<TransportError>,
    },
    /// The credential could not be kept, or forgotten.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

impl Client {
    /// Tries a name and a password at a registry, and keeps them if they are good.
    ///
    /// # Errors
    /// [`LoginError`]; then nothing was kept.
    pub fn login(&self, domain: &str, username: &str, password: Secret) -> Result<Stored, LoginError> {
        let credential = Credential::password(username, password);
        let identity = self.verify(domain, &credential)?;
        let kept = match identity {
            Some(token) => Credential { proof: Proof::IdentityToken(token), ..credential },
            None => credential,
        };
        let stored = self.credentials.store(domain, &kept)?;
        self.forget_sessions();
        Ok(stored)
    }

    /// Forgets what is kept for a registry; says whether something was.
    ///
    /// # Errors
    /// [`LoginError::Credential`].
    pub fn logout(&self, domain: &str) -> Result<bool, LoginError> {
        let known = self.credentials.erase(domain)?;
        self.forget_sessions();
        Ok(known)
    }

    /// The name and the proof that are kept for a registry.
    ///
    /// # Errors
    /// [`LoginError::Credential`].
    pub fn stored_credential(&self, domain: &str) -> Result<Option<Credential>, LoginError> {
        Ok(self.credentials.lookup(domain)?)
    }

    /// Tries a credential; gives the identity token that the registry has for it, where it has one.
    fn verify(&self, domain: &str, credential: &Credential) -> Result<Option<Secret>, LoginError> {
        let source = self.config().registries.host(domain);
        let session = Session::new(self.http.clone(), self.credentials.clone(), &source)
            .with_credential(credential.clone());
        let error = |source: TransportError| {
            let (host, source) = (domain.to_owned(), Box::new(source));
            if source.is_unauthorized() {
                return LoginError::Unauthorized { host, source };
            }
            LoginError::Transport { host, source }
        };
        let mut call = Call::new(Method::GET, "/v2/".to_owned(), Scopes::none(), &[200]);
        session.call(&mut call, &ignore_events).map_err(error)?.discard();
        session.identity_token().map_err(error)
    }
}
