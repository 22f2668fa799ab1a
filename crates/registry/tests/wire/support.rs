//! What the tests of this crate share.

use std::io::Read as _;
use std::sync::Mutex;
use std::time::Duration;

pub(crate) use lighter_image::error_chain as chain;
use lighter_image::{Descriptor, Hasher, Reference};
use lighter_registry::config::{Retries, Timeouts};
use lighter_registry::testing::Registry;
use lighter_registry::{Cancel, Client, Config, TransferEvent};

/// Longer than any test takes.
pub(crate) const FOR_EVER: Duration = Duration::from_hours(1);

/// Settings that do not make a test wait where something is tried again. Where a server is silent it is waited for: on a busy
/// machine, one may be silent for a while that works.
pub(crate) fn quick() -> Config {
    let retries = Retries { first_wait: Duration::from_millis(1), ..Retries::default() };
    Config { retries, ..Config::default() }
}

/// The same, with little patience for a server that says nothing.
pub(crate) fn impatient() -> Config {
    let timeouts = Timeouts {
        stall: Duration::from_millis(600),
        answer: Duration::from_millis(900),
        ..Timeouts::default()
    };
    Config { timeouts, ..quick() }
}

pub(crate) fn client() -> Client {
    Client::new(quick(), Cancel::never())
}

pub(crate) fn name(registry: &Registry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host()).parse().expect("a name")
}

/// Bytes that are not all the same.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Reads a whole blob, or says why that was not possible.
pub(crate) fn fetch(client: &Client, reference: &Reference, blob: &Descriptor) -> Result<Vec<u8>, String> {
    fetch_from(client, reference, blob, &[], &|_| {})
}

pub(crate) fn fetch_from(
    client: &Client,
    reference: &Reference,
    blob: &Descriptor,
    have: &[u8],
    events: &(dyn Fn(TransferEvent) + Sync),
) -> Result<Vec<u8>, String> {
    let mut seen = Hasher::new();
    seen.update(have);
    let mut reader = client.fetch_blob(reference, blob, seen, events).map_err(|error| chain(&error))?;
    let mut bytes = have.to_vec();
    reader.read_to_end(&mut bytes).map_err(|error| chain(&error))?;
    Ok(bytes)
}

/// Keeps events.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<TransferEvent>>);

impl Kept {
    pub(crate) fn take(&self, event: TransferEvent) {
        self.0.lock().expect("no panic").push(event);
    }

    pub(crate) fn retries(&self) -> usize {
        let events = self.0.lock().expect("no panic");
        events.iter().filter(|event| matches!(event, TransferEvent::Retrying { .. })).count()
    }

    /// How many bytes were told in the end.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().expect("no panic").iter().fold(0, |sum, event| match event {
            TransferEvent::Started { offset_bytes, .. } => sum + offset_bytes,
            TransferEvent::Advanced { bytes } => sum + bytes,
            TransferEvent::Rewound { bytes } => sum - bytes,
            TransferEvent::Retrying { .. } | TransferEvent::Finished => sum,
        })
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.lock().expect("no panic").last() == Some(&TransferEvent::Finished)
    }
}
