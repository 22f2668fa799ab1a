//! Faults to order: which request, how often, and what goes wrong then.

use std::time::Duration;

use super::http::Recorded;
use super::{State, lock};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The connection ends after so many bytes of the answer's body.
    CutAfter(usize),
    /// The connection ends after so many bytes of the request's body; an upload keeps them.
    CutRequestAfter(usize),
    /// The request is obeyed, and the connection ends before the answer.
    CutBefore,
    /// This is the answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// The answer is that the same path is to be asked for below this root.
    RedirectTo(String),
    /// The last byte of the answer's body is another one.
    Flip,
    /// The answer says that it has this length.
    Announce(usize),
    /// The answer has more bytes than it should.
    Append(Vec<u8>),
    /// The answer's body never ends.
    Endless,
    /// The answer comes in small pieces with a pause after each.
    Slow {
        /// How large a piece is.
        piece_bytes: usize,
        /// How long a pause is.
        pause: Duration,
    },
    /// Nothing happens for so long.
    Stall(Duration),
    /// Ranges are not understood: the whole is sent.
    NoRanges,
    /// All tokens have run out.
    RevokeTokens,
}

impl Trouble {
    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self::answer(status, &[], "")
    }

    /// An answer in full.
    pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = headers.iter().map(owned).collect();
        Self::Answer { status, headers, body: body.as_bytes().to_vec() }
    }
}

/// Something that goes wrong with some requests.
#[derive(Debug, Clone)]
pub struct Fault {
    method: &'static str,
    part: String,
    skip: u32,
    left: u32,
    trouble: Trouble,
}

impl Fault {
    /// With requests of this method whose path and query have this part; with each of them, until told else.
    pub fn on(method: &'static str, part: impl Into<String>) -> Self {
        Self { method, part: part.into(), skip: 0, left: u32::MAX, trouble: Trouble::status(500) }
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.left = times;
        self
    }

    /// Only after so many went well.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// What goes wrong.
    #[must_use]
    pub fn with(mut self, trouble: Trouble) -> Self {
        self.trouble = trouble;
        self
    }
}

/// What goes wrong with this request, if anything.
pub(super) fn take(state: &State, head: &Recorded) -> Option<Trouble> {
    let mut faults = lock(&state.faults);
    let fits = |fault: &&mut Fault| {
        fault.left > 0 && fault.method == head.method && head.target.contains(&fault.part)
    };
    let fault = faults.iter_mut().find(fits)?;
    if fault.skip > 0 {
        fault.skip -= 1;
        return None;
    }
    fault.left -= 1;
    Some(fault.trouble.clone())
}
