//! Copies: images go from one repository to another without being kept here.

use std::io::{self, Read};

use lighter_image::{Descriptor, Document, Hasher, Reference, parse_document};

use crate::cancel::Cancelled;
use crate::client::Client;
use crate::event::{Events, ignore_events};
use crate::pull::{RawManifest, ResolveError};
use crate::push::PushError;

/// How deep indexes may be in indexes.
const DEEPEST: usize = 4;

/// Why an image could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It could not be had.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// It could not be brought there.
    #[error(transparent)]
    Push(#[from] PushError),
    /// Its indexes never end.
    #[error("indexes of `{0}` are nested more than {DEEPEST} deep")]
    Deep(String),
    /// The caller wants no more of it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Client {
    /// Brings a manifest, and all that it needs, from one repository to another; within one registry, no bytes
    /// of layers are sent. The manifest is put under its digest only.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy_manifest(
        &self,
        from: &Reference,
        to: &Reference,
        descriptor: &Descriptor,
        events: Events<'_>,
    ) -> Result<RawManifest, CopyError> {
        self.copy_nested(from, to, descriptor, events, 0)
    }

    fn copy_nested(
        &self,
        from: &Reference,
        to: &Reference,
        descriptor: &Descriptor,
        events: Events<'_>,
        depth: usize,
    ) -> Result<RawManifest, CopyError> {
        self.cancel().check()?;
        let raw = self.described_manifest(from, descriptor)?;
        if from.repository() == to.repository() {
            return Ok(raw);
        }
        if depth >= DEEPEST {
            return Err(CopyError::Deep(from.familiar()));
        }
        let parsed = parse_document(&raw.bytes, Some(&raw.descriptor.media_type))
            .map_err(|source| ResolveError::Parse { reference: from.familiar(), source })?;
        match parsed {
            Document::Index(index) => {
                for member in &index.manifests {
                    self.copy_nested(from, to, member, events, depth + 1)?;
                }
            }
            Document::Manifest(manifest) => {
                for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                    self.copy_blob(from, to, blob, events)?;
                }
            }
        }
        self.put_manifest(&to.with_digest(raw.descriptor.digest), &raw.descriptor.media_type, &raw.bytes)?;
        Ok(raw)
    }

    fn copy_blob(
        &self,
        from: &Reference,
        to: &Reference,
        blob: &Descriptor,
        events: Events<'_>,
    ) -> Result<(), CopyError> {
        let same_registry = from.domain() == to.domain();
        let mount_from = if same_registry { vec![from.path().to_owned()] } else { Vec::new() };
        let mut open = |offset: u64| -> io::Result<Box<dyn Read>> {
            let mut reader = self.fetch_blob(from, blob, Hasher::new(), &ignore_events)?;
            // the bytes before count for the digest, so they are read once more
            let skipped = io::copy(&mut (&mut reader).take(offset), &mut io::sink())?;
            if skipped < offset {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(Box::new(reader))
        };
        self.push_blob(to, (blob.digest, blob.size), &mount_from, &mut open, events)?;
        Ok(())
    }
}
