//! Events: what a transfer tells while it goes on.

use std::time::Duration;

/// One thing that happened to one transfer; whoever started the transfer knows which blob it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferEvent {
    /// Bytes are about to flow.
    Started {
        /// How many bytes were there already.
        offset_bytes: u64,
        /// How many there will be in all, where that is known.
        total_bytes: Option<u64>,
    },
    /// More bytes have arrived, or have been sent.
    Advanced {
        /// How many more.
        bytes: u64,
    },
    /// A sending has to begin again further back: that many bytes must be sent once more.
    Rewound {
        /// How many of the bytes told so far do not count.
        bytes: u64,
    },
    /// Something went wrong, and is tried again.
    Retrying {
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long the wait is before the next one.
        wait: Duration,
        /// What went wrong.
        reason: String,
    },
    /// All bytes are there and are what they should be.
    Finished,
}

/// Where events go.
pub type Events<'a> = &'a (dyn Fn(TransferEvent) + Sync);

/// Takes events and does nothing with them.
pub fn ignore_events(_: TransferEvent) {}
