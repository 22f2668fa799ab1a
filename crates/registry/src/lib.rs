//! The OCI distribution protocol: names to hosts, hosts to connections, and what goes over them.
//!
//! A [`Client`] is made from a [`Config`], which is a plain value: nothing here reads an environment variable,
//! and files are read only where the configuration names them. All calls block, take a time-out, and stop when
//! the [`Cancel`] says so; many threads can use one client at once.
//!
//! Bytes are believed only after their digest and size are known to be right: documents before they are given
//! out, blobs at the end of their [`BlobReader`].

mod cancel;
mod client;
pub mod config;
mod copy;
mod credential;
mod download;
mod event;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
mod login;
mod pull;
mod push;
mod secret;
mod tags;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;

pub use cancel::{Cancel, Cancelled};
pub use client::Client;
pub use config::Config;
pub use copy::CopyError;
pub use credential::{Credential, CredentialError, Proof, Stored};
pub use download::{Download, File, Known};
pub use event::{Events, TransferEvent, ignore_events};
pub use index::{Annotation, Draft, IndexError, IndexKind, Member, combine, shown_as_docker};
pub use login::LoginError;
pub use pull::{BlobReader, FetchError, RawManifest, ResolveError, Resolved, check_layers, choose};
pub use push::{Open, PushError, Pushed};
pub use secret::Secret;
pub use tags::TagsError;
pub use transport::error::{Refusal, RequestName, ServerError, TransportError};
pub use transport::tls::TlsError;
pub use transport::url::{Url, UrlError};
pub use transport::warning::Warning;
