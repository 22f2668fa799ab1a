//! Nouns of the image formats: digests, references, platforms, descriptors, manifests, configurations.
//!
//! Nothing here reads a file, a clock or an environment variable: values come in as text or bytes, and go
//! out as text or bytes. Fields that lighter does not know survive a round trip, because the digest of a
//! document is its identity.

mod config;
mod descriptor;
mod digest;
mod error_chain;
mod go_bool;
pub mod go_json;
mod manifest;
pub mod media_type;
mod path;
mod platform;
mod reference;
pub mod text_or_bytes;

pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use digest::{ChainId, DiffId, Digest, Hasher, ImageId, ParseDigestError};
pub use error_chain::error_chain;
pub use go_bool::go_bool;
pub use manifest::{Document, Index, Manifest, ParseManifestError, parse_document};
pub use path::ImagePath;
pub use platform::{ParsePlatformError, Platform};
pub use reference::{ParseReferenceError, Reference};
