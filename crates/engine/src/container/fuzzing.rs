//! What fuzzers need of the conversation with a shim.

use super::message::{receive, send};

/// Reads frames until the first that is none; what was read is sent and received the same.
///
/// # Panics
/// Where it is not.
pub fn check_frames(mut wire: &[u8]) {
    while let Ok(Some(frame)) = receive(&mut wire) {
        let mut sent = Vec::new();
        send(&mut sent, &frame).expect("what was received can be sent");
        let mut rest = sent.as_slice();
        assert_eq!(receive(&mut rest).expect("what was sent can be received"), Some(frame));
        assert!(rest.is_empty(), "a frame has something behind it");
    }
}
