//! `push`: an image to its registry.

use crate::args::push::Push;
use crate::command::platform;
use crate::failure::Failure;
use crate::interrupt;
use crate::registry;
use crate::render::transfer::{Amount, Transfers};
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::push::{
    CompressionFormat, PushError, PushEvent, PushOptions, PushedImage, find, push, tags_of,
};
use lighter_engine::registry::Client;
use lighter_image::{DiffId, Reference};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// What Docker says of `--platform`.
const PLATFORM_NOTE: &str = "
 Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.
         Other components, like attestations, will not be included.
         To push the complete multi-platform image, remove the --platform flag.
         \n";

impl Verb for Push {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let options = self.options()?;
        let wanted = self.platform.as_deref().filter(|wanted| !wanted.is_empty());
        wanted.map(platform::parse).transpose()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let client = registry::client(session, &stopped)?;
        let outcome = self.all(session, wanted, (&client, &stopped), &options);
        registry::pass_warnings_on(session, &client);
        outcome.map(|()| 0)
    }
}

impl Push {
    fn all(
        &self,
        session: &Session,
        wanted: Option<&str>,
        (client, stopped): (&Client, &Arc<AtomicBool>),
        options: &PushOptions,
    ) -> Result<(), Failure> {
        let named = registry::read_name(client, &self.name)?;
        if self.all_tags && (named.tag().is_some() || named.digest().is_some()) {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        if named.digest().is_some() {
            return Err(told(&PushError::Digest));
        }
        let store = session.open_store()?;
        let _watch = interrupt::sets(stopped)?;
        if !self.quiet {
            if wanted.is_some() {
                session.print(PLATFORM_NOTE)?;
            }
            if !self.all_tags && named.tag().is_none() {
                session.print("Using default tag: latest\n")?;
            }
        }
        if !self.all_tags
            && let Ok(image) = find(&store, &named)
        {
            platform::check(wanted, &named.clone().with_default_tag().familiar(), &image)?;
        }
        if !self.quiet {
            session.print(&format!("The push refers to repository [{}]\n", named.repository()))?;
        }
        let references = if self.all_tags {
            tags_of(&store, &named).map_err(|error| told(&error))?
        } else {
            vec![named.clone().with_default_tag()]
        };
        for reference in references {
            let pushed = self.one((session, wanted), &store, client, &reference, options);
            let pushed = pushed.map_err(|failure| {
                if stopped.load(Ordering::Relaxed) { Failure::interrupted() } else { failure }
            })?;
            if !self.quiet {
                let tag = pushed.reference.tag().unwrap_or_default();
                session.print(&format!(
                    "{tag}: digest: {} size: {}\n",
                    pushed.manifest.digest, pushed.manifest.size
                ))?;
            }
        }
        if self.quiet {
            let whole = if self.all_tags { named.repository() } else { named.with_default_tag().to_string() };
            session.print(&format!("{whole}\n"))?;
        }
        Ok(())
    }

    fn options(&self) -> Result<PushOptions, Failure> {
        let compression = match self.compression.as_deref() {
            None | Some("gzip") => CompressionFormat::Gzip,
            Some("zstd") => CompressionFormat::Zstd,
            Some("none" | "uncompressed") => CompressionFormat::Plain,
            Some(other) => {
                return Err(Failure::new(format!(
                    "Error: --compression={other} is not supported: it is gzip, zstd or none"
                )));
            }
        };
        let recompress = self.compression.is_some() || self.compression_level.is_some();
        Ok(PushOptions { compression, level: self.compression_level, recompress, ..PushOptions::default() })
    }

    fn one(
        &self,
        (session, wanted): (&Session, Option<&str>),
        store: &Store,
        client: &Client,
        reference: &Reference,
        options: &PushOptions,
    ) -> Result<PushedImage, Failure> {
        let image = find(store, reference).map_err(|error| told(&error))?;
        platform::check(wanted, &reference.familiar(), &image)?;
        let shown = Layers::new(session, self.quiet);
        let pushed = push(store, client, (&image, reference), options, SystemTime::now(), &|layer, event| {
            shown.take(layer, event);
        });
        shown.transfers.finish();
        pushed.map_err(|error| told(&error))
    }
}

/// What a user did wrong is told as it is, in Docker's words.
fn told(error: &PushError) -> Failure {
    match error {
        PushError::NoImage(_) | PushError::NoTag(_) | PushError::Digest => Failure::new(error.to_string()),
        error => Failure::because(error),
    }
}

/// Layers on their way, and how much of each has gone.
struct Layers {
    transfers: Transfers,
    amounts: Mutex<BTreeMap<DiffId, Amount>>,
}

impl Layers {
    fn new(session: &Session, quiet: bool) -> Self {
        Self { transfers: Transfers::new(session, quiet), amounts: Mutex::default() }
    }

    fn take(&self, layer: &DiffId, event: PushEvent) {
        let name = layer.0.short();
        match event {
            PushEvent::Preparing => self.transfers.stage(&name, "Preparing"),
            PushEvent::Exists => self.transfers.stage(&name, "Layer already exists"),
            PushEvent::Mounted(from) => self.transfers.stage(&name, &format!("Mounted from {from}")),
            PushEvent::Pushed => self.transfers.stage(&name, "Pushed"),
            PushEvent::Transfer(event) => {
                let mut amounts = self.amounts.lock().unwrap_or_else(PoisonError::into_inner);
                let amount = amounts.entry(*layer).or_default();
                amount.take(&event);
                self.transfers.moved(&name, "Pushing", amount, &event);
            }
        }
    }
}
