//! `pull`: an image from its registry.

use crate::args::pull::Pull;
use crate::command::platform;
use crate::failure::Failure;
use crate::interrupt;
use crate::registry;
use crate::render::transfer::{Amount, Transfers};
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::pull::{LayerEvent, PullError, Pulled, missing, pull};
use lighter_engine::registry::Client;
use lighter_image::{Digest, Platform, Reference};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

impl Verb for Pull {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let platform = self.platform.as_deref().map_or_else(|| Ok(Platform::host()), platform::parse)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let client = registry::client(session, &stopped)?;
        let outcome = self.all(session, &platform, (&client, &stopped));
        registry::pass_warnings_on(session, &client);
        outcome.map(|()| 0)
    }
}

impl Pull {
    fn all(
        &self,
        session: &Session,
        platform: &Platform,
        (client, stopped): (&Client, &Arc<AtomicBool>),
    ) -> Result<(), Failure> {
        let named = registry::read_name(client, &self.name)?;
        if self.all_tags && (named.tag().is_some() || named.digest().is_some()) {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        let store = session.open_store()?;
        let _watch = interrupt::sets(stopped)?;
        let telling = Telling { session, quiet: self.quiet, aside: false };
        if !self.all_tags {
            if named.tag().is_none() && named.digest().is_none() {
                telling.line("Using default tag: latest")?;
            }
            let pulled = one(&telling, &store, client, &named, platform)?;
            telling.line(&status(&pulled.reference, pulled.is_newer))?;
            if self.platform.is_some() && !pulled.platform.satisfies(platform) {
                telling.line(&format!(
                    "WARNING: {}",
                    platform::mismatch(&pulled.reference.familiar(), &pulled.platform, platform)
                ))?;
            }
            return session.print(&format!("{}\n", pulled.reference));
        }
        let mut is_newer = false;
        for reference in tags(client, &named)? {
            is_newer |= one(&telling, &store, client, &reference, platform)?.is_newer;
        }
        telling.line(&status(&named, is_newer))?;
        session.print(&format!("{}\n", named.repository()))
    }
}

/// Where it is told what is pulled.
pub(crate) struct Telling<'a> {
    pub(crate) session: &'a Session,
    /// Nothing is told but the end.
    pub(crate) quiet: bool,
    /// All goes to standard error: the pull is not what was asked for.
    pub(crate) aside: bool,
}

impl Telling<'_> {
    fn line(&self, text: &str) -> Result<(), Failure> {
        match (self.quiet, self.aside) {
            (true, _) => Ok(()),
            (false, true) => {
                self.session.remark(text);
                Ok(())
            }
            (false, false) => self.session.print(&format!("{text}\n")),
        }
    }

    fn layers(&self) -> Layers {
        let transfers = if self.aside {
            Transfers::aside(self.session, self.quiet)
        } else {
            Transfers::new(self.session, self.quiet)
        };
        Layers { transfers, amounts: Mutex::default() }
    }
}

/// Sees to it that an image is here with all its bytes, for a verb that needs it.
///
/// # Errors
/// An image that cannot be had.
pub(crate) fn provide(
    telling: &Telling<'_>,
    store: &Store,
    name: &str,
    platform: &Platform,
    always: bool,
) -> Result<(), Failure> {
    let stopped = Arc::new(AtomicBool::new(false));
    let client = registry::client(telling.session, &stopped)?;
    let _watch = interrupt::sets(&stopped)?;
    let outcome = provide_from(&client, telling, store, name, platform, always);
    registry::pass_warnings_on(telling.session, &client);
    outcome
}

fn provide_from(
    client: &Client,
    telling: &Telling<'_>,
    store: &Store,
    name: &str,
    platform: &Platform,
    always: bool,
) -> Result<(), Failure> {
    let is_here = !always && lighter_engine::image::look_up(store, name).is_ok();
    if !is_here {
        let named = registry::read_name(client, name)?;
        let pulled = one(telling, store, client, &named, platform)?;
        return telling.line(&status(&pulled.reference, pulled.is_newer));
    }
    let shown = telling.layers();
    let completed =
        missing(store, client, name, platform, SystemTime::now(), &|layer, event| shown.take(layer, event));
    shown.transfers.finish();
    completed.map_err(|error| failed(&error, client))
}

/// Pulls one image, and tells of it.
fn one(
    telling: &Telling<'_>,
    store: &Store,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
) -> Result<Pulled, Failure> {
    let tagged = reference.clone().with_default_tag();
    let what = match tagged.tag() {
        Some(tag) if tagged.digest().is_none() => tag.to_owned(),
        _ => shown_name(&tagged),
    };
    let shown = telling.layers();
    let written = OnceCell::new();
    let found = || drop(written.set(telling.line(&format!("{what}: Pulling from {}", tagged.path()))));
    let told = |layer: &Digest, event: LayerEvent| shown.take(layer, event);
    let pulled = pull(store, client, reference, platform, SystemTime::now(), (&found, &told));
    shown.transfers.finish();
    written.into_inner().transpose()?;
    let pulled = pulled.map_err(|error| failed(&error, client))?;
    telling.line(&format!("Digest: {}", pulled.digest))?;
    Ok(pulled)
}

fn failed(error: &PullError, client: &Client) -> Failure {
    if client.cancel().is_set() { Failure::interrupted() } else { Failure::because(error) }
}

fn status(reference: &Reference, is_newer: bool) -> String {
    if is_newer {
        format!("Status: Downloaded newer image for {}", shown_name(reference))
    } else {
        format!("Status: Image is up to date for {}", shown_name(reference))
    }
}

/// A name as Docker tells of it: of a tag and a digest, only the digest counts.
fn shown_name(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => reference.with_digest(digest).familiar(),
        (None, Some(_)) => reference.familiar(),
        (None, None) => reference.familiar_repository(),
    }
}

fn tags(client: &Client, repository: &Reference) -> Result<Vec<Reference>, Failure> {
    let tags = client.tags(repository).map_err(|error| Failure::because(&error))?;
    let tagged = tags.iter().map(|tag| repository.with_tag(tag));
    tagged.collect::<Result<_, _>>().map_err(|error| Failure::because(&error))
}

/// Layers on their way, and how much of each has come.
struct Layers {
    transfers: Transfers,
    amounts: Mutex<BTreeMap<Digest, Amount>>,
}

impl Layers {
    fn take(&self, layer: &Digest, event: LayerEvent) {
        let name = layer.short();
        match event {
            LayerEvent::Exists => self.transfers.stage(&name, "Already exists"),
            LayerEvent::Waiting => self.transfers.stage(&name, "Pulling fs layer"),
            LayerEvent::Downloaded => self.transfers.stage(&name, "Download complete"),
            LayerEvent::Unpacking => self.transfers.note(&name, "Extracting"),
            LayerEvent::Complete => self.transfers.stage(&name, "Pull complete"),
            LayerEvent::Transfer(event) => {
                let mut amounts = self.amounts.lock().unwrap_or_else(PoisonError::into_inner);
                let amount = amounts.entry(*layer).or_default();
                amount.take(&event);
                self.transfers.moved(&name, "Downloading", amount, &event);
            }
        }
    }
}
